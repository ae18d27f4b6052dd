"""Items let go at an even pace: a pure accumulator of what waits, which knows no clock."""

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Pace"]

_T = TypeVar("_T")


class Pace(Generic[_T]):
    """What waits, and how much of it goes at each tick: one item, or more where some would wait for too many ticks.

    Once more are to go at a time, they do until none waits, so that no item waits for more than ``ticks`` and one more.

    >>> pace = Pace(ticks=2)
    >>> pace.add(["a", "b", "c", "d"])
    >>> pace.take(), pace.take(), pace.take()
    (['a', 'b'], ['c', 'd'], [])
    """

    def __init__(self, ticks: float) -> None:
        self._ticks = ticks
        self._waiting: deque[_T] = deque()
        self._rate = 1.0
        self._due = 0.0

    def add(self, items: list[_T]) -> None:
        """These wait too."""
        self._waiting += items
        self._rate = max(self._rate, len(self._waiting) / self._ticks)

    def take(self) -> list[_T]:
        """What goes at this tick."""
        self._due += self._rate
        count = min(int(self._due), len(self._waiting))
        self._due -= count
        items = [self._waiting.popleft() for _ in range(count)]
        if not self._waiting:
            self._rate, self._due = 1.0, 0.0
        return items

    def take_all(self) -> list[_T]:
        """All that waits."""
        items = list(self._waiting)
        self._waiting.clear()
        self._rate, self._due = 1.0, 0.0
        return items
