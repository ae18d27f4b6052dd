"""A source of one item: what a function gives, called beside whatever the loop reads.

A plain function runs in a thread of its own. A coroutine function runs on the loop's event loop where there is one,
else on one of its own in such a thread.
"""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextvars import copy_context
from functools import partial
from typing import Any

__all__ = ["CallSource", "is_coroutine_function"]

_Function = Callable[[], Any]


def is_coroutine_function(function: Any) -> bool:
    """Whether calling it gives a coroutine: a coroutine function, a ``partial`` of one, an object with such a call.

    >>> is_coroutine_function(partial(asyncio.sleep, 0)), is_coroutine_function(print)
    (True, False)
    """
    while isinstance(function, partial):
        function = function.func  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    called: Any = function if isinstance(function, type) else getattr(function, "__call__", None)  # noqa: B004  its own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


class CallSource:
    """A source that calls ``function`` for each reading, at once, and gives what it returns or, awaited, comes to.

    It gives nothing where the function was cancelled. Closing it cancels a coroutine; a plain function cannot be
    stopped: its thread goes on, and what it brings is lost.
    """

    def __init__(self, function: _Function) -> None:
        self._function = function

    def open(self) -> "_ThreadReading":
        """Calls it beside a thread."""
        return _ThreadReading(self._function)

    def open_async(self) -> "_TaskReading":
        """Calls it beside the tasks of the running event loop."""
        return _TaskReading(self._function)


class _ThreadReading:
    def __init__(self, function: _Function) -> None:
        self._future = _begin(lambda future: _awaited_here(function(), future))
        self._given = False

    def pull(self) -> list[Any] | None:
        if self._given:
            return None
        self._given = True
        try:
            return [self._future.result()]
        except (CancelledError, asyncio.CancelledError):
            return None

    def drain(self) -> None:
        """Nothing is left."""

    def close(self) -> None:
        self._future.cancel()


class _TaskReading:
    def __init__(self, function: _Function) -> None:
        self._task = asyncio.get_running_loop().create_task(_awaited(function))
        self._given = False

    async def pull(self) -> list[Any] | None:
        if self._given:
            return None
        self._given = True
        await asyncio.wait([self._task])
        return None if self._task.cancelled() else [self._task.result()]

    async def drain(self) -> None:
        """Nothing is left."""

    def close(self) -> bool:
        return True

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # nobody else asks for it any more


async def _awaited(function: _Function) -> Any:
    if is_coroutine_function(function):
        return await function()
    # A thread of its own, and none of the event loop's few, whose end asyncio.run() would wait for.
    value = await asyncio.wrap_future(_begin(lambda _: function()))
    return await value if inspect.isawaitable(value) else value


def _awaited_here(value: Any, future: "Future[Any]") -> Any:
    """What ``value`` comes to, on an event loop of its own if need be; cancelled with ``future``."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        event_loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel(future: "Future[Any]") -> None:
            if future.cancelled() and task is not None:
                with contextlib.suppress(RuntimeError):  # the event loop is closed: it has come to its end
                    event_loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(cancel)
        return await value

    return asyncio.run(wait())


def _begin(work: "Callable[[Future[Any]], Any]") -> "Future[Any]":
    """Does the work in a thread of its own, with the caller's context variables."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            settle: Callable[[], None] = partial(future.set_result, work(future))
        except BaseException as error:  # noqa: BLE001  whatever it raises is for the loop to deliver
            settle = partial(future.set_exception, error)
        with contextlib.suppress(InvalidStateError):  # it was closed
            settle()

    try:
        threading.Thread(target=copy_context().run, args=(run,), name="rxllm-call", daemon=True).start()
    except RuntimeError:
        # The interpreter is shutting down and starts no thread any more.
        run()
    return future
