"""Server-sent events, as the WHATWG standard frames them, read from bytes that may be cut anywhere."""

from typing import Final

from rxllm._decoders._events import MAX_EVENT_BYTES, Event, NamedEvent, too_large

__all__ = ["SSEDecoder"]

_BOM: Final = b"\xef\xbb\xbf"


class SSEDecoder:
    r"""Reads server-sent events from pieces of bytes.

    The rules are those of the standard: a byte order mark at the very start; lines that end in LF, CRLF or CR; several
    ``data:`` lines joined by LF; comments; an event without a ``data:`` line is none. ``id:`` and ``retry:`` are for
    clients that reconnect, and skipped. White space before a field's name is tolerated, since recorded streams have it.
    The time it takes is linear in the input, however that is cut.

    Args:
        limit: the most bytes that the lines of one event may hold, comments and the like left out.

    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: 1\n\n: a comment\n\nevent: error\ndata")
    [b'1']
    >>> decoder.feed(b": 2\r\n\r\ndata: 3")
    [NamedEvent(name='error', data=b'2')]
    >>> decoder.flush()
    [b'3']
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_fresh",
        "_limit",
        "_midway",
        "_name",
        "_oversized",
        "_plain",
        "_seam",
        "_size",
        "_tail",
    )

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._fresh = True  # a byte order mark may still come
        self._after_cr = False  # an LF that comes next belongs to the line before
        self._oversized = False
        self._seam = True  # any of the three above
        self._tail = bytearray()  # a line that is not whole yet; appending to it is cheap
        self._midway = False  # whole lines of the current event were taken already
        self._plain = False  # none of all these: an event starts with the next byte
        self._data: bytes | bytearray | None = None  # once there are several lines, a bytearray
        self._name = b""
        self._size = 0  # of the lines that made these two

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes.

        Raises:
            APIResponseValidationError: an event is larger than the limit. Events before it are given first, then the
                next call raises. Nothing is held any more.
        """
        # The usual piece is whole events, each of them one data line. Bytes are looked for as integers: it takes ten
        # times as long to find that bytes are not in bytes.
        if (
            self._plain
            and 13 not in data
            and data[-2:] == b"\n\n"
            and data[:6] == b"data: "
            and len(data) <= self._limit
        ):
            first = data[6:-2]
            return [first] if 10 not in first else self._split(first)
        if self._plain and len(data) <= self._limit:
            whole = _named(data) if data[:7] == b"event: " else _with_crlf(data)
            if whole is not None:
                return whole
        if self._seam:
            data = self._at_a_seam(data)
        if not data:
            return []
        tail = self._tail
        events: list[Event] = []
        if 10 not in data and 13 not in data:
            if self._size + len(tail) + len(data) > self._limit:
                self._overflow(events)
            else:
                tail += data
                self._plain = False
            return events
        if tail:
            # What is too large is not copied first.
            if self._size + len(tail) + _first_line(data) > self._limit:
                self._overflow(events)
                return events
            data = b"".join((tail, data))
            tail.clear()
        if not self._midway and data[:6] == b"data: " and 13 not in data and len(data) <= self._limit:
            end = data.rfind(b"\n\n")
            if end >= 0:
                events = self._split(data[6:end])
                data = data[end + 2 :]
        if data:
            self._feed_lines(data, events)
        self._plain = not (self._seam or self._midway or tail)
        return events

    def flush(self) -> list[Event]:
        """The body has ended: the last event where no blank line ended it, since recorded streams end so.

        Raises:
            APIResponseValidationError: an event was larger than the limit.
        """
        if self._oversized:
            self._refuse()
        events: list[Event] = []
        if self._tail:
            self._take_lines([bytes(self._tail)], events)
            self._tail.clear()
        self._dispatch(events)
        return events

    def _at_a_seam(self, data: bytes) -> bytes:
        """``data`` without what belongs to the piece before it, or to no line at all."""
        if self._oversized:
            self._refuse()
        if not data:
            return data
        if self._fresh:
            data = bytes(self._tail) + data
            self._tail.clear()
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._tail += data
                return b""
            data = data.removeprefix(_BOM)
        elif data[0] == 10:
            data = data[1:]
        self._fresh = self._after_cr = self._seam = False
        return data

    def _split(self, text: bytes) -> list[Event]:
        """Several whole events; the ``data: `` before the first is gone already."""
        events: list[Event] = []
        for block in text.split(b"\n\ndata: "):
            if 10 not in block:
                events.append(block)
            else:
                self._take_lines((b"data: " + block).split(b"\n"), events)
                self._dispatch(events)
        return events

    def _feed_lines(self, data: bytes, events: list[Event]) -> None:
        """``data``, which starts a line, line by line."""
        lines = data.splitlines()  # of bytes: at LF, CRLF and CR, and at nothing else
        rest = b""
        if data.endswith(b"\r"):
            self._after_cr = self._seam = True
        elif lines and not data.endswith(b"\n"):
            rest = lines.pop()
        if self._take_lines(lines, events) and self._size + len(rest) <= self._limit:
            self._tail += rest
        else:
            self._overflow(events)

    def _take_lines(self, lines: list[bytes], events: list[Event]) -> bool:
        """Takes whole lines in; false where the event grows past the limit."""
        limit = self._limit
        for line in lines:
            if not line:
                self._dispatch(events)
                continue
            if self._size + len(line) > limit:
                return False
            self._midway = True
            if line[:6] == b"data: ":
                name, value = b"data", line[6:]
            else:
                name, _, value = line.lstrip(b" \t").partition(b":")
                value = value.removeprefix(b" ")
            if name == b"data":
                self._add(value)
                self._size += len(line)
            elif name == b"event":
                self._name = value
                self._size += len(line)
        return True

    def _add(self, value: bytes) -> None:
        held = self._data
        if held is None:
            self._data = value
            return
        if not isinstance(held, bytearray):
            held = self._data = bytearray(held)
        held += b"\n"
        held += value

    def _dispatch(self, events: list[Event]) -> None:
        """A blank line: the event is whole."""
        if self._data is not None:
            data = bytes(self._data)  # no copy is made of what is bytes already
            events.append(_event(self._name, data))
            self._data = None
        self._name = b""
        self._size = 0
        self._midway = False

    def _overflow(self, events: list[Event]) -> None:
        self._oversized = self._seam = True
        self._plain = False
        self._tail = bytearray()
        self._data = None
        self._name = b""
        if not events:
            self._refuse()

    def _refuse(self) -> None:
        raise too_large("an event", self._limit)


