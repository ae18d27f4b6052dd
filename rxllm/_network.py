"""Sockets that can be let go of: httpcore's network backends, told apart by call.

Closing a response from another thread does not wake a blocked read, and before the headers there is no response to
close. So each call brings a ``Control`` along, in the place of httpcore's timeouts: httpcore hands those down unread to
the network stream, which finds there how much time is left, and leaves there the socket that the call is using.
"""

import asyncio
import contextlib
import os
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, Protocol, Self, TypeVar

import httpcore

from rxllm._bodies import HeldBack

__all__ = ["AsyncBackend", "Control", "SyncBackend"]

_T = TypeVar("_T")

_A_DAY: Final = 86400.0
# A bound that has passed still gets a moment: data that is already here is read rather than thrown away. From a server
# that goes on and on with what is no content, it does so only for so long.
_A_MOMENT: Final = 0.001
_LATEST: Final = 0.1
# Closing is to reset the connection: on, and no time to linger.
_RESET: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# What is copied, to be sent with something else, in bytes.
_SMALL: Final = 1 << 16
# How much an asynchronous connection may have received before anybody takes it, in bytes.
_HELD: Final = 1 << 16
# How long an address of a host is tried while there are others, in seconds.
_ONE_OF_SEVERAL: Final = 1.0


class _Waiting(Protocol):
    def time_left(self) -> float | None: ...


class Control(float):
    """One call's hold on the network: what time is left, which socket is in use, and whether to stop.

    It is a float, ``longest``, so that a stream that is none of ours (behind an https proxy) can still take it for a
    timeout; whether a shorter bound has passed, the exchange sees there when something comes.
    """

    def __new__(cls, exchange: _Waiting, connect: float | None = None, longest: float | None = None) -> Self:  # noqa: ARG004
        """A control of ``exchange``'s call, which may take ``connect`` seconds to connect."""
        return super().__new__(cls, longest or _A_DAY)

    def __init__(
        self,
        exchange: _Waiting,
        connect: float | None = None,
        longest: float | None = None,
    ) -> None:
        self.cancelled = False
        # The connection that was opened for the call: httpcore forgets one whose way through a proxy fails.
        self.opened: Any = None
        self._exchange = exchange
        self._connect_deadline = None if connect is None else time.monotonic() + connect
        self._socket: Any = None
        self._wake: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._process = os.getpid()

    def remaining(self) -> float | None:
        """Seconds until content has to have come; ``None`` where nothing bounds it.

        Raises:
            TimeoutError: that was some time ago.
        """
        left = self._exchange.time_left()
        if left is None:
            return None
        if left < -_LATEST:
            raise TimeoutError("timed out")
        return max(left, _A_MOMENT)

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

    def ask(self, question: Callable[[], _T]) -> _T:
        """What ``question`` gives or raises, for which connecting has time, on a thread that can be left behind.

        Raises:
            TimeoutError: there was no time left.
            OSError: the call was cancelled.
        """
        answers: queue.SimpleQueue[_T | Exception] = queue.SimpleQueue()

        def answer() -> None:
            try:
                answers.put(question())
            except Exception as error:  # noqa: BLE001  raised where it was asked for
                answers.put(error)

        self._wake = lambda: answers.put(OSError("cancelled"))
        if self.cancelled:
            self._wake()
        threading.Thread(target=answer, name="rxllm-resolver", daemon=True).start()
        try:
            given = answers.get(timeout=self.connecting())
        except queue.Empty:
            raise TimeoutError("timed out") from None
        finally:
            self._wake = None
        if isinstance(given, Exception):
            raise given
        return given

    def _shut(self) -> None:
        # After a fork the connection is the parent's: to shut it here would end it there.
        if self._socket is not None and self._process == os.getpid():
            _shut(self._socket, socket.SHUT_RDWR)
        if self._wake is not None:
            self._wake()


def _shut(sock: Any, how: int) -> None:
    """Shuts a socket at once, from any thread; with ``SHUT_RDWR``, whoever is blocked on it wakes."""
    # The socket's own shutdown, not SSLSocket's, which would drop the TLS layer and read ciphertext as HTTP; through a
    # duplicate, since an event loop lends out a socket object that may have no shutdown.
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(sock.fileno())) as duplicate:
        if how == socket.SHUT_RDWR:
            # What had come is gone then, and with it the reset by which closing would have told a server that waits
            # for room to send more: it would wait for a minute.
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        duplicate.shutdown(how)


class _Tunnel:
    """A connection's way through a proxy: until it stands, all that is read and written belongs to connecting.

    What httpcore says to a SOCKS proxy comes with no timeout, and what it says to another with that of the request.
    """

    def __init__(self, timeout: float | None, *, socks: bool) -> None:
        self._timeout = timeout
        self._socks = socks
        self._stands = False

    def left(self, timeout: float | None, sock: Any) -> float | None:
        """The seconds for what is read or written now, with this timeout."""
        self._stands = self._stands or (self._socks and timeout is not None)
        if self._stands:
            self._timeout = None
            return _left(timeout, sock)
        return _left_to_connect(self._timeout, sock)

    def late(self, usual: type[Exception], error: TimeoutError) -> Exception:
        """What a bound that was passed is called."""
        return (usual if self._stands else httpcore.ConnectTimeout)(str(error))


