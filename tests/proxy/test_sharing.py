"""Streams that several processes share, and that survive any of them."""

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from rxllm.stores import MemoryStore, RedisStore
from rxllm.testing import LLMServer
from tests.proxy.serving import (
    QUESTION,
    ask,
    begun,
    config_for,
    endless,
    events_in,
    half,
    served_by,
    serving,
    texts_of,
)
from tests.redis_server import RedisServer
from tests.server import PATIENCE, Server

_BODY: Final = {"model": "gpt-4", "messages": QUESTION, "stream": True}
_WORDS: Final = [f" word{number}" for number in range(25)]
_END: Final = b"data: [DONE]\n\n"


class _Listener:
    """Gets one stream in four pieces: three times the connection is cut, after any of its bytes.

    What it has of an event that is not whole, it has to throw away, as a client does.
    """

    def __init__(self, client: httpx.AsyncClient, addresses: Sequence[str], seed: int) -> None:
        self.got = b""
        self.stream = ""
        self.cuts = 0
        self._client = client
        self._addresses = addresses
        self._chance = random.Random(seed)

    async def listen(self) -> None:
        """Listens to the end."""
        while not self.got.endswith(_END):
            await self._piece(self._chance.randrange(1, 1200) if self.cuts < 3 else None)

    async def _piece(self, most: int | None) -> None:
        received = b""
        async with self._asked() as response:
            assert response.status_code == 200
            self.stream = response.headers["x-stream-id"]
            async for data in response.aiter_raw():
                received += data
                if most is not None and len(received) >= most:
                    received = received[:most]
                    self.cuts += 1
                    break
        whole, found, _ = received.rpartition(b"\n\n")
        self.got += whole + found

    @asynccontextmanager
    async def _asked(self) -> AsyncGenerator[httpx.Response]:
        """The response to who begins, or comes back in one of three ways, at any of the servers."""
        address = self._chance.choice(self._addresses)
        url, kept = f"{address}/v1/chat/completions", f"{address}/v1/streams/{self.stream}"
        places: list[str] = re.findall(r"^id: (.*)$", self.got.decode(), re.MULTILINE)
        place = {"last-event-id": places[-1]} if places else {}
        if not self.stream:
            request = self._client.stream("POST", url, json=_BODY)
        elif not places:
            request = self._client.stream("GET", kept)
        else:
            after = {"after": places[-1].partition("/")[2]}
            request = self._chance.choice(
                [
                    self._client.stream("POST", url, json=_BODY, headers=place),
                    self._client.stream("GET", kept, headers=place),
                    self._client.stream("GET", kept, params=after),
                ]
            )
        async with request as response:
            yield response


async def _listened(addresses: Sequence[str], count: int) -> None:
    """So many streams at once: each comes whole, every byte once and in order, and as one who was not cut gets it."""
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits) as client:
        listeners = [_Listener(client, addresses, seed) for seed in range(count)]
        await asyncio.gather(*(listener.listen() for listener in listeners))
        for listener in listeners:
            whole = await client.get(f"{addresses[0]}/v1/streams/{listener.stream}")
            assert listener.got == whole.content
    assert len({listener.stream for listener in listeners}) == count
    for listener in listeners:
        text = listener.got.decode()
        ids = re.findall(r"^id: (.*)$", text, re.MULTILINE)
        assert listener.cuts == 3
        assert texts_of(events_in(text)) == "".join(_WORDS)
        assert ids == [f"{listener.stream}/{number}" for number in range(1, len(ids) + 1)]


def test_streams_that_are_cut_and_resumed_lose_nothing() -> None:
    """Of many streams at once, each cut three times anywhere, every byte comes once, by way of two servers."""
    with LLMServer() as upstream:
        upstream.answer(*_WORDS, pause=0.002, times=None)
        model = {"model": "openai/gpt-4", "api_base": upstream.url, "api_key": "k", "max_retries": 0}
        store = MemoryStore()
        with serving({"gpt-4": model}, store=store) as first, serving({"gpt-4": model}, store=store) as second:
            asyncio.run(_listened([first, second], 16))
    assert len(upstream.requests) == 16


