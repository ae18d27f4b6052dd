"""What misbehaving servers do: scripts for ``tests.server``, made of pieces of a body, and of how it ends."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tests.server import Answering, Script, chunk

HELLO: Final = chunk("Hello")
WORLD: Final = chunk(" world")
FINISH: Final = chunk(finish="stop")
# Spares whoever wants the usage to count what is long.
COUNTED: Final = chunk(finish="stop", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
DONE: Final = "[DONE]"
ANSWER: Final = (HELLO, WORLD, FINISH, DONE)
TEXT: Final = "Hello world"
MEBIBYTE: Final = 1 << 20


Ending = Callable[[Answering], Awaitable[None]]


async def end(answering: Answering) -> None:
    """Ends the body in good order."""
    await answering.end()


async def hang_up(answering: Answering) -> None:
    """Closes the connection."""
    answering.hang_up()


async def reset(answering: Answering) -> None:
    """Resets the connection."""
    answering.reset(hard=True)


async def stay(answering: Answering) -> None:
    """Does nothing any more, until the client goes."""
    await answering.closed()


def event(said: Any) -> bytes:
    """A piece of a body: bytes as they are; whatever else is the data of an event, strings as they are."""
    if isinstance(said, bytes):
        return said
    return f"data: {said if isinstance(said, str) else json.dumps(said)}\n\n".encode()


def stream(*said: Any) -> bytes:
    """Events in one piece."""
    return b"".join(map(event, said))


def answer(*said: Any, then: Ending = end, status: int = 200, **headers: Any) -> Script:
    """A body in pieces, and how it ends."""

    async def script(answering: Answering) -> None:
        await answering.start(status, **headers)
        for piece in said:
            await answering.send(event(piece))
        await then(answering)

    return script


def whole(
    body: bytes, status: int = 200, then: Ending | None = None, length: int | None = None, **headers: Any
) -> Script:
    """A body in one piece, of a length that is announced."""

    async def script(answering: Answering) -> None:
        said: dict[str, Any] = {"content_type": "application/json", **headers}
        await answering.start(status, **said, transfer_encoding="", content_length=str(length or len(body)))
        await answering.send(body)
        if then is not None:
            await then(answering)

    return script


def raw(*pieces: bytes, then: Ending = hang_up) -> Script:
    """Bytes that may be no HTTP at all."""

    async def script(answering: Answering) -> None:
        for piece in pieces:
            await answering.raw(piece)
        await then(answering)

    return script


def for_ever(
    *said: Any, piece: bytes, pause: float | None = None, head: bytes | None = None, status: int = 200, **headers: Any
) -> Script:
    """A body, or what follows ``head``, that goes on with the same piece until the client goes."""

    async def script(answering: Answering) -> None:
        answering.unbuffered()
        send = answering.send
        if head is None:
            await answering.start(status, **headers)
        else:
            await answering.raw(head)
            send = answering.raw
        for begin in said:
            await send(event(begin))
        while True:
            await send(piece)
            if pause is not None:
                await asyncio.sleep(pause)

    return script


def in_turn(*scripts: Script) -> Script:
    """Each request gets the next one; the last is for all that follow. Whenever one is through, that is told."""

    async def script(answering: Answering) -> None:
        await scripts[min(answering.number, len(scripts)) - 1](answering)
        answering.server.events.put(answering.number)

    return script


good: Final = answer(*ANSWER)


def refusal(status: int, message: str = "Not now", **headers: Any) -> Script:
    """An error as OpenAI words it."""
    return whole(json.dumps({"error": {"message": message}}).encode(), status, **headers)


async def reset_once_taken(answering: Answering) -> None:
    """A reset may overtake what was sent, so it waits until the client has that."""
    await answering.server.taken.wait()
    answering.reset(hard=True)


async def nothing(answering: Answering) -> None:
    """Waits for the next request."""


async def end_and_close(answering: Answering) -> None:
    """Ends the body, and then closes the connection without a word."""
    await answering.end()
    answering.hang_up()
    await answering.hung_up()


async def end_with_a_farewell(answering: Answering) -> None:
    """Ends the body, and says on the idle connection that it closes it, as some proxies do."""
    await answering.end()
    await answering.raw(b"HTTP/1.1 408 Request Time-out\r\nconnection: close\r\n\r\n")
    answering.hang_up()
    await answering.hung_up()


async def cut_inside_a_chunk(answering: Answering) -> None:
    """Announces more of a chunk of HTTP's own kind than it sends."""
    await answering.raw(b'100\r\ndata: {"choices": [{"in')
    answering.hang_up()


async def echo_the_key(answering: Answering) -> None:
    """Says the caller's key."""
    await answering.json_answer(401, {"error": {"message": f"Bad key: {answering.headers['authorization']}"}})


async def redirect_elsewhere(answering: Answering) -> None:
    """To another host, by name, which is this server too: it would see the request."""
    elsewhere = answering.server.url.replace("127.0.0.1", "localhost") + "/elsewhere"
    await answering.json_answer(307, b"", location=elsewhere)


async def answer_before_reading(answering: Answering) -> None:
    """Begins to answer before it has read the request's body."""
    await answering.start()
    await answering.event(HELLO)
    await answering.read_body()
    await answering.event(WORLD, COUNTED, DONE)
    await answering.end()


async def refuse_before_reading(answering: Answering) -> None:
    """Refuses a body that it then throws away."""
    await answering.json_answer(413, {"error": {"message": "Too much"}}, connection="close")
    await answering.read_body()
    answering.hang_up()


async def read_nothing(answering: Answering) -> None:
    """Leaves the body of the request where it is."""
    await asyncio.Event().wait()


# -- how they frame and encode it


def bytewise(body: bytes) -> list[bytes]:
    """Every byte alone."""
    return [body[i : i + 1] for i in range(len(body))]


def with_text(text: str) -> bytes:
    """A whole stream with this text in it, as it is."""
    said = json.dumps(chunk(text), ensure_ascii=False)
    return stream(said, FINISH, DONE)


async def drop_a_bomb(answering: Answering) -> None:
    """An event of 64 MiB, compressed a thousandfold."""
    await answering.start(content_encoding="gzip")
    await answering.send(gzip.compress(b"data: " + b"x" * (64 * MEBIBYTE)))
    await answering.end()


def flushed(said: Any) -> bytes:
    """The beginning of something compressed: an event that can be read, and no end."""
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return compressor.compress(event(said)) + compressor.flush(zlib.Z_SYNC_FLUSH)


def raw_deflate(data: bytes) -> bytes:
    """What some servers call deflate: without zlib's frame around it."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


OK_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n\r\n"


def as_chunk(data: bytes, extension: bytes = b"") -> bytes:
    """A chunk of HTTP's own kind."""
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def chunked(*said: Any) -> bytes:
    """A whole answer, with its head."""
    return OK_HEAD + CHUNKED + as_chunk(stream(*said)) + b"0\r\n\r\n"


BODY: Final = stream(*ANSWER)
UMLAUTS: Final = "Grüße, 漢字 und 🎉"
SEPARATORS: Final = "one\u2028two\u0085three\u2029four\x7f\x0b"
COMPLETION: Final = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
).encode()
PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>"
OVERLOADED: Final = {"error": {"message": "Too much to do", "type": "overloaded_error"}}
LONG_PROMPT: Final = [{"role": "user", "content": "x" * (24 * MEBIBYTE)}]
