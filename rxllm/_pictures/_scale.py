"""Where in a picture a time is: an axis that is broken where for long nothing happens."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from rxllm._pictures._diagram import AXIS, Break
from rxllm._pictures._text import width_of
from rxllm._pictures._ticks import axis_time, round_step, round_times, seconds

__all__ = ["Scale"]

_TICKS: Final = 8
_APART: Final = 5.0
"""How far what is written on the axis is from its neighbours."""
_BROKEN: Final = 72.0
"""How wide that is of which most is left out, in pixels."""
_BROKEN_MOST: Final = 0.4
"""What all of them together take of the picture, at most."""
_LONG: Final = 8.0
"""How many times as long as usual nothing happens, where the axis is broken."""
_SHARE: Final = 0.1
"""And how much of all that is, at least."""
_NOTHING: Final = 1e-12
_INSTANT: Final = 0.005
"""How much of all is no time."""
_FEWEST: Final = 3
"""Of how many times without anything one may be longer than usual."""
_WORTH_IT: Final = 0.3
"""How much of all is left out, at least."""


class Scale:
    """From times to pixels, beginning at ``left``.

    >>> scale = Scale([0.0, 0.5, 1.0], 100.0, left=10.0)
    >>> scale.x(0.0), scale.x(0.25), scale.x(1.0), list(scale.breaks)
    (10.0, 35.0, 110.0, [])
    >>> broken = Scale([0.0, 10.0, 10.1, 10.2, 10.3], 100.0, left=0.0)
    >>> broken.x(10.0), round(broken.x(10.3)), broken.breaks
    (40.0, 100, [Break(x=20.0, text='+10 s')])
    """

    def __init__(self, times: Sequence[float], width: float, *, left: float) -> None:
        happened = sorted({*times}) or [0.0]
        self._begun = happened[0]
        self.duration = happened[-1] - self._begun
        long = list(_long_gaps(happened))
        broken = min(_BROKEN, width * _BROKEN_MOST / max(len(long), 1))
        self._usual = self.duration - sum(end - begin for begin, end in long)
        factor = (width - broken * len(long)) / self._usual if self._usual > _NOTHING else 0.0
        # Of each stretch, when it begins and where, and how many pixels a second of it has.
        self._stretches = [(self._begun, left, factor)]
        self.breaks: list[Break] = []
        for begin, end in long:
            x = self.x(begin)
            self._stretches += [(begin, x, broken / (end - begin)), (end, x + broken, factor)]
            self.breaks.append(Break(x + broken / 2, f"+{seconds(end - begin)}"))
        self._long = long

    def x(self, at: float) -> float:
        """Where ``at`` is, in pixels."""
        place = max(bisect_right(self._stretches, at, key=lambda it: it[0]) - 1, 0)
        begin, left, factor = self._stretches[place]
        return left + (at - begin) * factor

    def since(self, at: float) -> float:
        """The time since the beginning."""
        return at - self._begun

    def ticks(self) -> Iterator[tuple[float, str]]:
        """The marks of the axis: where, and what is written there."""
        if self._usual <= _NOTHING:
            yield self.x(self._begun), "0"
            return
        step = round_step(self._usual, _TICKS)
        edges = [0.0, *(self.since(at) for gap in self._long for at in gap), self.duration]
        broken = [(it.x, width_of(it.text, AXIS) / 2) for it in self.breaks]
        after = -math.inf
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            for at in round_times(begin, end, step):
                x, text = self.x(self._begun + at), axis_time(at, step, self.duration)
                half = width_of(text, AXIS) / 2 + _APART
                if x - half >= after and not any(abs(x - each) < half + room for each, room in broken):
                    yield x, text
                    after = x + half


def _long_gaps(happened: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Where for much longer than usual nothing happens, if to leave that out is worth it."""
    duration = happened[-1] - happened[0]
    gaps: list[tuple[float, float]] = []
    instant = happened[0]
    for begin, end in pairwise(happened):
        if end - instant > _INSTANT * duration:
            gaps.append((begin, end))
            instant = end
    usual = median(end - begin for begin, end in gaps) if gaps else 0.0
    long = [(begin, end) for begin, end in gaps if end - begin > max(_LONG * usual, _SHARE * duration)]
    if len(gaps) >= _FEWEST * len(long) and sum(end - begin for begin, end in long) >= _WORTH_IT * duration:
        yield from long
