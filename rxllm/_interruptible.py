"""Awaiting something that another thread, or another task, may cut short."""

import asyncio
import contextlib
from typing import Any

__all__ = ["Interruptible"]


class Interruptible:
    """What a task awaits between ``begin()`` and ``end()`` can be cancelled from elsewhere, and the task is not.

    It is awaited in the consumer's own task, so that whoever cancels that (a timeout, an anyio scope) reaches what is
    awaited directly, and can clean up as if nothing of ours stood between.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._cancelled = False
        self._before = 0

    @property
    def busy(self) -> bool:
        """Whether somebody awaits."""
        return self._task is not None

    def begin(self) -> None:
        """The running task is about to await."""
        if self._event_loop is None:
            self._event_loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task()
        # A task that was cancelled once and went on counts that still.
        self._before = 0 if task is None else task.cancelling()

    def end(self) -> None:
        """It awaits no more."""
        self._task = None

    def interrupt(self) -> None:
        """Cancels what is awaited, from any thread."""
        if self._event_loop is not None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed, and what was awaited with it
                self._event_loop.call_soon_threadsafe(self._cancel)

    def absorb(self) -> bool:
        """After a CancelledError: whether it was ``interrupt()``'s and nobody else's, and the task may go on."""
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() <= self._before

    def _cancel(self) -> None:
        # On the event loop: the task that stands here, if any, is between begin() and end().
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel()
