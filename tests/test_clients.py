"""The shared connections: the environment's proxies, forks, keys that no header can hold."""

import asyncio
import base64
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rxllm
from rxllm import ModelResponseStream, Stream
from rxllm.exceptions import APIError, AuthenticationError, BadRequestError
from tests.server import PATIENCE, Server, texts

Ask = Callable[..., Stream[ModelResponseStream]]


class Proxy:
    """An HTTP proxy for one request a connection, that notes what it was asked."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rb") as file:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += file.readline()
                self.heads.append(head)
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                host, _, port = head.split(b" ")[1].removeprefix(b"http://").partition(b"/")[0].partition(b":")
                with socket.create_connection((host.decode(), int(port))) as upstream:
                    upstream.sendall(head + file.read(length))
                    answer = b""
                    while not answer.endswith(b"0\r\n\r\n"):
                        piece = upstream.recv(65536)
                        answer += piece
                        client.sendall(piece)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy."""
    running = Proxy()
    yield running
    rxllm.close()
    running.close()


@pytest.mark.parametrize("form", ["http://{}", "{}", "http://user:pass@{}"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_environments_proxy(ask: Ask, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, form: str, way: str) -> None:
    """In each form that people write it, with a name and a password too."""
    monkeypatch.setenv("http_proxy", form.format(proxy.address))
    monkeypatch.setenv("no_proxy", "")

    async def consume() -> list[Any]:
        return [item async for item in ask()]

    chunks = list(ask()) if way == "sync" else asyncio.run(consume())
    assert len(texts(chunks)) == 4
    (head,) = proxy.heads
    assert head.startswith(b"POST http://127.0.0.1:")
    secret = base64.b64encode(b"user:pass")
    assert (secret in head) == ("user" in form)


def test_what_is_excepted_from_the_proxy(ask: Ask, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """no_proxy is honoured."""
    monkeypatch.setenv("http_proxy", proxy.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert len(texts(ask())) == 4
    assert proxy.heads == []


@pytest.mark.parametrize("key", ["sk-sécret-key", "sk-secret\nkey", "sk-secret\x00key"])
def test_a_key_that_no_header_can_hold(server: Server, ask: Ask, key: str) -> None:
    """A typed error that does not show it, before anything is sent."""
    with pytest.raises(AuthenticationError, match="characters in it that no key has") as caught:
        list(ask(api_key=key))
    assert key not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert server.connections == 0


def test_a_key_that_ends_in_a_new_line(server: Server, ask: Ask) -> None:
    """As keys from files do."""
    list(ask(api_key="sk-from-a-file\n"))
    assert server.requests[0].headers["authorization"] == "Bearer sk-from-a-file"


def test_a_header_that_is_none(server: Server, ask: Ask) -> None:
    """What cannot be sent as a header is refused at once, without its value, and not tried again."""
    with pytest.raises(APIError) as caught:
        list(ask(extra_headers={"x-mine": "sk-secret\nvalue"}))
    assert isinstance(caught.value, BadRequestError)
    assert "secret" not in str(caught.value) + repr(caught.value.__context__)
    assert server.connections <= 1
