"""A source that is read on only when it is told to: for whoever must not be given more than there is room for."""

import asyncio
import contextlib
import threading
from typing import Any

from rxllm._loop import AsyncReading, Source, SyncReading

__all__ = ["MeteredSource"]


class MeteredSource:
    """Reads from ``source``, once, an item for each call of ``ask()``, which the loop's own thread makes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tickets: asyncio.Semaphore | threading.Semaphore = threading.Semaphore(0)

    def ask(self) -> None:
        """Lets one more item come, now or when there is one."""
        self._tickets.release()

    def open(self) -> SyncReading:
        """A reading for a thread."""
        self._tickets = tickets = threading.Semaphore(0)
        return _SyncReading(self._source.open(), tickets)

    def open_async(self) -> AsyncReading:
        """A reading for an event loop."""
        self._tickets = tickets = asyncio.Semaphore(0)
        return _AsyncReading(self._source.open_async(), tickets)


class _SyncReading:
    def __init__(self, reading: SyncReading, tickets: threading.Semaphore) -> None:
        self._reading = reading
        self._tickets = tickets

    def pull(self) -> list[Any] | None:
        self._tickets.acquire()
        return self._reading.pull()

    def drain(self) -> None:
        self._reading.drain()

    def close(self) -> None:
        self._reading.close()
        self._tickets.release()


class _AsyncReading:
    def __init__(self, reading: AsyncReading, tickets: asyncio.Semaphore) -> None:
        self._reading = reading
        self._tickets = tickets
        self._event_loop = asyncio.get_running_loop()

    async def pull(self) -> list[Any] | None:
        await self._tickets.acquire()
        return await self._reading.pull()

    async def drain(self) -> None:
        await self._reading.drain()

    def close(self) -> bool:
        closing = self._reading.close()
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits for a ticket any more
            self._event_loop.call_soon_threadsafe(self._tickets.release)
        return closing

    async def aclose(self) -> None:
        await self._reading.aclose()
