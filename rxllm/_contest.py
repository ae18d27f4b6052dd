"""Several streams for one answer: the first that gives content is delivered, and the others are let go of."""

import threading
from collections.abc import Iterable

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rxllm._accumulators._content import Opening
from rxllm._failures import all_failed
from rxllm.exceptions import APIError
from rxllm.types import ModelResponseStream

__all__ = ["Contest"]

_Observer = abc.ObserverBase[ModelResponseStream]


class Contest(abc.DisposableBase):
    """One subscription to the first of ``streams`` that gives content. They are started one by one, with ``start()``.

    What a stream gives before its content is held until it has won. An ``APIError`` before content is no end while
    another runs; where none does, the next is started. Any other error is a program's fault and ends the contest. A
    stream that completes without content wins once none is running any more; ``eager`` says that those that have not
    been started are to be tried before that. On a loop all of this is on one thread; elsewhere streams have threads of
    their own, and a lock is held to decide, never to deliver.
    """

    def __init__(
        self,
        streams: Iterable[Observable[ModelResponseStream]],
        observer: _Observer,
        scheduler: abc.SchedulerBase | None,
        *,
        eager: bool = False,
    ) -> None:
        self._waiting = list(streams)
        self._observer = observer
        self._scheduler = scheduler
        self._eager = eager
        self._running: list[_Contender] = []
        self._failures: list[Exception] = []
        self._whole: _Contender | None = None
        self._over = False
        self._lock = threading.Lock()
        self.timer = SingleAssignmentDisposable()
        """Disposed of as soon as no other stream is to be started."""

    def start(self) -> bool:
        """Starts the next stream; false where there is none, or the contest is over."""
        with self._lock:
            if self._over or not self._waiting:
                return False
            stream = self._waiting.pop(0)
            last = not self._waiting
            contender = _Contender(self, self._observer)
            self._running.append(contender)
        if last:
            self.timer.dispose()
        contender.upstream.disposable = stream.subscribe(contender, scheduler=self._scheduler)
        return True

    def win(self, contender: "_Contender") -> bool:
        """Whether the one that has content now is the first; the others are disposed of by then."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            losers = [other for other in self._running if other is not contender]
            self._running = [contender]
        self.timer.dispose()
        for loser in losers:
            loser.upstream.dispose()
        return True

    def out(self, contender: "_Contender", error: Exception | None) -> None:
        """One has ended without content."""
        fault = error is not None and not isinstance(error, APIError)
        with self._lock:
            if self._over:
                return
            self._running.remove(contender)
            if error is not None:
                self._failures.append(error)
            elif self._whole is None:
                self._whole = contender
            waited_for = self._running and not fault
        if waited_for or (not fault and (self._whole is None or self._eager) and self.start()):
            return
        with self._lock:
            # Another thread, that of a timer, may have started one meanwhile.
            if self._over or (self._running and not fault):
                return
            self._over = True
        self.dispose()
        if self._whole is not None and not fault:
            self._whole.deliver_held()
            self._observer.on_completed()
        else:
            self._observer.on_error(all_failed(self._failures))

    def dispose(self) -> None:
        """Lets go of all that run."""
        with self._lock:
            self._over = True
            running, self._running = self._running, []
        self.timer.dispose()
        for contender in running:
            contender.upstream.dispose()


class _Contender(abc.ObserverBase[ModelResponseStream]):
    """One of the streams, and what it has given before its content."""

    __slots__ = ("_contest", "_observer", "_opening", "_won", "upstream")

    def __init__(self, contest: Contest, observer: _Observer) -> None:
        self._contest = contest
        self._observer = observer
        self._opening = Opening()
        self._won = False
        self.upstream = SingleAssignmentDisposable()

    def on_next(self, value: ModelResponseStream) -> None:
        """A chunk."""
        if self._won:
            self._observer.on_next(value)
        else:
            chunks = self._opening.add(value)
            if chunks and self._contest.win(self):
                self._won = True
                for chunk in chunks:
                    self._observer.on_next(chunk)

    def on_error(self, error: Exception) -> None:
        """The stream failed."""
        if self._won:
            self._observer.on_error(error)
        else:
            self._contest.out(self, error)

    def on_completed(self) -> None:
        """The stream is whole."""
        if self._won:
            self._observer.on_completed()
        else:
            self._contest.out(self, None)

    def deliver_held(self) -> None:
        """What came, of a stream without content."""
        for chunk in self._opening.take():
            self._observer.on_next(chunk)
