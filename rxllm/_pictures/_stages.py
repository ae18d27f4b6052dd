"""A pipeline taken apart, and put together again with a look at what comes out of each of its stages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxllm._pictures._items import Told, collective, told
from rxllm._stream import Stream, as_stream

__all__ = ["Came", "Ended", "Stage", "watched"]


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

    Of each item it holds what is told of it, some hundred bytes, and of the last the item.
    """

    operators: Sequence[Callable[[Any], Any]]
    name: str = ""
    begun: float | None = None
    came: list[Came] = field(default_factory=list[Came])
    ends: list[Ended] = field(default_factory=list[Ended])

    def watch(self, source: Observable[Any], clock: Callable[[], float]) -> Observable[Any]:
        """``source``, whose items are told here as they pass."""

        def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
            deliver = observer.on_next
            before: Any = None
            is_over = False
            if self.begun is None:
                self.begun = clock()

            def on_next(item: Any) -> None:
                nonlocal before
                self.came.append(Came(clock(), told(item, before)))
                if not self.name:
                    self.name = collective(item)
                before = item
                deliver(item)

            def end(how: Literal["completed", "failed", "left"], error: Exception | None = None) -> None:
                nonlocal is_over
                if not is_over:
                    is_over = True
                    self.ends.append(Ended(clock(), how, error))

            def on_error(error: Exception) -> None:
                end("failed", error)
                observer.on_error(error)

            def on_completed() -> None:
                end("completed")
                observer.on_completed()

            upstream = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

            def leave() -> None:
                end("left")
                upstream.dispose()

            return Disposable(leave)

        return Observable(subscribe)


def watched(pipeline: Observable[Any], clock: Callable[[], float]) -> tuple[Stream[Any], list[Stage]]:
    """The same pipeline, and its stages, which are empty until somebody runs it.

    Its operators are applied anew, so that nothing is run twice, and what they share is this run's own.
    """
    steps: list[Sequence[Callable[[Any], Any]]] = []
    root: Observable[Any] = pipeline
    while (made := getattr(root, "made_of", None)) is not None:
        root, operators = made
        steps.append(operators)
    stages = [Stage(())]
    stream = _watching(as_stream(root), stages[0], clock)
    for operators in reversed(steps):
        stages.append(Stage(operators))
        stream = _watching(stream.pipe(*operators), stages[-1], clock)
    return stream, stages


def _watching(stream: Any, stage: Stage, clock: Callable[[], float]) -> Stream[Any]:
    def watch(source: Observable[Any]) -> Observable[Any]:
        return stage.watch(source, clock)

    watching: Stream[Any] = stream.pipe(watch)
    return watching
