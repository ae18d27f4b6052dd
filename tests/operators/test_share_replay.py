"""share_replay: one request for several consumers, wherever they are and whenever they come."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxops
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError, IncompleteStreamError
from tests.consume import WAYS, by_async_for, by_for
from tests.operators.sources import notifications, of
from tests.server import PATIENCE, Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]


def followed(messages: list[Any], *spans: tuple[int, int]) -> tuple[list[list[Any]], list[Any]]:
    """What followers get who come and leave at these times, and when the source was subscribed to."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(messages)
    shared = source.pipe(ops.share_replay())
    observers: list[Any] = []
    for begin, end in spans:
        observer = scheduler.create_observer()
        observers.append(observer)

        def come(_: object, __: object = None, observer: Any = observer, end: int = end) -> None:
            subscription = shared.subscribe(observer, scheduler=scheduler)

            def go(_: object, __: object = None) -> None:
                subscription.dispose()

            scheduler.schedule_absolute(end, go)

        scheduler.schedule_absolute(begin, come)
    scheduler.start()
    return [notifications(observer.messages) for observer in observers], source.subscriptions


MESSAGES = [on_next(10, "a"), on_next(20, "b"), on_completed(30)]


def test_late_followers_get_all_from_the_beginning() -> None:
    """At once what has been, then what comes; after the end everything, without another request."""
    seen, subscriptions = followed(MESSAGES, (200, 1000), (215, 1000), (500, 1000))
    assert seen == [
        [(210, "N", "a"), (220, "N", "b"), (230, "C", None)],
        [(215, "N", "a"), (220, "N", "b"), (230, "C", None)],
        [(500, "N", "a"), (500, "N", "b"), (500, "C", None)],
    ]
    assert subscriptions == [ReactiveTest.subscribe(200, 230)]


def test_the_last_to_leave_cancels() -> None:
    """Not the first; and whoever comes then sends a request of its own."""
    seen, subscriptions = followed(MESSAGES, (200, 212), (205, 215), (300, 1000))
    assert seen[:2] == [[(210, "N", "a")], [(210, "N", "a")]]
    assert seen[2] == [(310, "N", "a"), (320, "N", "b"), (330, "C", None)]
    assert subscriptions == [ReactiveTest.subscribe(200, 215), ReactiveTest.subscribe(300, 330)]


def test_an_error_is_for_those_who_were_there() -> None:
    """Whoever comes after it tries again."""
    down = APIConnectionError("down")
    seen, subscriptions = followed([on_next(10, "a"), on_error(20, down)], (200, 1000), (215, 1000), (300, 1000))
    assert [[kind for _, kind, _ in each] for each in seen] == [["N", "E"]] * 3
    assert len(subscriptions) == 2


def test_two_applications_share_nothing() -> None:
    """Each pipe is a request of its own."""
    asked: list[int] = []
    source: Observable[int] = rx.defer(lambda _: asked.append(1) or rx.of(1, 2))  # type: ignore[func-returns-value]
    operator = ops.share_replay()
    for shared in (source.pipe(operator), source.pipe(operator)):
        for _ in range(3):
            got: list[int] = []
            shared.subscribe(got.append)
            assert got == [1, 2]
    assert len(asked) == 2


def test_a_follower_that_makes_the_source_emit_gets_the_items_in_order() -> None:
    """Nobody is told of an item while being told of another."""
    subject: rx.Subject[int] = rx.Subject()
    got: list[int] = []

    def feed(item: int) -> None:
        if item == 1:
            subject.on_next(2)
        got.append(item)

    shared = subject.pipe(ops.share_replay())
    other: list[int] = []
    shared.subscribe(feed)
    shared.subscribe(other.append)
    subject.on_next(1)
    assert got == other == [1, 2]


# -- loops


