"""The only place that touches the network: performs what an exchange asks for, blocking or on an event loop."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpcore
import httpx

from rxllm._clients import shared_async_transport, shared_transport
from rxllm._exchange import Exchange
from rxllm._interruptible import Interruptible
from rxllm._network import Control
from rxllm._prepare import Call
from rxllm._secrets import unframed
from rxllm._steps import BODY, CLOSE, READ, Ask, Failure, Head, Send, Sleep, Told
from rxllm.exceptions import APIError, AuthenticationError
from rxllm.types import ModelResponseStream

__all__ = ["AsyncReader", "SyncReader"]

# After the provider's end, how long to wait for the connection to come free, in seconds.
_DRAIN = 0.05

_NETWORK_ERRORS = (
    httpx.TransportError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,
)


def _failure(error: BaseException) -> Failure:
    """httpx and httpcore name their errors alike."""
    reason = str(error) or type(error).__name__
    match type(error).__name__:
        case "ConnectTimeout" | "PoolTimeout":
            return Failure("connect timeout", reason)
        case "ReadTimeout" | "WriteTimeout":
            return Failure("timeout", reason)
        case "TimeoutError" if getattr(error, "errno", None) is None:  # asyncio's or ours, and not the system's
            return Failure("timeout", reason)
        case "ConnectError" | "ProxyError" | "UnsupportedProtocol":
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, ssl.SSLCertVerificationError):
                    return Failure("untrusted", f"the certificate cannot be verified: {cause.verify_message}")
                cause = cause.__cause__ or cause.__context__
            return Failure("connect", reason)
        case "LocalProtocolError":
            return Failure("invalid", "")  # its words quote the header that it complains of
        case _:
            return Failure("broken", reason)


def _head(response: httpx.Response) -> Head:
    # dict() of the items joins repeated headers as httpx does, and costs less than its own mapping.
    return Head(response.status_code, {name.lower(): value for name, value in response.headers.items()})


def _decoded(head: Head) -> Head:
    return Head(head.status, {name: value for name, value in head.headers.items() if name != "content-encoding"})


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _socket_of(response: httpx.Response) -> Any:
    """The socket of a response that has it for itself: over HTTP/2 others share it."""
    stream = response.extensions.get("network_stream")
    shared = response.extensions.get("http_version") == b"HTTP/2"
    return None if stream is None or shared else stream.get_extra_info("socket")


def _least(*bounds: float | None) -> float | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _answer(ask: Ask) -> Told:
    try:
        return ask.question()
    except APIError as error:
        return error
    except OSError as error:
        return AuthenticationError(f"The credentials cannot be had: {error}")


class _Reader:
    """What both readers share: an exchange under way and the control of its call."""

    def __init__(self, call: Call, client: Any) -> None:
        self._client: Any = client
        self._exchange = Exchange(call)
        self._steps = self._exchange.steps()
        self._control = Control(self._exchange)
        self._told: Told = None
        self._in_body = False
        # A list, since taking from it is atomic: whoever gets the response closes it.
        self._responses: list[httpx.Response] = []
        self._closed = False

    def _timeout(self) -> dict[str, float | None]:
        control = self._control
        return {"connect": control, "read": control, "write": control, "pool": None}

    def _renew_control(self, step: Send) -> None:
        self._control.release()
        bounds = self._exchange.call.timeouts
        longest = None if None in (bounds.first, bounds.idle) else max(bounds.first or 0, bounds.idle or 0)
        self._control = Control(self._exchange, step.connect, longest)
        if self._closed:
            self._control.cancel()

    def _build(self, step: Send) -> httpx.Request:
        http = step.http
        if self._client is None or not hasattr(self._client, "build_request"):
            extensions = {"timeout": self._timeout(), "sleep": self._sleep}
            return httpx.Request(
                http.method, http.url, headers=dict(http.headers), content=http.body, extensions=extensions
            )
        # Such a client takes one time to read, for the first event and all others: the exchange looks for itself, too,
        # whenever something comes.
        timeouts = self._exchange.call.timeouts
        first = _least(timeouts.first, timeouts.total)
        read = None if None in (first, timeouts.idle) else _least(max(first or 0, timeouts.idle or 0), timeouts.total)
        timeout = httpx.Timeout(connect=timeouts.connect, read=read, write=first, pool=timeouts.connect)
        request: httpx.Request = self._client.build_request(
            http.method, http.url, headers=dict(http.headers), content=http.body, timeout=timeout
        )
        self._note_secrets(request)
        return request

    def _note_secrets(self, request: httpx.Request) -> None:
        """What a client of the user's own adds to a request is a secret as well."""
        self._exchange.secrets.add_headers(request.headers)
        self._exchange.secrets.add_address(str(request.url))

    def _sleep(self, seconds: float) -> None:
        self._control.sleep(seconds)


