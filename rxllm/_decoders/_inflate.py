"""Compressed bodies, decompressed in bounded pieces: 64 KiB of gzip may be 66 MB, which nobody should hold at once."""

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

__all__ = ["LARGEST_PIECE", "BrokenCompressionError", "Inflater", "inflating"]

LARGEST_PIECE: Final = 1 << 20
"""The most bytes that are given at once."""

_SLICE: Final = 1 << 16  # what zlib is given at once: what it does not take yet, it copies each time
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MOST_CODINGS: Final = 2


class _Decompressor(Protocol):
    """What zlib makes, which has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    @property
    def unused_data(self) -> bytes: ...
    def copy(self) -> "_Decompressor": ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class BrokenCompressionError(ValueError):
    """The body is not compressed as it says, or is damaged."""


class Inflater:
    r"""Decompresses a body from pieces of bytes that may be cut anywhere.

    What the sender flushed is given at once, so that a stream of events stays one. The body's end needs no call: all
    that came is given already, and whether the answer is whole, its own end tells. A gzip file may have several
    members; what stands behind the last of them, or behind the end of a deflated body, is left out.

    >>> import gzip
    >>> inflater = inflating("gzip")
    >>> body = gzip.compress(b"data: 1\n\n")
    >>> list(inflater.feed(body[:5])), b"".join(inflater.feed(body[5:]))
    ([], b'data: 1\n\n')
    """

    __slots__ = ("_stages",)

    def __init__(self, stages: list["_Gzip | _Deflate"]) -> None:
        self._stages = stages  # the coding that was applied last is first

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` comes to, in pieces of at most ``LARGEST_PIECE`` bytes, each made when it is asked for.

        Whoever leaves off before the last piece has left the body: there is nothing to be fed any more.

        Raises:
            BrokenCompressionError: this is no such data, or is damaged. What came before it is given first.
        """
        return _through(self._stages, data)


def inflating(encoding: str) -> Inflater | None:
    """What decompresses a body of this ``content-encoding``; ``None`` where there is nothing for it here.

    Known are ``gzip``, ``x-gzip`` and ``deflate``, with zlib's wrapping or without, one or two of them in a list, and
    ``identity``, which leaves the body as it is.

    >>> inflating("br") is None, inflating("deflate, GZIP") is None
    (True, False)
    """
    names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
    # Each coding may make a thousand bytes of one: of three, a small piece would take minutes.
    if len(names) > _MOST_CODINGS or not _STAGES.keys() >= set(names):
        return None
    return Inflater([_STAGES[name]() for name in reversed(names)])


def _through(stages: list["_Gzip | _Deflate"], data: bytes) -> Iterator[bytes]:
    if not stages:
        if data:
            yield data
        return
    first, *rest = stages
    for at in range(0, len(data), _SLICE):
        for piece in first.feed(data[at : at + _SLICE]):
            yield from _through(rest, piece)


class _Gzip:
    """A gzip file: members, one after another, each with its own header and sum."""

    def __init__(self) -> None:
        self._member: _Decompressor | None = None
        self._start = b""  # of what may be a member
        self._members = 0
        self._over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._over:
            if self._member is None:
                data = self._begin(self._start + data)
                if self._member is None:
                    return
            yield from _inflate(self._member, data)
            data = self._member.unused_data
            if self._member.eof:
                self._member = None
                self._members += 1

    def _begin(self, data: bytes) -> bytes:
        """Begins a member, and gives its bytes. Behind a whole one zeros are padding, and whatever else no matter."""
        if self._members:
            data = data.lstrip(b"\0")
        self._start = b""
        if data.startswith(_GZIP_MAGIC):
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif _GZIP_MAGIC.startswith(data):
            self._start = data
        elif self._members:
            self._over = True
        else:
            raise BrokenCompressionError("it does not begin as gzip does")
        return data


class _Deflate:
    """zlib's format, as the standard has it, or bare deflate, as some servers send it."""

    def __init__(self) -> None:
        self._data: _Decompressor | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        if self._data is None:
            # The low half of zlib's first byte is 8, and of bare deflate's only where bits that are to be 0 are not.
            self._data = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 15 == 8 else -zlib.MAX_WBITS)
        if not self._data.eof:
            yield from _inflate(self._data, data)


_STAGES: Final[dict[str, Callable[[], _Gzip | _Deflate]]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate}


def _inflate(decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    while True:
        before = decompressor.copy()
        try:
            piece = decompressor.decompress(data, LARGEST_PIECE)
        except zlib.error as error:
            reason = str(error)
            break
        if piece:
            yield piece
        data = decompressor.unconsumed_tail
        # All input may be taken while there is output left.
        if decompressor.eof or not (data or len(piece) == LARGEST_PIECE):
            return
    # With the error zlib keeps what it made before it.
    for at in range(len(data)):
        try:
            piece = before.decompress(data[at : at + 1], LARGEST_PIECE)
        except zlib.error:
            break
        if piece:
            yield piece
    raise BrokenCompressionError(reason)
