"""Publishing beside a loop: what the loop's stream brings goes to a store, and comes back once it is kept.

To the loop it is a source. A slow consumer holds up the loop, and not the thread or the task that tells the store that
the publisher is alive.
"""

import asyncio
import atexit
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from rxllm._stores._protocol import ClosedSession, StreamStore
from rxllm._stores._publishing import Come, Publishing, Wait
from rxllm.types import ModelResponseStream

__all__ = ["Publication"]

# How long one who has left waits for the store to hear of it, in seconds. Otherwise the lease tells.
_LAST_WORD: Final = 2.0

# What comes out: items, the end, or an error.
_Packet = list[Any] | BaseException | None


class Publication:
    """A source of what is kept of the chunks that it is told of, for one reading."""

    def __init__(self, store: StreamStore, key: str) -> None:
        self._store = store
        self._publishing = Publishing(store, key)
        self._tell: Callable[[Come], None] = _nobody

    def add(self, chunk: ModelResponseStream) -> None:
        """A chunk from upstream."""
        self._tell(Come([chunk]))

    def fail(self, error: Exception) -> None:
        """Upstream has failed."""
        self._tell(Come(over=True, error=error))

    def complete(self) -> None:
        """Upstream is at its end."""
        self._tell(Come(over=True))

    def open(self) -> "_ThreadReading":
        """A reading for a thread."""
        reading = _ThreadReading(self._store, self._publishing)
        self._tell = reading.inbox.put
        return reading

    def open_async(self) -> "_TaskReading":
        """A reading for an event loop."""
        reading = _TaskReading(self._store, self._publishing)
        self._tell = reading.tell
        return reading


def _nobody(_: Come) -> None:
    """There is no reading yet."""


class _ThreadReading:
    def __init__(self, store: StreamStore, publishing: Publishing) -> None:
        self.inbox: queue.SimpleQueue[Come] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[_Packet] = queue.SimpleQueue()
        self._publishing = publishing
        self._closed = False
        self._session = store.open()
        self._thread = threading.Thread(target=self._run, name="rxllm-publisher", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._session.close()
            raise

    def pull(self) -> list[Any] | None:
        packet = self._outbox.get()
        if isinstance(packet, BaseException):
            raise packet
        return packet

    def drain(self) -> None:
        """Nothing is left."""

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _leaving.add(self._thread)
            self.inbox.put(Come(left=True))
            self._outbox.put(None)

    def _run(self) -> None:
        end: _Packet = None
        try:
            self._publish()
        except ClosedSession:
            pass
        except BaseException as error:  # noqa: BLE001  whatever it is, it is for the loop to deliver
            end = error
        finally:
            self._session.close()
            self._outbox.put(end)
            _leaving.discard(self._thread)

    def _publish(self) -> None:
        steps, told = self._publishing.steps(), None
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(told)
                if isinstance(step, list):
                    self._outbox.put(step)
                    told = None
                elif isinstance(step, Wait):
                    told = self._come(step.seconds)
                else:
                    told = self._session.perform(step)

    def _come(self, seconds: float) -> Come:
        come = Come()
        with contextlib.suppress(queue.Empty):
            come.add(self.inbox.get(timeout=seconds))
            while True:
                come.add(self.inbox.get_nowait())
        return come


class _TaskReading:
    def __init__(self, store: StreamStore, publishing: Publishing) -> None:
        self._inbox: asyncio.Queue[Come] = asyncio.Queue()
        self._outbox: asyncio.Queue[_Packet] = asyncio.Queue()
        self._publishing = publishing
        self._closed = False
        self._event_loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._session = store.open_async()
        self._task = self._event_loop.create_task(self._run())

    def tell(self, come: Come) -> None:
        if threading.get_ident() == self._ident:
            self._inbox.put_nowait(come)
        else:
            # Of what upstream merged, another thread may bring something.
            self._on_event_loop(self._inbox.put_nowait, come)

    async def pull(self) -> list[Any] | None:
        packet = await self._outbox.get()
        if isinstance(packet, BaseException):
            raise packet
        return packet

    async def drain(self) -> None:
        """Nothing is left."""

    def close(self) -> bool:
        if self._closed:
            return False
        self._closed = True
        self._on_event_loop(self._leave)
        return True

    async def aclose(self) -> None:
        await asyncio.wait([self._task], timeout=_LAST_WORD)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _on_event_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and the task with it
            self._event_loop.call_soon_threadsafe(call, *arguments)

    def _leave(self) -> None:
        self._inbox.put_nowait(Come(left=True))
        self._outbox.put_nowait(None)

    async def _run(self) -> None:
        end: _Packet = None
        try:
            await self._publish()
        except asyncio.CancelledError as error:
            end = error
            raise
        except BaseException as error:  # noqa: BLE001  whatever it is, it is for the loop to deliver
            end = error
        finally:
            self._outbox.put_nowait(end)

    async def _publish(self) -> None:
        steps, told = self._publishing.steps(), None
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(told)
                if isinstance(step, list):
                    self._outbox.put_nowait(step)
                    told = None
                elif isinstance(step, Wait):
                    told = await self._come(step.seconds)
                else:
                    told = await self._session.perform(step)

    async def _come(self, seconds: float) -> Come:
        come = Come()
        with contextlib.suppress(TimeoutError, asyncio.QueueEmpty):
            if self._inbox.empty():
                async with asyncio.timeout(seconds):
                    come.add(await self._inbox.get())
            while True:
                come.add(self._inbox.get_nowait())
        return come


# The threads of those who have left, and have still to say so.
_leaving: set[threading.Thread] = set()


def _join() -> None:
    """At the end of the process: lets those have their last word, for a while."""
    end = time.monotonic() + _LAST_WORD
    for thread in list(_leaving):
        thread.join(max(end - time.monotonic(), 0))


atexit.register(_join)
