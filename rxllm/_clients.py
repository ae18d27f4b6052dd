"""The connections that all requests share, unless the caller brings a client: pools over sockets we can let go of."""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from rxllm._network import AsyncBackend, SyncBackend

__all__ = ["aclose", "close", "shared_async_transport", "shared_transport"]

_KEEPALIVE_SECONDS = 30.0


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _proxy_for(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this URL; one without a scheme is reached by http, as curl has it."""
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _pool_options(url: httpx.URL, proxy: str | None, backend: Any) -> dict[str, Any]:
    """What a pool is made with. HTTP/1.1 only: over HTTP/2 letting one call go would take its siblings along."""
    options: dict[str, Any] = {
        "max_connections": None,
        "max_keepalive_connections": None,
        "keepalive_expiry": _KEEPALIVE_SECONDS,
    }
    if url.scheme == "https":
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


class SharedTransport(httpx.BaseTransport):
    """A pool for each way out: direct or by a proxy, with TLS or without."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; httpcore's exceptions come through as they are."""
        response = self._pool(request.url).handle_request(_request(request))
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response.stream), extensions=response.extensions
        )

    def _pool(self, url: httpx.URL) -> Any:
        proxy = _proxy_for(url)
        with self._lock:
            pool = self._pools.get((url.scheme, proxy))
            if pool is None:
                options = _pool_options(url, proxy, SyncBackend())
                if proxy is None:
                    pool = httpcore.ConnectionPool(**options)
                elif proxy.startswith("socks"):
                    pool = httpcore.SOCKSProxy(**_proxy_options(proxy), **options)
                else:
                    pool = httpcore.HTTPProxy(**_proxy_options(proxy), **options)
                self._pools[url.scheme, proxy] = pool
            return pool

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()


class SharedAsyncTransport(httpx.AsyncBaseTransport):
    """The same on one event loop."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, str | None], Any] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; httpcore's exceptions come through as they are."""
        response = await self._pool(request.url).handle_async_request(_request(request))
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_AsyncBody(response.stream),
            extensions=response.extensions,
        )

    def _pool(self, url: httpx.URL) -> Any:
        proxy = _proxy_for(url)
        pool = self._pools.get((url.scheme, proxy))
        if pool is None:
            options = _pool_options(url, proxy, AsyncBackend())
            if proxy is None:
                pool = httpcore.AsyncConnectionPool(**options)
            elif proxy.startswith("socks"):
                pool = httpcore.AsyncSOCKSProxy(**_proxy_options(proxy), **options)
            else:
                pool = httpcore.AsyncHTTPProxy(**_proxy_options(proxy), **options)
            self._pools[url.scheme, proxy] = pool
        return pool

    async def aclose(self) -> None:
        """Closes every connection."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()


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
    try:
        yield
    finally:
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
