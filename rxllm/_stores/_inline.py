"""Publishing where no loop drives the stream: on the thread that brings the chunks."""

import contextlib
import threading
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._stores._protocol import StreamStore
from rxllm._stores._publishing import READY, Come, Publishing, Wait
from rxllm.exceptions import APIError
from rxllm.types import ModelResponseStream

__all__ = ["InlinePublication"]


class InlinePublication(abc.DisposableBase):
    """One subscription to a source that is published. The store is waited for by whoever brings something.

    What comes while it is, from another thread or from below, is taken by the one who waits.
    """

    def __init__(self, store: StreamStore, key: str, observer: abc.ObserverBase[ModelResponseStream]) -> None:
        self._publishing = Publishing(store, key)
        self._steps = self._publishing.steps()
        self._session = store.open()
        self._observer = observer
        self._upstream = SingleAssignmentDisposable()
        self._timer = SingleAssignmentDisposable()
        self._come = Come()
        self._asked = self._busy = self._over = self._left = False
        self._mutex = threading.Lock()

    def subscribe(
        self, source: Observable[ModelResponseStream], scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Begins."""
        self._busy = True
        self._go(None)
        self._busy = False
        if not self._over:
            # By the clock on the wall, as the store's lease is.
            timer = TimeoutScheduler.singleton()
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down and starts no thread any more
                self._timer.disposable = timer.schedule_periodic(
                    self._publishing.renew_every, lambda _: self._take(Come())
                )
            self._upstream.disposable = source.subscribe(
                lambda chunk: self._take(Come([chunk])),
                lambda error: self._take(Come(over=True, error=error)),
                lambda: self._take(Come(over=True)),
                scheduler=scheduler,
            )
        return self

    def dispose(self) -> None:
        """The consumer has left."""
        self._left = True
        self._upstream.dispose()
        self._timer.dispose()
        self._take(Come(left=True))

    def _take(self, come: Come) -> None:
        with self._mutex:
            self._come.add(come)
            self._asked = True
            if self._busy or self._over:
                return
            self._busy = True
        self._take_what_came()

    def _take_what_came(self) -> None:
        while True:
            with self._mutex:
                if not self._asked or self._over:
                    self._busy = False
                    return
                come, self._come, self._asked = self._come, Come(), False
            self._go(come)

    def _go(self, told: Come | None) -> None:
        """Takes the steps up to the next wait, or to the end."""
        while True:
            try:
                step = self._steps.send(told)
                if not isinstance(step, Wait | list):
                    told = self._session.perform(step)
                    continue
            except StopIteration:
                self._finish(None)
                return
            except Exception as error:  # noqa: BLE001  the source's, or the store's
                self._finish(error)
                return
            if isinstance(step, Wait):
                return
            told = None
            self._deliver([item for item in step if item is not READY])

    def _deliver(self, items: list[Any]) -> None:
        delivered = False
        try:
            for item in items:
                self._observer.on_next(item)
            delivered = True
        finally:
            if not delivered:
                # What the consumer raises is the consumer's, and reactivex disposes of nothing then.
                self._end()
                with contextlib.suppress(APIError):
                    self._session.perform(self._publishing.farewell())
                self._session.close()

    def _finish(self, error: Exception | None) -> None:
        self._end()
        self._session.close()
        if self._left:
            return
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)

    def _end(self) -> None:
        self._over = True
        self._upstream.dispose()
        self._timer.dispose()
