"""How fast an answer comes: a record, and what makes it from the times of the chunks. No clock in it."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from rxllm._accumulators._budget import Spending
from rxllm.types import Delta, ModelResponseStream, Usage

__all__ = ["Distribution", "Measurement", "Meter"]

_EXACT: Final = 256
"""How many values are kept as they are."""
_STEP: Final = math.log(1.02)
_SMALLEST: Final = 1e-9


@dataclass(frozen=True)
class Measurement:
    """How fast an answer came. Times are in seconds, and None where there was nothing to measure.

    A chunk with tokens is one with text, reasoning, a refusal or a piece of a tool call, of any choice.

    Attributes:
        ended: ``"completed"``, ``"failed"``, ``"cancelled"`` by its consumer, or None of one that is under way.
        error: what it failed with.
        model: the model that answered, or was asked.
        duration: from the subscription to the end, or until now.
        time_to_first_token: from the subscription to the first chunk with tokens.
        gap_p50: the median of the times between two chunks with tokens.
        gap_p99: what 99 of 100 of them do not exceed.
        gap_max: the longest of them.
        stalls: how many of them were stalls.
        stalled: how long the stalls were together.
        chunks: how many chunks came, of any kind.
        tokens: the tokens of all answers that came, of each as reported at its end, else as counted.
        tokens_per_second: the tokens counted after the first chunk with tokens, by the time from that to the last one.

    >>> Measurement(ended="completed", duration=2.0, chunks=3, tokens=40).tokens
    40
    """

    ended: Literal["completed", "failed", "cancelled"] | None
    duration: float
    chunks: int
    tokens: int
    model: str = ""
    time_to_first_token: float | None = None
    gap_p50: float | None = None
    gap_p99: float | None = None
    gap_max: float | None = None
    stalls: int = 0
    stalled: float = 0.0
    tokens_per_second: float | None = None
    error: Exception | None = None


class Distribution:
    """The quantiles of values that come one by one: exact for the first 256, then within one part in a hundred.

    Held are at most 256 values, or a count for each step of two in a hundred: some 1,700 for all from a nanosecond to a
    week.

    >>> gaps = Distribution()
    >>> for value in (0.3, 0.1, 0.2):
    ...     gaps.add(value)
    >>> gaps.quantile(0.5), gaps.quantile(0.99)
    (0.2, 0.3)
    """

    __slots__ = ("_count", "_steps", "_values")

    def __init__(self) -> None:
        self._values: list[float] = []
        self._steps: dict[int, int] = {}
        self._count = 0

    def add(self, value: float) -> None:
        """One more."""
        self._count += 1
        if self._count <= _EXACT:
            self._values.append(value)
            return
        for each in (*self._values, value):
            step = math.floor(math.log(max(each, _SMALLEST)) / _STEP)
            self._steps[step] = self._steps.get(step, 0) + 1
        self._values.clear()

    def quantile(self, fraction: float) -> float | None:
        """The smallest value that this fraction of all does not exceed; None of none."""
        rank = max(math.ceil(fraction * self._count), 1)
        if not self._count:
            return None
        if self._values:
            return sorted(self._values)[rank - 1]
        for step in sorted(self._steps):
            rank -= self._steps[step]
            if rank <= 0:
                return math.exp((step + 0.5) * _STEP)
        return None


class Meter:
    """Makes a ``Measurement`` of chunks and the times at which they came, in seconds of any clock.

    >>> meter = Meter("gpt-4", begun=0.0, stall=1.0)
    >>> for now, text in ((0.5, "Hello"), (0.75, " there"), (2.0, " you")):
    ...     meter.add(ModelResponseStream.of(text), now)
    >>> record = meter.record(2.0, "completed")
    >>> record.time_to_first_token, record.gap_p50, record.gap_max, record.stalls, record.tokens
    (0.5, 0.25, 1.25, 1, 3)
    """

    def __init__(self, model: str | None, *, begun: float, stall: float) -> None:
        self._spending = Spending(model)
        self._model = model or ""
        self._begun = begun
        self._stall = stall
        self._first: float | None = None
        self._last = begun
        self._tokens_at_first = 0
        self._gaps = Distribution()
        self._longest: float | None = None
        self._chunks = self._stalls = 0
        self._stalled = 0.0

    def begin(self, now: float) -> None:
        """The request is sent now."""
        self._begun = self._last = now

    def add(self, chunk: ModelResponseStream, now: float) -> None:
        """Takes a chunk in, which came now."""
        self._chunks += 1
        self._model = chunk.model or self._model
        self._spending.add(chunk)
        if not any(_has_tokens(choice.delta) for choice in chunk.choices):
            return
        if self._first is None:
            self._first = now
            self._tokens_at_first = self._spending.counted
        else:
            gap = now - self._last
            self._gaps.add(gap)
            self._longest = max(gap, self._longest or 0.0)
            if gap > self._stall:
                self._stalls += 1
                self._stalled += gap
        self._last = now

    def usage(self) -> Usage:
        """The usage of all answers: of each as reported, else as counted, and ``estimated``."""
        return self._spending.usage()

    def record(
        self,
        now: float,
        ended: Literal["completed", "failed", "cancelled"] | None,
        error: Exception | None = None,
    ) -> Measurement:
        """What has been measured until now."""
        rate = None
        if self._first is not None and self._last > self._first:
            rate = (self._spending.counted - self._tokens_at_first) / (self._last - self._first)
        return Measurement(
            ended=ended,
            error=error,
            model=self._model,
            duration=now - self._begun,
            time_to_first_token=None if self._first is None else self._first - self._begun,
            gap_p50=self._gaps.quantile(0.5),
            gap_p99=self._gaps.quantile(0.99),
            gap_max=self._longest,
            stalls=self._stalls,
            stalled=self._stalled,
            chunks=self._chunks,
            tokens=self.usage().completion_tokens,
            tokens_per_second=rate,
        )


def _has_tokens(delta: Delta) -> bool:
    return bool(delta.content or delta.reasoning_content or delta.refusal or delta.tool_calls)
