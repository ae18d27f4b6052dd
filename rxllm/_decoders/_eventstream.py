"""AWS's binary event stream, ``application/vnd.amazon.eventstream``, read from bytes that may be cut anywhere.

botocore parses the messages and checks their sums. It is given one whole message at a time: its own buffer copies all
that it holds for each piece it is fed.
"""

import json
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from rxllm._decoders._events import MAX_EVENT_BYTES, Event, NamedEvent, too_large
from rxllm._decoders._json import parse
from rxllm.exceptions import APIResponseValidationError

if TYPE_CHECKING:
    from botocore.eventstream import EventStreamMessage

__all__ = ["EventStreamDecoder"]

_PRELUDE: Final = 12  # the message's length, its headers' length, and a sum over both
_SMALLEST: Final = 16


class EventStreamDecoder:
    r"""Reads the messages of an AWS event stream from pieces of bytes.

    An event is named by its ``:event-type``. An exception, or an error, is an event named ``error`` whose data is
    ``{"error": {"code": ..., "message": ...}}`` with whatever else the exception says. The time it takes is linear in
    the input, however that is cut.

    Args:
        limit: the most bytes that one message may hold. botocore's own limits hold as well: 24 MiB a payload, 128 KiB
            of headers a message.

    Raises:
        ImportError: botocore, of the extra ``bedrock``, is not installed.

    >>> ping = bytes.fromhex("0000002500000013e8bd3ec30b3a6576656e742d7479706507000470696e677b7d58e022b9")
    >>> decoder = EventStreamDecoder()
    >>> decoder.feed(ping[:20]), decoder.feed(ping[20:])
    ([], [NamedEvent(name='ping', data=b'{}')])
    """

    __slots__ = ("_buffer", "_data", "_failure", "_limit", "_parser_errors", "_wanted")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        from botocore.eventstream import EventStreamBuffer, ParserError

        self._buffer: EventStreamBuffer = EventStreamBuffer()
        self._parser_errors = (ParserError, struct.error, ValueError, LookupError)
        self._data = bytearray()  # what is not yet a whole prelude, or a whole message after its prelude
        self._wanted = 0  # the bytes of the current message after its prelude; 0 where that is still to come
        self._limit = limit
        self._failure = ""

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes.

        Raises:
            APIResponseValidationError: these bytes are no event stream, or a message is too large or damaged. Events
                before it are given first, then the next call raises. Nothing is held any more.
        """
        if self._failure:
            self._refuse()
        held = self._data
        held += data
        if len(held) < (self._wanted or _PRELUDE):
            return []
        events: list[Event] = []
        at = 0
        try:
            while (size := self._wanted or _PRELUDE) <= len(held) - at:
                with memoryview(held) as view:
                    piece = bytes(view[at : at + size])
                self._take(piece, events)
                at += size
        except APIResponseValidationError as error:
            self._failure = error.message
        except self._parser_errors as error:
            reason = str(error) or type(error).__name__
            self._failure = f"The provider sent what is no AWS event stream ({reason})"
        else:
            del held[:at]
            return events
        self._data = bytearray()
        self._buffer = type(self._buffer)()
        if not events:
            self._refuse()
        return events

    def flush(self) -> list[Event]:
        """The body has ended. A message that is not whole is none.

        Raises:
            APIResponseValidationError: what came was no event stream, or too large.
        """
        if self._failure:
            self._refuse()
        return []

    def _take(self, piece: bytes, events: list[Event]) -> None:
        """A whole prelude, or all of a message that comes after it."""
        self._buffer.add_data(piece)
        if not self._wanted:
            length, headers_length = struct.unpack("!II", piece[:8])
            if length < _SMALLEST + headers_length:
                raise ValueError(f"a message of {length} bytes with {headers_length} bytes of headers")
            next(self._buffer, None)  # its sum and its limits are checked; there is no message yet
            if length > self._limit:
                raise too_large("a message", self._limit)
            self._wanted = length - _PRELUDE
            return
        self._wanted = 0
        for message in self._buffer:
            event = _event(message)
            if event is not None:
                events.append(event)

    def _refuse(self) -> None:
        raise APIResponseValidationError(self._failure)


def _event(message: "EventStreamMessage") -> Event | None:
    """The event that a message is; none for kinds of messages that are not known."""
    headers = cast("dict[str, Any]", message.headers)
    payload: bytes = message.payload
    kind = headers.get(":message-type", "event")
    if kind == "event":
        return NamedEvent(str(headers.get(":event-type") or "event"), payload)
    if kind not in ("exception", "error"):
        return None
    text = payload.decode("utf-8", "replace")
    try:
        said: Any = parse(text)
    except ValueError:
        said = None
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {"message": text}
    words = fields.get("message") or fields.get("Message") or _text(headers.get(":error-message"))
    code = _text(headers.get(":exception-type")) or _text(headers.get(":error-code"))
    error = {**fields, "code": code, "message": words or f"The provider sent {code or 'an error'} without words"}
    return NamedEvent("error", json.dumps({"error": error}).encode())


def _text(value: Any) -> str | None:
    """The value of a header, which may be of other kinds than text, and then says nothing."""
    return value if isinstance(value, str) and value else None
