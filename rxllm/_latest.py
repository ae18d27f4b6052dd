"""Operators for whatever shows things to people: no more often than they can see, and though nothing comes."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import TimeoutScheduler
from reactivex.subject import Subject

__all__ = ["latest_every", "ticking"]

_T = TypeVar("_T")


def latest_every(seconds: float | Callable[[], float]) -> Callable[[Observable[_T]], Observable[_T]]:
    """Gives the newest item at most every so many seconds: the first at once, and always the last.

    ::

        items   --a-b-c-d-------e---f-|
                 latest_every(4)
        items   --a---c---d-----e---f-|

    What came in between is left out. The last item comes before the completion or the error, however soon. This is
    RxJS's ``throttleTime`` with both edges. An empty stream stays empty. Holds one item.

    Args:
        seconds: the time between two items, or what tells it each time, so that it can follow what showing one costs.
    """
    interval = seconds if callable(seconds) else lambda: seconds

    def latest_of(source: Observable[_T]) -> Observable[_T]:
        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            clock = scheduler or TimeoutScheduler.singleton()
            timer = SerialDisposable()
            waiting: list[_T] = []
            ticking = False
            # Off a loop, timers run on threads of their own.
            mutex = threading.RLock()

            def give() -> None:
                nonlocal ticking
                ticking = True
                item = waiting.pop()
                observer.on_next(item)
                timer.disposable = clock.schedule_relative(interval(), tick)

            def tick(_: abc.SchedulerBase, __: Any = None) -> None:
                nonlocal ticking
                with mutex:
                    ticking = False
                    if waiting:
                        give()

            def on_next(item: _T) -> None:
                with mutex:
                    waiting[:] = (item,)
                    if not ticking:
                        give()

            def end(tell: Callable[..., None], *error: Exception) -> None:
                with mutex:
                    timer.dispose()
                    if waiting:
                        observer.on_next(waiting.pop())
                    tell(*error)

            ending = partial(end, observer.on_error), partial(end, observer.on_completed)
            return CompositeDisposable(source.subscribe(on_next, *ending, scheduler=scheduler), timer)

        return Observable(subscribe)

    return latest_of


def ticking(seconds: float) -> Callable[[Observable[None]], Observable[None]]:
    """One more each so many seconds until the end, for what tells how long it has been waiting.

    ::

        items   --o-----------o-|
                 ticking(4)
        items   --o-o---o---o-o-|
    """

    def ticks_of(source: Observable[None]) -> Observable[None]:
        def subscribe(
            observer: abc.ObserverBase[None], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            over = Subject[None]()
            ticks = rx.interval(seconds).pipe(ops.map(lambda _: None), ops.take_until(over))
            items = source.pipe(ops.do_action(on_completed=lambda: over.on_next(None)))
            return rx.merge(items, ticks).subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    return ticks_of