class _NoTunnel:
    """The direct way."""

    def left(self, timeout: float | None, sock: Any) -> float | None:
        return _left(timeout, sock)

    def late(self, usual: type[Exception], error: TimeoutError) -> Exception:
        return usual(str(error))


_DIRECT: Final = _NoTunnel()


class _Talking:
    """What both kinds of stream keep of requests and answers.

    httpcore writes a request's head and its body one after the other. The head waits for the body, or for whoever wants
    to read, so that both go out in one packet.
    """

    def __init__(self) -> None:
        self.received = HeldBack()
        self._head: tuple[bytes, float | None] | None = None

    def _waits_for_more(self, buffer: bytes, timeout: float | None) -> bool:
        if self.received.expects_head or not buffer:
            return not buffer and self._head is None
        self.received.expect_head()
        self._head = buffer, timeout
        return True

    def _to_send(self, buffer: bytes, timeout: float | None) -> list[tuple[bytes, float | None]]:
        """What has waited, and this; never nothing, which would take the connection's error away from a reader."""
        head, self._head = self._head, None
        if head is None:
            return [(buffer, timeout)]
        if len(buffer) > _SMALL:
            return [head, (buffer, timeout)]
        return [(head[0] + buffer, head[1])]


class _Stream(_Talking, httpcore.NetworkStream):
    def __init__(self, sock: socket.socket, tunnel: _Tunnel | _NoTunnel = _DIRECT) -> None:
        super().__init__()
        self._socket = sock
        self._tunnel = tunnel

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.received and (data := self.received.take(max_bytes)):
            return data
        if self._head is not None:
            with contextlib.suppress(httpcore.WriteError):  # as httpcore does: there may be an answer all the same
                self.write(b"")
        try:
            self._socket.settimeout(self._tunnel.left(timeout, self._socket))
            data = self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise self._tunnel.late(httpcore.ReadTimeout, error) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None
        return self.received.cut(data) if self.received.expects_head else data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._waits_for_more(buffer, timeout):
            return
        try:
            for data, time in self._to_send(buffer, timeout):
                self._socket.settimeout(self._tunnel.left(time, self._socket))
                self._socket.sendall(data)
        except TimeoutError as error:
            raise self._tunnel.late(httpcore.WriteTimeout, error) from None
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
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise _as_connecting(error) from error
            raise
        return _Stream(sock)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self.received) or _readable(self._socket)
        if info == "socket":
            return self._socket
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return None


class _Backend:
    """``tunnel`` says by what kind of proxy connections go, where they do."""

    def __init__(self, tunnel: Literal["socks", "http"] | None = None) -> None:
        self._tunnel = tunnel

    def tunnel(self, timeout: float | None) -> _Tunnel | _NoTunnel:
        """The way that a connection takes, which has this time to connect."""
        return _Tunnel(timeout, socks=self._tunnel == "socks") if self._tunnel else _DIRECT


class SyncBackend(_Backend, httpcore.NetworkBackend):
    """Plain blocking sockets that another thread can wake."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address that answers."""
        try:
            addresses = _resolve(host, port, timeout)
            while True:
                family, kind, protocol, _, address = addresses.pop(0)
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.settimeout(_share(_left_to_connect(timeout, sock), addresses))
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.connect(address)
                except BaseException as error:
                    sock.close()
                    if not addresses or not isinstance(error, OSError) or _is_cancelled(timeout):
                        raise
                else:
                    return _opened(timeout, _Stream(sock, self.tunnel(timeout)))
        except OSError as error:
            raise _as_connecting(error, f"{host}:{port}: ") from None


