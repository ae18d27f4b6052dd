"""AWS's binary event stream: any split, its limits, and what is none."""

import json
import struct
import time
from binascii import crc32
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm._decoders._events import Event, NamedEvent
from rxllm._decoders._eventstream import EventStreamDecoder
from rxllm.exceptions import APIResponseValidationError
from tests.decoders.eventstream import event, exception, framed, message

BODY = event("messageStart", {"role": "assistant"}) + event("chunk", {"bytes": "é"}) + event("empty", {})
EVENTS = [
    NamedEvent("messageStart", b'{"role": "assistant"}'),
    NamedEvent("chunk", b'{"bytes": "\\u00e9"}'),
    NamedEvent("empty", b"{}"),
]


def decode(pieces: list[bytes]) -> tuple[list[Event], str]:
    """All events, and the words of the error that ended them."""
    decoder, events = EventStreamDecoder(), list[Event]()
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.flush()
    except APIResponseValidationError as error:
        return events, error.message
    return events, ""


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """``body``, cut at these places."""
    marks = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(marks)]


@given(st.lists(st.integers(0, 10_000)))
def test_any_split_gives_the_same(places: list[int]) -> None:
    """Events are the same however the bytes are cut."""
    assert decode(cut(BODY, places)) == (EVENTS, "")


def test_byte_by_byte() -> None:
    """Single bytes and empty pieces will do."""
    assert decode([piece for i in range(len(BODY)) for piece in (BODY[i : i + 1], b"")]) == (EVENTS, "")


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=5))
def test_any_bytes_are_events_or_a_typed_error(garbage: bytes, places: list[int]) -> None:
    """Nothing but the typed error is raised, the same for any split, and events before the garbage are given."""
    body = BODY + garbage
    events, words = decode(cut(body, places))
    assert (events[:3], words) == (EVENTS, decode([body, b""])[1])


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_found(place: int, change: int) -> None:
    """Every byte is covered by a sum: a changed one is an error, or keeps the message from ever being whole."""
    body = BODY[:place] + bytes([BODY[place] ^ change]) + BODY[place + 1 :]
    events, words = decode([body, b""])
    assert words
    assert events == EVENTS[: len(events)]
    assert len(events) < 3


def test_an_exception_is_an_error_event() -> None:
    """Its type is the code, and what it says stays."""
    [told] = EventStreamDecoder().feed(
        exception("modelStreamErrorException", {"message": "Broken", "originalStatusCode": 424})
    )
    assert isinstance(told, NamedEvent)
    assert told.name == "error"
    assert json.loads(told.data) == {
        "error": {"code": "modelStreamErrorException", "message": "Broken", "originalStatusCode": 424}
    }


@pytest.mark.parametrize(
    ("headers", "payload", "code", "words"),
    [
        ({":message-type": "error", ":error-code": "500", ":error-message": "Oh"}, b"", "500", "Oh"),
        ({":message-type": "exception", ":exception-type": "x"}, b"plain words", "x", "plain words"),
        ({":message-type": "exception", ":exception-type": "x"}, b'{"Message": "Big"}', "x", "Big"),
        ({":message-type": "exception", ":exception-type": "x"}, b"", "x", "The provider sent x without words"),
        ({":message-type": "exception"}, b"[]", None, "[]"),
    ],
)
def test_errors_in_other_shapes(headers: dict[str, str], payload: bytes, code: str | None, words: str) -> None:
    """Unmodelled errors have it all in their headers; a payload may be no JSON, or none."""
    [told] = EventStreamDecoder().feed(message(headers, payload))
    assert isinstance(told, NamedEvent)
    error = json.loads(told.data)["error"]
    assert (error["code"], error["message"]) == (code, words)


def test_headers_of_other_kinds_than_text() -> None:
    """The type of an exception as bytes, or as a number, names nothing; what it says is told all the same."""
    kind = b"\x0d:message-type\x07\x00\x09exception"
    for value in (b"\x06\x00\x02ab", b"\x04\x00\x00\x00\x07", b"\x00", b"\x09" + bytes(16)):
        block = kind + b"\x0f:exception-type" + value + b"\x0e:error-message" + value
        [told] = EventStreamDecoder().feed(framed(block, b'{"message": "Broken"}'))
        assert isinstance(told, NamedEvent)
        assert json.loads(told.data) == {"error": {"code": None, "message": "Broken"}}


def test_messages_of_unknown_kinds_are_skipped() -> None:
    """What is neither event nor error is passed over; an event without a type is named so."""
    body = message({":message-type": "novelty"}, b"x") + message({}, b"y")
    assert decode([body]) == ([NamedEvent("event", b"y")], "")


def test_a_message_that_is_cut_off_is_none() -> None:
    """The end within a message is no error: whether the answer was whole, others tell."""
    assert decode([BODY[:-1]]) == (EVENTS[:2], "")


@pytest.mark.parametrize(
    ("length", "headers_length"), [(25 << 20, 0), (4_000_000_000, 0), (1 << 20, 1 << 18), (15, 0), (0, 0), (40, 30)]
)
def test_limits_hold_from_the_first_bytes(length: int, headers_length: int) -> None:
    """A message that says to be too large, or impossible, is refused before any of it is held."""
    prelude = struct.pack("!II", length, headers_length)
    decoder = EventStreamDecoder()
    for _ in range(2):
        with pytest.raises(APIResponseValidationError, match="no AWS event stream"):
            decoder.feed(prelude + struct.pack("!I", crc32(prelude)))


def test_a_large_message_in_small_pieces_is_linear() -> None:
    """Four megabytes in pieces of a hundred bytes take no minutes, as botocore's own buffer does."""
    body = message({":event-type": "chunk", ":message-type": "event"}, bytes(4 << 20))
    before = time.perf_counter()
    events, words = decode([body[at : at + 100] for at in range(0, len(body), 100)])
    assert (len(events), words) == (1, "")
    assert time.perf_counter() - before < 5
