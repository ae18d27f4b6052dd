"""Time that passes when a test says so."""

from typing import Any, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.notification import OnError, OnNext
from reactivex.testing import TestScheduler
from reactivex.testing.recorded import Recorded

from rxllm._stream import Stream

__all__ = ["VirtualTime", "Watched"]

_T = TypeVar("_T")


class Watched(Generic[_T]):
    """What has come of an Observable so far, and when: ``VirtualTime.watch()`` gives one.

    >>> from rxllm.testing import cold_chunks
    >>> time = VirtualTime()
    >>> seen = time.watch(cold_chunks("-Hel-lo-|"))
    >>> time.advance(60)
    >>> seen.times, seen.completed, seen.ended_at
    ([1.0, 5.0], True, 8.0)
    """

    def __init__(self, messages: list[Recorded[_T]]) -> None:
        self.messages = messages
        self.subscription: abc.DisposableBase | None = None

    @property
    def items(self) -> list[_T]:
        """The items."""
        return [it.value.value for it in self.messages if isinstance(it.value, OnNext)]

    @property
    def times(self) -> list[float]:
        """When each item came, in seconds of the virtual clock."""
        return [float(it.time) for it in self.messages if isinstance(it.value, OnNext)]

    @property
    def completed(self) -> bool:
        """Whether it has completed."""
        return self.ended_at is not None and self.error is None

    @property
    def error(self) -> Exception | None:
        """The error that it has failed with."""
        last = self.messages[-1].value if self.messages else None
        return last.exception if isinstance(last, OnError) else None

    @property
    def ended_at(self) -> float | None:
        """When it completed or failed; None while it goes on."""
        if not self.messages or isinstance(self.messages[-1].value, OnNext):
            return None
        return float(self.messages[-1].time)

    def leave(self) -> None:
        """Ends the subscription, as a consumer does who has seen enough."""
        if self.subscription is not None:
            self.subscription.dispose()


class VirtualTime(TestScheduler):
    """A scheduler whose clock stands until ``advance()``; timers of a day then run at once, and in order.

    It begins at 0 and counts seconds. Operators get it as the scheduler of the subscription. It is reactivex's
    ``TestScheduler``, and can do what that can.

    >>> from reactivex import operators as rx_ops
    >>> from rxllm import operators as ops
    >>> from rxllm.testing import cold_chunks
    >>> time = VirtualTime()
    >>> late = cold_chunks("-Hel------lo-|").pipe(ops.text_deltas(), rx_ops.timeout(5.0))
    >>> seen = time.watch(late)
    >>> time.advance(60)
    >>> seen.items, seen.error, seen.ended_at
    (['Hel'], Exception('Timeout'), 6.0)
    """

    __test__ = False  # a name that begins like a test's is none

    def watch(self, observable: Observable[_T]) -> Watched[_T]:
        """Subscribes now, and keeps what comes.

        A Stream that asks a provider runs in real time, and is none of this clock's.

        Raises:
            TypeError: it is such a Stream.
        """
        if isinstance(observable, Stream):
            stream: Stream[Any] = observable  # pyright: ignore[reportUnknownVariableType]
            if stream.request is not None or stream.source is not None:
                raise TypeError("a Stream with a source of its own runs in real time; watch() one made of marbles")
            # Below the loop that it would bring, which runs in real time too.
            here: Any = stream._subscribe_here  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            observable = Observable(here)
        observer = self.create_observer()
        watched: Watched[_T] = Watched(observer.messages)
        watched.subscription = observable.subscribe(observer, scheduler=self)
        return watched

    def advance(self, seconds: float) -> None:
        """Lets time pass, and whatever is due within it happen, also what is due at its end."""
        self.advance_by(seconds)
