import threading
from collections.abc import Callable
from typing import Any

from reactivex import GroupedObservable, Observable, abc
from reactivex.disposable import RefCountDisposable, SingleAssignmentDisposable
from reactivex.subject import Subject

from rxllm.types import ModelResponseStream

__all__ = ["by_choice"]

_Choice = GroupedObservable[int, ModelResponseStream]


def by_choice() -> Callable[[Observable[ModelResponseStream]], Observable[_Choice]]:
    """Gives an Observable of chunks for each choice, when its first chunk comes; ``key`` is the choice's index.

    ::

        chunks   --0:"Hel"--1:"Good "--0:"lo"--1:"bye"--stop--|
                              by_choice()
        choices  --c0-------c1--------------------------------|
        c0         "Hel"---------------"lo"-------------stop--|
        c1                  "Good "------------"bye"----stop--|

    In each, the choice stands as the only one, with index 0, so that every operator reads it without ``choice=``. A
    choice ends, or fails, with the stream; one that nobody has asked for has no Observable. The first that subscribes
    to one gets all its chunks, whenever that is: held are those that came before. Whoever subscribes after the first
    gets what comes from then on. So subscribe to them, as with ``flat_map``, and do not loop over them inside a loop
    over the choices, which moves on only between its own turns.

    The usage is that of all choices together, and left out: attach it before. A restart is told to every choice, and
    what came of a tool to choice 0. The request goes on while the choices or one of them has a subscriber, and is
    cancelled when the last one leaves. An empty stream gives no choice.

    >>> import reactivex as rx
    >>> from reactivex import operators as rx_ops
    >>> from rxllm.operators import accumulate_text
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text, index=i) for i, text in ((0, "Hel"), (1, "Good "), (0, "lo"))))
    >>> texts = rx_ops.flat_map(lambda one: one.pipe(accumulate_text(), rx_ops.map(lambda text: (one.key, text))))
    >>> _ = chunks.pipe(by_choice(), texts).subscribe(print)
    (0, 'Hel')
    (1, 'Good ')
    (0, 'Hello')
    """

    def choices_of(source: Observable[ModelResponseStream]) -> Observable[_Choice]:
        def subscribe(
            observer: abc.ObserverBase[_Choice], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            upstream = SingleAssignmentDisposable()
            counted = RefCountDisposable(upstream)
            parts: dict[int, _Part] = {}

            def on_next(chunk: ModelResponseStream) -> None:
                if not chunk.choices:
                    if chunk.restart is not None:
                        for known in list(parts.values()):
                            known.on_next(chunk)
                    elif chunk.tool_result is not None and 0 in parts:
                        parts[0].on_next(chunk)
                for choice in list(chunk.choices):
                    index = choice.index
                    part = parts.get(index)
                    if part is None:
                        part = parts[index] = _Part()
                        observer.on_next(GroupedObservable(index, Observable(part.subscribe), counted))
                    part.on_next(_alone(chunk, choice))

            def on_error(error: Exception) -> None:
                for part in list(parts.values()):
                    part.on_error(error)
                observer.on_error(error)

            def on_completed() -> None:
                for part in list(parts.values()):
                    part.on_completed()
                observer.on_completed()

            upstream.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
            return counted

        return Observable(subscribe)

    return choices_of


class _Part:
    """The chunks of one choice, held until somebody subscribes."""

    def __init__(self) -> None:
        self._held: list[ModelResponseStream] | None = []
        self._live: Subject[ModelResponseStream] = Subject()
        # Whoever subscribes may do so on a thread of his own, while chunks come.
        self._mutex = threading.RLock()
        self.on_error = self._live.on_error
        self.on_completed = self._live.on_completed

    def on_next(self, chunk: ModelResponseStream) -> None:
        with self._mutex:
            if self._held is not None:
                self._held.append(chunk)
                return
        self._live.on_next(chunk)

    def subscribe(
        self, observer: abc.ObserverBase[ModelResponseStream], _scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        with self._mutex:
            held, self._held = self._held, None
            for chunk in held or ():
                observer.on_next(chunk)
            return self._live.subscribe(observer)


def _alone(chunk: ModelResponseStream, choice: Any) -> ModelResponseStream:
    """The chunk with this choice alone, as its first, and without the usage, which is that of all."""
    if len(chunk.choices) == 1 and not choice.index and chunk.usage is None and chunk.reported_usage is None:
        return chunk
    alone = choice if not choice.index else choice.model_copy(update={"index": 0})
    return chunk.model_copy(update={"choices": [alone], "usage": None, "reported_usage": None})
