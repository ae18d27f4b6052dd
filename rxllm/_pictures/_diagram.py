"""What a picture of marbles consists of. Lengths are pixels, from the beginning of the lanes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rxllm._pictures._text import width_of

__all__ = [
    "AXIS",
    "RADIUS",
    "Break",
    "Diagram",
    "End",
    "Kind",
    "Lane",
    "Marble",
    "Operator",
    "Space",
    "pill_width",
]

AXIS: Final = 11
"""How large what is written on the axis of time is."""
RADIUS: Final = 11.0
"""Of a marble with a text: half its height."""

_DOT: Final = 4.5
"""The radius of a marble without a text, of one item; and of very many."""
_DOT_MOST: Final = 8.5

Kind = Literal["text", "reasoning", "call", "finish", "value", "other", "error"]


@dataclass(frozen=True, slots=True)
class Marble:
    """Something that came at ``x``, where the middle of its left cap is.

    One without a text is a dot, which is the larger the more came together.
    """

    x: float
    text: str
    kind: Kind
    tip: str = ""
    count: int = 1

    @property
    def radius(self) -> float:
        """Half its height."""
        return RADIUS if self.text else min(_DOT + 1.2 * math.log(self.count), _DOT_MOST)

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.x - self.radius

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + pill_width(self.text) if self.text else self.x + self.radius


@dataclass(frozen=True, slots=True)
class End:
    """An end at ``x``: by itself, with an error, or because whoever consumes it has left."""

    x: float
    how: Literal["completed", "failed", "left"]
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """What came, one after the other. One that has no end goes on; one that never began has no line."""

    label: str
    marbles: Sequence[Marble]
    ends: Sequence[End] = ()
    begins: float | None = 0.0
    stops: float | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """What stands between two lanes."""

    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """Room between two drawings."""


@dataclass(frozen=True, slots=True)
class Break:
    """Where an axis of time is broken, and how long is left out of it."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """All of it, from top to bottom; ``ticks`` are the marks of an axis of time, ``breaks`` where it is broken."""

    title: str
    width: float
    rows: Sequence[Lane | Operator | Space]
    ticks: Sequence[tuple[float, str]] = ()
    breaks: Sequence[Break] = ()
    heading: str = ""


def pill_width(text: str) -> float:
    """How wide the marble of a text is; a short one is a circle."""
    return max(2 * RADIUS, width_of(text) + RADIUS + 3)
