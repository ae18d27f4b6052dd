"""Newline-delimited JSON, one value a line, read from bytes that may be cut anywhere."""

from typing import Final

from rxllm._decoders._sse import Event
from rxllm.exceptions import APIResponseValidationError

__all__ = ["NDJSONDecoder"]

_BOM: Final = b"\xef\xbb\xbf"
_LARGEST_LINE: Final = 32 << 20


class NDJSONDecoder:
    r"""Reads lines from pieces of bytes.

    A line ends in LF or CRLF; empty lines are skipped, as is a byte order mark at the very start. What a line holds is
    not looked at. The time it takes is linear in the input, however that is cut.

    Args:
        limit: the most bytes that one line may hold.

    >>> decoder = NDJSONDecoder()
    >>> decoder.feed(b'{"a": 1}\n\r\n{"b"')
    [b'{"a": 1}']
    >>> decoder.feed(b': 2}\r\n{"c": 3}')
    [b'{"b": 2}']
    >>> decoder.flush()
    [b'{"c": 3}']
    """

    __slots__ = ("_fresh", "_limit", "_oversized", "_tail")

    def __init__(self, limit: int = _LARGEST_LINE) -> None:
        self._limit = limit
        self._fresh = True  # a byte order mark may still come
        self._oversized = False
        self._tail = bytearray()  # a line that is not whole yet; appending to it is cheap

    def feed(self, data: bytes) -> list[Event]:
        """The lines that ``data`` completes, without their ends and the white space around them.

        Raises:
            APIResponseValidationError: a line is larger than the limit. Lines before it are given first, then the next
                call raises. Nothing is held any more.
        """
        if self._oversized:
            self._refuse()
        tail = self._tail
        if 10 not in data:
            tail += data
            if len(tail) > self._limit:
                self._overflow([])
            return []
        if tail:
            data = bytes(tail) + data
            tail.clear()
        if self._fresh:
            self._fresh = False
            data = data.removeprefix(_BOM)
        *whole, rest = data.split(b"\n")
        lines: list[Event] = []
        for line in whole:
            if len(line) > self._limit:
                self._overflow(lines)
                return lines
            stripped = line.strip()
            if stripped:
                lines.append(stripped)
        tail += rest
        if len(tail) > self._limit:
            self._overflow(lines)
        return lines

    def flush(self) -> list[Event]:
        """The body has ended: the last line where no line feed ended it.

        Raises:
            APIResponseValidationError: a line was larger than the limit.
        """
        return self.feed(b"\n")

    def _overflow(self, lines: list[Event]) -> None:
        self._oversized = True
        self._tail = bytearray()
        if not lines:
            self._refuse()

    def _refuse(self) -> None:
        raise APIResponseValidationError(f"The provider sent a line of more than {self._limit:,} bytes")