@pytest.mark.parametrize("first", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("second", WAYS.values(), ids=WAYS)
def test_one_request_however_consumed(server: Server, ask: Ask, first: Any, second: Any) -> None:
    """Also after the end."""
    shared = ask().pipe(ops.share_replay())
    assert texts(first(shared)) == texts(second(shared)) == ["Hel", "lo", " wor", "ld"]
    assert len(server.requests) == 1


class Telling:
    """A script that sends a text whenever a test says so."""

    def __init__(self, server: Server, *contents: str) -> None:
        self.gates = [server.gate() for _ in contents]
        self._contents = contents
        server.script = self._run

    async def _run(self, answering: Answering) -> None:
        await answering.start()
        for gate, content in zip(self.gates, self._contents, strict=True):
            await gate.wait()
            await answering.event(chunk(content))
        await answering.last(chunk(finish="stop"), "[DONE]")


def test_a_slow_consumer_holds_nobody_up(server: Server, ask: Ask) -> None:
    """One stands still in its loop at the first item; others get all, and it gets the rest after that."""
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    slow = iter(shared)
    assert next(slow) == "Hel"
    assert list(shared) == by_async_for(shared) == ["Hel", "lo", " wor", "ld"]
    assert list(slow) == ["lo", " wor", "ld"]
    assert len(server.requests) == 1


def test_a_slow_subscriber_holds_nobody_up(server: Server, ask: Ask) -> None:
    """subscribe() is at its own pace too."""
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    go_on, done = threading.Event(), threading.Event()
    got: list[str] = []

    def take_time(text: str) -> None:
        got.append(text)
        assert go_on.wait(PATIENCE)

    shared.subscribe(take_time, on_completed=done.set)
    assert list(shared) == ["Hel", "lo", " wor", "ld"]
    assert len(got) <= 1
    go_on.set()
    assert done.wait(PATIENCE)
    assert got == ["Hel", "lo", " wor", "ld"]
    assert len(server.requests) == 1


def test_loops_in_many_threads(server: Server, ask: Ask) -> None:
    """No item is lost or doubled, whenever each begins."""
    words = [f"w{n} " for n in range(200)]

    async def script(answering: Answering) -> None:
        await answering.stream(*words)

    server.script = script
    for _ in range(3):
        shared = ask().pipe(ops.text_deltas(), ops.share_replay())
        with ThreadPoolExecutor(8) as pool:
            results = [pool.submit(by_for if n % 2 else by_async_for, shared) for n in range(8)]
            assert all(result.result(PATIENCE) == words for result in results)
    assert len(server.requests) == 3


def test_items_while_they_come(server: Server, ask: Ask) -> None:
    """A late one gets what has been and then lives with the others."""
    telling = Telling(server, "a", "b", "c")
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    first = iter(shared)
    telling.gates[0].open()
    assert next(first) == "a"
    second = iter(shared)
    assert next(second) == "a"
    telling.gates[1].open()
    assert (next(first), next(second)) == ("b", "b")
    telling.gates[2].open()
    assert (list(second), list(first)) == (["c"], ["c"])
    assert len(server.requests) == 1


def test_two_on_one_event_loop(server: Server, ask: Ask) -> None:
    """One leaves early; the other gets all."""

    async def consume() -> tuple[list[str], list[str]]:
        shared = ask().pipe(ops.text_deltas(), ops.share_replay())

        async def all_of_it() -> list[str]:
            return [text async for text in shared]

        async def one() -> list[str]:
            async for text in shared:
                return [text]
            return []

        every, single = await asyncio.gather(all_of_it(), one())
        return every, single

    every, single = asyncio.run(consume())
    assert every == ["Hel", "lo", " wor", "ld"]
    assert single == ["Hel"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_last_to_leave_closes_the_connection(server: Server, ask: Ask, *, asynchronous: bool) -> None:
    """The first does not."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a"))
        await answering.closed()

    server.script = script
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    if asynchronous:

        async def consume() -> None:
            one, other = aiter(shared), aiter(shared)
            assert await anext(one) == await anext(other) == "a"
            await one.aclose()
            assert server.closed.empty()
            await other.aclose()
            assert await asyncio.to_thread(server.next_closed) == 1

        asyncio.run(consume())
    else:
        one, other = iter(shared), iter(shared)
        assert next(one) == next(other) == "a"
        one.close()
        assert server.closed.empty()
        other.close()
        assert server.next_closed() == 1
    assert len(server.requests) == 1


def test_an_operator_that_takes_enough_leaves_for_itself(server: Server, ask: Ask) -> None:
    """take() on one is no end for another."""
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    one = iter(shared.pipe(rxops.take(1)))
    other = iter(shared)
    assert (next(other), next(one), list(one)) == ("Hel", "Hel", [])
    assert list(other) == ["lo", " wor", "ld"]
    assert len(server.requests) == 1


def test_everyone_gets_the_error(server: Server, ask: Ask) -> None:
    """After what came; a later one asks again."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a"))
        if answering.number == 1:
            await gate.wait()
            answering.reset()
        else:
            await answering.last(chunk(finish="stop"), "[DONE]")

    server.script = script
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    loops = [iter(shared), iter(shared)]
    assert [next(loop) for loop in loops] == ["a", "a"]
    gate.open()
    for loop in loops:
        with pytest.raises(APIConnectionError):
            next(loop)
    assert list(shared) == ["a"]
    assert len(server.requests) == 2


def test_an_event_loop_that_ends_leaves_nobody_waiting(server: Server, ask: Ask) -> None:
    """Whoever follows from a thread what it has read gets an error: it is no whole answer."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a"))
        await answering.closed()

    server.script = script
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    follower = iter(shared)

    async def consume() -> None:
        async for _ in shared:
            assert await asyncio.to_thread(next, follower) == "a"
            return

    asyncio.run(consume())
    with pytest.raises(IncompleteStreamError):
        next(follower)
    assert server.next_closed() == 1


def test_what_is_no_completion_can_be_shared_too() -> None:
    """An asynchronous generator, which can be run only once."""

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(5):
            yield number

    shared: Stream[int] = as_stream(numbers()).pipe(ops.share_replay())
    assert by_async_for(shared) == list(shared) == [0, 1, 2, 3, 4]


def test_a_consumer_s_exception_is_its_own(server: Server, ask: Ask) -> None:
    """The others go on."""
    shared = ask().pipe(ops.text_deltas(), ops.share_replay())
    other = iter(shared)
    assert next(other) == "Hel"
    with pytest.raises(LookupError):
        for _ in shared:
            raise LookupError
    assert list(other) == ["lo", " wor", "ld"]
    assert len(server.requests) == 1


def test_items_are_those_of_the_source() -> None:
    """Not copies."""
    chunks = [of("Hel"), of("lo")]
    shared = as_stream(chunks).pipe(ops.share_replay())
    assert all(a is b is c for a, b, c in zip(shared, shared, chunks, strict=True))
