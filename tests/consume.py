"""The ways to consume a Stream, each as a function that gives all its items or raises its error."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm import Stream
from tests.server import PATIENCE

__all__ = ["WAYS", "by_async_for", "by_for", "by_subscribe", "when_subscribed"]


def by_for(stream: Stream[Any]) -> list[Any]:
    """``for item in stream``."""
    return list(stream)


def by_async_for(stream: Stream[Any]) -> list[Any]:
    """``async for item in stream``, on an event loop of its own."""

    async def consume() -> list[Any]:
        return [item async for item in stream]

    return asyncio.run(consume())


def by_subscribe(stream: Stream[Any]) -> list[Any]:
    """``stream.subscribe()``, waited for."""
    items: list[Any] = []
    errors: list[Exception] = []
    done = threading.Event()

    def on_error(error: Exception) -> None:
        errors.append(error)
        done.set()

    stream.subscribe(items.append, on_error, done.set)
    assert done.wait(PATIENCE), "neither completed nor failed"
    if errors:
        raise errors[0]
    return items


def by_task(stream: Stream[Any]) -> list[Any]:
    """``stream.subscribe(scheduler=AsyncIOScheduler(loop))``, waited for."""

    async def consume() -> list[Any]:
        loop = asyncio.get_running_loop()
        items: list[Any] = []
        done: asyncio.Future[list[Any]] = loop.create_future()
        stream.subscribe(
            items.append, done.set_exception, lambda: done.set_result(items), scheduler=AsyncIOScheduler(loop)
        )
        return await asyncio.wait_for(done, PATIENCE)

    return asyncio.run(consume())


def when_subscribed(tell: Callable[[], None]) -> Callable[[Observable[Any]], Observable[Any]]:
    """An operator that tells when its source has been subscribed to, on whatever thread that was."""

    def telling(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
            disposable = source.subscribe(observer, scheduler=scheduler)
            tell()
            return disposable

        return Observable(subscribe)

    return telling


WAYS: dict[str, Callable[[Stream[Any]], list[Any]]] = {
    "for": by_for,
    "async for": by_async_for,
    "subscribe": by_subscribe,
    "subscribe on an event loop": by_task,
}
