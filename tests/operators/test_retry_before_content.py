"""retry_before_content: sends again, but never once content has been given."""

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream, Timeouts
from rxllm import operators as ops
from rxllm._failures import may_pass
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    IncompleteStreamError,
    InternalServerError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
)
from tests.consume import WAYS
from tests.operators.sources import call_piece, calling, failure, notifications, of
from tests.server import PATIENCE, Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
ROLE, STOP = of("", role="assistant"), of(finish_reason="stop")
DOWN = APIConnectionError("The line is down")


def trying(*tries: list[Any], n: int, disposed: float = 1000, **options: Any) -> tuple[list[Any], list[Any]]:
    """What comes out where each subscription finds the next of these, and when each was subscribed to."""
    scheduler = TestScheduler()
    sources: list[Any] = [scheduler.create_cold_observable(messages) for messages in tries]
    following = iter(sources)
    source: Observable[ModelResponseStream] = rx.defer(lambda _: next(following))
    result = scheduler.start(lambda: source.pipe(ops.retry_before_content(n, **options)), disposed=disposed)
    return notifications(result.messages), [source.subscriptions for source in sources]


def test_the_next_try_gives_the_answer() -> None:
    """Nothing of the failed ones is seen; each is sent after the wait."""
    out, subscriptions = trying(
        [on_next(10, ROLE), on_error(20, DOWN)],
        [on_error(10, DOWN)],
        [on_next(10, ROLE), on_next(20, of("Hel")), on_next(30, STOP), on_completed(40)],
        n=2,
        wait=100,
    )
    assert [each for (each,) in subscriptions] == [
        ReactiveTest.subscribe(200, 220),
        ReactiveTest.subscribe(320, 330),
        ReactiveTest.subscribe(430, 470),
    ]
    assert out == [(450, "N", ROLE), (450, "N", of("Hel")), (460, "N", STOP), (470, "C", None)]


def test_when_all_tries_have_failed_the_last_error_passes() -> None:
    """After what that try gave; there is none more than asked for."""
    last = InternalServerError("Out of order")
    out, subscriptions = trying(
        [on_error(10, DOWN)], [on_next(10, ROLE), on_error(20, last)], [on_next(10, of("no"))], n=1, wait=50
    )
    assert out == [(280, "N", ROLE), (280, "E", None)]
    assert subscriptions[2] == []


@pytest.mark.parametrize(
    "content", [of("Hel"), of(reasoning_content="Hm"), calling(call_piece("{", name="f")), of("Hel", index=1)]
)
def test_never_after_content(content: ModelResponseStream) -> None:
    """Of any kind and choice: it would come twice."""
    out, subscriptions = trying([on_next(10, content), on_error(20, DOWN)], [on_next(10, of("no"))], n=5, wait=1)
    assert out == [(210, "N", content), (220, "E", None)]
    assert subscriptions[1] == []


def test_none_is_none() -> None:
    """With 0 the source is as it was."""
    out, subscriptions = trying([on_error(10, DOWN)], [on_next(10, of("no"))], n=0)
    assert [kind for _, kind, _ in out] == ["E"]
    assert subscriptions[1] == []


def test_leaving_during_the_wait_sends_nothing_more() -> None:
    """The timer goes with the consumer."""
    out, subscriptions = trying([on_error(10, DOWN)], [on_next(10, of("no"))], n=5, wait=100, disposed=250)
    assert out == []
    assert subscriptions[1] == []


def test_the_server_says_how_long_to_wait() -> None:
    """Retry-After is in the error's headers; without it the waits grow."""
    busy = RateLimitError("Slow down", headers={"retry-after": "30"})
    out, subscriptions = trying([on_error(10, busy)], [on_next(10, of("Hel")), on_completed(20)], n=1)
    assert subscriptions[1] == [ReactiveTest.subscribe(240, 260)]
    assert len(out) == 2
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(on_error(1, DOWN))
    scheduler.start(lambda: source.pipe(ops.retry_before_content(4)))
    starts = [each.subscribe for each in source.subscriptions]
    waits = [later - earlier - 1 for earlier, later in pairwise(starts)]
    for wait, longest in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert 0.7 * longest <= wait <= longest + 0.1


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (APIConnectionError("down"), True),
        (IncompleteStreamError("stopped"), True),
        (Timeout("late"), True),
        (ConflictError("busy", status_code=409), True),
        (RateLimitError("busy", status_code=429), True),
        (ServiceUnavailableError("busy", status_code=503), True),
        (RateLimitError("no credit", status_code=429, code="insufficient_quota"), False),
        (RateLimitError("no credit", status_code=429, type="insufficient_quota"), False),
        (BadRequestError("what?", status_code=400), False),
        (AuthenticationError("who?", status_code=401), False),
        (APIResponseValidationError("what?"), False),
        (RuntimeError("a fault"), False),
    ],
)
def test_which_errors_are_worth_it(error: Exception, *, passing: bool) -> None:
    """Those of the line, of load and of the server; not what will be the same the next time."""
    assert may_pass(error) is passing
    tries = iter([rx.throw(error), rx.of(of("Hel"))])
    source: Observable[ModelResponseStream] = rx.defer(lambda _: next(tries))
    got: list[Any] = []
    source.pipe(ops.retry_before_content(1, wait=0)).subscribe(got.append, got.append)
    assert got == ([of("Hel")] if passing else [error])


