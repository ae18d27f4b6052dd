"""``complete_all()``: many requests, so many at a time, and a result for each."""

import logging
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, cast

from pydantic import Secret
from reactivex import abc
from reactivex import operators as rx_ops
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable, SingleAssignmentDisposable

from rxllm._completion import completion
from rxllm._failures import may_pass
from rxllm._iterables import IterableSource
from rxllm._loop import SyncReading
from rxllm._metered import MeteredSource
from rxllm._retry import retry_wait
from rxllm._stream import Stream
from rxllm.exceptions import APIError
from rxllm.operators import build_response
from rxllm.types import ModelResponse, ModelResponseStream

__all__ = ["BatchResult", "complete_all"]

_log = logging.getLogger("rxllm")


@dataclass(frozen=True)
class BatchResult:
    """What came of one request of ``complete_all()``: a response or an error.

    Attributes:
        index: its place among the requests, from 0 on; results come in the order in which they are ready.
        request: what was given; it is not shown, since a key may be in it.
        response: the whole response; ``None`` where there is none.
        error: why there is none: an ``APIError``, or the ``TypeError`` or ``ValueError`` of wrong arguments.
        attempts: how often it was asked, once and again after each answer that broke off; 0 for wrong arguments.
        seconds: how long that took, its waits included.

    >>> (result,) = complete_all(["Hello"], model="sim/echo", extra_body={"delay": 0})
    >>> result.index, result.error, result.response.choices[0].message.content
    (0, None, 'Hello')
    """

    index: int
    request: str | Mapping[str, Any] = field(repr=False)
    response: ModelResponse | None = None
    error: Exception | None = None
    attempts: int = 0
    seconds: float = 0.0


