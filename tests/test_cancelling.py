"""Leaving is cancelling: however a Stream is left, the server sees the connection close."""

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
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
from tests.server import PATIENCE, Answering, Server, chunk
from tests.test_stream import join_rxllm_threads

Ask = Callable[..., Stream[ModelResponseStream]]


async def stall_after_one(answering: Answering) -> None:
    """One chunk, and then nothing until the client goes."""
    await answering.start()
    await answering.event(chunk("one"))
    await answering.closed()


async def stall_before_headers(answering: Answering) -> None:
    """Nothing at all until the client goes."""
    answering.server.events.put("asked")
    await answering.closed()


@pytest.fixture
def stalling(server: Server) -> Server:
    """A server that stalls after the first chunk."""
    server.script = stall_after_one
    return server


def test_break_closes_while_the_stream_is_still_held(stalling: Server, ask: Ask) -> None:
    """The caller still has the Stream in a variable."""
    stream = ask()
    for _ in stream:
        break
    assert stalling.next_closed() == 1
    assert stream is not None


def test_an_exception_in_the_body_closes(stalling: Server, ask: Ask) -> None:
    """Also while the exception, and with it the frame, is kept."""
    with pytest.raises(ZeroDivisionError) as kept:
        for _ in ask():
            raise ZeroDivisionError
    assert stalling.next_closed() == 1
    assert kept.value is not None


def test_an_iterators_close_closes(stalling: Server, ask: Ask) -> None:
    """An iterator that is kept has close()."""
    iterator = iter(ask())
    next(iterator)
    iterator.close()
    assert stalling.next_closed() == 1


def test_garbage_closes(stalling: Server, ask: Ask) -> None:
    """An iterator that nobody holds any more."""
    iterator = iter(ask())
    next(iterator)
    del iterator
    gc.collect()
    assert stalling.next_closed() == 1


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


@pytest.mark.parametrize("reused", [False, True], ids=["new connection", "reused connection"])
@pytest.mark.parametrize("script", [stall_after_one, stall_before_headers], ids=["in the body", "before the headers"])
def test_dispose_from_another_thread_frees_a_blocked_read(server: Server, ask: Ask, script: Any, reused: bool) -> None:
    """dispose() wakes the worker at once, before the headers have come as well as after."""
    if reused:
        list(ask())
    requests = len(server.requests)
    server.script = script
    first = threading.Event()
    subscription = ask().subscribe(lambda _: first.set())
    if script is stall_after_one:
        assert first.wait(PATIENCE)
    else:
        assert server.next_event() == "asked"
    subscription.dispose()
    assert server.next_closed() == requests + 1
    assert server.connections == 1
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


async def loop_over(stream: Stream[Any], seen: asyncio.Event) -> None:
    """Loops, and tells when something has come."""
    async for _ in stream:
        seen.set()


def test_break_closes_on_an_event_loop(stalling: Server, ask: Ask) -> None:
    """break out of async for, with the Stream still held."""

    async def consume() -> None:
        stream = ask()
        async for _ in stream:
            break
        assert await asyncio.to_thread(stalling.next_closed) == 1
        assert stream is not None

    asyncio.run(consume())


@pytest.mark.parametrize("script", [stall_after_one, stall_before_headers], ids=["in the body", "before the headers"])
def test_cancelling_a_task_closes(server: Server, ask: Ask, script: Any) -> None:
    """A cancelled consumer takes the request along, and is cancelled itself."""
    server.script = script

    async def consume() -> None:
        seen = asyncio.Event()
        task = asyncio.ensure_future(loop_over(ask(), seen))
        await (seen.wait() if script is stall_after_one else asyncio.to_thread(server.next_event))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.next_closed) == 1

    asyncio.run(consume())


@pytest.mark.parametrize("from_thread", [False, True], ids=["on the loop", "from a thread"])
@pytest.mark.parametrize("script", [stall_after_one, stall_before_headers], ids=["in the body", "before the headers"])
def test_dispose_closes_on_an_event_loop(server: Server, ask: Ask, script: Any, from_thread: bool) -> None:
    """dispose() of a subscription on an event loop, from that loop or from another thread."""
    server.script = script

    async def consume() -> None:
        seen = asyncio.Event()
        scheduler = AsyncIOScheduler(asyncio.get_running_loop())
        subscription = ask().subscribe(lambda _: seen.set(), scheduler=scheduler)
        await (seen.wait() if script is stall_after_one else asyncio.to_thread(server.next_event))
        if from_thread:
            await asyncio.to_thread(subscription.dispose)
        else:
            subscription.dispose()
        assert await asyncio.to_thread(server.next_closed) == 1

    asyncio.run(consume())


def test_two_event_loops_one_after_another(ask: Ask) -> None:
    """Each loop has connections of its own, which close with it, without a warning."""

    async def consume() -> str:
        return await ask().pipe(ops.accumulate_text())

    assert asyncio.run(consume()) == asyncio.run(consume()) == "Hello world"


@pytest.fixture
def tls_server() -> Iterator[tuple[Server, ssl.SSLContext]]:
    """A server with a certificate made for the test, and the context that trusts it."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)  # pyright: ignore[reportUnknownMemberType]
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
    with Server(serving) as running:
        yield running, trusting
    rxllm.close()


@pytest.mark.parametrize("way", ["break", "dispose", "async break"])
def test_leaving_closes_over_tls(
    tls_server: tuple[Server, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The same over TLS, where a shut socket reads as a clean end, and is none."""
    server, trusting = tls_server
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: trusting)
    server.script = stall_after_one
    stream = rxllm.completion(
        "gpt-4", [{"role": "user", "content": "Hello"}], stream=True, api_base=server.url, api_key="sk-secret-key"
    )
    if way == "break":
        for _ in stream:
            break
    elif way == "dispose":
        first = threading.Event()
        ended: list[Any] = []
        subscription = stream.subscribe(lambda _: first.set(), ended.append, lambda: ended.append("completed"))
        assert first.wait(PATIENCE)
        subscription.dispose()
        join_rxllm_threads()
        assert ended == []
    else:

        async def consume() -> None:
            async for _ in stream:
                break

        asyncio.run(consume())
    assert server.next_closed() == 1


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
                    async for _ in stream.pipe(rxops.timeout(0.05)):
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
