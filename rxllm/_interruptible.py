"""Awaiting something that another thread, or another task, may cut short."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Interruptible"]

_T = TypeVar("_T")


class Interruptible:
    """Runs coroutines as tasks, one at a time, until it is interrupted; then they are cancelled, and no more begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupted = False
        self._task: asyncio.Task[Any] | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T | None:
        """What ``work()`` gives; ``None`` where it was interrupted. A consumer that is cancelled takes it along."""
        with self._lock:
            if self._interrupted:
                return None
            self._event_loop = asyncio.get_running_loop()
            self._task = task = self._event_loop.create_task(work())
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._interrupted or not task.cancelled() or (current is not None and current.cancelling()):
                raise
            return None
        finally:
            self._task = None

    def interrupt(self) -> None:
        """Cancels what runs, from any thread."""
        with self._lock:
            self._interrupted = True
            task, event_loop = self._task, self._event_loop
        if task is not None and event_loop is not None:
            event_loop.call_soon_threadsafe(task.cancel)