def _with_crlf(data: bytes) -> list[Event] | None:
    """Whole events, each of them one data line that ends as all do, in CRLF; ``None`` where it is something else."""
    if data[-4:] != b"\r\n\r\n" or data[:6] != b"data: ":
        return None
    events: list[Event] = [*data[6:-4].split(b"\r\n\r\ndata: ")]
    ends = 2 * len(events)
    return events if data.count(b"\n") == data.count(b"\r") == ends else None


def _named(data: bytes) -> list[Event] | None:
    """Whole events, each of them a name and one data line that end in LF; ``None`` where it is something else."""
    if data[-2:] != b"\n\n" or 13 in data:
        return None
    events: list[Event] = []
    blocks = data[7:-2].split(b"\n\nevent: ")
    if data.count(b"\n") != 3 * len(blocks):
        return None
    for block in blocks:
        name, found, value = block.partition(b"\ndata: ")
        if not found:
            return None
        events.append(_event(name, value))
    return events


def _event(name: bytes, data: bytes) -> Event:
    return NamedEvent(name.decode("utf-8", "replace"), data) if name and name != b"message" else data


def _first_line(data: bytes) -> int:
    """The length of the first line, which ends within ``data``."""
    end = data.find(b"\n")
    cr = data.find(b"\r", 0, len(data) if end < 0 else end)
    return end if cr < 0 else cr
