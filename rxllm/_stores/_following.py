"""Following a stream of a store: what to ask for, what comes of it, in a thread or on an event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rxllm._interruptible import Interruptible
from rxllm._stores._entries import ABANDONED, incomplete, outcome_of
from rxllm._stores._protocol import BEGINNING, LONGEST_WAIT, ClosedSession, Page, Read, StreamStore
from rxllm._stores._store import check_key, check_store, seconds
from rxllm._stream import Stream
from rxllm.exceptions import APIConnectionError, APIResponseValidationError, IncompleteStreamError, NotFoundError

__all__ = ["follow", "followed"]

_T = TypeVar("_T")


def follow(store: StreamStore, key: str, after: str | None, wait: float) -> Stream[tuple[str, bytes]]:
    """The entries of a stream after an id, each with its id, and then how it has ended."""
    return followed(store, key, after, wait, lambda number, entry: (number, entry))


def followed(
    store: StreamStore, key: str, after: str | None, wait: float, made: Callable[[str, bytes], _T]
) -> Stream[_T]:
    """The same, with what ``made`` makes of each id and its entry."""
    check_store(store)
    begin = BEGINNING if after is None else after
    given: Any = begin
    if not isinstance(given, str):
        raise TypeError(f"after is the id of an entry, a text, not {given!r}")
    if not (begin.isascii() and begin.isdecimal() and len(begin) < 16):
        raise ValueError(f"after is the id of an entry, a number as text, not {begin!r}")
    seconds("wait", wait, zero=True)
    return Stream.from_source(_Source(store, check_key(key), str(int(begin)), wait, made))


class _Following:
    """The rules: what to ask the store for next, and what its answer means."""

    def __init__(self, key: str, after: str, wait: float, made: Callable[[str, bytes], Any]) -> None:
        self._key = key
        self._after = after
        self._made = made
        self._deadline = time.monotonic() + wait
        self._found = False
        self._count = 0
        self._wait = 0.0  # the first question says at once what there is
        self._outcome: Exception | None = None
        self._over = False

    def command(self) -> Read | None:
        """What to ask for; ``None`` once the stream has ended well."""
        if not self._over:
            return Read(self._key, self._after, self._wait, ABANDONED)
        if self._outcome is not None:
            raise self._outcome
        return None

    def take(self, page: Page) -> list[Any]:
        """What came.

        Raises:
            APIError: the stream is not there, or not as it was.
        """
        if page.kind in {"missing", "beyond"}:
            self._miss(page)
            return []
        self._found = True
        # A little later than the lease's end, so that it is over when it is looked at.
        self._wait = min(page.patience + 0.005, LONGEST_WAIT)
        if page.kind == "over":
            self._over = True
            self._outcome = outcome_of(self._key, page.ending)
        items: list[Any] = []
        for number, entry in page.entries:
            if int(number) != int(self._after) + 1:
                self._over, self._outcome = True, self._lost()
                break
            try:
                items.append(self._made(number, entry))
            except APIResponseValidationError as error:
                # What came before it is delivered before.
                self._over, self._outcome = True, error
                break
            self._after = number
        self._count += len(items)
        if isinstance(self._outcome, APIConnectionError):
            self._outcome.chunks = self._count
        return items

    def broken(self, error: APIConnectionError) -> APIConnectionError:
        """The error of a store that cannot be reached."""
        if self._count:
            error = IncompleteStreamError(error.message, code=error.code)
            error.chunks = self._count
        return error

    def _miss(self, page: Page) -> None:
        if self._found or self._count:
            raise self._lost()
        left = self._deadline - time.monotonic()
        if page.kind == "beyond":
            raise NotFoundError(f"The stream {self._key!r} has no entry {self._after}", code="beyond")
        if left <= 0:
            raise NotFoundError(f"There is no stream {self._key!r}, or it is kept no more", code="missing")
        self._wait = min(left, LONGEST_WAIT)

    def _lost(self) -> IncompleteStreamError:
        error = incomplete(self._key, "lost")
        error.chunks = self._count
        return error


class _Source:
    def __init__(
        self, store: StreamStore, key: str, after: str, wait: float, made: Callable[[str, bytes], Any]
    ) -> None:
        self._store = store
        self._asked = (key, after, wait, made)

    def open(self) -> "_SyncReading":
        return _SyncReading(self._store, _Following(*self._asked))

    def open_async(self) -> "_AsyncReading":
        return _AsyncReading(self._store, _Following(*self._asked))


class _SyncReading:
    def __init__(self, store: StreamStore, following: _Following) -> None:
        self._session = store.open()
        self._following = following

    def pull(self) -> list[Any] | None:
        while (command := self._following.command()) is not None:
            try:
                page = self._session.perform(command)
            except ClosedSession:
                return None
            except APIConnectionError as error:
                broken = self._following.broken(error)
            else:
                if items := self._following.take(page):
                    return items
                continue
            raise broken
        return None

    def drain(self) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()


class _AsyncReading:
    def __init__(self, store: StreamStore, following: _Following) -> None:
        self._session = store.open_async()
        self._following = following
        self._interruptible = Interruptible()
        self._closed = False

    async def pull(self) -> list[Any] | None:
        self._interruptible.begin()
        try:
            while not self._closed and (command := self._following.command()) is not None:
                try:
                    page = await self._session.perform(command)
                except APIConnectionError as error:
                    broken = self._following.broken(error)
                else:
                    if items := self._following.take(page):
                        return items
                    continue
                raise broken
        except asyncio.CancelledError:
            if not self._interruptible.absorb():
                raise
        finally:
            self._interruptible.end()
        return None

    async def drain(self) -> None:
        """Nothing is held."""

    def close(self) -> bool:
        if not self._closed:
            self._closed = True
            if self._interruptible.busy:
                self._interruptible.interrupt()
        return False

    async def aclose(self) -> None:
        """Nothing is held."""
