"""Connections of clients that take their time, or have no end."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from rxllm.proxy._connection import Connection
from tests.proxy.serving import QUESTION, ask, serving
from tests.server import PATIENCE, Answering, Server, chunk

_GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


class _Hasty(Connection):
    """Waits for a head no longer than tests can."""

    head_within = 0.2


@pytest.fixture(scope="module")
def hasty() -> Iterator[str]:
    """A server that does not wait long for a head."""
    with serving(http=_Hasty) as address:
        yield address


def _connected(address: str) -> "closing[socket.socket]":
    host, _, port = address.removeprefix("http://").partition(":")
    return closing(socket.create_connection((host, int(port)), timeout=PATIENCE))


def _to_the_end(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass  # it did not read all that was sent
    return received


@pytest.mark.parametrize("begun", [b"", b"GET /hea", _GET, b"\r\n", _GET + b"\r\n" + _GET, _GET + b"\r\n\r\n"])
def test_a_head_that_does_not_end_is_waited_for_so_long(hasty: str, begun: bytes) -> None:
    """From its first byte, or from the beginning; also after another request."""
    with _connected(hasty) as client:
        client.sendall(begun)
        received = _to_the_end(client)
    assert received.count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")


def test_a_head_that_comes_in_time_is_answered(hasty: str) -> None:
    """Whole or byte for byte, and so is the next on the same connection."""
    with _connected(hasty) as client:
        for request in (_GET + b"\r\n", _GET + b"connection: close\r\n\r\n"):
            for at in range(len(request)):
                client.sendall(request[at : at + 1])
        received = _to_the_end(client)
    assert received.count(b"HTTP/1.1 200") == 2


def test_a_head_has_a_bound() -> None:
    """A 431, and no more is read: a line that never ends costs no memory."""
    with serving(http=Connection) as address, _connected(address) as client:
        client.sendall(_GET + b"x: ")
        sent = 0
        try:
            while True:
                sent += client.send(b"y" * 65536)
                assert sent < 1 << 26
        except OSError:
            pass
        received = _to_the_end(client)
        assert received.startswith(b"HTTP/1.1 431") or not received  # where the reset was faster
        assert ask(address, model="sim/echo", delay=0).status_code == 200


def test_what_follows_an_answer_is_read_so_long(hasty: str) -> None:
    """The rest of a body that was refused: who sends it drop by drop does not keep the connection."""
    with _connected(hasty) as client:
        head = b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n"
        client.sendall(head)
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                client.sendall(b"x")
        except OSError:
            return
    raise AssertionError("it goes on")


def test_an_answer_that_streams_is_no_head(server: Server) -> None:
    """It may take longer; and that a second request has begun behind it, is no reason to end it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.server.taken.wait()
        await answering.event(chunk("lo"), chunk(finish="stop"), "[DONE]")
        await answering.end()

    server.script = script
    model = {"model": "openai/gpt-4", "api_base": server.url, "api_key": "k"}
    body = json.dumps({"model": "gpt-4", "messages": QUESTION, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    with serving({"gpt-4": model}, http=_Hasty, keep_alive=0.1) as address, _connected(address) as client:
        client.sendall(head + body)
        received = b""
        while b"Hel" not in received:
            received += client.recv(65536)
        client.sendall(b"GET /hea")
        while received.count(b": keep-alive") < 5:  # longer than a head may take
            received += client.recv(65536)
        server.taken.open()
        received += _to_the_end(client)
    assert b"[DONE]" in received