class SyncReader(_Reader):
    """Reads one request's chunks, blocking.

    ``client`` is an ``httpx.Client``, a transport, or ``None`` for the shared transport.
    """

    def __init__(self, call: Call, client: httpx.Client | httpx.BaseTransport | None = None) -> None:
        super().__init__(call, client)
        self._body: Iterator[bytes] = iter(())
        # Without a lock: pull() says that it is busy and then looks whether to stop; close() says to stop and then
        # looks who is busy. One of the two sees the other.
        self._busy = False

    def pull(self) -> list[ModelResponseStream] | None:
        """The next chunks, ``None`` at the end.

        Raises:
            APIError: the exchange failed.
        """
        self._busy = True
        try:
            if self._in_body and not self._closed:
                exchange = self._exchange
                if exchange.rest is not None and (chunks := exchange.feed(b"")):
                    return chunks
                if not exchange.over:
                    for data in self._body:
                        chunks = exchange.feed(data)
                        if chunks:
                            return chunks
                        if exchange.over:
                            break
                self._in_body = False
            return self._advance()
        except _NETWORK_ERRORS as error:
            # Only the body raises these here.
            self._in_body = False
            self._told = _failure(error)
            return self._advance()
        except BaseException as error:  # noqa: BLE001  Ctrl-C too
            self._closed = True
            data, chunks = b"", []  # a traceback may show the locals
            raise unframed(error)  # noqa: B904  its frames hold the request
        finally:
            self._busy = False
            if self._closed:
                self._hang_up()

    def close(self) -> None:
        """Closes the response at once, from any thread; a read that is under way ends."""
        if self._closed:
            return
        self._closed = True
        if self._busy:
            self._control.cancel()
        else:
            self._hang_up()

    def drain(self) -> None:
        """After the end: gives the connection a moment to come free for the next request, and lets go of it."""
        self._exchange.drain(_DRAIN)
        self._busy = True
        # A client of the user's own knows no deadline but its read timeout.
        alarm = None if self._client is None else self._alarm()
        try:
            while (self._exchange.time_left() or 0) > 0 and next(self._body, None) is not None:
                pass
        except _NETWORK_ERRORS:
            pass
        finally:
            if alarm is not None:
                alarm.cancel()
            self._busy = False
            self._closed = True
            self._hang_up()

    def _advance(self) -> list[ModelResponseStream] | None:
        told, self._told = self._told, None
        while not self._closed:
            try:
                step = self._steps.send(told)
            except StopIteration:
                return None
            told = None
            if step is BODY:
                self._in_body = True
                return []
            if step is READ:
                told = self._read()
            elif type(step) is list:
                return step
            elif isinstance(step, Send):
                told = self._send(step)
            elif isinstance(step, Sleep):
                self._sleep(step.seconds)
            elif isinstance(step, Ask):
                told = _answer(step)
            elif step is CLOSE:
                self._hang_up()
        return None

    def _alarm(self) -> threading.Timer | None:
        """Wakes the read after a while, where there is a socket to be shut."""
        if not self._responses or _socket_of(self._responses[0]) is None:
            return None
        alarm = threading.Timer(_DRAIN, self._control.cancel)
        alarm.daemon = True
        alarm.name = "rxllm-alarm"
        with contextlib.suppress(RuntimeError):  # the interpreter is shutting down
            alarm.start()
        return alarm

    def _read(self) -> Told:
        try:
            return next(self._body, None)
        except _NETWORK_ERRORS as error:
            return _failure(error)

    def _send(self, step: Send) -> Told:
        self._hang_up()
        self._renew_control(step)
        try:
            request = self._build(step)
            if isinstance(self._client, httpx.Client):
                response = self._client.send(request, stream=True, follow_redirects=False)
                self._note_secrets(response.request)  # with what its auth= has added
            else:
                response = (self._client or shared_transport()).handle_request(request)
        except _NETWORK_ERRORS as error:
            return _failure(error)
        except (httpx.InvalidURL, UnicodeError):
            return Failure("invalid", "")
        self._responses.append(response)
        if self._client is not None:
            self._control.hold(_socket_of(response))
        if response.is_stream_consumed:  # by a hook of a client of the user's own, and decoded
            self._body = iter((response.content,))
            return _decoded(_head(response))
        self._body = iter(cast("httpx.SyncByteStream", response.stream))  # as it came: the exchange decodes it
        return _head(response)

    def _hang_up(self) -> None:
        self._control.release()
        while self._responses:
            with contextlib.suppress(IndexError):
                self._responses.pop().close()
        self._body = iter(())


