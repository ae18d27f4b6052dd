"""Connecting: names that do not resolve in time, addresses that do not answer, and whoever does not want to wait."""

import asyncio
import gc
import gzip
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import rxllm
from rxllm import ModelResponseStream, Stream, Timeouts
from rxllm._network import Control, SyncBackend
from rxllm.exceptions import APIConnectionError, Timeout
from tests.consume import by_async_for, by_for
from tests.server import PATIENCE, Answering, Server, chunk, texts
from tests.test_stream import join_rxllm_threads

Ask = Callable[..., Stream[ModelResponseStream]]

BOTH = pytest.mark.parametrize("consume", [by_for, by_async_for], ids=["sync", "async"])

_system_resolver = socket.getaddrinfo


@pytest.fixture
def silent(server: Server) -> Iterator[str]:
    """The server's port at another address, where nobody takes a connection: its queue is full."""
    address = ("127.0.0.2", int(server.url.rpartition(":")[2].partition("/")[0]))
    with socket.create_server(address, backlog=0):
        waiting: list[socket.socket] = []
        while True:
            caller = socket.socket()
            waiting.append(caller)
            caller.settimeout(0.1)
            try:
                caller.connect(address)
            except TimeoutError:
                break
        yield address[0]
        for caller in waiting:
            caller.close()


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str, until: threading.Event | None = None) -> None:
    """Makes the name ``several.test`` resolve to these addresses, once ``until`` is set."""

    def resolver(host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        if host != "several.test":
            return _system_resolver(host, port, *arguments, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        if until is not None:
            assert until.wait(PATIENCE)
        return [found for address in addresses for found in _system_resolver(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)


def named(server: Server) -> str:
    """The server's URL by the name."""
    return server.url.replace("127.0.0.1", "several.test")


@BOTH
def test_the_next_address_is_tried_while_there_is_time(
    server: Server, ask: Ask, silent: str, monkeypatch: pytest.MonkeyPatch, consume: Callable[[Any], list[Any]]
) -> None:
    """An address that does not answer takes its share of the time and no more."""
    resolve(monkeypatch, silent, "127.0.0.1")
    assert texts(consume(ask(api_base=named(server), timeout=Timeouts(connect=0.4)))) == ["Hel", "lo", " wor", "ld"]


@BOTH
def test_no_address_answers(
    server: Server, ask: Ask, silent: str, monkeypatch: pytest.MonkeyPatch, consume: Callable[[Any], list[Any]]
) -> None:
    """The error says that connecting took too long."""
    resolve(monkeypatch, silent)
    with pytest.raises(Timeout, match=r"No connection within 0\.2 s \(the connect timeout\)") as caught:
        consume(ask(api_base=named(server), timeout=Timeouts(connect=0.2), max_retries=0))
    assert caught.value.bound == "connect"


@BOTH
def test_a_name_that_does_not_resolve_in_time(
    server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch, consume: Callable[[Any], list[Any]]
) -> None:
    """Looking a name up is a part of connecting, and bounded with it."""
    release = threading.Event()
    resolve(monkeypatch, "127.0.0.1", until=release)
    # The event loop's own end waits for its resolver.
    timer = threading.Timer(0.5, release.set)
    timer.start()
    with pytest.raises(Timeout) as caught:
        consume(ask(api_base=named(server), timeout=Timeouts(connect=0.1), max_retries=0))
    release.set()
    timer.join()
    assert caught.value.bound == "connect"
    assert server.connections == 0


@BOTH
def test_a_name_that_does_not_exist(ask: Ask, consume: Callable[[Any], list[Any]]) -> None:
    """The error names it."""
    with pytest.raises(APIConnectionError, match=r"No connection: no-such-host\.invalid"):
        consume(ask(api_base="http://no-such-host.invalid/v1", max_retries=0))


def test_dispose_does_not_wait_for_a_resolver(server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leaves while a name is looked up is let go of at once."""
    asked, release = threading.Event(), threading.Event()

    class Asked(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            asked.set()
            return release.wait(timeout)

    resolve(monkeypatch, "127.0.0.1", until=Asked())
    subscription = ask(api_base=named(server)).subscribe()
    assert asked.wait(PATIENCE)
    subscription.dispose()
    for thread in threading.enumerate():
        if thread.name == "rxllm-worker":
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert not release.is_set()
    release.set()
    join_rxllm_threads()
    assert server.connections == 0


@BOTH
def test_an_idle_connection_that_the_server_closed_is_not_used_again(
    server: Server, ask: Ask, consume: Callable[[Any], list[Any]]
) -> None:
    """Nor is one on which it said something unasked."""

    async def script(answering: Any) -> None:
        await answering.stream("one")
        if answering.number == 2:
            await answering.raw(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        answering.hang_up()
        server.events.put("gone")

    server.script = script

    async def on_one_loop() -> None:
        for _ in range(3):
            assert texts([item async for item in ask(max_retries=0)]) == ["one"]
            assert await asyncio.to_thread(server.next_event) == "gone"

    if consume is by_async_for:
        asyncio.run(on_one_loop())
    else:
        for _ in range(3):
            assert texts(ask(max_retries=0)) == ["one"]
            assert server.next_event() == "gone"
    assert server.connections == 3


def test_closing_while_a_stream_is_open(server: Server, ask: Ask) -> None:
    """close() leaves what is in use alone: its connection is closed when its stream ends."""

    async def script(answering: Any) -> None:
        await answering.stream("one", "two")
        await answering.closed()

    server.script = script
    iterator = iter(ask())
    next(iterator)
    rxllm.close()
    assert texts(iterator) == ["two"]
    assert server.next_closed() == 1


@pytest.mark.parametrize("bound", ["first", "idle", "total"])
def test_each_bound_with_an_asynchronous_client_of_ones_own(server: Server, ask: Ask, bound: str) -> None:
    """Such a client knows one time to read; each bound holds all the same."""

    async def script(answering: Answering) -> None:
        await answering.start()
        if bound != "first":
            await answering.event(chunk("one"))
        await answering.closed()

    async def consume() -> None:
        async with httpx.AsyncClient() as client:
            bounds = Timeouts(**{"first": PATIENCE, "idle": PATIENCE, "total": PATIENCE, bound: 0.1})
            async for _ in ask(http_client=client, timeout=bounds, max_retries=0):
                pass

    server.script = script
    with pytest.raises(Timeout) as caught:
        asyncio.run(consume())
    assert (caught.value.bound, caught.value.seconds) == (bound, 0.1)
    assert server.next_closed() == 1


def test_a_client_of_ones_own_waits_for_the_longest(server: Server, ask: Ask) -> None:
    """A blocking one is given the longest wait there is, and what is left of the total time."""

    async def script(answering: Answering) -> None:
        await answering.closed()

    server.script = script
    with httpx.Client() as client, pytest.raises(Timeout) as caught:
        list(ask(http_client=client, timeout=Timeouts(first=PATIENCE, idle=0.05, total=0.2), max_retries=0))
    assert caught.value.bound == "total"
    assert server.next_closed() == 1


class _NoBound:
    """Who never runs out of time."""

    def time_left(self) -> None:
        """No bound."""


@BOTH
def test_a_request_leaves_in_one_piece(ask: Ask, consume: Callable[[Any], list[Any]]) -> None:
    """Its head and its body, so that the server wakes once; a body that is too large to be copied goes by itself."""
    for size, whole in ((10, True), (1 << 20, False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pieces: list[bytes] = []

            def take(listener: socket.socket, pieces: list[bytes]) -> None:
                caller, _ = listener.accept()
                with caller:
                    while b"the end" not in b"".join(pieces) and (piece := caller.recv(1 << 17)):
                        pieces.append(piece)

            server = threading.Thread(target=take, args=(listener, pieces))
            server.start()
            content = "x" * size + "the end"
            with pytest.raises(APIConnectionError):
                consume(
                    ask(
                        api_base=f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
                        messages=[{"role": "user", "content": content}],
                        max_retries=0,
                    )
                )
            server.join(PATIENCE)
        assert b"".join(pieces).count(content.encode()) == 1
        assert (len(pieces) == 1) is whole


def test_a_cancelled_call_resets_its_connection() -> None:
    """A server that waits for room to send more hears of nothing less, and would wait for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        control = Control(_NoBound())
        stream = SyncBackend().connect_tcp("127.0.0.1", listener.getsockname()[1], control)
        connection, _ = listener.accept()
        with connection:
            control.hold(stream.get_extra_info("socket"))
            control.cancel()
            assert stream.read(1) == b""
            assert connection.recv(1) == b""
            stream.close()
            poller = select.poll()
            poller.register(connection, 0)  # which is told of errors all the same
            assert [what & select.POLLERR for _, what in poller.poll(PATIENCE * 1000)] == [select.POLLERR]


@pytest.fixture
def silent_proxy() -> Iterator[str]:
    """The address of a proxy that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    rxllm.close()


@BOTH
@pytest.mark.parametrize(("scheme", "origin"), [("http", "https"), ("socks5", "https"), ("socks5", "http")])
def test_a_proxy_that_says_nothing(
    ask: Ask, silent_proxy: str, monkeypatch: pytest.MonkeyPatch, consume: Any, scheme: str, origin: str
) -> None:
    """The way through a proxy is a part of connecting, and bounded with it."""
    monkeypatch.setenv("all_proxy", f"{scheme}://{silent_proxy}")
    monkeypatch.setenv("no_proxy", "")
    bounds = Timeouts(connect=0.2, first=PATIENCE, idle=PATIENCE)
    with pytest.raises(Timeout) as caught:
        consume(ask(api_base=f"{origin}://llm.example/v1", timeout=bounds, max_retries=0))
    assert caught.value.bound == "connect"


def test_to_a_stream_of_another_kind_a_control_is_the_longest_wait() -> None:
    """httpcore's own streams, behind an https proxy, take it for the seconds that each read may take."""
    assert float(Control(_NoBound(), 0.5, 60.0)) == 60.0
    assert float(Control(_NoBound(), 0.5)) > 3600


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_hook_of_ones_own_client_that_reads_the_body(server: Server, ask: Ask, kind: str, compressed: bool) -> None:
    """What it has read is not read again from a connection that is somebody else's by now."""

    async def script(answering: Answering) -> None:
        whole = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        await answering.start(content_encoding="gzip" if compressed else "")
        await answering.send(gzip.compress(whole) if compressed else whole)
        await answering.end()

    server.script = script

    async def consume() -> list[Any]:
        async def read(response: httpx.Response) -> None:
            await response.aread()

        async with httpx.AsyncClient(event_hooks={"response": [read]}) as client:
            return [item async for item in ask(http_client=client)]

    if kind == "Client":
        with httpx.Client(event_hooks={"response": [httpx.Response.read]}) as client:
            assert texts(ask(http_client=client)) == ["Hi"]
    else:
        assert texts(asyncio.run(consume())) == ["Hi"]


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_full_pool_of_ones_own(server: Server, ask: Ask, kind: str) -> None:
    """Waiting for a connection is a part of connecting, for either kind of client."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = script
    limits = httpx.Limits(max_connections=1)
    bounds = Timeouts(connect=0.1, first=PATIENCE)

    async def consume() -> None:
        async with httpx.AsyncClient(limits=limits) as client:
            async for _ in ask(http_client=client):
                async for _ in ask(http_client=client, timeout=bounds, max_retries=0):
                    pass

    with pytest.raises(Timeout) as caught:
        if kind == "AsyncClient":
            asyncio.run(consume())
        else:
            with httpx.Client(limits=limits) as client:
                for _ in ask(http_client=client):
                    list(ask(http_client=client, timeout=bounds, max_retries=0))
    assert caught.value.bound == "connect"


def test_event_loops_are_let_go_of(ask: Ask) -> None:
    """One that has ended is held by nothing of ours."""
    loops: list[Any] = []

    async def consume() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        async for _ in ask():
            pass

    for _ in range(3):
        asyncio.run(consume())
    gc.collect()
    assert [loop() for loop in loops] == [None, None, None]
