"""Streams among threads and tasks: consumed by many at once, handed from one to another, over pooled connections."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxops

import rxllm
from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIStatusError
from tests.server import PATIENCE, Answering, Server, chunk
from tests.test_stream import join_rxllm_threads

Ask = Callable[..., Stream[ModelResponseStream]]
MANY = 16


class Threads:
    """Consumes in threads."""

    def consume(self, stream: Stream[Any]) -> list[Any]:
        """All items of a Stream."""
        return list(stream)

    def leave(self, stream: Stream[Any], closed: Callable[[], object]) -> None:
        """Takes one item, and waits until the server has seen that this was all."""
        for _ in stream:
            break
        closed()

    def consume_at_once(self, streams: list[Stream[Any]]) -> list[list[Any]]:
        """All items of each Stream, side by side."""
        with ThreadPoolExecutor(len(streams)) as threads:
            return list(threads.map(self.consume, streams))

    def close(self) -> None:
        """Closes the shared connections."""
        rxllm.close()


class Tasks:
    """Consumes in tasks, all on one event loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def consume(self, stream: Stream[Any]) -> list[Any]:
        """All items of a Stream."""
        return self._runner.run(_collect(stream))

    def leave(self, stream: Stream[Any], closed: Callable[[], object]) -> None:
        """Takes one item, and waits until the server has seen that this was all."""

        async def take() -> None:
            async for _ in stream:
                break
            await asyncio.to_thread(closed)

        self._runner.run(take())

    def consume_at_once(self, streams: list[Stream[Any]]) -> list[list[Any]]:
        """All items of each Stream, side by side."""

        async def gather() -> list[list[Any]]:
            return await asyncio.gather(*(_collect(stream) for stream in streams))

        return self._runner.run(gather())

    def close(self) -> None:
        """Closes the shared connections."""
        self._runner.run(rxllm.aclose())


async def _collect(stream: Stream[Any]) -> list[Any]:
    return [item async for item in stream]


@pytest.fixture(params=["threads", "tasks"])
def consumers(request: pytest.FixtureRequest) -> Iterator[Threads | Tasks]:
    """Consumers of either kind."""
    if request.param == "threads":
        yield Threads()
    else:
        with asyncio.Runner() as runner:
            yield Tasks(runner)


def all_at_once(count: int) -> Callable[[Answering], Any]:
    """A script that answers only once ``count`` requests are there, and then the next as many, and so on."""
    waiting: list[asyncio.Event] = []

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        waiting.append(asyncio.Event())
        mine = waiting[-1]
        if len(waiting) == count:
            while waiting:
                waiting.pop().set()
        await mine.wait()
        await answering.last(chunk("lo"), chunk(finish="stop"), "[DONE]")

    return script


# -- one Stream, many consumers


def test_one_stream_consumed_by_many_at_once(server: Server, ask: Ask, consumers: Threads | Tasks) -> None:
    """Each sends a request of its own and gets all items; what an operator keeps is not mixed up."""
    server.script = all_at_once(MANY)
    stream = ask().pipe(ops.accumulate_text())
    assert consumers.consume_at_once([stream] * MANY) == [["Hel", "Hello"]] * MANY
    assert len(server.requests) == MANY


def test_one_stream_subscribed_to_from_many_threads(server: Server, ask: Ask) -> None:
    """Its subscriptions come and go side by side."""
    server.script = all_at_once(MANY)
    stream = ask().pipe(ops.accumulate_text())
    got: list[list[str]] = [[] for _ in range(MANY)]
    done = threading.Semaphore(0)

    def subscribe(items: list[str]) -> None:
        stream.subscribe(items.append, on_completed=done.release)

    with ThreadPoolExecutor(MANY) as threads:
        list(threads.map(subscribe, got))
    for _ in got:
        assert done.acquire(timeout=PATIENCE)
    assert got == [["Hel", "Hello"]] * MANY
    join_rxllm_threads()


# -- from one thread to another

