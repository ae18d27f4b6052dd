"""The client of a request: what is sent to it, and that it may leave."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from starlette.types import Receive, Send

from rxllm._interruptible import Interruptible

__all__ = ["Client", "ClientLeftError", "Headers"]

Headers = Sequence[tuple[str, str]]

_KEEP_ALIVE: Final = b": keep-alive\n\n"

# What may wait to be sent, in bytes, before whoever writes waits too: also how long one stream keeps others waiting.
_MOST_PENDING: Final = 1 << 14

# How many bytes are sent at once.
_PIECE: Final = 1 << 16


class ClientLeftError(Exception):
    """Nobody is there any more to be answered."""


class Client:
    """One client, for as long as it is answered: ``async with Client(...)``.

    Its leaving cancels what is awaited inside, which becomes a ``ClientLeftError`` outside.

    A stream is written without waiting, and sent by a task of the client's own, whenever the event loop comes to it:
    what is written without a pause goes out in one piece. ``room()`` waits while the client does not read. One timer
    looks from time to time whether all has been silent, and has a comment sent then; or whether the client does not
    read at all, and then it counts as gone.

    Args:
        receive: the server's.
        send: the server's.
        keep_alive: after how many silent seconds a comment is sent.
        write_timeout: for how many seconds the client may not read what is sent; ``None`` is for ever.

    Attributes:
        status: the status that was sent, ``None`` before.
        left: whether the client has gone.
    """

    def __init__(self, receive: Receive, send: Send, *, keep_alive: float, write_timeout: float | None) -> None:
        self.status: int | None = None
        self.left = False
        self._receive = receive
        self._send = send
        self._keep_alive = keep_alive
        self._write_timeout = math.inf if write_timeout is None else write_timeout
        self._loop = asyncio.get_running_loop()
        self._interruptible = Interruptible()
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._headers: Headers = ()
        self._pending: list[bytes] = []
        self._size = 0
        self._over = False  # all has been written
        self._complete = False  # and sent
        self._sending = False  # the sender waits while the client does not read
        self._last = 0.0
        self._something: asyncio.Future[None] | None = None  # to be sent: the sender waits for it
        self._room: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._interruptible.begin()
        self._tasks.append(self._loop.create_task(self._watch()))
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._cease(0)
        left = self.left and isinstance(error, asyncio.CancelledError) and self._interruptible.absorb()
        self._interruptible.end()
        if left:
            raise ClientLeftError

    def _cease(self, first: int) -> None:
        """No comment is sent any more, nor what was written; from ``first`` on, what was begun ends."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks[first:]:
            task.cancel()

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a whole response, where none has begun."""
        self._cease(1)
        self.status = status
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def stream(self, headers: Headers) -> None:
        """From now on a stream is written; its headers go with its first event, or with the first comment."""
        self._headers = headers
        self._tasks.append(sender := self._loop.create_task(self._flush()))
        sender.add_done_callback(self._sent)
        self._last = self._loop.time()
        self._look_in(self._keep_alive)

    @property
    def writing(self) -> bool:
        """Whether the response has begun, or is about to: it has its status then."""
        return self.status is not None or bool(self._pending)

    def write(self, data: bytes) -> bool:
        """Has ``data`` sent; false where ``room()`` is to be awaited before more is written."""
        self._pending.append(data)
        self._size += len(data)
        self._stir()
        return self._size < _MOST_PENDING

    async def room(self) -> None:
        """Waits until what was written has been sent."""
        while self._size >= _MOST_PENDING:
            self._room = self._loop.create_future()
            await self._room

    async def finish(self) -> None:
        """The stream is over: waits until all of it has been sent.

        Raises:
            ClientLeftError: it could not be.
        """
        self._over = True
        self._stir()
        sender = self._tasks[-1]
        await asyncio.wait([sender])
        if sender.cancelled() or sender.exception() is not None:
            raise ClientLeftError

    async def cut_off(self, data: bytes) -> None:
        """Ends a stream with ``data`` where all that runs is being cancelled, and the sender with it."""
        self._cease(1)
        if self._sending or self._complete:
            return
        if self.status is None:
            self.status = 200
            await self._start(200, self._headers)
        data = b"".join((*self._pending, data))
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _look_in(self, seconds: float) -> None:
        self._timer = self._loop.call_later(min(seconds, self._write_timeout), self._look)

    def _look(self) -> None:
        silent = self._loop.time() - self._last
        if self._sending:
            if silent >= self._write_timeout:
                self._leave()
                return
            silent = 0.0
        elif silent >= self._keep_alive:
            self._stir()
            silent = 0.0
        self._look_in(self._keep_alive - silent)

    def _stir(self) -> None:
        if self._something is not None and not self._something.done():
            self._something.set_result(None)

    async def _flush(self) -> None:
        over = False
        while not over:
            if not self._pending and not self._over:
                self._something = self._loop.create_future()
                await self._something
            if self.status is None:
                self.status = 200
                await self._start(200, self._headers)
            over = self._over
            # Nobody has written anything: it is the silence that is to be broken.
            data = b"".join(self._pending) if self._pending or over else _KEEP_ALIVE
            self._pending.clear()
            self._size = 0
            self._sending = True
            # In pieces, each of which has its time: who reads slowly is long in reading a large one.
            for start in range(0, len(data) or 1, _PIECE):
                end = start + _PIECE
                self._last = self._loop.time()
                more = not over or end < len(data)
                await self._send({"type": "http.response.body", "body": data[start:end], "more_body": more})
            self._sending = False
            self._complete = over
            if self._room is not None and not self._room.done():
                self._room.set_result(None)

    def _sent(self, sender: "asyncio.Task[None]") -> None:
        """Some servers tell by an error of ``send`` that the client has gone."""
        if not sender.cancelled() and sender.exception() is not None:
            self._leave()

    async def _start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _watch(self) -> None:
        message: Any = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self._leave()

    def _leave(self) -> None:
        if self._complete:
            return  # to servers a response that has been sent is a client that has gone
        self.left = True
        self._interruptible.interrupt()
