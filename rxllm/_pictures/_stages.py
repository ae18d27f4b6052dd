"""A pipeline taken apart, and put together again with a look at what comes out of each of its stages."""

import ast
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxllm._calling import CallSource
from rxllm._loop import Source, ThreadLoop
from rxllm._pictures._items import Told, collective, told
from rxllm._pictures._operator_names import operator_name
from rxllm._pictures._source import written_operators
from rxllm._shared_replay import SharedReplay
from rxllm._stream import Stream, as_stream
from rxllm.types import ModelResponseStream

__all__ = ["Came", "Ended", "Stage", "Watched"]


@dataclass(frozen=True, slots=True)
class Came:
    """An item that came, as it is told, and when."""

    at: float
    told: Told


@dataclass(frozen=True, slots=True)
class Ended:
    """An end, and when."""

    at: float
    how: Literal["completed", "failed", "left"]
    error: Exception | None = None


@dataclass(slots=True)
class Stage:
    """What comes out of a pipeline at one place: after ``operators``, and after none where it begins.

    Of each item it holds what is told of it, some hundred bytes, and of the last the item. ``others`` are the streams
    that its operators have opened besides the one above.
    """

    operators: Sequence[str]
    name: str = ""
    model: str = ""
    begun: float | None = None
    subscribed: int = 0
    came: list[Came] = field(default_factory=list[Came])
    ends: list[Ended] = field(default_factory=list[Ended])
    others: list["Stage"] = field(default_factory=list["Stage"])

    def watch(
        self,
        source: Observable[Any],
        clock: Callable[[], float],
        place: "_Place | None" = None,
        below: "Stage | None" = None,
    ) -> Observable[Any]:
        """``source``, whose items are told here as they pass, on their way to the stage ``below``."""
        where = place or _Place()

        def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
            deliver = observer.on_next
            before: Any = None
            is_over = False
            self.subscribed += 1
            if self.begun is None:
                self.begun = clock()

            def on_next(item: Any) -> None:
                nonlocal before
                self._take(item, before, clock())
                before = item
                outer, where.stage = where.stage, below
                try:
                    deliver(item)
                finally:
                    where.stage = outer

            def end(how: Literal["completed", "failed", "left"], error: Exception | None = None) -> None:
                nonlocal is_over
                if not is_over:
                    is_over = True
                    self.ends.append(Ended(clock(), how, error))

            def on_error(error: Exception) -> None:
                end("failed", error)
                with where.at(below):
                    observer.on_error(error)

            def on_completed() -> None:
                end("completed")
                with where.at(below):
                    observer.on_completed()

            with where.at(self):
                upstream = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

            def leave() -> None:
                end("left")
                upstream.dispose()

            return Disposable(leave)

        return Observable(subscribe)

    def _take(self, item: Any, before: Any, now: float) -> None:
        self.came.append(Came(now, told(item, before)))
        if not self.model and isinstance(item, ModelResponseStream):
            self.model = item.model or ""
        if self.name != "items":
            name = collective(item)
            self.name = name if self.name in {"", name} else "items"


class _Place(threading.local):
    """Whose operators are at work in this thread: those of ``stage``, or nobody knows."""

    stage: Stage | None = None

    @contextmanager
    def at(self, stage: Stage | None) -> Generator[None]:
        """Inside, those of ``stage`` are."""
        outer, self.stage = self.stage, stage
        try:
            yield
        finally:
            self.stage = outer


class Watched:
    """The same pipeline, and its stages, which are empty until somebody runs it.

    Its operators are applied anew, so that nothing is run twice, and what they share is this run's own.

    Attributes:
        stream: the pipeline.
        stages: from where it begins to what comes out of it.
        place: whose operators are at work.
    """

    def __init__(self, pipeline: Observable[Any], clock: Callable[[], float]) -> None:
        steps: list[Sequence[Callable[[Any], Any]]] = []
        names: list[Sequence[str]] = []
        root: Observable[Any] = pipeline
        while (made := getattr(root, "made_of", None)) is not None:
            names.append(_names(made[1], getattr(root, "made_by", None)))
            root, operators = made
            steps.append(operators)
        self._clock = clock
        self.place = _Place()
        self._root = as_stream(root)
        self._own = 0
        self.stages = [Stage(()), *(Stage(each) for each in reversed(names))]
        self.stream: Stream[Any] = self._watching(self._root, 0)
        for number, operators in enumerate(reversed(steps), 1):
            self.stream = self._watching(self.stream.pipe(*operators), number)

    def run(self) -> Iterator[Any]:
        """The items, as looping over the stream gives them; what it opens besides is watched too."""
        return _Loop(self).pull(self.stream)

    def seen(self, source: Source, reading: Observable[Any]) -> Observable[Any]:
        """``reading``, which somebody has just opened of ``source``; told, where it is one of a stage's ``others``."""
        if source is self._root.source and self._own < self.stages[0].subscribed:
            self._own += 1  # what the pipeline begins with
            return reading
        below = self.place.stage
        if below is None:
            return reading
        stage = Stage(())
        # What operators have for themselves is no stream of anybody's: a function that is called, what is shared.
        if not isinstance(source, CallSource | SharedReplay):
            below.others.append(stage)
        return stage.watch(reading, self._clock, self.place, below)

    def _watching(self, stream: Any, number: int) -> Stream[Any]:
        below = self.stages[number + 1] if number + 1 < len(self.stages) else None

        def watch(source: Observable[Any]) -> Observable[Any]:
            return self.stages[number].watch(source, self._clock, self.place, below)

        watching: Stream[Any] = stream.pipe(watch)
        return watching


def _names(operators: Sequence[Callable[[Any], Any]], made_by: tuple[CodeType, int, int] | None) -> Sequence[str]:
    written: list[Any] = [] if made_by is None else written_operators(*made_by[:2])[made_by[2] :]
    if len(written) < len(operators) or any(isinstance(it, ast.Starred) for it in written):
        written = [None] * len(operators)
    return [operator_name(it, how) for it, how in zip(operators, written, strict=False)]


class _Loop(ThreadLoop):
    """A loop that tells what is opened on it, and knows whose doing it is, though it is done later."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self._watched = watched

    def attach(self, source: Source, observer: abc.ObserverBase[Any]) -> abc.DisposableBase:
        attach = super().attach
        reading = Observable[Any](lambda each, _: attach(source, each))
        return self._watched.seen(source, reading).subscribe(observer, scheduler=self)

    def schedule(self, action: abc.ScheduledAction[Any], state: Any = None) -> abc.DisposableBase:
        return super().schedule(self._placed(action), state)

    def schedule_relative(
        self, duetime: Any, action: abc.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        return super().schedule_relative(duetime, self._placed(action), state)

    def _placed(self, action: abc.ScheduledAction[Any]) -> abc.ScheduledAction[Any]:
        place = self._watched.place
        stage = place.stage

        def placed(scheduler: abc.SchedulerBase, state: Any = None) -> abc.DisposableBase | None:
            with place.at(stage):
                return action(scheduler, state)

        return placed
