"""One answer as it comes: what it says, its figures, and when its chunks came."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import reactivex as rx
from reactivex import Observable
from reactivex import operators as rx_ops

from rxllm import ModelResponseStream, Stream
from rxllm._accumulators._transcript import Said, Transcript

if TYPE_CHECKING:
    from rxllm._accumulators._arrivals import Arrivals

__all__ = ["Watch"]


def _arrivals(label: str, model: str | None) -> "Arrivals":
    from rxllm._accumulators._arrivals import Arrivals

    return Arrivals(label, model, begun=0.0)


class Watch:
    """Takes account of one answer, from the subscription on.

    Attributes:
        label: what it is called among others.
        transcript: what it says.
        arrivals: when its chunks came, if that is to be drawn.
        ended: how it has ended; None of one that is under way.
        error: what it failed with.
        on_end: what is called then.
    """

    def __init__(self, label: str, model: str | None, *, drawn: bool) -> None:
        self.label = label
        self.transcript = Transcript(model, begun=0.0)
        self.arrivals = _arrivals(label, model) if drawn else None
        self._begun = time.monotonic()
        self.ended: Literal["completed", "failed", "cancelled"] | None = None
        self.error: Exception | None = None
        self.on_end: Callable[[], object] = lambda: None

    def over(self, chunks: Stream[ModelResponseStream]) -> Stream[ModelResponseStream]:
        """``chunks``, which are taken account of as they pass."""
        watched = rx_ops.do_action(self._add, self._fail, self._complete)

        def begun(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
            self._begun = time.monotonic()
            return source.pipe(watched)

        return chunks.pipe(lambda source: rx.defer(lambda _: begun(source)))

    def leave(self) -> None:
        """Nobody waits for the rest any more, if there is one."""
        self._end("cancelled")

    @property
    def said(self) -> list[Said]:
        """What its choices have said so far: one, unless it was asked for more."""
        return list(self.transcript.choices.values())

    @property
    def figures(self) -> str:
        """What it comes to, in one line."""
        return self.transcript.figures(self._now())

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _add(self, chunk: ModelResponseStream) -> None:
        now = self._now()
        self.transcript.add(chunk, now)
        if self.arrivals is not None:
            self.arrivals.add(chunk, now)

    def _fail(self, error: Exception) -> None:
        self._end("failed", error)

    def _complete(self) -> None:
        self._end("completed")

    def _end(self, ended: Literal["completed", "failed", "cancelled"], error: Exception | None = None) -> None:
        if self.ended is None:
            now = self._now()
            self.ended, self.error = ended, error
            self.transcript.end(now, ended, error)
            if self.arrivals is not None:
                self.arrivals.end(now, ended, error)
            self.on_end()
