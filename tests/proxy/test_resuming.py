"""Streams that are kept: they survive their clients, and are resumed and stopped from anywhere."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from reactivex import operators as rx_ops

from rxllm import operators as ops
from rxllm._stores._protocol import Command, Finish
from rxllm.exceptions import ServiceUnavailableError
from rxllm.proxy._encoding import DONE
from rxllm.proxy._resuming import Resuming
from rxllm.stores import MemoryStore, RedisStore
from rxllm.testing import LLMServer
from tests.proxy.serving import ask, begun, endless, events_in, half, serving, texts_of
from tests.redis_server import RedisServer
from tests.server import PATIENCE, Answering, Server, chunk


def _to(server: Server | LLMServer) -> dict[str, Any]:
    return {"gpt-4": {"model": "openai/gpt-4", "api_base": server.url, "api_key": "k", "max_retries": 0}}


def _ids(text: str) -> list[str]:
    return re.findall(r"^id: (.*)$", text, re.MULTILINE)


@pytest.fixture
def kept(server: Server) -> Iterator[str]:
    """A proxy that keeps streams, before the scripted server."""
    with serving(_to(server), store="memory") as address:
        yield address


def test_each_event_has_an_id(kept: str) -> None:
    """The stream's and the entry's, in order; the end has none."""
    response = ask(kept, stream=True)
    stream = response.headers["x-stream-id"]
    events = events_in(response.text)
    assert events[-1] == "[DONE]"
    assert texts_of(events) == "Hello world"
    assert _ids(response.text) == [f"{stream}/{number}" for number in range(1, len(events))]
    assert len(stream) >= 32


def test_without_a_store_there_are_no_ids() -> None:
    """Nor anything to resume: a 404 says so."""
    with serving() as address:
        response = ask(address, model="sim/echo", stream=True)
        assert "x-stream-id" not in response.headers
        assert not _ids(response.text)
        assert httpx.get(f"{address}/v1/streams/any").json()["error"]["code"] == "no_store"
        assert httpx.delete(f"{address}/v1/streams/any").status_code == 404


def test_a_client_that_was_cut_gets_the_rest(server: Server, kept: str) -> None:
    """The answer goes on without it; with the last id it gets what it has not, by any of three ways, and no more."""
    server.script = half(server)
    with begun(kept) as (stream, _):
        pass
    server.taken.open()
    place = f"{stream}/1"
    url = f"{kept}/v1/streams/{stream}"
    answers = [
        httpx.get(url, headers={"last-event-id": place}, timeout=PATIENCE),
        httpx.get(url, params={"after": "1"}, timeout=PATIENCE),
        ask(kept, stream=True, headers={"last-event-id": place}),
    ]
    for answer in answers:
        events = events_in(answer.text)
        assert texts_of(events) == "lo"
        assert events[-1] == "[DONE]"
        assert _ids(answer.text)[0] == f"{stream}/2"
    assert texts_of(events_in(httpx.get(url).text)) == "Hello"
    assert len(server.requests) == 1


def test_a_stream_is_stopped_from_elsewhere(server: Server, kept: str) -> None:
    """DELETE closes the request upstream; who listens gets an error, and no [DONE]."""
    server.script = endless(server)
    with begun(kept) as (stream, lines):
        stopped = httpx.delete(f"{kept}/v1/streams/{stream}")
        assert stopped.json() == {"id": stream, "object": "stream", "stopped": True}
        events = events_in("\n".join(lines))
    assert server.next_closed() == 1
    assert events[-1]["error"]["code"] == "stopped"


def test_what_nobody_listens_to_is_cancelled(server: Server) -> None:
    """After so many seconds; who comes later gets what there was, and an error."""
    server.script = endless(server)
    with serving(_to(server), store="memory", resume_for=0.2) as address:
        with begun(address) as (stream, _):
            pass
        assert server.next_closed() == 1
        events = events_in(httpx.get(f"{address}/v1/streams/{stream}", timeout=PATIENCE).text)
    assert texts_of(events) == "Hel"
    assert events[-1]["error"]["code"] == "left"


def test_another_server_with_the_same_store_gives_the_rest(server: Server) -> None:
    """Any of the servers that share a store; that somebody listens there keeps the answer going, or stops it."""
    store = MemoryStore()
    server.script = half(server)
    settings: Any = {"store": store, "resume_for": 1.0, "keep_alive": 0.4}
    with serving(_to(server), **settings) as first, serving(_to(server), **settings) as second:
        with begun(first) as (stream, _):
            pass
        url = f"{second}/v1/streams/{stream}?after=1"
        with httpx.stream("GET", url, timeout=PATIENCE) as response:
            lines = response.iter_lines()
            for _ in range(5):  # until well after the time for which nobody need have listened
                while next(lines) != ": keep-alive":
                    pass
            server.taken.open()
            events = events_in("\n".join(lines))
        assert texts_of(events) == "lo"
        assert events[-1] == "[DONE]"
        server.script = endless(server)
        with begun(first) as (stream, lines):
            httpx.delete(f"{second}/v1/streams/{stream}")
            assert events_in("\n".join(lines))[-1]["error"]["code"] == "stopped"
        assert server.next_closed() == 2


def test_an_error_before_the_first_chunk_keeps_its_status() -> None:
    """By way of the store too, and Retry-After with it."""
    with LLMServer() as upstream:
        upstream.answer("Slow down", status=429, retry_after=7)
        with serving(_to(upstream), store="memory") as address:
            response = ask(address, stream=True)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert response.json()["error"]["message"] == "Slow down"


def test_an_error_in_the_middle_is_kept() -> None:
    """Whoever resumes gets the error that the stream ended with."""
    with LLMServer() as upstream:
        upstream.answer("Hel", "lo", fault="truncated")
        with serving(_to(upstream), store="memory") as address:
            stream = ask(address, stream=True).headers["x-stream-id"]
            events = events_in(httpx.get(f"{address}/v1/streams/{stream}").text)
    assert texts_of(events) == "Hello"
    assert "error" in events[-1]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("nobodys", {}, 404),
        ("STREAM:audience", {}, 404),
        ("a%0d%0ab:c", {}, 404),
        ("STREAM", {"last-event-id": "another/1"}, 404),
        ("STREAM", {"last-event-id": "STREAM/abc"}, 404),
        ("STREAM", {"last-event-id": "STREAM/99"}, 404),
        ("STREAM", {"last-event-id": "STREAM/" + "9" * 5000}, 404),
        ("STREAM", {"last-event-id": "STREAM/-1"}, 404),
    ],
)
def test_what_is_not_kept_is_told(kept: str, path: str, headers: dict[str, str], status: int) -> None:
    """No such stream, no such entry."""
    stream = ask(kept, stream=True).headers["x-stream-id"]
    named = {name: value.replace("STREAM", stream) for name, value in headers.items()}
    answer = httpx.get(f"{kept}/v1/streams/{path.replace('STREAM', stream)}", headers=named)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] in ("stream_not_found", "entry_not_found")


def test_who_listens_is_nothing_to_listen_to(kept: str) -> None:
    """Nor to stop: what servers tell each other of a stream is none of a client's."""
    stream = ask(kept, stream=True).headers["x-stream-id"]
    assert httpx.delete(f"{kept}/v1/streams/{stream}:audience").status_code == 404


