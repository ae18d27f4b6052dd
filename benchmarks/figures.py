"""What was measured, round by round, and how the figures of two subjects compare."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

__all__ = ["ALONE", "Case", "Figure", "Figures"]


class Case(NamedTuple):
    """What is read: so many streams at once, each of so many chunks, so many events a packet."""

    chunks: int = 0
    a_packet: int = 1
    streams: int = 1
    pause: int = 0
    """Milliseconds between packets, 0 where they are sent as fast as they are read."""

    @property
    def model(self) -> str:
        """What the server is asked for."""
        return f"{self.chunks}x{self.a_packet}" + (f"@{self.pause}" if self.pause else "")


ALONE = Case()
"""Where nothing is said of the stream."""


@dataclass
class Figure:
    """What was measured of a subject; smaller is better."""

    measure: str
    unit: str
    subject: str
    case: Case = ALONE
    rounds: list[float] = field(default_factory=list[float])

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)


class Figures:
    """All figures of a run."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str, Case], Figure] = {}

    def add(self, measure: str, unit: str, subject: str, case: Case, values: Iterable[float]) -> None:
        """Adds what one more round gave."""
        if not (values := list(values)):
            return
        figure = self._figures.setdefault((measure, subject, case), Figure(measure, unit, subject, case))
        figure.rounds.extend(values)

    def get(self, measure: str, subject: str, case: Case = ALONE) -> Figure | None:
        """A figure, if it was measured."""
        return self._figures.get((measure, subject, case))

    def of(self, measure: str) -> list[Figure]:
        """All of one measure, in the order in which they were taken."""
        return [figure for figure in self._figures.values() if figure.measure == measure]

    def ratio(self, measure: str, subject: str, base: str, case: Case = ALONE) -> float | None:
        """The median of the ratios of each round: a noisy moment of the machine weighs on both."""
        ours, theirs = self.get(measure, subject, case), self.get(measure, base, case)
        if ours is None or theirs is None:
            return None
        # Who is slow has fewer rounds: the first ones.
        return statistics.median(one / other for one, other in zip(ours.rounds, theirs.rounds, strict=False))

    def added(self, measure: str, subject: str, base: str, case: Case = ALONE) -> float | None:
        """The median of the differences of each round."""
        ours, theirs = self.get(measure, subject, case), self.get(measure, base, case)
        if ours is None or theirs is None:
            return None
        return statistics.median(one - other for one, other in zip(ours.rounds, theirs.rounds, strict=False))

    def dump(self) -> list[dict[str, Any]]:
        """For JSON, which has no infinity: what never came is null."""
        return [
            {
                **asdict(figure),
                "case": figure.case._asdict(),
                "rounds": [_finite(value) for value in figure.rounds],
                "median": _finite(figure.median),
            }
            for figure in self._figures.values()
        ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
