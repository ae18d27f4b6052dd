"""The threads and tasks that drive loops nobody pulls from, and how they end with the process.

The threads are daemons, so that one Ctrl-C ends the process; an ``atexit`` hook waits for them, so that a script whose
last line is ``subscribe()`` still gets every item.
"""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Protocol

__all__ = ["start", "start_task", "stop"]

# How long to wait at a time, and how long for workers that were told to stop, in seconds.
_SHORT_WAIT = 0.1
_LAST_WAIT = 1.0


class _ThreadLoop(Protocol):
    def drive(self) -> None: ...
    def stop(self) -> None: ...


class _TaskLoop(Protocol):
    def drive(self) -> Coroutine[Any, Any, None]: ...


_running: dict[threading.Thread, _ThreadLoop] = {}
_waiting: list[_ThreadLoop] = []
# asyncio itself holds its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()
_hooked = False


def start(loop: _ThreadLoop) -> None:
    """Drives ``loop`` on a thread of its own."""
    global _hooked
    if not _hooked:
        _hooked = True
        atexit.register(_join)

    def work() -> None:
        try:
            loop.drive()
        finally:
            _running.pop(thread, None)

    thread = threading.Thread(target=work, name="rxllm-worker", daemon=True)
    _running[thread] = loop
    try:
        thread.start()
    except RuntimeError:
        # The interpreter is shutting down and starts no thread any more: whoever waits for the others drives it.
        del _running[thread]
        _waiting.append(loop)


def start_task(loop: _TaskLoop, event_loop: asyncio.AbstractEventLoop) -> None:
    """Drives ``loop`` as a task of ``event_loop``, on whose thread this is called."""
    task = event_loop.create_task(loop.drive())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def stop() -> None:
    """Ends them all, as after Ctrl-C: nobody waits any more for what they would bring."""
    threads = dict(_running)
    for loop in (*threads.values(), *_waiting):
        loop.stop()
    for thread in threads:
        thread.join(_LAST_WAIT)


def _join() -> None:
    """Waits for the workers; Ctrl-C, now or as what ended the main thread, stops them instead."""
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
    try:
        while (_running or _waiting) and not interrupted:
            while _waiting:
                _waiting.pop().drive()
            for thread in [thread for thread in list(_running) if thread.ident is not None]:
                thread.join(_SHORT_WAIT)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        stop()


def _forget() -> None:
    """After a fork none of the threads is there any more."""
    _running.clear()
    _waiting.clear()
    _tasks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
