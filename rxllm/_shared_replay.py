"""What came of one subscription, kept for all who follow it, each at a pace of its own: what ``share_replay()`` is."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from reactivex import abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

__all__ = ["SharedReplay"]

_T = TypeVar("_T")


class SharedReplay(Generic[_T]):
    """The items of one subscription so far, and its end. To a loop it is a source, which each follower reads alone.

    ``upstream`` is that subscription; it is disposed of when the last follower leaves before the end. Items come from
    one thread at a time, followers from any.
    """

    def __init__(self) -> None:
        self.upstream = SingleAssignmentDisposable()
        self._items: list[_T] = []
        self._ended = False
        self._error: Exception | None = None
        self._followers = 0
        self._abandoned = False
        self._changed = threading.Condition()
        self._wakers: set[Callable[[], None]] = set()

    # -- who follows

    def join(self) -> bool:
        """One more follows; false where it is too late: after an error, or when all had left before the end."""
        with self._changed:
            if self._abandoned or self._error is not None:
                return False
            self._followers += 1
            return True

    def leave(self) -> None:
        """One follows no more."""
        with self._changed:
            self._followers -= 1
            if self._followers or self._ended:
                return
            self._abandoned = True
        self.upstream.dispose()

    # -- what comes

    def add(self, item: _T) -> None:
        """The next item."""
        with self._changed:
            self._items.append(item)
        self._tell()

    def end(self, error: Exception | None = None) -> None:
        """The end; none counts after the first."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._error = error
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    # -- following

    def open(self) -> "_SyncFollowing[_T]":
        """A reading for a thread."""
        return _SyncFollowing(self)

    def open_async(self) -> "_AsyncFollowing[_T]":
        """A reading for an event loop."""
        return _AsyncFollowing(self)

    def tell(self, observer: abc.ObserverBase[_T]) -> abc.DisposableBase:
        """Tells an observer, which has no loop of its own, on the thread that brings the items."""
        position = 0
        busy = False

        def wake() -> None:
            nonlocal position, busy
            with self._changed:
                if busy:
                    return
                busy = True
            while True:
                with self._changed:
                    found = position < len(self._items)
                    if not found and not self._ended:
                        busy = False
                        return
                    position += 1
                if not found:
                    # Busy for ever: there is nothing after the end.
                    if self._error is None:
                        observer.on_completed()
                    else:
                        observer.on_error(self._error)
                    return
                observer.on_next(self._items[position - 1])

        with self._changed:
            self._wakers.add(wake)
        wake()
        return Disposable(lambda: self._wakers.discard(wake))

    def ready(self, position: int) -> bool:
        """Whether a follower that has got so far has something to get."""
        return self._ended or position < len(self._items)

    def wait(self, following: "_SyncFollowing[_T]") -> None:
        """Waits until there is something for a follower, or it is closed."""
        with self._changed:
            while not following.closed and not self.ready(following.position):
                self._changed.wait()

    def since(self, position: int) -> list[_T] | None:
        """The items from there on; ``None`` at the end, or the error."""
        with self._changed:
            items = self._items[position:]
        if items:
            return items
        if self._error is not None:
            # Several raise it, each with a traceback that begins anew.
            raise self._error.with_traceback(None)
        return None

    def wake_all(self) -> None:
        """Lets those look up that wait in threads."""
        with self._changed:
            self._changed.notify_all()

    def watch(self, wake: Callable[[], None]) -> None:
        """Calls ``wake`` whenever something comes, on whatever thread that is."""
        with self._changed:
            self._wakers.add(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Calls it no more."""
        with self._changed:
            self._wakers.discard(wake)


class _SyncFollowing(Generic[_T]):
    """What one follower reads in a thread."""

    def __init__(self, shared: SharedReplay[_T]) -> None:
        self._shared = shared
        self.position = 0
        self.closed = False

    def pull(self) -> list[_T] | None:
        self._shared.wait(self)
        items = None if self.closed else self._shared.since(self.position)
        self.position += len(items or ())
        return items

    def drain(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self._shared.wake_all()


class _AsyncFollowing(Generic[_T]):
    """What one follower reads on an event loop."""

    def __init__(self, shared: SharedReplay[_T]) -> None:
        self._shared = shared
        self._position = 0
        self._closed = False
        self._event_loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        shared.watch(self._wake)

    async def pull(self) -> list[_T] | None:
        while not self._closed and not self._shared.ready(self._position):
            self._something.clear()
            # It may have come in between.
            if not self._shared.ready(self._position):
                await self._something.wait()
        items = None if self._closed else self._shared.since(self._position)
        self._position += len(items or ())
        return items

    async def drain(self) -> None:
        self.close()

    def close(self) -> bool:
        self._closed = True
        self._shared.unwatch(self._wake)
        self._wake()
        return False

    async def aclose(self) -> None:
        """There is nothing left to let go of."""

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody is left to wake
            self._event_loop.call_soon_threadsafe(self._something.set)
