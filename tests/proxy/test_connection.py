"""Connections of clients that take their time, have no end, or are of another age."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from rxllm.proxy._connection import Connection
from tests.proxy.serving import QUESTION, ask, events_in, serving, texts_of
from tests.server import PATIENCE, Answering, Server, chunk

_BODY = json.dumps({"model": "gpt-4", "messages": QUESTION, "stream": True}).encode()
_GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


class _Hasty(Connection):
    """Waits no longer than tests can."""

    head_within = 0.2
    read_within = 0.5


@pytest.fixture(scope="module")
def hasty() -> Iterator[str]:
    """A server that does not wait long for a head."""
    with serving(http=_Hasty) as address:
        yield address


def _connected(address: str) -> "closing[socket.socket]":
    host, _, port = address.removeprefix("http://").partition(":")
    return closing(socket.create_connection((host, int(port)), timeout=PATIENCE))


def _post(body: bytes = _BODY, version: str = "1.1", *headers: str) -> bytes:
    """A request for a completion."""
    said = [f"POST /v1/chat/completions HTTP/{version}", "host: localhost", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*said, "", ""]).encode() + body


def _to(server: Server) -> dict[str, Any]:
    """The models of a proxy before the server."""
    return {"gpt-4": {"model": "openai/gpt-4", "api_base": server.url, "api_key": "k", "max_retries": 0}}


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
    with serving(_to(server), http=_Hasty, keep_alive=0.1) as address, _connected(address) as client:
        client.sendall(_post())
        received = b""
        while b"Hel" not in received:
            received += client.recv(65536)
        client.sendall(b"GET /hea")
        while received.count(b": keep-alive") < 5:  # longer than a head may take
            received += client.recv(65536)
        server.taken.open()
        received += _to_the_end(client)
    assert b"[DONE]" in received


# -- reading


def test_a_client_that_reads_nothing_is_left(server: Server) -> None:
    """After so long its connection ends, and its request upstream is closed."""

    async def script(answering: Answering) -> None:
        await answering.start()
        while True:
            await answering.event(*[chunk("x" * 1000)] * 64)

    server.script = script
    with serving(_to(server), http=_Hasty) as address, _connected(address) as client:
        client.sendall(_post())
        assert server.next_closed() == 1
        assert b"[DONE]" not in _to_the_end(client)


@pytest.mark.parametrize(("http", "options"), [(_Hasty, {}), ("h11", {"write_timeout": _Hasty.read_within})])
def test_a_client_that_reads_slowly_is_not(server: Server, http: Any, options: dict[str, float]) -> None:
    """However much waits for it, in one event too, and however long: it gets all of it, from whatever server."""
    text = "x" * 20_000_000

    async def script(answering: Answering) -> None:
        await answering.start()
        if answering.json.get("seed") == 1:
            await answering.event(chunk(text), chunk(finish="stop"), "[DONE]")
            await answering.end()
        await answering.closed()

    server.script = script
    with serving(_to(server), http=http, keep_alive=0.05, **options) as address, _connected(address) as clock:
        clock.sendall(_post())
        assert b"200 OK" in clock.recv(65536)
        begun = time.monotonic()
        with _connected(address) as client:
            client.sendall(_post(json.dumps({**json.loads(_BODY), "seed": 1}).encode(), "1.0"))
            received = b""
            while data := client.recv(500_000, socket.MSG_WAITALL):
                received += data
                assert clock.recv(65536)  # a comment, which comes so often
        assert time.monotonic() - begun > 2 * _Hasty.read_within
    *events, done = events_in(received.decode())
    assert (texts_of(events) == text, done) == (True, "[DONE]")


# -- HTTP/1.0


@pytest.mark.parametrize("http", [Connection, "h11"])
@pytest.mark.parametrize("headers", [(), ("connection: keep-alive",), ("expect: 100-continue",)])
def test_http_1_0_gets_a_stream_that_ends_with_the_connection(
    server: Server, http: Any, headers: tuple[str, ...]
) -> None:
    """It knows no chunks: what comes is the events and nothing else, and the header says so."""
    with serving(_to(server), http=http) as address, _connected(address) as client:
        client.sendall(_post(_BODY, "1.0", *headers))
        head, _, body = _to_the_end(client).partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"connection: close" in lines
    assert not any(line.startswith((b"transfer-encoding", b"content-length")) for line in lines)
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")
    assert texts_of(events_in(body.decode())) == "Hello world"


def test_http_1_0_gets_a_whole_answer_with_its_length() -> None:
    """As everybody does."""
    body = json.dumps({"model": "sim/echo", "messages": QUESTION}).encode()
    with serving(http=Connection) as address, _connected(address) as client:
        client.sendall(_post(body, "1.0"))
        head, _, received = _to_the_end(client).partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(received) in head
    assert json.loads(received)["choices"][0]["message"]["content"] == "Hello"


def test_a_stream_to_http_1_0_that_breaks_off_ends_with_an_error_event(server: Server) -> None:
    """Its end would be no other else."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        answering.hang_up()

    server.script = script
    with serving(_to(server), http=Connection) as address, _connected(address) as client:
        client.sendall(_post(_BODY, "1.0"))
        events = events_in(_to_the_end(client).decode())
    assert texts_of(events[:-1]) == "Hel"
    assert "error" in events[-1]
