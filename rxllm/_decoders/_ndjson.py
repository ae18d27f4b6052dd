"""Newline-delimited JSON, one value a line, read from bytes that may be cut anywhere."""

from typing import Final

from rxllm._decoders._events import MAX_EVENT_BYTES, Event, too_large

__all__ = ["NDJSONDecoder"]

_BOM: Final = b"\xef\xbb\xbf"


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

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
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
        if self._fresh:
            data = self._after_bom(data)
            if self._fresh:
                return []
        tail = self._tail
        lines: list[Event] = []
        end = data.find(b"\n")
        if len(tail) + (len(data) if end < 0 else end) > self._limit:
            self._overflow(lines)
            return lines
        if end < 0:
            tail += data
            return lines
        if tail:
            data = b"".join((tail, data))
            tail.clear()
        *whole, rest = data.split(b"\n")
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

    def _after_bom(self, data: bytes) -> bytes:
        """The first bytes of all, without a byte order mark; none while they may still be one."""
        data = bytes(self._tail) + data
        self._tail.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._tail += data
            return b""
        self._fresh = False
        return data.removeprefix(_BOM)

    def _overflow(self, lines: list[Event]) -> None:
        self._oversized = True
        self._tail = bytearray()
        if not lines:
            self._refuse()

    def _refuse(self) -> None:
        raise too_large("a line", self._limit)
