"""Streams that survive their client: begun once, listened to from anywhere, resumed and stopped."""

import asyncio
import importlib
import re
import secrets
from collections.abc import AsyncGenerator
from typing import Any, Final

from rxllm._extras import missing_extra
from rxllm._stores._entries import ABANDONED, STOPPED, incomplete, outcome_of
from rxllm._stores._protocol import (
    BEGINNING,
    LONGEST_PAGE,
    LONGEST_WAIT,
    Append,
    AsyncSession,
    Page,
    Read,
    Stop,
    StreamStore,
    Verdict,
)
from rxllm.proxy._encoding import DONE
from rxllm.proxy._errors import Refusal
from rxllm.proxy._generating import Generation, audience_of

__all__ = ["Resuming", "no_entry", "place_of", "reach"]


_LONGEST_ID: Final = 15

# What may be the name of a stream: others are nobody's, and no store is asked for them.
_is_name: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII).fullmatch

# For how many seconds a store that does not answer is asked again where the server starts.
_PATIENCE_AT_START: Final = 1.0

# How long the store may take at the end, in seconds.
_LAST_WORDS: Final = 2.0


class Resuming:
    """The streams of a server that keeps them.

    Args:
        store: where: see ``create_app()``.
        resume_for: after how many seconds that nobody listens a stream is cancelled.
    """

    def __init__(self, store: Any, resume_for: float) -> None:
        self._store = _opened(store)
        self._resume_for = resume_for
        self._running: dict[str, Generation] = {}

    async def begin(self, events: AsyncGenerator[bytes, None], request_id: str) -> str:
        """Has an answer made, and gives the id of its stream, which nobody guesses.

        Raises:
            APIConnectionError: the store cannot be reached.
        """
        stream = secrets.token_urlsafe(24)
        generation = Generation(self._store, _key(stream), events, resume_for=self._resume_for, request_id=request_id)
        await generation.begin()
        if generation.task is not None:
            self._running[stream] = generation
            generation.task.add_done_callback(lambda _: self._running.pop(stream, None))
        return stream

    async def listen(self, stream: str, after: str | None) -> AsyncGenerator[tuple[bytes, int], None]:
        """The events of a stream after an entry, framed and with their ids, and how many; to its end.

        Raises:
            Refusal: there is no such stream, or no such entry.
            APIError: what the stream ended with; or the store cannot be reached, or has lost what it had.
            Exception: likewise, where it was an error of the owner's.
        """
        if not _is_name(stream):
            raise _unknown()
        session, generation = self._store.open_async(), self._running.get(stream)
        seen = after or BEGINNING
        if not (seen.isascii() and seen.isdecimal() and len(seen) <= _LONGEST_ID):
            raise no_entry()
        audience = _Audience(session, _key(stream), self._resume_for / 3)
        name = stream.encode()
        if generation is not None:
            generation.listen()
        try:
            wait = 0.0  # a stream that is not there is not waited for
            found = False
            while True:
                if generation is None:
                    await audience.say()
                page: Page = await session.perform(Read(_key(stream), seen, wait, ABANDONED))
                if page.kind in ("missing", "beyond"):
                    if found:
                        raise incomplete(stream, "lost")
                    raise _unknown() if page.kind == "missing" else no_entry()
                found = True
                if page.entries:
                    seen = page.entries[-1][0]
                    framed = [b"id: %b/%b\ndata: %b\n\n" % (name, i.encode(), data) for i, data in page.entries]
                    yield b"".join(framed), len(framed)
                if page.kind == "over":
                    break
                # A little later than the lease's end, so that it is over when it is looked at.
                wait = min(LONGEST_WAIT, page.patience + 0.005)
                if generation is None:
                    wait = min(wait, self._resume_for / 3)
        finally:
            if generation is not None:
                generation.leave()
        outcome = outcome_of(stream, page.ending)
        if outcome is not None:
            raise outcome
        yield DONE, 0

    async def stop(self, stream: str) -> None:
        """Ends a stream, wherever it is made; one that is over stays as it is.

        Raises:
            Refusal: there is no such stream.
            APIConnectionError: the store cannot be reached.
        """
        if not _is_name(stream):
            raise _unknown()
        verdict: Verdict = await self._store.open_async().perform(Stop(_key(stream), STOPPED))
        if verdict.kind == "missing":
            raise _unknown()

    async def close(self) -> None:
        """The server stops: ends what is still being made, and waits until the store knows."""
        making = [generation.task for generation in self._running.values() if generation.task is not None]
        for generation in list(self._running.values()):
            generation.stop()
        if making:
            await asyncio.wait(making, timeout=_LAST_WORDS)


class _Audience:
    """Says to whoever makes a stream, in another process, that somebody listens."""

    def __init__(self, session: AsyncSession, key: str, every: float) -> None:
        self._session = session
        self._key, self._token = audience_of(key)
        self._every = every
        self._count = 0
        self._said = -every

    async def say(self) -> None:
        """Says so, unless it was said just now. Where others say it at the same moment, once is enough."""
        now = asyncio.get_running_loop().time()
        if self._said + self._every > now:
            return
        self._said = now
        while True:
            page: Page = await self._session.perform(Read(self._key, str(self._count), 0, STOPPED))
            self._count += len(page.entries)
            if len(page.entries) < LONGEST_PAGE:
                break
        if page.kind == "open":
            await self._session.perform(Append(self._key, self._token, self._count + 1, [b"{}"]))


def place_of(last_event_id: str) -> tuple[str, str | None]:
    """The stream and the entry that a ``Last-Event-ID`` names.

    >>> place_of("abc/5"), place_of("abc")
    (('abc', '5'), ('abc', None))
    """
    stream, _, entry = last_event_id.partition("/")
    return stream, entry or None


def _opened(store: Any) -> StreamStore:
    """What keeps the streams: a store, ``"memory"``, or the address of a Redis server."""
    if not isinstance(store, str):
        given: StreamStore = store
        return given
    made: StreamStore = importlib.import_module("rxllm.stores").MemoryStore() if store == "memory" else _redis(store)
    return made


def _redis(address: str, **options: float) -> Any:
    try:
        return importlib.import_module("rxllm.stores").RedisStore(address, **options)
    except ImportError:
        raise missing_extra("--store redis://", "redis") from None


def reach(store: str) -> None:
    """Returns where what keeps the streams can be used.

    Raises:
        APIConnectionError: it cannot.
        ValueError: it is no address.
        ImportError: an extra is missing.
    """
    if store != "memory":
        opened = _redis(store, patience=_PATIENCE_AT_START)
        try:
            opened.open().perform(Read(_key("any"), BEGINNING, 0, ABANDONED))
        finally:
            opened.close()


def _key(stream: str) -> str:
    return f"proxy:{stream}"


def _unknown() -> Refusal:
    return Refusal(404, "There is no such stream, or not any more.", code="stream_not_found", param="id")


def no_entry() -> Refusal:
    """The refusal of who was at a place that the stream has not."""
    return Refusal(404, "The stream has no entry of that id.", code="entry_not_found", param="Last-Event-ID")