HANDED_ON: dict[str, Callable[[Stream[Any]], Stream[Any]]] = {
    "plain": lambda stream: stream,
    "with a timer": lambda stream: stream.pipe(rxops.timeout(PATIENCE)),
    "merged": lambda stream: as_stream(rx.merge(stream, rx.never())),
    "shared": lambda stream: stream.pipe(rxops.share()),
}


@pytest.mark.parametrize("shape", HANDED_ON)
def test_begun_in_one_thread_continued_in_a_second_closed_in_a_third(server: Server, ask: Ask, shape: str) -> None:
    """An iterator belongs to no thread, as long as one at a time uses it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.event(chunk("two"))
        await answering.closed()

    server.script = script
    iterator = iter(HANDED_ON[shape](ask().pipe(ops.text_deltas())))

    def elsewhere(step: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as thread:  # a new one each time
            return thread.submit(step).result(PATIENCE)

    assert elsewhere(lambda: next(iterator)) == "one"
    assert elsewhere(lambda: next(iterator)) == "two"
    elsewhere(iterator.close)
    assert server.next_closed() == 1
    assert elsewhere(lambda: next(iterator, "the end")) == "the end"
    join_rxllm_threads()


@pytest.mark.parametrize("shape", HANDED_ON)
def test_disposed_of_from_many_threads_at_once(server: Server, ask: Ask, shape: str) -> None:
    """A subscription may be left by whoever wants to, and more than once."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = script

    def leave_together(number: int) -> None:
        first, together = threading.Event(), threading.Barrier(MANY)
        ends: list[Any] = []
        subscription = HANDED_ON[shape](ask()).subscribe(lambda _: first.set(), ends.append, lambda: ends.append(None))
        assert first.wait(PATIENCE)

        def dispose(_: int) -> None:
            together.wait(PATIENCE)
            subscription.dispose()

        with ThreadPoolExecutor(MANY) as threads:
            list(threads.map(dispose, range(MANY)))
        assert server.next_closed() == number
        join_rxllm_threads()
        assert ends == []

    for number in range(1, 6):
        leave_together(number)


# -- connections are pooled


def test_as_many_connections_as_streams_at_once(server: Server, ask: Ask, consumers: Threads | Tasks) -> None:
    """The next streams use them again; after close() there are new ones."""
    server.script = all_at_once(MANY)
    for connections in (MANY, MANY, 2 * MANY):
        consumers.consume_at_once([ask() for _ in range(MANY)])
        assert server.connections == connections
        if len(server.requests) == 2 * MANY:
            consumers.close()
    consumers.close()


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
@pytest.mark.parametrize("length", [0, 20, 300_000])
def test_after_an_error_the_connection_is_used_again(
    server: Server, ask: Ask, consumers: Threads | Tasks, status: int, length: int
) -> None:
    """Its body is read to its end, so that the next request finds the connection free."""
    answer = server.script

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.json_answer(status, {"error": {"message": "x" * length}} if length else b"")
        else:
            await answer(answering)

    server.script = script
    with pytest.raises(APIStatusError) as caught:
        consumers.consume(ask(max_retries=0))
    assert caught.value.status_code == status
    assert len(consumers.consume(ask())) > 0
    assert (server.connections, len(server.requests)) == (1, 2)
    consumers.close()


def test_a_connection_that_was_left_is_not_used_again(server: Server, ask: Ask, consumers: Threads | Tasks) -> None:
    """What was still to come on it would be taken for the next answer; the pool goes on with others."""
    answer = server.script

    async def script(answering: Answering) -> None:
        if answering.number % 2:
            await answering.start()
            await answering.event(chunk("one"), chunk("two"))
            await answering.closed()
        else:
            await answer(answering)

    server.script = script
    for round_number in range(1, 4):
        consumers.leave(ask(), server.next_closed)
        assert consumers.consume(ask().pipe(ops.accumulate_text()))[-1] == "Hello world"
        # The one that was left is gone, the other serves the next round.
        assert server.connections == round_number + 1
    consumers.close()
