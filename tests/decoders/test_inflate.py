"""Compressed bodies: any split, bounded pieces, what was flushed at once, and what is no such body."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from rxllm._decoders._inflate import LARGEST_PIECE, BrokenCompressionError, inflating

TEXT = "".join(f"data: {number} é\n\n" for number in range(3000)).encode()


def bare(data: bytes) -> bytes:
    """Deflate without zlib's wrapping."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def both(data: bytes) -> bytes:
    """Two codings, one upon the other."""
    return zlib.compress(gzip.compress(data))


def inflate(encoding: str, *fed: bytes) -> list[bytes]:
    """All pieces."""
    inflater = inflating(encoding)
    assert inflater is not None
    return [given for piece in fed for given in inflater.feed(piece)]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare),
        ("gzip, deflate", both),
        (" identity,gzip ", gzip.compress),
        ("", bytes),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_any_split_gives_the_body(encoding: str, compress: Callable[[bytes], bytes], size: int) -> None:
    """Whatever the coding, its case, and the pieces."""
    body = compress(TEXT)
    assert b"".join(inflate(encoding, *(body[at : at + size] for at in range(0, len(body), size)))) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "gzip;q=1"])
def test_others_are_for_somebody_else(encoding: str) -> None:
    """What is not known here, or too much of it, is ``None``."""
    assert inflating(encoding) is None


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_what_was_flushed_is_given_at_once(encoding: str, bits: int) -> None:
    """A server that flushes each event has it read at once; nothing waits for the end."""
    compressor, inflater = zlib.compressobj(wbits=bits), inflating(encoding)
    assert inflater is not None
    for number in range(50):
        event = b"data: %d\n\n" % number
        sent = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.feed(sent)) == event


def test_several_members_and_what_is_behind_them() -> None:
    """Members of one gzip file are one body; zeros, or whatever else, behind the last are none of it."""
    body = gzip.compress(b"one ") + gzip.compress(b"") + b"\0\0" + gzip.compress(b"two")
    for rest in (b"", b"\0" * 9, b"\x1f", b"data: 3\n\n", b"\0\0\x1fx" + gzip.compress(b"three")):
        for size in (1, 5, 1000):
            whole = body + rest
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
            assert b"".join(inflate("gzip", *pieces)) == b"one two"
    assert b"".join(inflate("deflate", zlib.compress(b"one") + b"data: 2", zlib.compress(b"three"))) == b"one"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, deflate"])
@pytest.mark.parametrize("body", [b"data: 1\n\n", b"\x1f\x8bdata", b"\x78data", b"<html>"])
def test_what_is_no_such_body_is_a_typed_error(encoding: str, body: bytes) -> None:
    """A ValueError that says why, whose pieces are all told one by one too."""
    with pytest.raises(BrokenCompressionError, match=r"\w"):
        inflate(encoding, body)
    with pytest.raises(ValueError, match=r"\w"):
        inflate(encoding, *(body[at : at + 1] for at in range(len(body))))


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_what_came_before_the_damage_is_given(size: int) -> None:
    """In whatever pieces it comes: the events before it were whole."""
    start = gzip.compress(TEXT, mtime=0)[:-8]
    body = start + b"\xff" * 8
    inflater = inflating("gzip")
    assert inflater is not None
    out = bytearray()
    with pytest.raises(BrokenCompressionError, match="check"):
        for at in range(0, len(body), size):
            for piece in inflater.feed(body[at : at + size]):
                out += piece
    assert out == TEXT


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_small_piece_that_grows_comes_in_bounded_pieces(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """64 KiB that come to some 64 MB are never held at once: no more than a few pieces are."""
    size = 64_000_000
    body = compress(bytes(size))
    assert len(body) < 1 << 16
    inflater = inflating(encoding)
    assert inflater is not None
    came = 0
    tracemalloc.start()
    try:
        for piece in inflater.feed(body):
            assert len(piece) <= LARGEST_PIECE
            came += len(piece)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_PIECE
    finally:
        tracemalloc.stop()
    assert came == size


def test_pieces_are_made_when_they_are_asked_for() -> None:
    """Whoever leaves off after the first has paid for no more."""
    inflater = inflating("gzip")
    assert inflater is not None
    pieces = inflater.feed(gzip.compress(bytes(64_000_000)))
    tracemalloc.start()
    try:
        assert len(next(pieces)) == LARGEST_PIECE
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_PIECE
    finally:
        tracemalloc.stop()


def test_a_large_piece_is_not_copied_again_and_again() -> None:
    """Many members, or much that will not compress, in one piece: zlib is handed slices, and copies those alone."""
    noise = random.Random(7).randbytes(3 << 20)
    body = gzip.compress(noise) + gzip.compress(b"x") * 20_000
    assert b"".join(inflate("gzip", body)) == noise + b"x" * 20_000