def complete_all(
    requests: Iterable[str | Mapping[str, Any]] | AsyncIterable[str | Mapping[str, Any]],
    *,
    max_concurrent: int = 10,
    retries: int = 2,
    **common: Any,
) -> Stream[BatchResult]:
    """A result for each of many requests, of which ``max_concurrent`` are under way at a time.

    A Stream like any other: nothing is sent before it is consumed, leaving it cancels what is under way, and on an
    event loop all is done there, without threads. Results come as they are ready; ``index`` says of which request.

    A request is taken when there is room for it, and not before, so that a generator may hold millions; it is closed
    where the consumer leaves. What has ``__iter__`` alone is advanced between two events, on the consumer's own thread:
    one that waits for something, as for a database, should be an asynchronous iterable, lest everything waits with it.
    What can be iterated only once, can be consumed only once.

    A request that fails is a result with an ``error``, and the others go on: so with an ``APIError``, and with
    arguments that ``completion()`` refuses. What ``requests`` itself raises ends the Stream, once what is under way has
    been cancelled; so does anything else, which is a fault in a program.

    Before the first chunk ``completion()`` tries again by itself (``max_retries``). An answer that breaks off after it
    is asked for again here, whole: nobody has seen anything of it yet.

    Args:
        requests: a text, which is the user's message, or a mapping of arguments of ``completion()`` each. ``stream`` is
            passed over: a response is whole.
        max_concurrent: how many are under way at most.
        retries: how often one is asked again where its answer broke off (connection, time between events, no proper
            end, 429 and 5xx amid the answer), after as long as the server says or growing waits of some seconds.
        common: arguments of ``completion()`` for all, ``model`` for instance; a request's own come first. ``messages``
            among them stand before a text.

    Raises:
        TypeError: ``requests`` cannot be iterated, or an argument is of the wrong kind.
        ValueError: ``max_concurrent`` is below 1, or ``retries`` below 0.

    >>> questions = ["One", "Two", {"messages": [{"role": "user", "content": "Three"}], "max_tokens": 5}]
    >>> results = complete_all(questions, model="sim/echo", extra_body={"delay": 0}, max_concurrent=2)
    >>> for result in sorted(results, key=lambda result: result.index):
    ...     print(result.index, result.response.choices[0].message.content)
    0 One
    1 Two
    2 Three
    """
    # Out of sight before anything can fail: a traceback shows the locals of every frame that it comes through.
    shared = Secret[dict[str, Any]](common)
    del common
    given: object = requests
    if isinstance(requests, str | bytes | Mapping) or not (hasattr(given, "__iter__") or hasattr(given, "__aiter__")):
        kind = type(given).__name__
        raise TypeError(f"requests is a list or another iterable of texts and dictionaries, not a {kind}.")
    _check("max_concurrent", max_concurrent, 1)
    _check("retries", retries, 0)

    def subscribe(observer: abc.ObserverBase[BatchResult], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        loop = cast(abc.SchedulerBase, scheduler)  # a Stream is always subscribed to on one
        return _Batch(observer, loop, max_concurrent, retries, shared).begin(requests)

    return Stream(subscribe)


def _check(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}.")
    if value < least:
        raise ValueError(f"{name} is a whole number from {least} on, not {value!r}.")


class _Requests(Protocol):
    """Where the requests come from."""

    def ask(self) -> None:
        """Lets one more come, but not within this call."""
        ...


class _InPlace:
    """The requests of an iterable that is advanced on the loop's thread.

    Each in an action of its own: so nothing grows deeper however soon an answer comes, and the consumer has got what is
    ready before the next one is taken.
    """

    def __init__(self, iterable: Iterable[Any], batch: "_Batch", scheduler: abc.SchedulerBase) -> None:
        self._reading: SyncReading = IterableSource(iterable).open()
        self._batch = batch
        self._scheduler = scheduler

    def ask(self) -> None:
        self._scheduler.schedule(self._take)

    def close(self) -> None:
        self._reading.close()

    def _take(self, _: abc.SchedulerBase, __: Any = None) -> None:
        try:
            items = self._reading.pull()
        except Exception as error:  # noqa: BLE001  whatever the iterable raises
            self._batch.fail(error)
            return
        if items is None:
            self._batch.exhaust()
        else:
            self._batch.take(items[0])


class _Asked:
    """A request that is under way."""

    def __init__(self, index: int, given: Any) -> None:
        self.index = index
        self.given = given
        self.begun = time.monotonic()
        self.attempts = 0
        self.came = False  # something of the answer
        # The attempt that is under way, or the wait for the next.
        self.current = SerialDisposable()

    def see(self, _: ModelResponseStream) -> None:
        self.came = True


class _Batch:
    """One subscription. All of it happens on the thread of the loop that it is subscribed with."""

    _requests: _Requests

    def __init__(
        self,
        observer: abc.ObserverBase[BatchResult],
        scheduler: abc.SchedulerBase,
        max_concurrent: int,
        retries: int,
        common: Secret[dict[str, Any]],
    ) -> None:
        self._observer = observer
        self._scheduler = scheduler
        self._max_concurrent = max_concurrent
        self._retries = retries
        self._common = common
        self._taken = self._running = 0
        self._asking = self._exhausted = False
        self._held = CompositeDisposable()

    def begin(self, requests: Any) -> abc.DisposableBase:
        """Asks for the first request."""
        if hasattr(requests, "__aiter__"):
            metered = self._requests = MeteredSource(IterableSource(requests))
            self._held.add(
                Stream.from_source(metered).subscribe(self.take, self.fail, self.exhaust, scheduler=self._scheduler)
            )
        else:
            in_place = self._requests = _InPlace(requests, self, self._scheduler)
            self._held.add(Disposable(in_place.close))
        self._ask()
        return self._held

    def take(self, given: Any) -> None:
        """A request has come."""
        self._asking = False
        self._running += 1
        asked = _Asked(self._taken, given)
        self._taken += 1
        try:
            chunks = self._stream(given)
        except (APIError, TypeError, ValueError) as error:
            # Without its traceback, whose frames hold the request.
            self._end(asked, None, error.with_traceback(None))
            return
        except Exception as error:  # noqa: BLE001  a fault in a program
            self.fail(error)
            return
        self._held.add(asked.current)
        responses = chunks.pipe(rx_ops.do_action(asked.see), build_response())
        self._attempt(asked, responses)
        self._ask()

    def exhaust(self) -> None:
        """There are no more requests."""
        self._exhausted = True
        self._complete_if_over()

    def fail(self, error: Exception) -> None:
        """Ends all of it."""
        self._held.dispose()
        self._observer.on_error(error)

    def _ask(self) -> None:
        if not (self._asking or self._exhausted) and self._running < self._max_concurrent:
            self._asking = True
            self._requests.ask()

    def _stream(self, given: Any) -> Stream[ModelResponseStream]:
        common = self._common
        if isinstance(given, str):
            before = common.get_secret_value().get("messages", ())
            own = Secret[dict[str, Any]]({"messages": [*before, {"role": "user", "content": given}]})
        elif isinstance(given, Mapping):
            own = Secret[dict[str, Any]]({**given})
        else:
            raise TypeError(f"a request is a text or a dictionary of arguments, not {type(given).__name__}.")
        del given
        arguments = Secret[dict[str, Any]]({**common.get_secret_value(), **own.get_secret_value()})
        arguments.get_secret_value().pop("stream", None)
        chunks: Stream[ModelResponseStream] = completion(stream=True, **arguments.get_secret_value())
        return chunks

    def _attempt(self, asked: _Asked, responses: Stream[ModelResponse]) -> None:
        asked.attempts += 1
        asked.came = False
        # Set first: the source may fail inside its subscribe, where what follows takes its place.
        upstream = asked.current.disposable = SingleAssignmentDisposable()
        upstream.disposable = responses.subscribe(
            partial(self._end, asked, error=None),
            partial(self._failed, asked, responses),
            scheduler=self._scheduler,
        )

    def _failed(self, asked: _Asked, responses: Stream[ModelResponse], error: Exception) -> None:
        if not isinstance(error, APIError):
            self.fail(error)
            return
        # What failed before anything came, completion() has tried again by itself.
        if not asked.came or asked.attempts > self._retries or not may_pass(error):
            self._end(asked, None, error)
            return
        seconds = retry_wait(asked.attempts - 1, error.headers)
        _log.info("Trying again in %.2f s: %s: %s", seconds, type(error).__name__, error)

        def again(_: abc.SchedulerBase, __: Any = None) -> None:
            self._attempt(asked, responses)

        asked.current.disposable = self._scheduler.schedule_relative(seconds, again)

    def _end(self, asked: _Asked, response: ModelResponse | None, error: Exception | None) -> None:
        """A request has its result; there is room for another."""
        self._running -= 1
        self._held.remove(asked.current)
        self._observer.on_next(
            BatchResult(
                index=asked.index,
                request=asked.given,
                response=response,
                error=error,
                attempts=asked.attempts,
                seconds=time.monotonic() - asked.begun,
            )
        )
        self._ask()
        self._complete_if_over()

    def _complete_if_over(self) -> None:
        if self._exhausted and not self._running:
            self._observer.on_completed()
