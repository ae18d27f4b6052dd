"""The connections that all requests share, unless the caller brings a client, over sockets that we can let go of."""

import asyncio
import contextlib
import os
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.request import getproxies, getproxies_environment, proxy_bypass

import httpcore
import httpx

from rxllm._bodies import AsyncChunkedBody, ChunkedBody, body_of
from rxllm._network import AsyncBackend, SyncBackend
from rxllm._secrets import Secrets

__all__ = ["aclose", "close", "shared_async_transport", "shared_transport"]

_KEEPALIVE_SECONDS = 30.0

# What getproxies() goes by; in a CGI script HTTP_PROXY is a header of the request.
_PROXY_VARIABLES: Final = (
    *(case(f"{name}_proxy") for name in ("http", "https", "all", "no") for case in (str.lower, str.upper)),
    "REQUEST_METHOD",
)

# Where a connection leads: scheme, proxy, host, port.
_Way = tuple[str, str | None, bytes, int | None]


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any, done: Callable[[], None]) -> None:
        self._stream = stream
        self._done = [done]  # a list, since taking from it is atomic

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()
        with contextlib.suppress(IndexError):
            self._done.pop()()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, stream: Any, done: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._done = [done]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await self._stream.aclose()
        while self._done:
            await self._done.pop()()


def _proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this URL; one without a scheme is reached by http, as curl has it."""
    if getproxies is not getproxies_environment:  # the system's settings, which may change at any time
        return _named_proxy(url.scheme, url.host)
    # To look through all of the environment is a tenth of what a request takes.
    return _named_proxy_in(tuple(map(os.environ.get, _PROXY_VARIABLES)), url.scheme, url.host)


@lru_cache(maxsize=1024)
def _named_proxy_in(_environment: tuple[str | None, ...], scheme: str, host: str) -> str | None:
    return _named_proxy(scheme, host)


def _named_proxy(scheme: str, host: str) -> str | None:
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _pool_options(scheme: str, proxy: str | None, backend: Any) -> dict[str, Any]:
    """What connections are made with. HTTP/1.1 only: over HTTP/2 letting one call go would take its siblings along."""
    options: dict[str, Any] = {"keepalive_expiry": _KEEPALIVE_SECONDS}
    if scheme == "https":
        options["ssl_context"] = httpx.create_ssl_context()
    # TLS inside TLS has no socket of its own to read from: there, httpcore's backend does it.
    if proxy is None or not proxy.startswith("https:"):
        options["network_backend"] = backend
    return options


def _proxy_options(address: str) -> dict[str, Any]:
    """The proxy's URL, and the name and password that may stand in it."""
    proxy = httpx.Proxy(address)
    url = proxy.url
    return {
        "proxy_url": httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        "proxy_auth": proxy.raw_auth,
    }