def test_the_bound_on_the_whole_time_ends_it() -> None:
    """There is no time left for another try."""
    late = Timeout("late")
    late.bound = "total"
    assert not may_pass(late)
    late.bound = "first"
    assert may_pass(late)


def test_a_function_of_ones_own_decides() -> None:
    """It sees the error; what it raises ends the stream."""
    seen: list[Exception] = []

    def when(error: Exception) -> bool:
        seen.append(error)
        return isinstance(error, BadRequestError)

    bad = BadRequestError("what?")
    out, _ = trying([on_error(10, bad)], [on_error(10, DOWN)], n=5, wait=10, when=when)
    assert seen == [bad, DOWN]
    assert [kind for _, kind, _ in out] == ["E"]

    def failing(_: Exception) -> bool:
        raise LookupError("the caller's own")

    source: Observable[ModelResponseStream] = rx.throw(DOWN)
    _, error = failure(source.pipe(ops.retry_before_content(5, wait=0, when=failing)))
    assert isinstance(error, LookupError)


def test_many_tries_of_a_source_that_fails_at_once() -> None:
    """They do not stand on each other's shoulders."""
    tries = count()

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        next(tries)
        observer.on_error(DOWN)
        return Disposable()

    source: Observable[ModelResponseStream] = Observable(subscribe)
    assert failure(source.pipe(ops.retry_before_content(2000, wait=0))) == ([], DOWN)
    assert next(tries) == 2001


@given(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3))
def test_as_many_requests_as_needed(n: int, failures: int, roles: int) -> None:
    """One, and one more for each failure up to n; nothing is seen twice."""
    requests = count()

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        for _ in range(roles):
            observer.on_next(ROLE)
        if next(requests) < failures:
            observer.on_error(DOWN)
        else:
            observer.on_next(of("Hel"))
            observer.on_completed()
        return Disposable()

    source: Observable[ModelResponseStream] = Observable(subscribe)
    got: list[Any] = []
    source.pipe(ops.retry_before_content(n, wait=0)).subscribe(got.append, got.append)
    assert got == [ROLE] * roles + [of("Hel") if failures <= n else DOWN]
    assert next(requests) == min(failures, n) + 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"n": -1}, ValueError),
        ({"n": 1.0}, TypeError),
        ({"n": True}, TypeError),
        ({"wait": -1}, ValueError),
        ({"wait": "1"}, TypeError),
        ({"wait": float("nan")}, ValueError),
        ({"when": APIError("no")}, TypeError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=next(iter(arguments))):
        ops.retry_before_content(**arguments)


# -- on real sockets


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_a_connection_that_breaks_after_the_role(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """What completion() itself does not try again, since a chunk has come."""

    async def script(answering: Answering) -> None:
        if answering.number < 3:
            await answering.start()
            await answering.event(chunk("", role="assistant"))
            answering.reset()
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    assert texts(consume(ask().pipe(ops.retry_before_content(2, wait=0.05)))) == ["Hel", "lo"]
    assert len(server.requests) == 3


def test_a_wait_for_the_first_event_that_was_too_long(server: Server, ask: Ask) -> None:
    """The first request is closed, and another one answers: the second, unless the machine is busy."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.closed()
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    stream = ask(timeout=Timeouts(first=0.2)).pipe(ops.retry_before_content(20, wait=0))
    assert texts(stream) == ["Hel", "lo"]
    assert server.next_closed() == 1


def test_leaving_during_the_wait_on_a_loop(server: Server, ask: Ask) -> None:
    """Nothing more is sent."""

    async def script(answering: Answering) -> None:
        await answering.json_answer(503, {"error": {"message": "busy"}})
        server.events.put("refused")

    server.script = script
    subscription = ask(max_retries=0).pipe(ops.retry_before_content(3, wait=PATIENCE)).subscribe()
    assert server.next_event() == "refused"
    subscription.dispose()
    assert len(server.requests) == 1
