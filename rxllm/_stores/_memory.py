"""The store of one process: dictionaries, and whoever waits for something in them."""

import asyncio
import contextlib
import heapq
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from rxllm._stores._entries import FULL
from rxllm._stores._protocol import (
    LONGEST_PAGE,
    Append,
    ClosedSession,
    Command,
    Create,
    Finish,
    Page,
    Read,
    Renew,
    Stop,
    Verdict,
)
from rxllm._stores._store import Store

__all__ = ["MemoryStore"]

_DONE: Final = Verdict("done")
_MISSING: Final = Verdict("missing")


class MemoryStore(Store):
    """Keeps published streams in this process, for all its threads and event loops.

    ::

        store = MemoryStore()
        completion(...).pipe(publish_to(store, "answer")).subscribe()      # somewhere
        for chunk in observe_from(store, "answer"): ...                    # somewhere else

    It holds every entry of a stream until ``keep`` seconds after its end, and lets go of what is older whenever it is
    used. A stream that would take more than ``max_stream_bytes`` ends: who publishes it and who observes it gets an
    ``IncompleteStreamError`` whose ``code`` is ``"full"``, after all that was kept, and its request is cancelled. With
    the process everything in it is gone; ``RedisStore`` outlives it and serves many.

    Args:
        keep: how many seconds a stream is kept after its end.
        lease: how many seconds a publisher may be silent before its streams count as abandoned; it says that it is
            there more often than that, also where nothing is published.
        max_stream_bytes: how much memory the entries of one stream may take, in bytes; a chunk of a few words takes
            some 400.

    Raises:
        TypeError, ValueError: an argument is no number, or not above 0; ``max_stream_bytes`` is no whole one.

    >>> import rxllm
    >>> from rxllm import operators as ops
    >>> store = MemoryStore()
    >>> hi = [{"role": "user", "content": "Hi"}]
    >>> stream = rxllm.completion("sim/echo", hi, stream=True, extra_body={"delay": 0})
    >>> subscription = stream.pipe(ops.publish_to(store, "greeting")).subscribe()
    >>> ops.observe_from(store, "greeting", wait=10).pipe(ops.accumulate_text()).run()
    'Hi'
    """

    def __init__(self, *, keep: float = 3600.0, lease: float = 10.0, max_stream_bytes: int = 64 << 20) -> None:
        super().__init__(keep=keep, lease=lease)
        given: Any = max_stream_bytes
        if not isinstance(given, int) or isinstance(given, bool):
            raise TypeError(f"max_stream_bytes is a whole number of bytes, not {given!r}")
        if max_stream_bytes <= 0:
            raise ValueError(f"max_stream_bytes is a number of bytes above 0, not {max_stream_bytes}")
        self._streams = _Streams(keep, lease, max_stream_bytes)

    def open(self) -> "_Session":
        """For a thread."""
        return _Session(self._streams)

    def open_async(self) -> "_AsyncSession":
        """For the running event loop."""
        return _AsyncSession(self._streams)

    def __repr__(self) -> str:
        return "<MemoryStore>"


