"""Bodies that are read past httpcore: over real sockets, in every framing, and the connection is used again."""

import asyncio
import json
from collections.abc import Callable

import pytest
import reactivex.operators as rx
from hypothesis import given
from hypothesis import strategies as st

from rxllm import ModelResponseStream, Stream, aclose
from rxllm._bodies import HeldBack
from rxllm.exceptions import IncompleteStreamError
from tests.consume import by_async_for, by_for
from tests.server import PATIENCE, Answering, Server, chunk, texts

Ask = Callable[..., Stream[ModelResponseStream]]

BOTH = pytest.mark.parametrize("consume", [by_for, by_async_for], ids=["sync", "async"])

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@given(st.lists(st.binary(max_size=6)), st.lists(st.binary(max_size=6), min_size=1), st.integers(1, 4))
def test_what_is_held_back_is_given_whole(head: list[bytes], body: list[bytes], most: int) -> None:
    """A head is given up to its end, however it comes; then nothing more until it is asked for, in any amounts."""
    beginning = b"HTTP/1.1 200 OK\r\nx: " + b"".join(head).replace(b"\n", b"") + b"\r"
    received = HeldBack()
    received.expect_head()
    pieces = [*(beginning[i : i + most] for i in range(0, len(beginning), most)), b"\n\r", b"\n" + b"".join(body)]
    given = [received.cut(piece) for piece in pieces]
    assert b"".join(given) == beginning + b"\n\r\n"
    received.expects_head = False
    rest = b""
    while received:
        rest += received.take(most)
    assert rest == b"".join(body)


def events(*words: str) -> list[bytes]:
    """The events of a whole answer."""
    said = [*(json.dumps(chunk(word)) for word in words), json.dumps(chunk(finish="stop")), "[DONE]"]
    return [f"data: {event}\n\n".encode() for event in said]


def framed(*pieces: bytes) -> bytes:
    """Pieces as chunks, without the last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + framed(*events("a", "b")) + b"0\r\n\r\n",
        CHUNKED + framed(b"".join(events("a", "b"))) + b"0\r\nserver-timing: total;dur=7\r\n\r\n",
        CHUNKED + b"".join(b"%x;of=7\r\n%b\r\n" % (len(e), e) for e in events("a", "b")) + b"0;last\r\n\r\n",
        CHUNKED.replace(b"\r\n", b"\n") + framed(*events("a", "b")) + b"0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + CHUNKED + framed(*events("a", "b")) + b"0\r\n\r\n",
        HEAD + b"content-length: %d\r\n\r\n" % len(b"".join(events("a", "b"))) + b"".join(events("a", "b")),
    ],
    ids=["plain", "trailers", "extensions", "bare line feeds", "early hints", "content length"],
)
def test_a_framing_cut_anywhere(
    server: Server,
    ask: Ask,
    consume: Callable[..., list[ModelResponseStream]],
    answer: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All chunks come, whole; each answer leaves a connection that serves the next request."""
    monkeypatch.setattr("rxllm._transport._DRAIN", PATIENCE)  # however slow the machine is, the end is waited for
    sizes = iter((1, 7, 64, 5000))

    async def script(answering: Answering) -> None:
        size = next(sizes)
        for start in range(0, len(answer), size):
            await answering.raw(answer[start : start + size])
            await asyncio.sleep(0)

    server.script = script
    if consume is by_for:
        answers = [by_for(ask()) for _ in range(4)]
    else:

        async def all_of_them() -> list[list[ModelResponseStream]]:
            found = [[item async for item in ask()] for _ in range(4)]
            await aclose()
            return found

        answers = asyncio.run(all_of_them())
    assert [texts(answer) for answer in answers] == [["a", "b"]] * 4
    assert server.connections == 1


@BOTH
@pytest.mark.parametrize(
    "broken",
    [
        framed(*events("a")[:1]),
        framed(*events("a")[:1]) + b"5\r\nda",
        framed(*events("a")[:1]) + b"zz\r\nda",
        framed(*events("a")[:1]) + b"5",
        framed(*events("a")[:1])[:-2] + b"!!5\r\n",
        framed(*events("a")[:1]) + b"-5\r\n",
    ],
)
def test_a_broken_framing(
    server: Server, ask: Ask, consume: Callable[..., list[ModelResponseStream]], broken: bytes
) -> None:
    """What had come is given, then a typed error says that it is not all."""

    async def script(answering: Answering) -> None:
        await answering.raw(CHUNKED + broken)
        answering.hang_up()

    server.script = script
    given: list[ModelResponseStream] = []

    with pytest.raises(IncompleteStreamError, match=r"The connection broke in the middle of the answer.*; 1 chunk had"):
        consume(ask(max_retries=0).pipe(rx.do_action(given.append)))
    assert texts(given) == ["a"]


@BOTH
def test_bytes_behind_an_answer(server: Server, ask: Ask, consume: Callable[..., list[ModelResponseStream]]) -> None:
    """They belong to no request: the connection that they came on is not used again."""

    async def script(answering: Answering) -> None:
        await answering.raw(CHUNKED + framed(*events("a")) + b"0\r\n\r\n" + CHUNKED)

    server.script = script
    assert [texts(consume(ask())) for _ in range(2)] == [["a"]] * 2
    assert server.connections == 2
