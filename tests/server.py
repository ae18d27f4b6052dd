"""A real HTTP/1.1 server on loopback whose answers a test scripts, and which tells what its clients did.

A script is an ``async`` function that is called with each request's ``Answering``: for what no provider does, and what
``rxllm.testing.LLMServer``, which stands on the same ground, therefore does not offer.
"""

import asyncio
import contextlib
import json
import queue
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

from rxllm.testing._http import LAST_PIECE, RequestHead, piece, read_body, read_head, response_head
from rxllm.testing._loopback import PATIENCE, LoopbackServer, reset

__all__ = ["PATIENCE", "Answering", "Gate", "Server", "chunk", "texts"]


def chunk(content: str | None = None, *, index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4",
        "choices": [choice],
        **fields,
    }


class Gate:
    """Something a script waits for, and a test opens."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        """Lets the script go on, from any thread."""
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Waits until a test opens the gate."""
        await self._event.wait()


class Answering:
    """One request, and the means to answer it."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.method = self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.number = 0
        self.sent = 0  # bytes that the system has taken, but for what it had no room for yet
        self._reader = reader
        self._writer = writer
        self._chunked = False
        self._noted = False

    @property
    def json(self) -> Any:
        """The request's body."""
        return json.loads(self.body)

    async def receive(self) -> bool:
        """Reads a request, or its head alone; false where the client closed the connection instead."""
        head = await read_head(self._reader)
        if head is None:
            return False
        self.method, self.path, self.headers = head.method, head.path, head.headers
        if self.server.reads_bodies:
            await self.read_body()
        return True

    async def read_body(self) -> None:
        """Reads the request's body: for the scripts of a server that does not do so by itself."""
        self.body = await read_body(self._reader, RequestHead(self.method, self.path, self.headers))

    async def start(self, status: int = 200, **headers: str) -> None:
        """Sends the status and the headers of a chunked event stream."""
        named = {"content_type": "text/event-stream", "transfer_encoding": "chunked", **headers}
        self._chunked = named["transfer_encoding"] == "chunked"
        said = ((name.replace("_", "-"), value) for name, value in named.items() if value)
        await self.raw(response_head(status, said))

    async def raw(self, data: bytes) -> None:
        """Sends bytes as they are, and waits while the client does not take them."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body."""
        await self.raw(piece(data) if self._chunked else data)

    async def event(self, *events: Any) -> None:
        """Sends events, all in one piece: dictionaries as JSON, strings as they are."""
        await self.send(_encoded(events))

    def unbuffered(self) -> None:
        """From now on, sending waits as soon as the socket is full."""
        self._writer.transport.set_write_buffer_limits(high=0)

    async def last(self, *events: Any) -> None:
        """Sends events and the end of the body in one piece, so that no client has to wait for the second.

        A client waits for it but a moment, and then opens another connection for its next request.
        """
        await self.raw(piece(_encoded(events)) + LAST_PIECE)

    async def end(self) -> None:
        """Ends the body, and leaves the connection open for the next request."""
        await self.raw(LAST_PIECE)

    async def stream(self, *deltas: str, finish: str = "stop") -> None:
        """A whole answer."""
        await self.start()
        for delta in deltas:
            await self.event(chunk(delta))
        await self.event(chunk(finish=finish))
        await self.last("[DONE]")

    async def json_answer(self, status: int, body: Any, **headers: str) -> None:
        """A whole answer that is no stream."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.start(
            status,
            **{"content_type": "application/json", **headers},
            transfer_encoding="",
            content_length=str(len(data)),
        )
        await self.raw(data)

    async def closed(self) -> None:
        """Waits until the client closes the connection, and notes that."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass
        self.note_closed()

    def note_closed(self) -> None:
        """Notes that the client has closed the connection, once."""
        if not self._noted:
            self._noted = True
            self.server.closed.put(self.number)

    def hang_up(self) -> None:
        """Closes the connection in good order."""
        self._writer.close()

    async def hung_up(self) -> None:
        """Waits until it is closed: asyncio takes its time."""
        await self._writer.wait_closed()

    def reset(self, *, hard: bool = False) -> None:
        """Breaks the connection: by an end that is too early or, hard, by a reset, which may overtake what was sent."""
        if hard:
            reset(self._writer)
        else:
            self._writer.transport.abort()


Script = Callable[[Answering], Awaitable[None]]


class Server(LoopbackServer):
    """See the module."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        super().__init__(ssl_context)
        self.requests: list[Answering] = []
        self.closed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.arrivals = threading.Semaphore(0)  # one for each request
        self.script: Script = _hello
        self.reads_bodies = True

    def __enter__(self) -> Self:
        super().__enter__()
        self.taken = Gate(self.loop)  # for a test to open once it has got something
        return self

    def gate(self) -> Gate:
        """A gate for a script to wait at."""
        return Gate(self.loop)

    def wait_for_requests(self, count: int) -> bool:
        """Whether so many requests more have come, which is waited for."""
        return all(self.arrivals.acquire(timeout=PATIENCE) for _ in range(count))

    def next_closed(self) -> int:
        """The number of the next request whose connection the client closed."""
        return self.closed.get(timeout=PATIENCE)

    def next_event(self) -> Any:
        """The next thing that a script put into ``events``."""
        return self.events.get(timeout=PATIENCE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            answering = Answering(self, reader, writer)
            if not await answering.receive():
                return
            self.requests.append(answering)
            answering.number = len(self.requests)
            self.arrivals.release()
            try:
                await self.script(answering)
            except OSError:  # the client went before the script had said all
                answering.note_closed()
                raise


def _encoded(events: Iterable[Any]) -> bytes:
    encoded = (e if isinstance(e, str) else json.dumps(e) for e in events)
    return "".join(f"data: {e}\n\n" for e in encoded).encode()


async def _hello(answering: Answering) -> None:
    await answering.stream("Hel", "lo", " wor", "ld")


def texts(chunks: Iterable[Any]) -> list[str]:
    """The non-empty content of each chunk."""
    return [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