class _Kept:
    """One stream."""

    __slots__ = ("ending", "entries", "forgotten_at", "heard_at", "size", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.entries: list[bytes] = []
        self.size = 0  # of these, in memory
        self.ending: bytes | None = None
        self.heard_at = self.forgotten_at = 0.0


class _Streams:
    """All streams of a store, and who waits for something to happen to which."""

    def __init__(self, keep: float, lease: float, most: int) -> None:
        self._keep = keep
        self._lease = lease
        self._most = most
        self._kept: dict[str, _Kept] = {}
        # When to look whether a stream can be forgotten: it may have been renewed since, or have ended before.
        self._due: list[tuple[float, str]] = []
        self._wakers: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)
        self._mutex = threading.Lock()

    def perform(self, command: Command) -> Verdict | Page:
        """Does what is asked, without waiting."""
        with self._mutex:
            now = time.monotonic()
            self._forget(now)
            stream = self._kept.get(command.key)
            if isinstance(command, Read):
                return self._read(stream, command, now)
            verdict = self._write(stream, command, now)
            wakers = list(self._wakers.get(command.key, ())) if not isinstance(command, Renew) else ()
        for wake in wakers:
            wake()
        return verdict

    def watch(self, key: str, wake: Callable[[], None]) -> None:
        """Calls ``wake`` whenever something happens to a stream, on whatever thread that is."""
        with self._mutex:
            self._wakers[key].add(wake)

    def unwatch(self, key: str, wake: Callable[[], None]) -> None:
        """Calls it no more."""
        with self._mutex:
            self._wakers[key].discard(wake)
            if not self._wakers[key]:
                del self._wakers[key]

    def _write(self, stream: _Kept | None, command: Command, now: float) -> Verdict:
        if isinstance(command, Create):
            if stream is None:
                stream = self._kept[command.key] = _Kept(command.token)
                self._hear(stream, now)
                self._look_at(command.key, stream)
            return _DONE if stream.token == command.token else Verdict("taken")
        if stream is None:
            return _MISSING
        if not isinstance(command, Stop | Read) and stream.token != command.token:
            return Verdict("taken")
        if stream.ending is not None:
            return Verdict("over", stream.ending)
        there = len(stream.entries)
        if isinstance(command, Append):
            if command.first > there + 1:
                return Verdict("gap")
            further = command.entries[there + 1 - command.first :]
            stream.size += sum(map(sys.getsizeof, further))
            if stream.size > self._most:
                self._end(command.key, stream, FULL, now)
                return Verdict("over", FULL)
            stream.entries += further
        elif isinstance(command, Finish) and command.count != there:
            return Verdict("gap")
        elif isinstance(command, Finish | Stop):
            self._end(command.key, stream, command.ending, now)
            return _DONE
        self._hear(stream, now)
        return _DONE

    def _read(self, stream: _Kept | None, command: Read, now: float) -> Page:
        if stream is None:
            return Page("missing")
        after, there = int(command.after), len(stream.entries)
        if stream.ending is None and now - stream.heard_at >= self._lease:
            self._end(command.key, stream, command.abandoned, now)
        end = min(there, after + LONGEST_PAGE)
        entries = [(str(at + 1), stream.entries[at]) for at in range(after, end)]
        if stream.ending is not None and there <= end and after <= there + 1:  # the end has an id as well
            return Page("over", entries, stream.ending)
        return Page("beyond" if after > there else "open", entries, patience=self._lease - (now - stream.heard_at))

    def _hear(self, stream: _Kept, now: float) -> None:
        stream.heard_at = now
        stream.forgotten_at = now + self._lease + self._keep

    def _end(self, key: str, stream: _Kept, ending: bytes, now: float) -> None:
        stream.ending = ending
        stream.forgotten_at = now + self._keep
        self._look_at(key, stream)

    def _look_at(self, key: str, stream: _Kept) -> None:
        heapq.heappush(self._due, (stream.forgotten_at, key))

    def _forget(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, key = heapq.heappop(self._due)
            stream = self._kept.get(key)
            if stream is None:
                continue  # it was looked at when its time was over
            if stream.forgotten_at <= now:
                del self._kept[key]
            elif stream.ending is None:
                self._look_at(key, stream)


def _has_news(page: Any) -> bool:
    return page.kind in {"over", "beyond"} or bool(page.entries)


class _Session:
    def __init__(self, streams: _Streams) -> None:
        self._streams = streams
        self._woken = threading.Event()
        self._closed = False

    def perform(self, command: Command) -> Any:
        result = self._perform(command)
        if not isinstance(command, Read) or _has_news(result):
            return result
        self._streams.watch(command.key, self._woken.set)
        try:
            deadline = time.monotonic() + command.wait
            while True:
                self._woken.clear()
                result = self._perform(command)
                left = deadline - time.monotonic()
                if _has_news(result) or left <= 0:
                    return result
                self._woken.wait(min(left, result.patience))
        finally:
            self._streams.unwatch(command.key, self._woken.set)

    def _perform(self, command: Command) -> Any:
        if self._closed:
            raise ClosedSession
        return self._streams.perform(command)

    def close(self) -> None:
        self._closed = True
        self._woken.set()


class _AsyncSession:
    def __init__(self, streams: _Streams) -> None:
        self._streams = streams
        self._event_loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    async def perform(self, command: Command) -> Any:
        result: Any = self._streams.perform(command)
        if not isinstance(command, Read) or _has_news(result):
            return result
        self._streams.watch(command.key, self._wake)
        try:
            deadline = time.monotonic() + command.wait
            while True:
                self._woken.clear()
                result = self._streams.perform(command)
                left = deadline - time.monotonic()
                if _has_news(result) or left <= 0:
                    return result
                # Not wait_for(): before Python 3.12 it may swallow that its task is cancelled.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, result.patience)):
                        await self._woken.wait()
        finally:
            self._streams.unwatch(command.key, self._wake)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody is left to wake
            self._event_loop.call_soon_threadsafe(self._woken.set)
