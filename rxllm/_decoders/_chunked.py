"""The chunked coding of HTTP/1.1 (RFC 9112, 7.1), as far as it is plain: sizes and data, again and again."""

import re
from typing import Final

__all__ = ["ChunkedDecoder"]

# What stands between two pieces of data. The line break of the piece before is missing before the first.
_BETWEEN: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16})\r\n")
_LONGEST_BETWEEN: Final = 20


class ChunkedDecoder:
    r"""Takes the frames off a chunked body, from pieces of bytes that may be cut anywhere.

    It knows frames of a size and data and nothing else. Where something else begins, which is the last chunk with its
    trailers, or what is unusual or wrong, it stops: ``rest`` is then what has come from there on, and begins where the
    next chunk would; whoever knows all of HTTP can go on from it.

    >>> decoder = ChunkedDecoder()
    >>> decoder.feed(b"5\r\nHello\r\n7\r\n, w"), decoder.feed(b"orld\r\n"), decoder.rest
    (b'Hello, w', b'orld', None)
    >>> decoder.feed(b"1\r\n!\r\n0\r\n\r\n"), decoder.rest
    (b'!', b'0\r\n\r\n')
    """

    __slots__ = ("_left", "_seam", "rest")

    def __init__(self) -> None:
        self._left = 0  # of the data under way
        self._seam: bytes = b"\r\n"  # what has come of the next frame
        self.rest: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The data in the next piece; not to be called any more once there is a ``rest``."""
        pieces: list[bytes] = []
        position = self._left
        if position:
            if len(data) <= position:
                self._left -= len(data)
                return data
            pieces.append(data[:position])
        elif self._seam:
            data = self._seam + data
        between, length = _BETWEEN.match, len(data)
        while True:
            found = between(data, position)
            size = int(found[1], 16) if found else 0
            if found is None or not size:
                self._left, self._seam = 0, data[position:]
                if found or len(self._seam) >= _LONGEST_BETWEEN or self._seam.find(b"\n", 2) > 0:
                    self.end()
                break
            start = found.end()
            position = start + size
            if position >= length:
                self._left, self._seam = position - length, b""
                pieces.append(data[start:])
                break
            pieces.append(data[start:position])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end(self) -> None:
        """Nothing more comes: what has come of the next frame is the ``rest``."""
        self.rest = self._seam.removeprefix(b"\r\n")