def _resolve(host: str, port: int, timeout: float | None) -> list[Any]:
    """The addresses of a host. The system's resolver knows no deadline and cannot be woken: it has its own thread."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass

    def resolve() -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    return timeout.ask(resolve) if isinstance(timeout, Control) else resolve()


class _Wire(asyncio.Protocol):
    """An open connection on an event loop: what came and is not yet taken, and who waits for more.

    asyncio's own streams cannot tell what they hold, so that a connection which the server has given up would be used
    again; with anyio's, a task that is cancelled while it connects may leave an open socket behind.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._held = bytearray()
        self._error: Exception | None = None
        self._reading = self._writing = True  # neither is paused
        self._waiter: asyncio.Future[None] | None = None

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD and self._reading:
            self._reading = False
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self._writing = True
        self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        self._wake()

    # -- the stream's side

    async def read(self, max_bytes: int, seconds: float | None) -> bytes:
        """At least one byte, or none at the end."""
        while not (self._held or self.ended):
            await self._wait(seconds)
        if not self._held and self._error is not None:
            raise self._error
        data = bytes(self._held[:max_bytes])
        del self._held[:max_bytes]
        if not self._reading and len(self._held) <= _HELD:
            self._reading = True
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes, seconds: float | None) -> None:
        """Sends ``data``, and waits while too much of it is still to go."""
        if self.transport.is_closing():
            raise self._error or ConnectionResetError("Connection lost")
        self.transport.write(data)
        while not self._writing:
            await self._wait(seconds)

    def has_news(self) -> bool:
        """Whether an idle connection has something to say, which can only be that it was closed."""
        return bool(self.ended or self._held or self.transport.is_closing())

    async def _wait(self, seconds: float | None) -> None:
        self._waiter = waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, self._give_up, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _give_up(self, waiter: "asyncio.Future[None]") -> None:
        if not waiter.done():
            waiter.set_exception(TimeoutError("timed out"))


class _AsyncStream(_Talking, httpcore.AsyncNetworkStream):
    def __init__(self, wire: _Wire, tunnel: _Tunnel | _NoTunnel = _DIRECT) -> None:
        super().__init__()
        self._wire = wire
        self._tunnel = tunnel
        self._socket = wire.transport.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.received and (data := self.received.take(max_bytes)):
            return data
        if self._head is not None:
            with contextlib.suppress(httpcore.WriteError):
                await self.write(b"")
        try:
            data = await self._wire.read(max_bytes, self._tunnel.left(timeout, self._socket))
        except TimeoutError as error:
            raise self._tunnel.late(httpcore.ReadTimeout, error) from None
        except OSError as error:
            raise httpcore.ReadError(str(error)) from None
        return self.received.cut(data) if self.received.expects_head else data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._waits_for_more(buffer, timeout):
            return
        try:
            for data, time in self._to_send(buffer, timeout):
                await self._wire.write(data, self._tunnel.left(time, self._socket))
        except TimeoutError as error:
            raise self._tunnel.late(httpcore.WriteTimeout, error) from None
        except OSError as error:
            raise httpcore.WriteError(str(error)) from None

    async def aclose(self) -> None:
        # Without waiting, so that nobody who is cancelled leaves it open; and at once, also where the event loop is
        # kept busy afterwards, or a server does not take leave of TLS.
        _shut(self._socket, socket.SHUT_WR)
        self._wire.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        wire, loop = self._wire, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_left_to_connect(timeout, self._socket)):
                secured = await loop.start_tls(wire.transport, wire, ssl_context, server_hostname=server_hostname)
                if secured is None:  # closed meanwhile
                    raise ConnectionResetError("Connection lost")  # noqa: TRY301
                wire.transport = secured
        except BaseException as error:
            await self.aclose()
            if isinstance(error, OSError):
                raise _as_connecting(error) from error
            raise
        return _AsyncStream(wire)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return bool(self.received) or self._wire.has_news() or _readable(self._socket)
        return self._wire.transport.get_extra_info(info)


class AsyncBackend(_Backend, httpcore.AsyncNetworkBackend):
    """asyncio's transports, each read bounded by what time is left."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address that answers.

        asyncio's own race of the addresses (``happy_eyeballs_delay``) leaves sockets open when it is cancelled.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_left_to_connect(timeout)):
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            while True:
                address = addresses.pop(0)[4]
                try:
                    async with asyncio.timeout(_share(_left_to_connect(timeout), addresses)):
                        _, wire = await loop.create_connection(_Wire, str(address[0]), port)
                except OSError:
                    if not addresses:
                        raise
                else:
                    return _opened(timeout, _AsyncStream(wire, self.tunnel(timeout)))
        except OSError as error:
            raise _as_connecting(error, f"{host}:{port}: ") from None


def _share(left: float | None, others: list[Any]) -> float | None:
    """How much of the seconds that are left an address may take, while there are others to be tried."""
    if not others:
        return left
    return _ONE_OF_SEVERAL if left is None else min(left / (len(others) + 1), _ONE_OF_SEVERAL)


def _as_connecting(error: OSError, where: str = "") -> Exception:
    """The error as httpcore calls it."""
    kind = httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError
    return kind(f"{where}{error}")


def _opened(timeout: float | None, stream: _T) -> _T:
    if isinstance(timeout, Control):
        timeout.opened = stream
    return stream


def _is_cancelled(timeout: float | None) -> bool:
    return isinstance(timeout, Control) and timeout.cancelled


def _left(timeout: float | None, sock: Any) -> float | None:
    if isinstance(timeout, Control):
        timeout.hold(sock)
        return timeout.remaining()
    return timeout


def _left_to_connect(timeout: float | None, sock: Any = None) -> float | None:
    if isinstance(timeout, Control):
        if sock is not None:
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
