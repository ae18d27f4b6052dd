"""What all decoders share: what an event is, and how large it may be."""

from typing import Final, NamedTuple, Protocol

from rxllm.exceptions import APIResponseValidationError

__all__ = ["MAX_EVENT_BYTES", "Decoder", "Event", "NamedEvent", "too_large"]

MAX_EVENT_BYTES: Final = 32 << 20
"""The most bytes that one event may hold, unless ``max_event_bytes`` says otherwise."""


class NamedEvent(NamedTuple):
    """An event with a name of its own; one without is given as its plain data."""

    name: str
    data: bytes


# Nearly all events have no name: plain bytes are the lightest there is.
Event = bytes | NamedEvent


class Decoder(Protocol):
    """Bytes to events.

    What it holds never grows beyond its limit, but for the piece that it is fed. Past the limit the events before are
    given, nothing is held any more, and the next call raises.
    """

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes.

        Raises:
            APIResponseValidationError: an event is larger than the limit, or what came is of another kind.
        """
        ...

    def flush(self) -> list[Event]:
        """The body has ended: the last event, where its framing lets the end of the body end it.

        Raises:
            APIResponseValidationError: as for ``feed``.
        """
        ...


def too_large(what: str, limit: int) -> APIResponseValidationError:
    """The error for ``what``, an event or a body, that is larger than ``limit`` bytes.

    >>> str(too_large("a line", 1024))
    'The provider sent a line of more than 1,024 bytes, which is what max_event_bytes allows'
    """
    return APIResponseValidationError(
        f"The provider sent {what} of more than {limit:,} bytes, which is what max_event_bytes allows"
    )
