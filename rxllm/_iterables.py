"""Readings of what Python can iterate: lists, generators, and the responses of other clients."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from rxllm._interruptible import Interruptible
from rxllm.types import ModelResponseStream

__all__ = ["IterableSource"]

_END = object()


def _as_chunk(item: Any) -> Any:
    """A chunk of ours for a dictionary or an object of the same shape; anything else as it is."""
    if isinstance(item, ModelResponseStream):
        return item
    if isinstance(item, Mapping):
        return ModelResponseStream.model_validate(dict(item)) if "choices" in item else item  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if hasattr(item, "choices") and hasattr(item, "model_dump"):
        return ModelResponseStream.model_validate(item.model_dump(exclude_none=True))
    return item


class IterableSource:
    """A source of whatever ``iterable`` gives, one item at a time."""

    def __init__(self, iterable: Any) -> None:
        self._iterable = iterable

    def open(self) -> "_SyncReading":
        """A reading for a thread; an asynchronous iterable is run on an event loop of the reading's own."""
        if hasattr(self._iterable, "__iter__"):
            return _SyncReading(iter(self._iterable))
        return _SyncReading(_Unrolled(aiter(self._iterable)))

    def open_async(self) -> "_AsyncReading":
        """A reading for an event loop; a blocking iterable is iterated in a thread, unless it is a mere sequence."""
        if hasattr(self._iterable, "__aiter__"):
            return _AsyncReading(aiter(self._iterable))
        return _AsyncReading(_Threaded(iter(self._iterable), blocking=not isinstance(self._iterable, Sequence)))


class _SyncReading:
    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self._lock = threading.Lock()
        self._busy = self._closed = False

    def pull(self) -> list[Any] | None:
        with self._lock:
            if self._closed:
                return None
            self._busy = True
        try:
            item = next(self._iterator, _END)
        finally:
            with self._lock:
                self._busy = False
                closed = self._closed
            if closed:
                self._let_go()
        return None if item is _END else [_as_chunk(item)]

    def drain(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes the iterator, if it is one that can be closed; one that is being read, when that returns."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            busy = self._busy
        if not busy:
            self._let_go()

    def _let_go(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _Unrolled(Iterator[Any]):
    """An asynchronous iterator, read from a thread without an event loop."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._runner = asyncio.Runner()

    def __next__(self) -> Any:
        item = self._runner.run(self._next())
        if item is _END:
            raise StopIteration
        return item

    async def _next(self) -> Any:
        return await anext(self._iterator, _END)

    def close(self) -> None:
        async def let_go() -> None:
            close = getattr(self._iterator, "aclose", None)
            if close is not None:
                await close()

        self._runner.run(let_go())
        self._runner.close()


class _Threaded(AsyncIterator[Any]):
    """A blocking iterator, read from an event loop."""

    def __init__(self, iterator: Iterator[Any], *, blocking: bool) -> None:
        self._iterator = iterator
        self._blocking = blocking
        self._running: asyncio.Future[Any] | None = None

    async def __anext__(self) -> Any:
        if self._blocking:
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(None, next, self._iterator, _END)
            # A thread cannot be cancelled: it goes on, and what it still brings is let go of.
            item = await asyncio.shield(self._running)
        else:
            item = next(self._iterator, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Closes the iterator: at once, or when the thread that is in it comes back."""
        if self._running is None or self._running.done():
            self._close()
        else:
            self._running.add_done_callback(self._close)

    def _close(self, done: "asyncio.Future[Any] | None" = None) -> None:
        if done is not None and not done.cancelled():
            done.exception()  # nobody else asks for it any more
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _AsyncReading:
    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._interruptible = Interruptible()
        self._closed = False

    async def pull(self) -> list[Any] | None:
        self._interruptible.begin()
        try:
            item = _END if self._closed else await anext(self._iterator, _END)
        except asyncio.CancelledError:
            if not self._interruptible.absorb():
                raise
            item = _END
        finally:
            self._interruptible.end()
            if self._closed:
                await self.aclose()
        return None if item is _END or self._closed else [_as_chunk(item)]

    async def drain(self) -> None:
        if self.close():
            await self.aclose()

    def close(self) -> bool:
        if self._closed:
            return False
        self._closed = True
        if not self._interruptible.busy:
            return True
        self._interruptible.interrupt()
        return False

    async def aclose(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()
