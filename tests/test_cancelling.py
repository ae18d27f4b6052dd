"""Leaving is cancelling: however a Stream is left, the server sees the connection close."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import reactivex as rx
import trustme
from reactivex import operators as rxops
from reactivex.scheduler.eventloop import AsyncIOScheduler

import rxllm
from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from tests.leaving import PLACES, WAYS, WAYS_BEFORE_THE_HEADERS, Scene, stall_after_one, stall_before_headers
from tests.server import PATIENCE, Answering, Server, chunk
from tests.test_stream import join_rxllm_threads

Ask = Callable[..., Stream[ModelResponseStream]]


@pytest.fixture
def stalling(server: Server) -> Server:
    """A server that stalls after the first chunk."""
    server.script = stall_after_one
    return server


@pytest.fixture(params=["plain", "TLS"])
def secured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server without and with TLS, whose certificate is made for the test, and trusted in it."""
    serving: ssl.SSLContext | None = None
    if request.param == "TLS":
        authority = trustme.CA()
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(serving)  # pyright: ignore[reportUnknownMemberType]
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
        monkeypatch.setattr(httpx, "create_ssl_context", lambda: trusting)
    with Server(serving) as running:
        yield running
    rxllm.close()


def of(server: Server) -> Stream[ModelResponseStream]:
    """A Stream of that server."""
    messages = [{"role": "user", "content": "Hello"}]
    return rxllm.completion("gpt-4", messages, stream=True, api_base=server.url, api_key="sk-secret-key")


@pytest.mark.parametrize(
    ("place", "way"),
    [(place, way) for place in PLACES for way in (WAYS if PLACES[place][1] else WAYS_BEFORE_THE_HEADERS)],
)
def test_leaving_closes_the_connection(secured: Server, place: str, way: str) -> None:
    """However a Stream is left, and wherever: the server sees it while the client is still there; no end is told."""
    secured.script, item = PLACES[place]
    scene = Scene(item, secured.next_event, secured.next_closed)
    WAYS[way](of(secured), scene)
    join_rxllm_threads()
    assert scene.ends == []
    assert secured.connections == 1


def connections_to(port: int | None) -> int:
    """How many sockets of this process are connected to that port."""
    found = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # none of a socket, or of one that is not connected
            sock = socket.socket(fileno=int(descriptor.name))
            try:
                found += sock.getpeername()[1:2] == (port,)
            finally:
                sock.detach()  # whose it is, closes it
    return found


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="descriptors cannot be listed here")
def test_cancelling_a_task_at_any_step_of_connecting(secured: Server) -> None:
    """No step of it, nor of a TLS handshake, leaves the connection to the garbage collector."""
    secured.script = stall_after_one
    port = httpx.URL(secured.url).port

    async def consume() -> None:
        async for _ in of(secured):
            pass

    async def cancel_after(steps: int) -> None:
        task = asyncio.ensure_future(consume())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        for _ in range(10):  # a transport says goodbye in a step of its own
            await asyncio.sleep(0)

    async def cancel_everywhere() -> list[int]:
        left: list[int] = []
        for steps in range(100):
            await cancel_after(steps)
            left.append(connections_to(port))
        await rxllm.aclose()
        return left

    assert asyncio.run(cancel_everywhere()) == [0] * 100


@pytest.mark.parametrize("items", [0, 1, 2])
def test_take_chunks_cancels_before_the_last_item(stalling: Server, ask: Ask, items: int) -> None:
    """take_chunks(n) closes the request before its last item goes down; with 0 none is sent."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"), chunk("two"), chunk("three"))
        await answering.closed()

    stalling.script = script
    for number, _ in enumerate(ask().pipe(ops.take_chunks(items)), 1):
        if number == items:
            assert stalling.next_closed() == 1
    assert len(stalling.requests) == min(items, 1)


@pytest.mark.parametrize("place", ["before the headers", "idle"])
def test_dispose_frees_a_read_on_a_connection_that_was_used_before(server: Server, ask: Ask, place: str) -> None:
    """A connection that the pool gave is let go of as a new one is."""
    list(ask())
    server.script, item = PLACES[place]
    WAYS["dispose on another thread"](ask(), Scene(item, server.next_event, server.next_closed))
    assert (server.connections, len(server.requests)) == (1, 2)
    join_rxllm_threads()


def test_dispose_inside_a_callback(stalling: Server, ask: Ask) -> None:
    """A subscriber may leave from its own on_next."""
    got: list[Any] = []
    holder: list[Any] = []
    ready = threading.Event()

    def on_next(item: Any) -> None:
        assert ready.wait(PATIENCE)
        got.append(item)
        holder[0].dispose()

    holder.append(ask().subscribe(on_next))
    ready.set()
    assert stalling.next_closed() == 1
    assert len(got) == 1
    join_rxllm_threads()


def test_dispose_before_anything_came() -> None:
    """A subscription that is disposed of at once ends, sent or not; here nobody even accepts the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        stream = rxllm.completion(
            "gpt-4", [{"role": "user", "content": "Hello"}], stream=True, api_base=url, api_key="sk-secret-key"
        )
        for _ in range(20):
            stream.subscribe(lambda _: None).dispose()
        join_rxllm_threads()
    rxllm.close()


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_a_client_of_ones_own(stalling: Server, ask: Ask, kind: str) -> None:
    """http_client= is used, closed after break, and left open for its owner."""
    if kind == "Client":
        with httpx.Client(headers={"x-mine": "1"}) as client:
            for _ in ask(http_client=client):
                break
            assert not client.is_closed
    else:

        async def consume() -> None:
            async with httpx.AsyncClient(headers={"x-mine": "1"}) as client:
                async for _ in ask(http_client=client):
                    break
                assert not client.is_closed

        asyncio.run(consume())
    assert stalling.next_closed() == 1
    assert stalling.requests[0].headers["x-mine"] == "1"


