"""The server-sent events decoder: the standard's rules over bytes, cut anywhere, in linear time and bounded memory."""

import sys
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._decoders._events import Event, NamedEvent
from rxllm._decoders._sse import SSEDecoder


def decode(pieces: Iterable[bytes], limit: int | None = None) -> list[Event]:
    """All events of the pieces, the last one included."""
    decoder = SSEDecoder() if limit is None else SSEDecoder(limit)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.flush()


def reference(body: bytes) -> list[Event]:
    """The standard's algorithm, word for word, over a whole body."""
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[Event] = []
    data: list[bytes] = []
    name = b""
    for line in [*body.split(b"\n"), b""]:
        if not line:
            if data:
                joined = b"\n".join(data)
                plain = name in (b"", b"message")
                events.append(joined if plain else NamedEvent(name.decode("utf-8", "replace"), joined))
            data, name = [], b""
            continue
        field, _, value = line.lstrip(b" \t").partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [
        b"data: {}",
        b"data: a",
        b"data:b",
        b"data",
        b"data: ",
        b"data:  two",
        b" data: stray",
        b"event: error",
        b"event: message",
        b"event",
        b"id: 7",
        b"retry: 3",
        b": comment",
        b":",
        b"",
        b"",
        b"",
        b"nonsense",
        b"data: \xe2\x80\xa8 \xc2\x85 \x0b\x0c\x1c",
        b"data: \xff",
    ]
)


def put_together(bom: bytes, lines: list[tuple[bytes, bytes]], rest: bytes) -> bytes:
    """A body of whole lines and a rest."""
    return bom + b"".join(line + end for line, end in lines) + rest


BODIES = st.builds(
    put_together,
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(LINES, LINE_ENDS), max_size=16),
    st.sampled_from([b"", b"data: cut", b"dat", b"\r", b"\n"]),
)


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A body and its pieces, empty ones among them."""
    body = draw(BODIES | st.binary(max_size=40))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return body, [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@given(cut_bodies())
def test_any_split_gives_the_events_of_the_standard(case: tuple[bytes, list[bytes]]) -> None:
    """However a body is cut, its events are those that the standard's own algorithm gives for the whole."""
    body, pieces = case
    assert decode(pieces) == reference(body)
    assert decode([body[i : i + 1] for i in range(len(body))]) == reference(body)


VALUES = st.sampled_from(
    [b"{}", b"a", b"", b"event: x", b"data: y", b"a\ndata: b", b"a\r\ndata: b", b"a\nid: 1", b"a\r"]
)
STARTS = st.sampled_from(
    [b"", b"", b"event: delta\n", b"event: message\n", b"event: \n", b"event: a\nevent: b\n", b"\n"]
)


def usual(start: bytes, value: bytes, end: bytes) -> bytes:
    """An event as most are, and in its lines perhaps one more."""
    return start.replace(b"\n", end) + b"data: " + value + end + end


@given(
    st.lists(st.lists(st.builds(usual, STARTS, VALUES, LINE_ENDS), min_size=1, max_size=4).map(b"".join), max_size=6)
)
def test_pieces_of_whole_events_are_read_as_any_are(pieces: list[bytes]) -> None:
    """That is how they come; there are short ways for some, whichever their lines' ends are, with names and without."""
    assert decode([b"data: first\n\n", *pieces]) == [b"first", *reference(b"".join(pieces))]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: 1\n\ndata: 2\n\n", [b"1", b"2"]),
        (b"data: 1\r\n\r\ndata: 2\r\n\r\n", [b"1", b"2"]),
        (b"data: 1\r\rdata: 2\r\r", [b"1", b"2"]),
        (b"\xef\xbb\xbfdata: 1\n\n", [b"1"]),
        (b"data: a\ndata: b\ndata:c\n\n", [b"a\nb\nc"]),
        (b"data\n\n", [b""]),
        (b": hello\n\nevent: x\n\nid: 1\n\n", []),
        (b"event: error\ndata: x\n\ndata: y\n\n", [NamedEvent("error", b"x"), b"y"]),
        (b"event: message\ndata: x\n\n", [b"x"]),
        (b"event: e\nid: 4\nretry: 10\ndata: x\n\n", [NamedEvent("e", b"x")]),
        (b" data: x\n\n\tdata: y\n\n", [b"x", b"y"]),
        (b"data:   x \n\n", [b"  x "]),
        (b"data: 1\n\n\n\n\ndata: 2\n\n", [b"1", b"2"]),
        (b"data: unterminated", [b"unterminated"]),
        (b"data: unterminated\n", [b"unterminated"]),
        (b"data: 1\n\n: keep-alive\n\ndata: 2\n\n", [b"1", b"2"]),
        ("data: \u2028\u0085\u2029\n\n".encode(), ["\u2028\u0085\u2029".encode()]),
        (b"data: a\x0bb\x0cc\x1cd\n\n", [b"a\x0bb\x0cc\x1cd"]),
        (b"", []),
    ],
)
def test_rules(body: bytes, events: list[Event]) -> None:
    """Each rule of the standard, and white space before a field, in one piece."""
    assert decode([body]) == events


def test_crlf_cut_between_its_bytes_is_one_line_end() -> None:
    """A CR ends its line at once; the LF of the next piece does not end another."""
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\r") == []
    assert decoder.feed(b"\ndata: 2\r\n\r") == [b"1\n2"]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: 3\n\n") == [b"3"]


def test_an_event_is_given_with_the_byte_that_completes_it() -> None:
    """Nothing is held back once the blank line has come."""
    decoder = SSEDecoder()
    assert decoder.feed(b"data: 1\n") == []
    assert decoder.feed(b"\n") == [b"1"]
    assert decoder.feed(b"data: 2\r\r") == [b"2"]


def test_flush_gives_a_name_too() -> None:
    """An unterminated last event keeps its name, and flush leaves nothing behind."""
    decoder = SSEDecoder()
    assert decoder.feed(b"event: error\ndata: x") == []
    assert decoder.flush() == [NamedEvent("error", b"x")]
    assert decoder.flush() == []


def lines_run(pieces: list[bytes]) -> int:
    """How many lines of Python the decoder runs for these pieces: a cost that no busy machine blurs."""
    count = 0

    def trace(*_: object) -> object:
        nonlocal count
        count += 1
        return trace

    decoder = SSEDecoder()
    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        for piece in pieces:
            decoder.feed(piece)
        decoder.flush()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "body",
    [b"data: " + b"x" * 4000, b"data: 12\n" * 400, b": comment\n" * 400, b"data: 12\r\n\r\n" * 300],
    ids=["one long line", "many lines", "comments", "crlf"],
)
def test_tiny_pieces_cost_linearly(body: bytes) -> None:
    """Twice the bytes in pieces of three run twice the lines: nothing is looked at again and again."""

    def pieces(text: bytes) -> list[bytes]:
        return [text[i : i + 3] for i in range(0, len(text), 3)]

    assert lines_run(pieces(body * 2)) < 2.2 * lines_run(pieces(body))


def test_tiny_pieces_copy_linearly() -> None:
    """One event of 4 MiB in pieces of 64 bytes never holds much more than twice itself.

    Copying what is held at each piece would move a hundred gigabytes, and run into the tests' bound on time.
    """
    decoder = SSEDecoder()
    piece = b"x" * 64
    decoder.feed(b"data: ")
    tracemalloc.start()
    try:
        for _ in range(1 << 16):
            decoder.feed(piece)
        assert len(decoder.feed(b"\n\n")[0]) == 1 << 22
        assert tracemalloc.get_traced_memory()[1] < 4 * (1 << 22)
    finally:
        tracemalloc.stop()
