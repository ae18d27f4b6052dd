"""hedge: another request where the first is late, and the better of the two."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError, RateLimitError
from tests.consume import WAYS
from tests.operators.sources import call_piece, calling, failure, notifications, of
from tests.server import PATIENCE, Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
ROLE, OTHER_ROLE, STOP = of("", role="assistant"), of(role="assistant"), of(finish_reason="stop")
DOWN, BUSY = APIConnectionError("The line is down", model="gpt-4"), RateLimitError("Too many", model="claude")


def hedged(
    first: list[Any], second: list[Any], after: float = 50, disposed: int = 1000
) -> tuple[list[Any], list[Any], list[Any]]:
    """What comes out, and when the first and the second were subscribed to."""
    scheduler = TestScheduler()
    one: Any = scheduler.create_cold_observable(first)
    two: Any = scheduler.create_cold_observable(second)
    result = scheduler.start(lambda: one.pipe(ops.hedge(two, after)), disposed=disposed)
    return notifications(result.messages), one.subscriptions, two.subscriptions


def test_a_first_that_is_in_time_is_alone() -> None:
    """The other is never asked, and the role comes together with the content."""
    out, one, two = hedged(
        [on_next(10, ROLE), on_next(30, of("Hel")), on_next(90, STOP), on_completed(95)], [on_next(10, of("no"))]
    )
    assert out == [(230, "N", ROLE), (230, "N", of("Hel")), (290, "N", STOP), (295, "C", None)]
    assert one == [ReactiveTest.subscribe(200, 295)]
    assert two == []


@pytest.mark.parametrize(
    "content",
    [of("Hel"), of(reasoning_content="Hm"), calling(call_piece("{", name="f")), of(refusal="No"), of("a", index=1)],
)
def test_the_other_wins_where_it_has_content_first(content: ModelResponseStream) -> None:
    """Of any kind and choice; nothing of the first is seen, and it is let go of at that moment."""
    out, one, two = hedged(
        [on_next(10, ROLE), on_next(300, of("late"))], [on_next(10, OTHER_ROLE), on_next(20, content), on_completed(30)]
    )
    assert out == [(270, "N", OTHER_ROLE), (270, "N", content), (280, "C", None)]
    assert one == [ReactiveTest.subscribe(200, 270)]
    assert two == [ReactiveTest.subscribe(250, 280)]


def test_the_first_may_still_win() -> None:
    """The other is let go of then."""
    out, one, two = hedged([on_next(60, of("Hel")), on_completed(70)], [on_next(20, of("no"))])
    assert out == [(260, "N", of("Hel")), (270, "C", None)]
    assert two == [ReactiveTest.subscribe(250, 260)]
    assert one == [ReactiveTest.subscribe(200, 270)]


def test_a_first_that_fails_makes_the_other_start_at_once() -> None:
    """Nobody waits for what cannot come; what it gave is not seen."""
    out, _, two = hedged([on_next(5, ROLE), on_error(10, DOWN)], [on_next(20, of("Hel")), on_completed(30)])
    assert out == [(230, "N", of("Hel")), (240, "C", None)]
    assert two == [ReactiveTest.subscribe(210, 240)]


def test_one_that_fails_while_both_run_leaves_the_other() -> None:
    """Whichever it is."""
    for first, second in (([on_error(60, DOWN)], []), ([], [on_error(10, DOWN)])):
        going_on = [on_next(100, of("Hel")), on_completed(110)]
        out, _, _ = hedged(first or going_on, second or going_on)
        assert [(kind, value) for _, kind, value in out] == [("N", of("Hel")), ("C", None)]


def test_both_fail() -> None:
    """The last error passes, and a note tells of the other."""
    down = APIConnectionError("The line is down", model="gpt-4")
    busy = RateLimitError("Too many", model="claude")
    scheduler = TestScheduler()
    one: Any = scheduler.create_cold_observable(on_error(60, down))
    two: Any = scheduler.create_cold_observable(on_next(5, ROLE), on_error(40, busy))
    result = scheduler.start(lambda: one.pipe(ops.hedge(two, 50)))
    assert result.messages == [on_error(290, busy)]
    assert busy.__notes__ == ["Before it failed gpt-4: APIConnectionError: The line is down"]


def test_an_error_after_content_passes() -> None:
    """There is no other any more."""
    out, _, two = hedged([on_next(10, of("Hel")), on_error(20, DOWN)], [on_next(10, of("no"))])
    assert [kind for _, kind, _ in out] == ["N", "E"]
    assert two == []


def test_a_fault_that_is_no_provider_s_passes_at_once() -> None:
    """A TypeError is not hidden by another's answer."""
    fault = TypeError("wrong client")
    scheduler = TestScheduler()
    one: Any = scheduler.create_cold_observable(list[Any]())
    two: Any = scheduler.create_cold_observable(on_error(10, fault))
    result = scheduler.start(lambda: one.pipe(ops.hedge(two, 50)))
    assert result.messages == [on_error(260, fault)]
    assert one.subscriptions == [ReactiveTest.subscribe(200, 260)]


def test_an_answer_without_content_is_an_answer() -> None:
    """Nothing else is asked; where another runs, that has the first chance."""
    out, _, two = hedged([on_next(10, ROLE), on_next(20, STOP), on_completed(30)], [on_next(10, of("no"))])
    assert out == [(230, "N", ROLE), (230, "N", STOP), (230, "C", None)]
    assert two == []
    out, _, _ = hedged([on_next(10, ROLE), on_completed(60)], [on_next(30, of("Hel")), on_completed(40)])
    assert out == [(280, "N", of("Hel")), (290, "C", None)]
    out, _, _ = hedged([on_next(10, ROLE), on_completed(60)], [on_error(30, DOWN)])
    assert out == [(280, "N", ROLE), (280, "C", None)]