def test_an_anyio_scope_closes_and_leaks_nothing(server: Server, ask: Ask) -> None:
    """A scope's cancellation, which comes again and again, reaches the connection as if nothing stood between."""
    server.script = stall_before_headers

    async def consume() -> None:
        async def cancel(scope: anyio.CancelScope) -> None:
            await asyncio.to_thread(server.next_event)
            scope.cancel()

        for number in range(1, 6):
            scope = anyio.CancelScope()
            cancelling = asyncio.ensure_future(cancel(scope))
            with scope:
                async for _ in ask():
                    pass
            assert scope.cancelled_caught
            await cancelling
            assert await asyncio.to_thread(server.next_closed) == number

    asyncio.run(consume())


def test_an_anyio_scope_closes_a_body(server: Server, ask: Ask) -> None:
    """In the middle of an answer, too, where all that is awaited in the scope is cancelled at once."""
    server.script = stall_after_one

    async def consume() -> None:
        with anyio.CancelScope() as scope:
            async for _ in ask():
                asyncio.get_running_loop().call_later(0.01, scope.cancel)
        assert scope.cancelled_caught
        assert await asyncio.to_thread(server.next_closed) == 1

    asyncio.run(consume())


@pytest.mark.parametrize("leave", ["merge", "timeout", "dispose"])
def test_leaving_with_an_async_client_of_ones_own(server: Server, ask: Ask, leave: str) -> None:
    """Leaving does not wait for the read that blocks, though that client's sockets are none of ours."""
    server.script = stall_after_one

    async def consume() -> None:
        async with httpx.AsyncClient() as client:
            stream = ask(http_client=client, timeout=PATIENCE)
            if leave == "merge":
                async for _ in as_stream(rx.merge(stream, rx.never())):
                    break
            elif leave == "timeout":
                with pytest.raises(Exception, match="Timeout"):
                    async for _ in stream.pipe(rxops.timeout_with_mapper(rx.never(), lambda _: rx.timer(0.05))):
                        pass
            else:
                seen = asyncio.Event()
                scheduler = AsyncIOScheduler(asyncio.get_running_loop())
                subscription = stream.subscribe(lambda _: seen.set(), scheduler=scheduler)
                await seen.wait()
                subscription.dispose()
            assert await asyncio.to_thread(server.next_closed) == 1

    asyncio.run(asyncio.wait_for(consume(), PATIENCE / 2))


@pytest.mark.parametrize("client", ["shared", "own"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_server_that_says_nothing_after_done_is_not_waited_for(
    server: Server, ask: Ask, client: str, way: str
) -> None:
    """After the provider's end the body gets a moment to end; then the connection is closed."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("all"), chunk(finish="stop"), "[DONE]")
        await answering.closed()

    server.script = script

    async def consume(own: httpx.AsyncClient | None) -> list[Any]:
        return [item async for item in ask(timeout=PATIENCE, http_client=own)]

    async def with_client() -> list[Any]:
        async with httpx.AsyncClient() as own:
            return await consume(own)

    if way == "sync":
        with httpx.Client() as own:
            items = list(ask(timeout=PATIENCE, http_client=own if client == "own" else None))
    else:
        items = asyncio.run(with_client() if client == "own" else consume(None))
    assert len(items) == 2
    assert server.next_closed() == 1
