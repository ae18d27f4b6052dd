"""The loop under less usual circumstances: several consumers, other tasks and threads, timers, and what raises."""

import _thread
import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxops
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from tests.consume import when_subscribed
from tests.server import PATIENCE, Answering, Server, chunk, texts
from tests.test_stream import every_way, join_rxllm_threads, rxllm_threads

Ask = Callable[..., Stream[ModelResponseStream]]


@pytest.mark.parametrize("leaving", ["take", "dispose", "raise"])
def test_the_first_of_two_subscribers_leaves(
    server: Server, ask: Ask, leaving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose worker drives a shared source may go first, in any way: the other still gets the rest."""
    both, gate = server.gate(), server.gate()
    monkeypatch.setattr(threading, "excepthook", _nothing)

    async def script(answering: Answering) -> None:
        await answering.start()
        await both.wait()
        await answering.event(chunk("one"))
        await gate.wait()
        await answering.last(chunk("two"), chunk(finish="stop"), "[DONE]")

    server.script = script
    shared = ask().pipe(ops.text_deltas(), rxops.share())
    first_there, second_there, gone, done = (threading.Event() for _ in range(4))
    got: list[str] = []

    def leave(_: str) -> None:
        gone.set()
        if leaving == "raise":
            raise ZeroDivisionError

    own = shared.pipe(when_subscribed(first_there.set))
    first = (own.pipe(rxops.take(1)) if leaving == "take" else own).subscribe(leave)
    assert first_there.wait(PATIENCE)
    shared.pipe(when_subscribed(second_there.set)).subscribe(got.append, on_completed=done.set)
    assert second_there.wait(PATIENCE)
    both.open()
    assert gone.wait(PATIENCE)
    if leaving == "dispose":
        first.dispose()
    gate.open()
    assert done.wait(PATIENCE)
    assert got[-1] == "two"
    assert len(server.requests) == 1
    join_rxllm_threads()


def test_what_another_task_schedules_runs() -> None:
    """On an event loop, the loop's thread is everybody's: a Subject fed by another task wakes a loop that waits."""

    async def consume() -> list[int]:
        subject: Subject[int] = Subject()
        stream = as_stream(subject).pipe(rxops.delay(0.001), rxops.take(2))

        async def feed() -> None:
            for number in range(2):
                await asyncio.sleep(0)
                subject.on_next(number)

        feeding = asyncio.ensure_future(feed())
        items = [item async for item in stream]
        await feeding
        return items

    assert asyncio.run(asyncio.wait_for(consume(), PATIENCE)) == [0, 1]


@pytest.mark.parametrize("way", ["for", "async for"])
def test_a_slow_consumer_is_no_silence_of_the_source(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """reactivex's timeout does not count the time that a loop's body takes over what had come already."""
    now = time.monotonic()
    monkeypatch.setattr("rxllm._loop.time", SimpleNamespace(monotonic=lambda: now))
    ahead = threading.Event()

    def source() -> Iterator[str]:
        yield from "abc"
        ahead.set()  # all three have come: this is only reached when another item is asked for
        yield "d"

    stream: Stream[str] = as_stream(as_stream(source()).timeout(PATIENCE))
    got: list[str] = []

    def body(text: str) -> None:
        nonlocal now
        got.append(text)
        if len(got) == 1:
            assert ahead.wait(PATIENCE)
            now += 2 * PATIENCE  # a body that takes longer than the timeout

    if way == "for":
        for text in stream:
            body(text)
    else:

        async def consume() -> None:
            async for text in stream:
                await asyncio.to_thread(body, text)

        asyncio.run(consume())
    assert got == list("abcd")
    join_rxllm_threads()


def _nothing(_: object) -> None:
    pass


class Panic(BaseException):
    """What is no Exception."""


def _panicking() -> Iterator[int]:
    yield 1
    raise Panic


@every_way
def test_what_is_no_exception_comes_out_of_a_merge(consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """A source that raises a BaseException beside another is raised in the consumer, and hangs nothing."""
    if "subscribe" in consume.__name__ or consume.__name__ == "by_task":
        pytest.skip("raised in a worker it ends that worker, as it would end any thread")
    with pytest.raises(Panic):
        consume(as_stream(rx.merge(as_stream(_panicking()), rx.never())))
    join_rxllm_threads()


def test_an_iterator_made_in_one_thread_and_consumed_in_another(ask: Ask) -> None:
    """It reads where it is consumed, without a thread of its own."""
    iterator = iter(ask())
    seen: list[Any] = []

    def consume() -> None:
        for item in iterator:
            seen.append(item)
            assert rxllm_threads() == []

    thread = threading.Thread(target=consume)
    thread.start()
    thread.join(PATIENCE)
    assert len(texts(seen)) == 4


def test_a_callback_that_raises_at_the_end_gives_the_connection_back(
    server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """on_completed raises, and the connection is used again all the same."""
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def fail() -> None:
        raise ZeroDivisionError

    for _ in range(3):
        ask().subscribe(on_completed=fail)
        join_rxllm_threads()
    assert len(raised) == 3
    assert (len(server.requests), server.connections) == (3, 1)


@pytest.mark.parametrize("way", ["thread", "event loop"])
def test_disposing_while_timers_run_leaves_no_worker(server: Server, ask: Ask, way: str) -> None:
    """dispose() from another thread, at any moment of a pipeline with timers, ends it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        closed = asyncio.ensure_future(answering.closed())
        while not closed.done():
            await answering.event(chunk("x"))
            await asyncio.sleep(0)

    server.script = script
    pipelines: list[Callable[[Stream[Any]], Any]] = [
        lambda stream: stream.timeout(5.0),
        lambda stream: stream.debounce(0.001),
        lambda stream: stream.buffer_with_time(0.001),
    ]
    if way == "thread":
        for pipeline in pipelines * 10:
            subscription = pipeline(ask()).subscribe(_nothing)
            threading.Thread(target=subscription.dispose).start()
        join_rxllm_threads()
    else:

        async def consume() -> None:
            before = asyncio.all_tasks()
            scheduler = AsyncIOScheduler(asyncio.get_running_loop())
            for pipeline in pipelines * 3:
                subscription = pipeline(ask()).subscribe(_nothing, scheduler=scheduler)
                await asyncio.to_thread(subscription.dispose)
            while others := asyncio.all_tasks() - before:
                await asyncio.wait(others)

        asyncio.run(asyncio.wait_for(consume(), PATIENCE))


def test_leaving_a_shared_merge_does_not_wait_for_the_others() -> None:
    """On an event loop the one who leaves waits for what was its own alone."""

    async def consume() -> list[int]:
        gate = asyncio.Event()

        async def numbers() -> AsyncIterator[int]:
            yield 1
            await gate.wait()
            yield 2

        shared: Stream[int] = as_stream(rx.merge(as_stream(numbers()), rx.empty())).pipe(rxops.share())
        got: list[int] = []
        done = asyncio.Event()
        first = aiter(shared)
        assert await anext(first) == 1
        there = asyncio.Event()
        second = shared.pipe(when_subscribed(there.set))
        second.subscribe(got.append, on_completed=done.set, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
        await there.wait()
        await asyncio.wait_for(first.aclose(), PATIENCE)
        assert not done.is_set()
        gate.set()
        await done.wait()
        return got

    assert asyncio.run(asyncio.wait_for(consume(), PATIENCE)) == [2]


def test_an_item_from_another_thread_wakes_a_loop_with_timers(server: Server, ask: Ask) -> None:
    """Beside a stream that stalls, and with a timer pending, a Subject's item comes at once."""

    async def stall(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = stall
    subject: Subject[str] = Subject()
    merged: Stream[str] = as_stream(rx.merge(ask().pipe(ops.text_deltas()), subject)).pipe(rxops.timeout(PATIENCE))
    got: list[str] = []

    def feed() -> None:
        for item in ("two", "three"):
            subject.on_next(item)

    feeder = threading.Thread(target=feed)
    for text in merged:
        got.append(text)
        if text == "one":
            feeder.start()
        if text == "three":
            break
    feeder.join()
    assert got == ["one", "two", "three"]
    join_rxllm_threads()


def test_a_source_that_raises_while_it_is_closed(server: Server, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log, and keeps nothing else from being let go of."""

    async def stall(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    def raising() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise ZeroDivisionError

    server.script = stall
    merged: Stream[Any] = as_stream(rx.merge(as_stream(raising()), ask()))
    for item in merged:
        if item != 1:
            break
    assert server.next_closed() == 1
    join_rxllm_threads()
    assert "ZeroDivisionError" in caplog.text


def test_a_pump_that_is_cancelled_before_it_began(server: Server, ask: Ask) -> None:
    """As by a handler that cancels all tasks: the consumer ends, and nobody waits for what never began."""

    async def consume() -> None:
        async for _ in as_stream(rx.merge(ask(), ask())):
            pass

    async def main() -> None:
        consuming = asyncio.ensure_future(consume())

        def cancel_all() -> None:
            for task in asyncio.all_tasks() - {main_task}:
                task.cancel()

        main_task = asyncio.current_task()
        asyncio.get_running_loop().call_soon(cancel_all)
        await asyncio.wait([consuming], timeout=PATIENCE)
        assert consuming.cancelled()

    asyncio.run(main())


class _Slow(Stream[Any]):
    """A Stream whose subscribe() gives its subscription only once the source is closed."""

    def __init__(self, stream: Stream[Any], closed: threading.Event) -> None:
        super().__init__(stream._subscribe)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._closed = closed
        self.in_time = False

    def _subscribe_core(self, observer: Any, scheduler: Any = None) -> Any:
        subscription = super()._subscribe_core(observer, scheduler)
        self.in_time = self._closed.wait(PATIENCE)
        return subscription


def test_an_end_closes_the_source_though_nobody_has_the_subscription_yet() -> None:
    """As where the thread that subscribes is slow: a worker is not, and reads no more than was wanted."""
    closed = threading.Event()
    read: list[int] = []

    def numbers() -> Iterator[int]:
        try:
            while not closed.is_set() and len(read) < 10_000:
                read.append(len(read))
                yield read[-1]
        finally:
            closed.set()

    stream = _Slow(as_stream(numbers()).pipe(rxops.take(2)), closed)
    stream.subscribe()
    assert stream.in_time
    assert read == [0, 1]


def test_an_interrupt_that_wakes_nobody_is_obeyed() -> None:
    """One that comes just before the main thread waits does not end that wait, which may be an hour's."""
    main = threading.get_ident()

    def interrupt() -> None:
        while sys._current_frames()[main].f_code.co_name != "_wait":  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            pass
        _thread.interrupt_main()

    silence = as_stream(rx.timer(3600))
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        silence.run()
    interrupting.join(PATIENCE)
