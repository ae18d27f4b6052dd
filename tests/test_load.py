"""Many streams at once and many in a row: every chunk in its place, and nothing left behind."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rxllm
from tests.load import FAILURES, Row, as_fated, of, words
from tests.server import PATIENCE, Answering, Gate, Server, chunk, texts

resource = pytest.importorskip("resource", reason="how many files may be open is not known here")

TASKS = 1_000
THREADS = 200
IN_A_ROW = 2_000
WARMING_UP = 120


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Each stream takes two descriptors, the client's and the server's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * TASKS + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def held_at(gate: Gate) -> Callable[[Answering], Any]:
    """A script that says one word of a stream, and the others only once the gate is open."""

    async def script(answering: Answering) -> None:
        first, *others = words(answering.json["messages"][0]["content"])
        await answering.start()
        await answering.event(chunk(first))
        answering.server.events.put(first)
        await gate.wait()
        for word in others:
            await answering.event(chunk(word))
            await asyncio.sleep(0)  # the others' turn: chunks of all streams come mixed
        await answering.last(chunk(finish="stop"), "[DONE]")

    return script


def wait_for(server: Server, count: int) -> None:
    """Waits until that many streams are open at once."""
    for _ in range(count):
        server.next_event()


def test_a_thousand_streams_on_one_event_loop(server: Server) -> None:
    """All of them are open at once, and each gets its own chunks, in order."""
    gate = server.gate()
    server.script = held_at(gate)

    async def consume(name: str) -> list[str]:
        return texts([item async for item in of(server.url, name)])

    async def consume_all() -> list[list[str]]:
        tasks = [asyncio.ensure_future(consume(f"task {number}")) for number in range(TASKS)]
        await asyncio.to_thread(wait_for, server, TASKS)
        gate.open()
        return await asyncio.gather(*tasks)

    assert asyncio.run(consume_all()) == [words(f"task {number}") for number in range(TASKS)]
    assert server.connections == TASKS


@pytest.mark.parametrize("way", ["for", "subscribe"])
def test_two_hundred_streams_on_threads(server: Server, way: str) -> None:
    """The same on threads of the caller's own, and on workers."""
    gate = server.gate()
    server.script = held_at(gate)
    got: dict[str, list[Any]] = {f"thread {number}": [] for number in range(THREADS)}
    done = threading.Semaphore(0)

    def consume(name: str) -> None:
        for item in of(server.url, name):
            got[name].append(item)
        done.release()

    for name, items in got.items():
        if way == "for":
            threading.Thread(target=consume, args=(name,), daemon=True).start()
        else:
            of(server.url, name).subscribe(items.append, on_completed=done.release)
    wait_for(server, THREADS)
    gate.open()
    for _ in got:
        assert done.acquire(timeout=PATIENCE)
    assert {name: texts(items) for name, items in got.items()} == {name: words(name) for name in got}
    assert server.connections == THREADS


# -- many in a row


def blocks() -> int:
    """How many blocks of memory Python's objects take."""
    gc.collect()
    return sys.getallocatedblocks()


def in_use() -> tuple[int, list[str]]:
    """How many descriptors are open, and which threads run."""
    return len(list(Path("/dev/fd").iterdir())), sorted(thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("way", ["sync", "async"])
def test_two_thousand_in_a_row_leave_nothing_behind(way: str) -> None:
    """No descriptor, no thread, no task, and not even one object for every fourth of them."""

    async def consume_all(row: Row) -> int:
        alone = asyncio.all_tasks()
        await row.by_async_for(WARMING_UP)
        before = blocks()
        await row.by_async_for(IN_A_ROW)
        kept = blocks() - before
        assert asyncio.all_tasks() == alone
        return kept

    before = in_use()
    with Server() as server:
        server.script = as_fated
        row = Row(server.url)
        if way == "async":
            kept = asyncio.run(consume_all(row))
        else:
            row.by_for(WARMING_UP)
            kept = -blocks()
            row.by_for(IN_A_ROW)
            kept += blocks()
    rxllm.close()
    assert in_use() == before
    assert kept < IN_A_ROW // 4
    assert row.ends["left"] == (WARMING_UP + IN_A_ROW + 2) // 3
    assert sum(row.ends[fate] for fate in FAILURES) == (WARMING_UP + IN_A_ROW) // 10