class AsyncReader(_Reader):
    """Reads one request's chunks on the running event loop. ``client`` as for ``SyncReader``, its asynchronous kind."""

    def __init__(self, call: Call, client: httpx.AsyncClient | httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(call, client)
        self._body: AsyncIterator[bytes] | None = None
        self._interruptible = Interruptible()
        # A client of the user's own knows no bound that moves.
        self._bounded = isinstance(client, httpx.AsyncClient)

    async def pull(self) -> list[ModelResponseStream] | None:
        """The next chunks, ``None`` at the end.

        Raises:
            APIError: the exchange failed.
        """
        self._interruptible.begin()
        try:
            if self._in_body and not self._closed and self._body is not None:
                exchange = self._exchange
                if exchange.rest is not None and (chunks := exchange.feed(b"")):
                    return chunks
                if self._bounded:
                    if not exchange.over and isinstance(data := await self._next(), bytes):
                        return exchange.feed(data)
                elif not exchange.over:
                    async for data in self._body:
                        chunks = exchange.feed(data)
                        if chunks:
                            return chunks
                        if exchange.over:
                            break
                self._in_body = False
            return await self._advance()
        except _NETWORK_ERRORS as error:
            # Only the body raises these here.
            self._in_body = False
            self._told = _failure(error)
            return await self._advance()
        except BaseException as error:  # noqa: BLE001  cancellation and Ctrl-C too
            if isinstance(error, asyncio.CancelledError) and self._interruptible.absorb():
                return None
            self._closed = True
            data, chunks = b"", []
            raise unframed(error)  # noqa: B904
        finally:
            self._interruptible.end()
            if self._closed:
                await self._hang_up()

    def close(self) -> bool:
        """Ends the reading at once, from any thread. True where the response is still to be closed by ``aclose``."""
        if self._closed:
            return False
        self._closed = True
        if not self._interruptible.busy:
            return True
        self._interruptible.interrupt()
        return False

    async def aclose(self) -> None:
        """Closes the response, after ``close``."""
        await self._hang_up()

    async def drain(self) -> None:
        """After the end: gives the connection a moment to come free for the next request, and lets go of it."""
        self._exchange.drain(_DRAIN)
        self._interruptible.begin()
        try:
            async with asyncio.timeout(_DRAIN):
                while self._body is not None and await anext(self._body, None) is not None:
                    pass
        except (*_NETWORK_ERRORS, TimeoutError):
            pass
        except asyncio.CancelledError:
            if not self._interruptible.absorb():
                raise
        finally:
            self._interruptible.end()
            self._closed = True
            await self._hang_up()

    async def _advance(self) -> list[ModelResponseStream] | None:
        told, self._told = self._told, None
        while not self._closed:
            try:
                step = self._steps.send(told)
            except StopIteration:
                return None
            told = None
            if step is BODY:
                self._in_body = True
                return []
            if step is READ:
                told = await self._read()
            elif type(step) is list:
                return step
            elif isinstance(step, Send):
                await self._hang_up()
                told = await self._send(step)
            elif isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Ask):
                told = await asyncio.to_thread(_answer, step)
            elif step is CLOSE:
                await self._hang_up()
        return None

    async def _read(self) -> Told:
        try:
            return await self._next()
        except _NETWORK_ERRORS as error:
            return _failure(error)

    async def _next(self) -> bytes | None:
        async with self._bound():
            return None if self._body is None else await anext(self._body, None)

    def _bound(self) -> asyncio.Timeout:
        return asyncio.timeout(self._exchange.time_left() if self._bounded else None)

    async def _send(self, step: Send) -> Told:
        self._renew_control(step)
        try:
            request = self._build(step)
            if isinstance(self._client, httpx.AsyncClient):
                async with self._bound():
                    response = await self._client.send(request, stream=True, follow_redirects=False)
                self._note_secrets(response.request)
            else:
                response = await (self._client or await shared_async_transport()).handle_async_request(request)
        except _NETWORK_ERRORS as error:
            return _failure(error)
        except (httpx.InvalidURL, UnicodeError):
            return Failure("invalid", "")
        self._responses.append(response)
        if response.is_stream_consumed:
            self._body = _whole(response.content)
            return _decoded(_head(response))
        self._body = aiter(cast("httpx.AsyncByteStream", response.stream))
        return _head(response)

    async def _hang_up(self) -> None:
        self._control.release()
        body, self._body = self._body, None
        # The generator first: left to the garbage collector it would be closed by a task that nobody awaits.
        close = getattr(body, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):  # the event loop is ending, and closes it at this moment
                await close()
        while self._responses:
            await self._responses.pop().aclose()
