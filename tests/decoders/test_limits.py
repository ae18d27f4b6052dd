"""The limit of an event: past it one error that says so, and whatever is sent without an end, memory stays flat."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm._decoders._events import MAX_EVENT_BYTES, Decoder
from rxllm._decoders._eventstream import EventStreamDecoder
from rxllm._decoders._json_array import JSONArrayDecoder
from rxllm._decoders._ndjson import NDJSONDecoder
from rxllm._decoders._sse import SSEDecoder
from rxllm.exceptions import APIResponseValidationError
from tests.decoders.eventstream import message

LIMIT = 1 << 20
PIECE = 1 << 16
# What one piece costs while it is taken apart: a line of two bytes is an object of fifty.
WHILE_IT_IS_READ = 40 * PIECE

MESSAGE = message({":event-type": "chunk", ":message-type": "event"}, bytes(2 * LIMIT))


def piece_of(text: bytes) -> bytes:
    """A piece full of this."""
    return (text * (1 + PIECE // len(text)))[: PIECE // len(text) * len(text)]


ENDLESS: dict[str, tuple[Callable[[int], Decoder], bytes, bytes, bool]] = {
    # the decoder, how it begins, what then comes without an end, and whether that is an event that grows
    "sse line": (SSEDecoder, b"data: ", b"x", True),
    "sse line without a name": (SSEDecoder, b"", b"x", True),
    "sse comment": (SSEDecoder, b": ", b"x", True),
    "sse data lines": (SSEDecoder, b"", b"data: 0123456789\n", True),
    "sse data lines, tiny": (SSEDecoder, b"", b"data:ab\r", True),
    "sse data lines, empty": (SSEDecoder, b"", b"data\r\n", True),
    "sse names": (SSEDecoder, b"", b"event: error\n", True),
    "sse a long name, and data": (SSEDecoder, b"event: " + bytes(LIMIT // 2) + b"\ndata: ", b"x", True),
    "sse comments": (SSEDecoder, b"data: 1\n", b": still here\n", False),
    "sse ids": (SSEDecoder, b"", b"id: 7\nretry: 3\nnonsense\n", False),
    "sse blank lines": (SSEDecoder, b"", b"\n", False),
    "sse carriage returns": (SSEDecoder, b"", b"\r", False),
    "ndjson line": (NDJSONDecoder, b'{"a": "', b"x", True),
    "ndjson nothing but blanks": (NDJSONDecoder, b"", b" ", True),
    "ndjson blank lines": (NDJSONDecoder, b"", b"\r\n", False),
    "array element": (JSONArrayDecoder, b'[{"a": "', b"x", True),
    "array nested": (JSONArrayDecoder, b"[", b'{"' + b"a" * 40 + b'":[', True),
    "array blanks": (JSONArrayDecoder, b"[", b" ", True),
    "array before it begins": (JSONArrayDecoder, b"", b"x", False),
    "array after its end": (JSONArrayDecoder, b"[1]", b"x", False),
    "message": (EventStreamDecoder, MESSAGE[:PIECE], b"\0", True),
}


def fed(begin: bytes, endless: bytes) -> Iterator[bytes]:
    """Eight times the limit."""
    return chain([begin], repeat(piece_of(endless), 8 * LIMIT // PIECE))


@pytest.mark.parametrize(("make", "begin", "endless", "grows"), ENDLESS.values(), ids=ENDLESS)
def test_memory_stays_flat(make: Callable[[int], Decoder], begin: bytes, endless: bytes, grows: bool) -> None:
    """No more than the limit is held, with what is being read; past it there is an error, and nothing is held."""
    decoder = make(LIMIT)
    refusal = ""
    pieces = fed(begin, endless)
    tracemalloc.start()
    try:
        for piece in pieces:
            try:
                decoder.feed(piece)
            except APIResponseValidationError as error:
                refusal = error.message
                break
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if grows:
        assert f"more than {LIMIT:,} bytes" in refusal
        assert "max_event_bytes" in refusal
    else:
        assert not refusal
    # A bytearray that grows has an eighth to spare.
    assert peak < LIMIT * 9 // 8 + WHILE_IT_IS_READ
    assert held < 4 * PIECE


@pytest.mark.parametrize(
    ("make", "body", "events"),
    [
        (SSEDecoder, b"data: 1\n\nevent: e\ndata: 2\n\ndata: 0123456789012345\n\n", 2),
        (SSEDecoder, b"data: 1\n\nevent: 0123456789\ndata: 12345\n\n", 1),
        (NDJSONDecoder, b"1\n2\n012345678901234567890\n", 2),
        (JSONArrayDecoder, b"[1, 2, [345678901234567890]]", 2),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_events_before_it_are_given(make: Callable[[int], Decoder], body: bytes, events: int, size: int) -> None:
    """However the bytes are cut; then each call raises the same."""
    decoder, given = make(20), 0
    with pytest.raises(APIResponseValidationError, match=r"more than 20 bytes.*max_event_bytes"):
        for at in range(0, len(body) + size, size):
            given += len(decoder.feed(body[at : at + size]))
    assert given == events
    with pytest.raises(APIResponseValidationError, match="max_event_bytes"):
        decoder.feed(b"data: 1\n\n")
    with pytest.raises(APIResponseValidationError, match="max_event_bytes"):
        decoder.flush()


def test_nothing_is_given_after_the_refusal() -> None:
    """Not by the shorter way either, which whole events take when they come in whole pieces."""
    decoder = SSEDecoder(limit=20)
    assert decoder.feed(b"data: 1\n\n") == [b"1"]
    for piece in (b"x" * 21, b"data: 2\n\n", b"data: 3\n\n"):
        with pytest.raises(APIResponseValidationError):
            decoder.feed(piece)


def test_messages_before_one_that_is_too_large_are_given() -> None:
    """It is refused by its first twelve bytes, before any of it has come."""
    small = message({":event-type": "chunk", ":message-type": "event"}, b"{}")
    large = message({":event-type": "chunk", ":message-type": "event"}, bytes(100))
    decoder = EventStreamDecoder(limit=len(small))
    assert len(decoder.feed(small + large[:12])) == 1
    with pytest.raises(APIResponseValidationError, match=f"more than {len(small)} bytes.*max_event_bytes"):
        decoder.feed(b"")


@pytest.mark.parametrize(
    ("make", "begin", "most", "end"),
    [
        (SSEDecoder, b"data: ", MAX_EVENT_BYTES - 6, b"\n\n"),
        (NDJSONDecoder, b"", MAX_EVENT_BYTES, b"\n"),
        (JSONArrayDecoder, b"[", MAX_EVENT_BYTES, b"]"),
    ],
)
def test_the_limit_is_32_mib_unless_it_is_said(
    make: Callable[[], Decoder], begin: bytes, most: int, end: bytes
) -> None:
    """An event of just as many bytes is none too large."""
    assert MAX_EVENT_BYTES == 32 << 20
    decoder = make()
    assert decoder.feed(begin) == decoder.feed(b"1" * most) == []
    assert len(decoder.feed(end)) == 1
    decoder = make()
    decoder.feed(begin)
    with pytest.raises(APIResponseValidationError, match="33,554,432"):
        decoder.feed(b"1" * (most + 1))