def _request(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _opened_for(request: httpx.Request) -> Any:
    """The connection that was opened for a request, if one was."""
    return getattr(request.extensions["timeout"]["connect"], "opened", None)


def _way(url: httpx.URL) -> _Way:
    return url.scheme, _proxy_for(url), url.raw_host, url.port


class _Connections:
    """The connections that wait for their next request, by where they lead; httpcore makes new ones.

    httpcore's own pool goes through all its connections for each one that is idle, whenever a request begins or ends:
    a thousand streams took it a minute. Whoever takes a connection here has it alone until it is given back, and since
    taking and giving are atomic, threads need no lock.
    """

    def __init__(self, maker: Callable[[str, str | None], Any]) -> None:
        self._maker = maker
        self._makers: dict[tuple[str, str | None], Any] = {}
        self._secrets = Secrets()  # the proxies' passwords, which httpcore logs
        self._idle: defaultdict[_Way, deque[Any]] = defaultdict(deque)
        # Those in use. Where a stream is garbage in a cycle, its socket would be too, and perhaps go before the stream
        # can close it.
        self._busy: set[Any] = set()
        self._closed = False

    def take(self, way: _Way) -> Any:
        """The connection that was given back last, which may have expired since; ``None`` where there is none."""
        try:
            connection = self._idle[way].pop()
        except IndexError:
            return None
        self._busy.add(connection)
        return connection

    def make(self, way: _Way, url: httpcore.URL) -> Any:
        """A connection that is not open yet."""
        scheme, proxy, _, _ = way
        maker = self._makers.get((scheme, proxy))
        if maker is None:
            self._secrets.add_address(proxy)
            maker = self._makers[scheme, proxy] = self._maker(scheme, proxy)
        connection = maker.create_connection(url.origin)
        self._busy.add(connection)
        return connection

    def give(self, way: _Way, connection: Any) -> list[Any]:
        """Takes a connection back, for the next request; gives those that are to be closed."""
        self._busy.discard(connection)
        if not connection.is_idle() or _holds_more(connection):
            return [connection]
        self._idle[way].append(connection)
        if self._closed:
            return self.close()
        expired: list[Any] = []
        for idle in list(self._idle.values()):
            # The one that has waited longest is the first to expire.
            with contextlib.suppress(IndexError):
                while idle[0].has_expired():
                    expired.append(idle.popleft())
        return expired

    def drop(self, connection: Any) -> None:
        """A connection that is of no use any more."""
        self._busy.discard(connection)

    def in_use(self) -> list[Any]:
        """Those that have been taken and not given back."""
        return list(self._busy)

    def close(self) -> list[Any]:
        """All that wait, to be closed; those in use are closed when they are given back."""
        self._closed = True
        waiting: list[Any] = []
        for idle in list(self._idle.values()):
            with contextlib.suppress(IndexError):
                while True:
                    waiting.append(idle.pop())
        return waiting


def _holds_more(connection: Any) -> bool:
    """Whether bytes came behind the answer: they would be taken for the next request's."""
    # httpcore tells of them only where a connection was upgraded.
    while connection is not None and not hasattr(connection, "_h11_state"):
        connection = getattr(connection, "_connection", None)
    return connection is not None and bool(connection._h11_state.trailing_data[0])  # noqa: SLF001


def _tunnel(scheme: str, proxy: str | None) -> Literal["socks", "http"] | None:
    """By what kind of proxy a connection goes that is the client's own behind it."""
    if proxy is not None and proxy.startswith("socks"):
        return "socks"
    return "http" if proxy is not None and scheme == "https" else None


def _maker(scheme: str, proxy: str | None) -> Any:
    """An httpcore pool, for the connections that it makes."""
    options = _pool_options(scheme, proxy, SyncBackend(_tunnel(scheme, proxy)))
    if proxy is None:
        return httpcore.ConnectionPool(**options)
    return (httpcore.SOCKSProxy if proxy.startswith("socks") else httpcore.HTTPProxy)(
        **_proxy_options(proxy), **options
    )


def _async_maker(scheme: str, proxy: str | None) -> Any:
    options = _pool_options(scheme, proxy, AsyncBackend(_tunnel(scheme, proxy)))
    if proxy is None:
        return httpcore.AsyncConnectionPool(**options)
    kind = httpcore.AsyncSOCKSProxy if proxy.startswith("socks") else httpcore.AsyncHTTPProxy
    return kind(**_proxy_options(proxy), **options)


class SharedTransport(httpx.BaseTransport):
    """Connections that are used again, over each way out: direct or by a proxy, with TLS or without."""

    def __init__(self) -> None:
        self._connections = _Connections(_maker)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; httpcore's exceptions come through as they are."""
        asked, way, connections = _request(request), _way(request.url), self._connections
        while (connection := connections.take(way)) is not None and connection.has_expired():
            connections.drop(connection)
            connection.close()
        if connection is None:
            connection = connections.make(way, asked.url)
        try:
            response = connection.handle_request(asked)
        except BaseException:
            connections.drop(connection)
            connection.close()
            if (opened := _opened_for(request)) is not None:
                opened.close()
            raise

        def done() -> None:
            for useless in connections.give(way, connection):
                useless.close()

        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(body_of(asked, response, ChunkedBody), done),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Closes every connection that is not in use, and those that are when their streams end."""
        for connection in self._connections.close():
            connection.close()


class SharedAsyncTransport(httpx.AsyncBaseTransport):
    """The same on one event loop."""

    def __init__(self) -> None:
        self._connections = _Connections(_async_maker)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; httpcore's exceptions come through as they are."""
        asked, way, connections = _request(request), _way(request.url), self._connections
        while (connection := connections.take(way)) is not None and connection.has_expired():
            connections.drop(connection)
            await connection.aclose()
        if connection is None:
            connection = connections.make(way, asked.url)
        try:
            response = await connection.handle_async_request(asked)
        except BaseException:
            connections.drop(connection)
            await connection.aclose()
            if (opened := _opened_for(request)) is not None:
                await opened.aclose()
            raise

        async def done() -> None:
            for useless in connections.give(way, connection):
                await useless.aclose()

        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_AsyncBody(body_of(asked, response, AsyncChunkedBody), done),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Closes every connection that is not in use, and those that are when their streams end."""
        for connection in self._connections.close():
            await connection.aclose()

    async def abandon(self) -> None:
        """Closes those in use too: the event loop is ending, and no stream can go on."""
        for connection in self._connections.in_use():
            await connection.aclose()


_shared: SharedTransport | None = None
_shared_lock = threading.Lock()
# One per event loop, held by an async generator: the loop's shutdown closes those, and the connections with it.
_held: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[SharedAsyncTransport, AsyncGenerator[None, None]]]"
_held = weakref.WeakKeyDictionary()


def shared_transport() -> SharedTransport:
    """The process's transport."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = SharedTransport()
        return _shared


async def shared_async_transport() -> SharedAsyncTransport:
    """The running event loop's transport."""
    loop = asyncio.get_running_loop()
    held = _held.get(loop)
    if held is None:
        transport = SharedAsyncTransport()
        holder = _hold(transport)
        _held[loop] = held = (transport, holder)
        await anext(holder)
    return held[0]


async def _hold(transport: SharedAsyncTransport) -> AsyncGenerator[None, None]:
    event_loop = asyncio.get_running_loop()
    try:
        yield
    finally:
        # This generator holds its event loop, which would keep its own place for ever.
        held = _held.get(event_loop)
        if held is not None and held[0] is transport:
            del _held[event_loop]
            await transport.abandon()
        await transport.aclose()


def close() -> None:
    """Closes the shared connections of synchronous streams; the next request opens new ones."""
    global _shared
    with _shared_lock:
        transport, _shared = _shared, None
    if transport is not None:
        transport.close()


async def aclose() -> None:
    """Closes the shared connections of this event loop's streams; the next request opens new ones."""
    held = _held.pop(asyncio.get_running_loop(), None)
    if held is not None:
        await held[1].aclose()


def _forget() -> None:
    """After a fork the child has its parent's sockets: it must neither use nor close them."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