def _workers(parent: int) -> set[int]:
    """The processes that a server serves with."""
    command = [shutil.which("ps") or "/bin/ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    found = (line.split(None, 2) for line in listed.stdout.splitlines())
    return {int(pid) for pid, of, what in found if int(of) == parent and "spawn_main" in what}


def test_two_hundred_streams_by_two_processes_on_one_port(tmp_path: Path) -> None:
    """By Redis: each cut three times anywhere, every byte comes once.

    A process that is killed then is replaced; where their parent is, they end.
    """
    with RedisServer() as redis, LLMServer() as upstream:
        upstream.answer(*_WORDS, pause=0.02, times=None)
        options = ["--config", config_for(tmp_path, upstream), "--store", redis.url, "--workers", "2"]
        with served_by(*options) as served:
            asyncio.run(_listened([served.address], 200))
            assert len(upstream.requests) == 200
            before = _workers(served.process.pid)
            killed = min(before)
            os.kill(killed, signal.SIGKILL)
            while len(_workers(served.process.pid) - {killed}) < 2:
                assert ask(served.address, stream=True).status_code == 200
            last = _workers(served.process.pid)
            served.kill()
            assert len(served.lines) >= 800  # what they say has ended, and so have they
    assert len(before) == len(last) == 2


_SHORT_LEASE: Final = """
import sys, uvicorn
from rxllm.proxy import create_app
from rxllm.stores import RedisStore
app = create_app(config=sys.argv[1], store=RedisStore(sys.argv[2], lease=3))
uvicorn.run(app, fd=int(sys.argv[3]), log_level="critical")
"""


@contextmanager
def _process(config: str, redis: RedisServer) -> Generator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server whose streams count as abandoned soon after it was killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-c", _SHORT_LEASE, config, redis.url, str(listener.fileno())]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
    with process:
        try:
            yield place, process
        finally:
            process.kill()


async def _heard(client: httpx.AsyncClient, url: str, begun: "asyncio.Event") -> str | None:
    """All that a listener gets; ``None`` where its connection breaks."""
    text = ""
    try:
        async with client.stream("GET", url) as response:
            async for piece in response.aiter_text():
                text += piece
                begun.set()
    except httpx.TransportError:
        return None
    return text


async def _begin(client: httpx.AsyncClient, address: str) -> str:
    """A stream whose first event has come, and whose client then went: its id."""
    async with client.stream("POST", f"{address}/v1/chat/completions", json=_BODY) as response:
        async for line in response.aiter_lines():
            if "Hel" in line:
                break
        return response.headers["x-stream-id"]


def test_a_process_that_is_killed_leaves_typed_errors(tmp_path: Path, server: Server) -> None:
    """Its streams end in an error event wherever they are listened to, never in silence; those of others go on."""
    server.script = half(server)

    async def run(first: str, second: str, killed: "subprocess.Popen[bytes]") -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            lost = await asyncio.gather(*(_begin(client, first) for _ in range(8)))
            going = await asyncio.gather(*(_begin(client, second) for _ in range(8)))
            listening: dict[tuple[str, str], asyncio.Task[str | None]] = {}
            for stream in (*lost, *going):
                for address in (first, second):
                    begun = asyncio.Event()
                    task = asyncio.create_task(_heard(client, f"{address}/v1/streams/{stream}", begun))
                    listening[stream, address] = task
                    await asyncio.wait_for(begun.wait(), PATIENCE)
            killed.kill()
            for stream in (*lost, *going):
                assert await listening[stream, first] is None
            again = {s: asyncio.create_task(_heard(client, f"{second}/v1/streams/{s}", asyncio.Event())) for s in lost}
            for stream in lost:
                for text in (await listening[stream, second], await again[stream]):
                    *chunks, error = events_in(text or "")
                    assert texts_of(chunks) == "Hel"
                    assert error["error"]["code"] == "abandoned"
            server.taken.open()
            for stream in going:
                events = events_in(await listening[stream, second] or "")
                assert texts_of(events) == "Hello"
                assert events[-1] == "[DONE]"

    config = config_for(tmp_path, server)
    with RedisServer() as redis, _process(config, redis) as (first, killed), _process(config, redis) as (second, _):
        asyncio.run(run(first, second, killed))


def test_a_process_that_is_stopped_leaves_a_typed_error(tmp_path: Path, server: Server) -> None:
    """What it had stays in Redis, and another server tells how it ended, at once."""
    server.script = half(server)
    with RedisServer() as redis, contextlib.ExitStack() as clients:
        with _process(config_for(tmp_path, server), redis) as (address, process):
            response = clients.enter_context(
                httpx.stream("POST", f"{address}/v1/chat/completions", json=_BODY, timeout=PATIENCE)
            )
            stream = response.headers["x-stream-id"]
            response.close()
            process.terminate()
            process.wait(PATIENCE)
        with serving({"gpt-4": "sim/echo"}, store=RedisStore(redis.url)) as other:
            events = events_in(httpx.get(f"{other}/v1/streams/{stream}", timeout=PATIENCE).text)
    assert texts_of(events) == "Hel"
    assert events[-1]["error"]["code"] == "server_stopped"


# -- a Redis that goes


def _to(server: Server) -> dict[str, Any]:
    return {"gpt-4": {"model": "openai/gpt-4", "api_base": server.url, "api_key": "k", "max_retries": 0}}


def test_a_redis_that_restarts_in_mid_stream_loses_nothing(server: Server) -> None:
    """Who listens gets what came in the meantime, and who comes later all of it."""
    server.script = half(server)
    with RedisServer() as redis, serving(_to(server), store=RedisStore(redis.url)) as address:
        with begun(address) as (stream, lines):
            redis.kill()
            server.taken.open()
            redis.start()
            events = events_in("\n".join(lines))
        again = events_in(httpx.get(f"{address}/v1/streams/{stream}", timeout=PATIENCE).text)
    assert (texts_of(events), events[-1]) == ("lo", "[DONE]")
    assert (texts_of(again), again[-1]) == ("Hello", "[DONE]")


def test_a_redis_that_goes_for_good_ends_the_stream(server: Server) -> None:
    """After the store's patience: an error event, and the request upstream is closed; who comes then gets a 502."""
    server.script = endless(server)
    with RedisServer() as redis, serving(_to(server), store=RedisStore(redis.url, patience=0.2)) as address:
        with begun(address) as (stream, lines):
            redis.kill()
            events = events_in("\n".join(lines))
        assert server.next_closed() == 1
        answer = httpx.get(f"{address}/v1/streams/{stream}", timeout=PATIENCE)
    assert events[-1]["error"]["code"] == "unreachable"
    assert answer.status_code == 502


@pytest.mark.parametrize("lost", ["everything", "the last"])
def test_a_redis_that_comes_back_without_what_it_had_ends_the_stream(server: Server, lost: str) -> None:
    """It was there, so that it is no 404: the error says that the store has lost it."""
    server.script = endless(server)
    with (
        RedisServer() as redis,
        redis.client() as client,
        serving(_to(server), store=RedisStore(redis.url, lease=1)) as address,
        begun(address) as (stream, lines),
    ):
        key = f"rxllm:{{proxy:{stream}}}:"
        if lost == "everything":
            client.flushall()
        else:
            client.delete(f"{key}entries")
            client.hset(f"{key}state", "count", 0)
        events = events_in("\n".join(lines))
    assert events[-1]["error"]["code"] == "lost"
    assert server.next_closed() == 1
