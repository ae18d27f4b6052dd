"""The ways to leave a Stream before its end, and the places where a request can be left.

A way is a function of a Stream and a ``Scene``. It returns only once the server has seen the connection close, and
until then holds whatever its caller would hold: the Stream, an exception, a running event loop.
"""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

import pytest
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm import Stream
from tests.server import PATIENCE, Answering, Script, chunk

__all__ = ["PLACES", "WAYS", "WAYS_BEFORE_THE_HEADERS", "Scene", "Way", "stall_after_one", "stall_before_headers"]


async def stall_before_headers(answering: Answering) -> None:
    """Nothing at all until the client goes."""
    answering.server.events.put("asked")
    await answering.closed()


async def stall_after_one(answering: Answering) -> None:
    """One chunk, and then nothing until the client goes."""
    await answering.start()
    await answering.event(chunk("one"))
    await answering.closed()


async def flood(answering: Answering) -> None:
    """Chunks as fast as the client takes them, until it goes."""
    await answering.start()
    while True:
        await answering.event(*[chunk("more")] * 20)
        await asyncio.sleep(0)  # over TLS, sending to somebody who has gone never waits


# Where a request is left: what the server does, and the item at which to leave; with 0 there is none yet.
PLACES: dict[str, tuple[Script, int]] = {
    "before the headers": (stall_before_headers, 0),
    "idle": (stall_after_one, 1),
    "in mid-traffic": (flood, 50),
}


class Scene:
    """Where a Stream is left. ``left_at`` is when it was, on the monotonic clock; ``ends`` is what was told.

    ``asked`` blocks until the server has the request; ``closed`` until it has seen the connection close.
    """

    def __init__(self, items: int, asked: Callable[[], object], closed: Callable[[], object]) -> None:
        self.closed = closed
        self.left_at = 0.0
        self.ends: list[Exception | None] = []
        self._items = items
        self._asked = asked
        self._seen = 0
        self._there = threading.Event()

    def take(self, _: Any) -> bool:
        """An item has come: whether it is the one to leave at."""
        self._seen += 1
        if self._seen == self._items:
            self._there.set()
        return self._seen == self._items

    def see(self, item: Any) -> None:
        """The same, for a subscriber."""
        self.take(item)

    def reach(self) -> None:
        """Blocks until the request is where it is to be left."""
        if self._items:
            assert self._there.wait(PATIENCE)
        else:
            self._asked()

    def end(self, error: Exception | None = None) -> None:
        """A subscriber was told of an end, which it had not waited for."""
        self.ends.append(error)

    def leave(self) -> None:
        """It is left now."""
        self.left_at = time.monotonic()


Way = Callable[[Stream[Any], Scene], None]


def _begun(stream: Stream[Any], scene: Scene) -> Generator[Any, None, None]:
    iterator: Generator[Any, None, None] = iter(stream)
    while not scene.take(next(iterator)):
        pass
    return iterator


def _by_break(stream: Stream[Any], scene: Scene) -> None:
    for item in stream:
        if scene.take(item):
            scene.leave()
            break
    scene.closed()


def _by_an_exception(stream: Stream[Any], scene: Scene) -> None:
    def consume() -> None:
        for item in stream:
            if scene.take(item):
                scene.leave()
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        consume()
    scene.closed()
    assert kept.tb is not None


def _by_close(stream: Stream[Any], scene: Scene) -> None:
    iterator = _begun(stream, scene)
    scene.leave()
    iterator.close()
    scene.closed()


def _as_garbage(stream: Stream[Any], scene: Scene) -> None:
    iterator = _begun(stream, scene)
    scene.leave()
    del iterator
    scene.closed()


def _as_garbage_in_a_cycle(stream: Stream[Any], scene: Scene) -> None:
    cycle: list[Any] = [_begun(stream, scene)]
    cycle.append(cycle)
    scene.leave()
    del cycle
    gc.collect()
    scene.closed()


def _by_dispose(stream: Stream[Any], scene: Scene) -> None:
    subscription = stream.subscribe(scene.see, scene.end, scene.end)
    scene.reach()
    scene.leave()
    subscription.dispose()
    scene.closed()


def _on_an_event_loop(way: Callable[[Stream[Any], Scene], Coroutine[Any, Any, None]]) -> Way:
    def run(stream: Stream[Any], scene: Scene) -> None:
        async def leave() -> None:
            await way(stream, scene)
            await asyncio.to_thread(scene.closed)

        asyncio.run(leave())

    return run


async def _async_begun(stream: Stream[Any], scene: Scene) -> AsyncGenerator[Any, None]:
    iterator: AsyncGenerator[Any, None] = aiter(stream)
    while not scene.take(await anext(iterator)):
        pass
    return iterator


async def _by_async_break(stream: Stream[Any], scene: Scene) -> None:
    async for item in stream:
        if scene.take(item):
            scene.leave()
            break


async def _by_aclose(stream: Stream[Any], scene: Scene) -> None:
    iterator = await _async_begun(stream, scene)
    scene.leave()
    await iterator.aclose()


async def _as_async_garbage(stream: Stream[Any], scene: Scene) -> None:
    iterator = await _async_begun(stream, scene)
    scene.leave()
    del iterator


async def _by_cancellation(stream: Stream[Any], scene: Scene) -> None:
    async def consume() -> None:
        async for item in stream:
            scene.take(item)

    task = asyncio.ensure_future(consume())
    await asyncio.to_thread(scene.reach)
    scene.leave()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def _by_dispose_on_the_loop(stream: Stream[Any], scene: Scene) -> None:
    subscription = stream.subscribe(
        scene.see, scene.end, scene.end, scheduler=AsyncIOScheduler(asyncio.get_running_loop())
    )
    await asyncio.to_thread(scene.reach)
    scene.leave()
    subscription.dispose()


async def _by_dispose_from_a_thread(stream: Stream[Any], scene: Scene) -> None:
    subscription = stream.subscribe(
        scene.see, scene.end, scene.end, scheduler=AsyncIOScheduler(asyncio.get_running_loop())
    )

    def dispose() -> None:
        scene.reach()
        scene.leave()
        subscription.dispose()

    await asyncio.to_thread(dispose)


# From outside, while the consumer waits: the only ways while nothing has come yet.
WAYS_BEFORE_THE_HEADERS: dict[str, Way] = {
    "dispose on another thread": _by_dispose,
    "task cancellation": _on_an_event_loop(_by_cancellation),
    "dispose on the event loop": _on_an_event_loop(_by_dispose_on_the_loop),
    "dispose of a task, on another thread": _on_an_event_loop(_by_dispose_from_a_thread),
}

WAYS: dict[str, Way] = {
    "break": _by_break,
    "an exception": _by_an_exception,
    "close()": _by_close,
    "garbage": _as_garbage,
    "garbage in a cycle": _as_garbage_in_a_cycle,
    "async break": _on_an_event_loop(_by_async_break),
    "aclose()": _on_an_event_loop(_by_aclose),
    "async garbage": _on_an_event_loop(_as_async_garbage),
    **WAYS_BEFORE_THE_HEADERS,
}
