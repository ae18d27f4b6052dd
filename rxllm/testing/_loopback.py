"""A server on loopback, on an event loop in a thread of its own, so that any kind of client can be tested with it."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from typing import Final, Self

__all__ = ["PATIENCE", "LoopbackServer", "reset"]

PATIENCE: Final = 20.0  # seconds that are waited for what has to happen


class LoopbackServer:
    """Accepts connections from ``with`` on until its end. ``url`` is what to pass as ``api_base``.

    It accepts its connections itself. asyncio's own server forgets one that it accepts while it closes: the transport
    finds the server gone, and is left to the garbage collector with its socket open.
    """

    url: str
    """Where it listens, such as ``http://127.0.0.1:54321/v1``; from ``with`` on."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._ssl_context = ssl_context
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)  # noqa: FBT003  the socket's own parameter
        self.loop.add_reader(self._listener, self._accept)
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-server", daemon=True)
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers what comes on one connection, until it is closed."""
        raise NotImplementedError

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


def reset(writer: asyncio.StreamWriter) -> None:
    """Resets the connection, so that its end is no mere end."""
    lingering = writer.get_extra_info("socket")
    lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
