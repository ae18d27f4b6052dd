"""The decoder of newline-delimited JSON: lines over bytes, cut anywhere, in linear time and bounded memory."""

import sys
import tracemalloc
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from rxllm._decoders._events import Event
from rxllm._decoders._ndjson import NDJSONDecoder


def decode(pieces: Iterable[bytes], limit: int | None = None) -> list[Event]:
    """All lines of the pieces, the last one included."""
    decoder = NDJSONDecoder() if limit is None else NDJSONDecoder(limit)
    lines = [line for piece in pieces for line in decoder.feed(piece)]
    return lines + decoder.flush()


def put_together(bom: bytes, pieces: list[bytes]) -> bytes:
    """A body of these pieces."""
    return bom + b"".join(pieces)


BODIES = st.builds(
    put_together,
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b'{"a": 1}', b'{"b":', b"\xe2\x80\xa8\x0b", b"\xff"])),
)


@given(BODIES, st.data())
def test_how_it_is_cut_makes_no_difference(body: bytes, data: st.DataObject) -> None:
    """The lines are those of the whole body, split at line feeds alone, whatever the pieces."""
    expected = [line.strip() for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert decode([body]) == expected
    assert decode(pieces) == expected
    assert decode(bytes([byte]) for byte in body) == expected


def test_lines_come_as_soon_as_they_are_whole() -> None:
    """A line is given with the piece that ends it, not later."""
    decoder = NDJSONDecoder()
    assert decoder.feed(b'{"a":1}') == []
    assert decoder.feed(b"\r") == []
    assert decoder.feed(b'\n{"b":2}\n\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert decoder.flush() == [b'{"c"']
    assert decoder.flush() == []


def test_white_space_alone_is_no_line() -> None:
    """Empty lines keep a connection alive and say nothing."""
    assert decode([b"\n\r\n  \n\t\n"]) == []


def test_it_is_linear() -> None:
    """A long line in small pieces costs steps and memory in proportion to its length."""

    def steps(size: int) -> int:
        decoder, count = NDJSONDecoder(), 0

        def count_call(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(count_call)
        try:
            for _ in range(size):
                decoder.feed(b"0123456789")
        finally:
            sys.setprofile(None)
        return count

    assert steps(4000) < 4.2 * steps(1000)
    tracemalloc.start()
    decoder = NDJSONDecoder()
    for _ in range(20_000):
        decoder.feed(b"0123456789" * 10 + b"\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
