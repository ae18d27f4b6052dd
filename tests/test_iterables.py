"""What Python can iterate, as a Stream: it is closed, whatever happens, and cancelled like anything else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import reactivex as rx

from rxllm import ModelResponse, as_stream
from tests.server import PATIENCE


def test_a_failing_iterable_is_closed() -> None:
    """Its error comes through, and what it held is let go of."""
    closed: list[str] = []

    def generate() -> Iterator[object]:
        try:
            yield {"choices": "no choices"}
        finally:
            closed.append("sync")

    async def generate_async() -> AsyncIterator[object]:
        try:
            yield {"choices": "no choices"}
        finally:
            closed.append("async")

    for source in (generate(), generate_async()):
        with pytest.raises(ValueError, match="choices"):
            list(as_stream(source))
    assert closed == ["sync", "async"]


def test_a_blocking_iterable_on_an_event_loop_is_closed_when_its_thread_comes_back() -> None:
    """A thread cannot be cancelled, its consumer can."""
    waiting, gate, closed = threading.Event(), threading.Event(), threading.Event()

    def generate() -> Iterator[int]:
        try:
            yield 1
            waiting.set()
            gate.wait(PATIENCE)
            yield 2
        finally:
            closed.set()

    async def consume() -> None:
        async def loop() -> None:
            async for _ in as_stream(generate()):
                pass

        task = asyncio.ensure_future(loop())
        assert await asyncio.to_thread(waiting.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed.is_set()
        gate.set()
        assert await asyncio.to_thread(closed.wait, PATIENCE)

    asyncio.run(consume())


def test_a_timeout_in_an_asynchronous_generator_holds() -> None:
    """It is iterated in the consumer's own task, so that what asyncio binds to a task works in it."""

    async def generate() -> AsyncIterator[int]:
        async with asyncio.timeout(0.001):
            yield 1
            await asyncio.Event().wait()

    async def consume() -> None:
        async for _ in as_stream(generate()):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(consume(), PATIENCE))


def test_an_asynchronous_generator_that_waits_can_be_left() -> None:
    """Beside another source, leaving cancels what it awaits, and closes it."""
    closed: list[bool] = []

    async def generate() -> AsyncIterator[int]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            closed.append(True)

    async def consume() -> None:
        async for item in as_stream(rx.merge(as_stream(generate()), as_stream([1]))):
            assert item == 1
            break

    asyncio.run(asyncio.wait_for(consume(), PATIENCE))
    assert closed == [True]


def test_a_whole_response_is_no_stream() -> None:
    """A model can be iterated, and gives its fields: the error says what was meant."""
    with pytest.raises(TypeError, match="ModelResponse is none: ask for it with stream=True"):
        as_stream(ModelResponse())
