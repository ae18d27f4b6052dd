"""A real HTTP/1.1 server on loopback whose answers a test scripts, and which tells what its clients did.

A script is an ``async`` function that is called with each request's ``Answering``. The server runs on an event loop in
a thread of its own, so that both blocking and asynchronous clients can be tested against it.
"""

import asyncio
import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

__all__ = ["Answering", "Gate", "Server", "chunk", "texts"]

PATIENCE = 20.0  # seconds that a test waits for what has to happen


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

    @property
    def json(self) -> Any:
        """The request's body."""
        return json.loads(self.body)

    async def receive(self) -> bool:
        """Reads a request, or its head alone; false where the client closed the connection instead."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, OSError):
            return False
        first, *lines = head.split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        if self.server.reads_bodies:
            await self.read_body()
        return True

    async def read_body(self) -> None:
        """Reads the request's body: for the scripts of a server that does not do so by itself."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            self.body = await self._reader.readexactly(int(self.headers.get("content-length", 0)))

    async def start(self, status: int = 200, **headers: str) -> None:
        """Sends the status and the headers of a chunked event stream."""
        named = {"content_type": "text/event-stream", "transfer_encoding": "chunked", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items() if value)
        self._chunked = named["transfer_encoding"] == "chunked"
        await self.raw(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode())

    async def raw(self, data: bytes) -> None:
        """Sends bytes as they are, and waits while the client does not take them."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body."""
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def event(self, *events: Any) -> None:
        """Sends events, all in one piece: dictionaries as JSON, strings as they are."""
        encoded = (e if isinstance(e, str) else json.dumps(e) for e in events)
        await self.send("".join(f"data: {e}\n\n" for e in encoded).encode())

    def unbuffered(self) -> None:
        """From now on, sending waits as soon as the socket is full."""
        self._writer.transport.set_write_buffer_limits(high=0)

    async def end(self) -> None:
        """Ends the body, and leaves the connection open for the next request."""
        await self.raw(b"0\r\n\r\n")

    async def stream(self, *deltas: str, finish: str = "stop") -> None:
        """A whole answer."""
        await self.start()
        for delta in deltas:
            await self.event(chunk(delta))
        await self.event(chunk(finish=finish))
        await self.event("[DONE]")
        await self.end()

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
        self.server.closed.put(self.number)

    def hang_up(self) -> None:
        """Closes the connection in good order."""
        self._writer.close()

    def reset(self, *, hard: bool = False) -> None:
        """Breaks the connection: by an end that is too early or, hard, by a reset, which may overtake what was sent."""
        if hard:
            lingering = self._writer.get_extra_info("socket")
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Answering], Awaitable[None]]


class Server:
    """See the module. ``url`` is what to pass as ``api_base``.

    It accepts its connections itself. asyncio's own server forgets one that it accepts while it closes: the transport
    finds the server gone, and is left to the garbage collector with its socket open.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Answering] = []
        self.connections = 0
        self.closed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.script: Script = _hello
        self.reads_bodies = True
        self.loop = asyncio.new_event_loop()
        self.taken = Gate(self.loop)  # for a test to open once it has got something
        self._ssl_context = ssl_context
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-server", daemon=True)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.loop.add_reader(self._listener, self._accept)
        self._thread.start()
        port = self._listener.getsockname()[1]
        host = "localhost" if self._ssl_context else "127.0.0.1"
        self.url = f"{'https' if self._ssl_context else 'http'}://{host}:{port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()

    def gate(self) -> Gate:
        """A gate for a script to wait at."""
        return Gate(self.loop)

    def next_closed(self) -> int:
        """The number of the next request whose connection the client closed."""
        return self.closed.get(timeout=PATIENCE)

    def next_event(self) -> Any:
        """The next thing that a script put into ``events``."""
        return self.events.get(timeout=PATIENCE)

    async def _stop(self) -> None:
        self.loop.remove_reader(self._listener)
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # none is there any more, or the client has gone already
            connection, _ = self._listener.accept()
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self.loop.create_task(self._connected(connection))
            self._tasks.add(task)
            # Here and not in the task, which may be cancelled before it has begun.
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: connection.close())

    async def _connected(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._ssl_context)
        except (OSError, asyncio.CancelledError):
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
        try:
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            answering = Answering(self, reader, writer)
            if not await answering.receive():
                return
            self.requests.append(answering)
            answering.number = len(self.requests)
            await self.script(answering)


async def _hello(answering: Answering) -> None:
    await answering.stream("Hel", "lo", " wor", "ld")


def texts(chunks: Iterable[Any]) -> list[str]:
    """The non-empty content of each chunk."""
    return [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content]