def test_a_stream_that_grows_too_large_for_its_store_ends(server: Server) -> None:
    """Also where nobody reads it: the request upstream is closed; who comes gets what was kept, and a typed error."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        while True:
            await answering.event(*[chunk("x" * 1000)] * 64)

    server.script = script
    with serving(_to(server), store=MemoryStore(max_stream_bytes=1_000_000)) as address:
        with begun(address) as (stream, _):
            assert server.next_closed() == 1
        events = events_in(httpx.get(f"{address}/v1/streams/{stream}", timeout=PATIENCE).text)
    assert events[0]["choices"][0]["delta"]["content"] == "Hel"
    assert 800 < len(events) < 1000
    assert events[-1]["error"]["code"] == "full"


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_what_has_expired_is_not_there(server: Server, kind: str) -> None:
    """A 404, however it is asked for; what was never there is the same."""
    with contextlib.ExitStack() as stack:
        store: Any = MemoryStore(keep=0.3, lease=1000)
        if kind == "redis":
            store = RedisStore(stack.enter_context(RedisServer()).url, keep=0.3)
        address = stack.enter_context(serving(_to(server), store=store))
        stream = ask(address, stream=True).headers["x-stream-id"]
        place = {"last-event-id": f"{stream}/1"}
        url = f"{address}/v1/streams/{stream}"
        deadline = time.monotonic() + PATIENCE
        while (answer := httpx.get(url, headers=place)).status_code == 200:
            assert time.monotonic() < deadline
        others = [ask(address, stream=True, headers=place), httpx.delete(url), httpx.get(url)]
        for each in (answer, *others):
            assert (each.status_code, each.json()["error"]["code"]) == (404, "stream_not_found")
    assert len(server.requests) == 1


class _HeldUp:
    """A store whose last word is waited for."""

    def __init__(self, store: MemoryStore) -> None:
        self.keep, self.lease = store.keep, store.lease
        self.open = store.open
        self.asked, self.told = asyncio.Event(), asyncio.Event()
        self._store = store

    def open_async(self) -> Any:
        """Itself, as a session."""
        return self

    async def perform(self, command: Command) -> Any:
        """Does what is asked, the end of a stream not before it is told to."""
        if isinstance(command, Finish):
            self.asked.set()
            await self.told.wait()
        return await self._store.open_async().perform(command)


def test_a_server_that_stops_lets_a_whole_answer_be_kept() -> None:
    """It is paid for: where only the store is slow, the end is waited for, and is the end."""

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: {}\n\n"
        yield DONE

    async def run() -> list[bytes]:
        store = _HeldUp(MemoryStore())
        resuming = Resuming(store, 60)
        stream = await resuming.begin(events(), "req")
        await store.asked.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(resuming.close())
            group.create_task(_set(store.told))
        return [data async for data, _ in resuming.listen(stream, None)]

    async def _set(told: asyncio.Event) -> None:
        told.set()

    assert asyncio.run(run())[-1] == DONE


def test_the_key_is_asked_for() -> None:
    """A stream's id is not enough where the server has a key."""
    with serving(store="memory", master_key="sk-m") as address:
        for method in ("GET", "DELETE"):
            assert httpx.request(method, f"{address}/v1/streams/any").status_code == 401


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_store_that_cannot_be_reached(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 502 in OpenAI's form, and no traceback in the log."""
    with serving(store=RedisStore("redis://127.0.0.1:9", patience=0.05)) as address:
        answer = httpx.request(method, f"{address}/v1/streams/any", timeout=PATIENCE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "unreachable")
    assert all(record.exc_info is None for record in caplog.records)


def test_what_the_proxy_keeps_can_be_observed(server: Server) -> None:
    """In code, as a stream of chunks."""
    store = MemoryStore()
    with serving(_to(server), store=store) as address:
        stream = ask(address, stream=True).headers["x-stream-id"]
    assert ops.observe_from(store, f"proxy:{stream}").pipe(ops.accumulate_text()).run() == "Hello world"


def test_a_server_that_stops_leaves_no_stream_without_an_end(server: Server) -> None:
    """What it had of the answer is kept, with the error that it ended with."""
    store = MemoryStore()
    server.script = endless(server)
    with contextlib.ExitStack() as clients:
        with serving(_to(server), store=store) as address:
            stream, lines = clients.enter_context(begun(address))
        assert events_in("\n".join(lines))[-1]["error"]["code"] == "server_stopped"
    assert server.next_closed() == 1
    got: list[str] = []
    with pytest.raises(ServiceUnavailableError, match="server stops"):
        ops.observe_from(store, f"proxy:{stream}").pipe(ops.text_deltas(), rx_ops.do_action(got.append)).run()
    assert got == ["Hel"]


def test_a_store_that_cannot_be_reached_is_told(tmp_path: Path, server: Server) -> None:
    """Before anything was sent it is a 502, and no answer is paid for."""
    store = RedisStore(f"unix://{tmp_path}/nothing", patience=0.1)
    with serving(_to(server), store=store) as address:
        response = ask(address, stream=True)
    assert response.status_code == 502
    assert not server.requests
