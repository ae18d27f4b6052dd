"""race: of several asked at once, the one that has content first."""

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
from tests.operators.cases.resilience import bare, of_one
from tests.operators.sources import notifications, of
from tests.server import PATIENCE, Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
ROLE, OTHER_ROLE, STOP = of("", role="assistant"), of(role="assistant"), of(finish_reason="stop")


def raced(*streams: list[Any]) -> tuple[list[Any], list[list[Any]]]:
    """What comes out, and when each stream was subscribed to."""
    scheduler = TestScheduler()
    sources: list[Any] = [scheduler.create_cold_observable(stream) for stream in streams]
    result = scheduler.start(lambda: sources[0].pipe(of_one(lambda source: ops.race(source, *sources[1:]))()))
    return notifications(result.messages), [source.subscriptions for source in sources]


def test_content_wins_and_not_a_role() -> None:
    """All are asked at once; the losers are let go of when the winner has content."""
    out, subscriptions = raced(
        [on_next(10, ROLE), on_next(50, of("late"))],
        [on_next(20, OTHER_ROLE), on_next(30, of("Hel")), on_next(60, STOP), on_completed(70)],
        [],
    )
    assert out == [(230, "N", OTHER_ROLE), (230, "N", of("Hel")), (260, "N", STOP), (270, "C", None)]
    subscribe = ReactiveTest.subscribe
    assert subscriptions == [[subscribe(200, 230)], [subscribe(200, 270)], [subscribe(200, 230)]]


def test_an_error_and_an_empty_answer_do_not_win() -> None:
    """While another runs."""
    out, _ = raced(
        [on_next(5, ROLE), on_error(10, APIConnectionError("down"))],
        [on_completed(20)],
        [on_next(30, of("Hel")), on_completed(40)],
    )
    assert out == [(230, "N", of("Hel")), (240, "C", None)]


def test_the_first_empty_answer_is_better_than_none() -> None:
    """When all others have ended without content."""
    out, _ = raced(
        [on_error(30, APIConnectionError("down"))], [on_next(10, ROLE), on_completed(20)], [on_completed(25)]
    )
    assert out == [(230, "N", ROLE), (230, "C", None)]


def test_all_fail() -> None:
    """The last error passes; its notes tell of the others."""
    errors = [APIConnectionError("down", model="a"), RateLimitError("busy", model="b"), APIConnectionError("gone")]
    out, _ = raced(*([on_error(time, error)] for time, error in zip((10, 20, 15), errors, strict=True)))
    assert [(time, kind) for time, kind, _ in out] == [(220, "E")]
    assert errors[1].__notes__ == [
        "Before it failed a: APIConnectionError: down",
        "Before it failed another: APIConnectionError: gone",
    ]


def test_a_fault_that_is_no_provider_s_passes_at_once() -> None:
    """It is not hidden by another's answer."""
    out, subscriptions = raced([on_error(10, TypeError("a fault"))], [on_next(30, of("Hel"))])
    assert [(time, kind) for time, kind, _ in out] == [(210, "E")]
    assert subscriptions[1] == [ReactiveTest.subscribe(200, 210)]


def test_the_winner_s_error_passes() -> None:
    """There is no other any more."""
    out, _ = raced([on_next(10, of("Hel")), on_error(20, APIConnectionError("down"))], [on_next(30, of("no"))])
    assert [(time, kind) for time, kind, _ in out] == [(210, "N"), (220, "E")]


def test_those_that_end_inside_their_subscribe_leave_the_rest_a_chance() -> None:
    """An empty answer or an error of the first does not keep the second from being asked."""
    hello: Observable[ModelResponseStream] = rx.of(of("Hel"))
    for first in (rx.empty(), rx.throw(APIConnectionError("down"))):
        assert list(ops.race(first, hello)) == [of("Hel")]
    assert list(ops.race(rx.empty(), rx.empty())) == []
    assert list(ops.race(rx.empty(), rx.throw(APIConnectionError("down")))) == []


def test_those_after_a_winner_inside_its_subscribe_are_not_asked() -> None:
    """They would be paid for in vain."""

    def subscribe(_observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        raise AssertionError("was asked")

    def at_once(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        observer.on_next(of("Hel"))
        observer.on_completed()
        return Disposable()

    assert list(ops.race(Observable(at_once), Observable(subscribe))) == [of("Hel")]


def test_sources_on_threads_of_their_own() -> None:
    """Of many that have content at the same moment, one wins, and all of it is delivered."""

    def on_a_thread(text: str) -> Observable[ModelResponseStream]:
        def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
            def work() -> None:
                start.wait(PATIENCE)
                for _ in range(100):
                    observer.on_next(of(text))
                observer.on_completed()

            threading.Thread(target=work, daemon=True).start()
            return Disposable()

        return Observable(subscribe)

    for _ in range(20):
        start = threading.Event()
        got: list[str] = []
        done = threading.Event()
        stream = ops.race(*(on_a_thread(text) for text in "abcdef"))
        bare(stream).pipe(ops.text_deltas()).subscribe(got.append, on_completed=done.set)
        start.set()
        assert done.wait(PATIENCE)
        assert len(got) == 100
        assert len(set(got)) == 1


@pytest.mark.parametrize("arguments", [(), ("gpt-4",), (rx.never(), None)])
def test_arguments_are_checked_at_once(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match="race"):
        ops.race(*arguments)


def test_it_has_no_request(ask: Ask) -> None:
    """Of several, nobody knows whose it would be."""
    assert ops.race(ask(), ask()).request is None


# -- on real sockets


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_the_servers_of_the_losers_see_it(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """Each request is sent once, and those that lose are closed; the winner speaks when all are there."""
    gate = server.gate()
    started: list[int] = []

    async def script(answering: Answering) -> None:
        if answering.json["model"] == "quick":
            await gate.wait()
            await answering.stream("Hel", "lo")
            return
        await answering.start()
        await answering.event(chunk("", role="assistant"))
        started.append(answering.number)
        if len(started) == 2:
            gate.open()
        await answering.closed()

    server.script = script
    stream = ops.race(*(ask(model=f"openai/{name}") for name in ("slow", "quick", "slower")))
    assert texts(consume(stream)) == ["Hel", "lo"]
    assert {server.next_closed(), server.next_closed()} == set(started)
    assert len(server.requests) == 3


def test_a_broken_connection_does_not_win(server: Server, ask: Ask) -> None:
    """Nor does a refusal: the third answers."""

    async def script(answering: Answering) -> None:
        if answering.json["model"] == "refused":
            await answering.json_answer(401, {"error": {"message": "No"}})
        elif answering.json["model"] == "broken":
            await answering.start()
            await answering.event(chunk("", role="assistant"))
            answering.reset()
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    stream = ops.race(*(ask(model=f"openai/{name}", max_retries=0) for name in ("refused", "broken", "good")))
    assert texts(stream) == ["Hel", "lo"]
