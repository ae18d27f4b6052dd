"""What an exchange asks for, step by step, and what it is told; ``_exchange.py`` says what each means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest
from rxllm.types import ModelResponseStream

__all__ = ["BODY", "CLOSE", "READ", "Ask", "Failure", "Head", "Send", "Signal", "Sleep", "Step", "Told"]


class Signal:
    """A step without anything more to say."""


BODY: Final = Signal()
READ: Final = Signal()
CLOSE: Final = Signal()


@dataclass(frozen=True, slots=True)
class Send:
    """Send this; ``connect`` bounds connecting, in seconds."""

    http: HTTPRequest
    connect: float | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Call this; it may block."""

    question: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers, lower-cased, of a response."""

    status: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong on the network, and in what words."""

    kind: Literal["connect", "untrusted", "connect timeout", "timeout", "broken", "invalid", "encoding"]
    reason: str


Step = Send | Sleep | Ask | Signal | list[ModelResponseStream]
Told = Head | Failure | bytes | str | APIError | None
