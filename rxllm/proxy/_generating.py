"""An answer that is made into a store, whether or not somebody listens."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

from rxllm._stores._entries import LEFT, ending_of, incomplete
from rxllm._stores._protocol import (
    BEGINNING,
    LONGEST_PAGE,
    Append,
    Command,
    Create,
    Finish,
    Page,
    Read,
    Renew,
    Stop,
    StreamStore,
    Verdict,
)
from rxllm.exceptions import APIConnectionError, ServiceUnavailableError
from rxllm.proxy._encoding import DONE
from rxllm.proxy._errors import log_failure

__all__ = ["Generation", "audience_of"]

_log = logging.getLogger("rxllm.proxy")

# How often, in seconds, it is looked whether the stream is to stop and whether anybody listens.
_ROUND: Final = 0.5

# What may wait to be kept, in bytes, before no more is read.
_MOST_PENDING: Final = 1 << 14

_BETWEEN: Final = b"\n\ndata: "


def audience_of(key: str) -> tuple[str, str]:
    """The stream in which those who listen in other processes say that they are there, and the token to write to it."""
    return f"{key}:audience", key


class Generation:
    """One answer on its way into a store, on a task of its own.

    Args:
        store: where it goes.
        key: under which key.
        events: the events, framed, to their end.
        resume_for: after how many seconds that nobody listens it is cancelled.
        request_id: whose it is, for the log.
    """

    def __init__(
        self, store: StreamStore, key: str, events: AsyncGenerator[bytes, None], *, resume_for: float, request_id: str
    ) -> None:
        self.listeners = 0
        self.task: asyncio.Task[None] | None = None
        self._session = store.open_async()
        self._lease = store.lease
        self._key = key
        self._token = secrets.token_urlsafe(16)
        self._events = events
        self._resume_for = resume_for
        self._request_id = request_id
        self._heard = time.monotonic()
        self._count = 0
        self._pending: list[bytes] = []
        self._size = 0
        self._over = False
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._ending = ending_of(ServiceUnavailableError("The server stops.", code="server_stopped"))

    async def begin(self) -> None:
        """Takes the key, and starts.

        Raises:
            APIConnectionError: the store cannot be reached.
        """
        audience, token = audience_of(self._key)
        await self._perform(Create(self._key, self._token))
        await self._perform(Create(audience, token))
        self.task = asyncio.get_running_loop().create_task(self._run())

    def listen(self) -> None:
        """Somebody listens in this process."""
        self.listeners += 1

    def leave(self) -> None:
        """And does not any more."""
        self.listeners -= 1
        self._heard = time.monotonic()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        keeper, watcher = loop.create_task(self._keep()), loop.create_task(self._watch())
        for helper in (keeper, watcher):
            helper.add_done_callback(self._helper_ended)
        ending = ending_of(None)
        try:
            async with contextlib.aclosing(self._events) as events:
                async for data in events:
                    await self._take(data)
        except asyncio.CancelledError:
            ending = self._ending
        except Exception as error:  # noqa: BLE001  whatever the stream ended with
            log_failure(error, self._request_id)
            ending = ending_of(error)
        self._over = True
        self._something.set()
        try:
            await asyncio.wait([keeper])
            if not keeper.cancelled():  # as it is where the event loop ends
                keeper.result()
            await self._perform(Finish(self._key, self._token, self._count, ending))
            await self._perform(Stop(audience_of(self._key)[0], LEFT))
        except APIConnectionError as error:
            _log.error("A stream could not be kept: %s", error)
        finally:
            watcher.cancel()

    async def _perform(self, command: Command) -> Any:
        return await self._session.perform(command)

    async def _take(self, data: bytes) -> None:
        """Has the events kept, and waits while too much is waiting. Of the end tells the ending."""
        events = data.removesuffix(DONE)
        if events:
            self._pending += events[6:-2].split(_BETWEEN)
            self._size += len(events)
            self._something.set()
        if self._size >= _MOST_PENDING:
            self._room.clear()
            await self._room.wait()

    async def _keep(self) -> None:
        """Keeps what there is; what comes in the meantime is kept together."""
        while self._pending or not self._over:
            if not self._pending:
                self._something.clear()
                await self._something.wait()
            entries = self._pending[:LONGEST_PAGE]
            del self._pending[:LONGEST_PAGE]
            if entries:
                verdict: Verdict = await self._perform(Append(self._key, self._token, self._count + 1, entries))
                if verdict.kind != "done":
                    self._stop(verdict.ending)
                    return
                self._count += len(entries)
            if not self._pending:
                self._size = 0
                self._room.set()

    async def _watch(self) -> None:
        """Tells the store that we are there, and ends what nobody wants any more."""
        audience, token = audience_of(self._key)
        seen, renewed = BEGINNING, -self._lease
        while True:
            await asyncio.sleep(min(_ROUND, self._resume_for / 4 or _ROUND, self._lease / 4))
            verdict: Verdict = await self._perform(Renew(self._key, self._token))
            if verdict.kind != "done":
                self._stop(verdict.ending)
                return
            if renewed + self._lease / 3 < time.monotonic():
                renewed = time.monotonic()
                await self._perform(Renew(audience, token))
            if self.listeners:
                self._heard = time.monotonic()
            else:
                page: Page = await self._perform(Read(audience, seen, 0, LEFT))
                if page.entries:
                    seen = page.entries[-1][0]
                    self._heard = time.monotonic()
            if time.monotonic() - self._heard >= self._resume_for:
                self._stop(LEFT)
                return

    def stop(self) -> None:
        """The server stops: ends the answer, unless that is over and being kept."""
        self._stop(self._ending)

    def _stop(self, ending: bytes) -> None:
        self._ending = ending
        if self.task is not None and not self._over:
            self.task.cancel()

    def _helper_ended(self, helper: "asyncio.Task[None]") -> None:
        """The store failed: nothing more is to be paid for."""
        if not helper.cancelled() and helper.exception() is not None:
            self._stop(ending_of(incomplete(self._key, "lost")))