@pytest.mark.parametrize(("disposed", "second"), [(240, []), (260, [ReactiveTest.subscribe(250, 260)])])
def test_leaving_cancels_whatever_runs(disposed: int, second: list[Any]) -> None:
    """Before the other has started it never does."""
    out, one, two = hedged([on_next(300, of("a"))], [on_next(300, of("b"))], disposed=disposed)
    assert out == []
    assert one == [ReactiveTest.subscribe(200, disposed)]
    assert two == second


def test_the_loser_is_let_go_of_before_the_first_chunk() -> None:
    """However long the consumer takes over it."""
    events: list[str] = []

    def subscribe(_observer: object, _scheduler: object = None) -> Disposable:
        return Disposable(lambda: events.append("cancelled"))

    winner: rx.Subject[ModelResponseStream] = rx.Subject()
    slow: Observable[ModelResponseStream] = Observable(subscribe)
    scheduler = TestScheduler()
    winner.pipe(ops.hedge(slow, 0)).subscribe(lambda _: events.append("chunk"), scheduler=scheduler)
    scheduler.start()
    winner.on_next(of("Hel"))
    assert events == ["cancelled", "chunk"]


def test_without_a_scheduler_a_timer_of_reactivex_s_own_waits() -> None:
    """On a bare Observable, whose subscription brings no scheduler."""
    seen: list[ModelResponseStream] = []
    done = threading.Event()
    silent: Observable[ModelResponseStream] = rx.never()
    silent.pipe(ops.hedge(rx.of(of("Hel")), 0.05)).subscribe(seen.append, on_completed=done.set)
    assert done.wait(PATIENCE)
    assert seen == [of("Hel")]


def test_a_winner_that_emits_inside_its_subscribe_leaves_the_other_unasked() -> None:
    """It has won before the timer is set."""
    asked: list[object] = []

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        asked.append(observer)
        return Disposable()

    def at_once(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        observer.on_next(of("Hel"))
        observer.on_completed()
        return Disposable()

    scheduler = TestScheduler()
    source: Observable[ModelResponseStream] = Observable(at_once)
    result = scheduler.start(lambda: source.pipe(ops.hedge(Observable(subscribe), 10)))
    assert [kind for _, kind, _ in notifications(result.messages)] == ["N", "C"]
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("gpt-4", 1), TypeError),
        ((rx.never(), "1"), TypeError),
        ((rx.never(), -1), ValueError),
        ((rx.never(), float("inf")), ValueError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"hedge|after"):
        ops.hedge(*arguments)


# -- on real sockets


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_the_server_sees_the_slow_request_closed(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """The second is sent after the wait, wins, and the first one's connection is closed; each is sent once."""
    slow_asked = server.gate()

    async def script(answering: Answering) -> None:
        if answering.json["model"] == "slow":
            slow_asked.open()
            await answering.start()
            await answering.event(chunk("", role="assistant"))
            await answering.closed()
        else:
            await slow_asked.wait()  # on a busy machine the second may be there first
            await answering.stream("Hel", "lo")

    server.script = script
    assert texts(consume(ask(model="openai/slow").pipe(ops.hedge(ask(), after=0.1)))) == ["Hel", "lo"]
    models = {request.number: request.json["model"] for request in server.requests}
    assert models[server.next_closed()] == "slow"
    assert sorted(models.values()) == ["gpt-4", "slow"]


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_a_quick_first_sends_one_request(server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """The other is never sent."""
    assert texts(consume(ask().pipe(ops.hedge(ask(), after=PATIENCE)))) == ["Hel", "lo", " wor", "ld"]
    assert len(server.requests) == 1


def test_a_refused_first_sends_the_other_at_once(server: Server, ask: Ask) -> None:
    """Not after the wait."""

    async def script(answering: Answering) -> None:
        if answering.json["model"] == "refused":
            await answering.json_answer(401, {"error": {"message": "No"}})
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    assert texts(ask(model="openai/refused").pipe(ops.hedge(ask(), after=PATIENCE * 2))) == ["Hel", "lo"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaving_closes_both(server: Server, ask: Ask, *, asynchronous: bool) -> None:
    """A consumer who leaves while nothing has come yet, when both have been sent."""

    async def script(answering: Answering) -> None:
        server.events.put(answering.number)
        await answering.closed()

    server.script = script
    stream = ask().pipe(ops.hedge(ask(), after=0))
    if asynchronous:

        async def consume() -> None:
            task = asyncio.ensure_future(anext(aiter(stream)))
            await asyncio.to_thread(lambda: (server.next_event(), server.next_event()))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(consume())
    else:
        subscription = stream.subscribe()
        assert {server.next_event(), server.next_event()} == {1, 2}
        subscription.dispose()
    assert {server.next_closed(), server.next_closed()} == {1, 2}


def test_two_subscriptions_hedge_by_themselves() -> None:
    """State is per subscription: a second one gives what the first did."""
    source: Observable[ModelResponseStream] = rx.throw(DOWN)
    pipeline = source.pipe(ops.hedge(rx.throw(BUSY), 0))
    for _ in range(2):
        seen, error = failure(pipeline)
        assert (seen, error) == ([], BUSY)
    assert BUSY.__notes__ == ["Before it failed gpt-4: APIConnectionError: The line is down"]
