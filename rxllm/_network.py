"""Sockets that can be let go of: httpcore's network backends, told apart by call.

Closing a response from another thread does not wake a blocked read, and before the headers there is no response to
close. So each call brings a ``Control`` along, in the place of httpcore's timeouts: httpcore hands those down unread to
the network stream, which finds there how much time is left, and leaves there the socket that the call is using.
"""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol, Self

import httpcore

__all__ = ["AsyncBackend", "Control", "SyncBackend"]

_A_DAY = 86400.0
# A bound that has passed still gets a moment: data that is already here is read rather than thrown away.
_A_MOMENT = 0.001


class _Waiting(Protocol):
    def time_left(self) -> float | None: ...


class Control(float):
    """One call's hold on the network: what time is left, which socket is in use, and whether to stop.

    It is a float, so that a stream that is none of ours (behind an https proxy) can still take it for a timeout.
    """

    def __new__(cls, exchange: _Waiting, connect: float | None = None) -> Self:  # noqa: ARG004  __init__ takes it
        """A control of ``exchange``'s call, which may take ``connect`` seconds to connect."""
        return super().__new__(cls, connect or _A_DAY)

    def __init__(self, exchange: _Waiting, connect: float | None = None) -> None:
        self.cancelled = False
        self._exchange = exchange
        self._connect_deadline = None if connect is None else time.monotonic() + connect
        self._socket: Any = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def remaining(self) -> float | None:
        """Seconds until content has to have come; ``None`` where nothing bounds it."""
        left = self._exchange.time_left()
        return None if left is None else max(left, _A_MOMENT)

    def connecting(self) -> float | None:
        """Seconds until the connection has to stand."""
        left = self.remaining()
        if self._connect_deadline is None:
            return left
        to_connect = max(self._connect_deadline - time.monotonic(), _A_MOMENT)
        return to_connect if left is None else min(to_connect, left)

    def hold(self, sock: Any) -> None:
        """Notes the socket that the call is about to block on."""
        self._socket = sock
        if self.cancelled:
            self._shut()

    def release(self) -> None:
        """The call is over: its socket may serve another call now and is none of this one's business."""
        with self._lock:
            self._socket = None

    def cancel(self) -> None:
        """Wakes whatever the call is blocked on. From any thread, at any moment, more than once."""
        with self._lock:
            self.cancelled = True
            self._stop.set()
            self._shut()

    def sleep(self, seconds: float) -> None:
        """Sleeps that many seconds, or until cancelled."""
        self._stop.wait(seconds)

    def _shut(self) -> None:
        held = self._socket
        if held is None:
            return
        # The socket's own shutdown, not SSLSocket's, which would drop the TLS layer and read ciphertext as HTTP;
        # through a duplicate, since an event loop lends out a socket object that may have no shutdown.
        with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(held.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._socket.settimeout(_left(timeout, self._socket))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._socket.settimeout(_left(timeout, self._socket))
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from None

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        sock = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname, do_handshake_on_connect=False)
        try:
            sock.settimeout(_left_to_connect(timeout, sock))
            sock.do_handshake()
        except TimeoutError as error:
            sock.close()
            raise httpcore.ConnectTimeout(str(error)) from None
        except OSError as error:
            sock.close()
            raise httpcore.ConnectError(str(error)) from None
        return _Stream(sock)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return _readable(self._socket)
        if info == "socket":
            return self._socket
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return None


class SyncBackend(httpcore.NetworkBackend):
    """Plain blocking sockets that another thread can wake."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address that answers.

        Looking the name up cannot be interrupted: the system's resolver knows no deadline.
        """
        reason: OSError = OSError(f"no address for {host}")
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host}: {error}") from None
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left_to_connect(timeout, sock))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
            except OSError as error:
                sock.close()
                reason = error
            else:
                return _Stream(sock)
        if isinstance(reason, TimeoutError):
            raise httpcore.ConnectTimeout(str(reason))
        raise httpcore.ConnectError(f"{host}:{port}: {reason}")


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._socket = stream.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, _left(timeout, self._socket))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, _left(timeout, self._socket))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        left = _left_to_connect(timeout, self._socket)
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """httpcore's asyncio streams, each read bounded by what time is left."""

    def __init__(self) -> None:
        # Typed as anything: without anyio, httpcore's type checking knows only a stand-in.
        self._backend: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects by anyio, which tries the addresses side by side."""
        left = timeout.connecting() if isinstance(timeout, Control) else timeout
        return _AsyncStream(await self._backend.connect_tcp(host, port, left, local_address, socket_options))


def _left(timeout: float | None, sock: Any) -> float | None:
    if isinstance(timeout, Control):
        timeout.hold(sock)
        return timeout.remaining()
    return timeout


def _left_to_connect(timeout: float | None, sock: Any) -> float | None:
    if isinstance(timeout, Control):
        timeout.hold(sock)
        return timeout.connecting()
    return timeout


def _readable(sock: socket.socket) -> bool:
    """Whether an idle connection has something to say, which can only be that it was closed."""
    import select

    if sock.fileno() < 0:
        return True
    poller = select.poll() if hasattr(select, "poll") else None
    if poller is None:
        return bool(select.select([sock], [], [], 0)[0])
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))
