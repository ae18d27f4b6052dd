"""What a store costs: microseconds for each chunk that is published and observed, and commands of Redis for each.

``python -m benchmarks.stores`` starts a Redis of its own, with ``appendfsync always`` and with ``everysec``. A batch is
what a source gives at once: of 1, as a provider's events come, or of 16, as they come where a reader was late.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.stores import MemoryStore, RedisStore
from tests.redis_server import RedisServer

_numbers = count()


class _Batches:
    """A source that gives so many chunks at once, and goes on when the last of them has been passed on."""

    def __init__(self, chunks: int, batch: int) -> None:
        self._chunks = chunks
        self._batch = batch

    def open(self) -> "_Reading":
        return _Reading(self._chunks, self._batch)

    def open_async(self) -> "_AsyncReading":
        return _AsyncReading(self._chunks, self._batch)


class _Reading:
    def __init__(self, chunks: int, batch: int) -> None:
        chunk = ModelResponseStream.of(" token")
        self._batches: Iterator[list[Any]] = iter([[chunk] * batch for _ in range(chunks // batch)])

    def pull(self) -> list[Any] | None:
        return next(self._batches, None)

    def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class _AsyncReading(_Reading):
    async def pull(self) -> list[Any] | None:  # type: ignore[override]
        await asyncio.sleep(0)
        return next(self._batches, None)

    async def drain(self) -> None:  # type: ignore[override]
        pass

    def close(self) -> bool:  # type: ignore[override]
        return False

    async def aclose(self) -> None:
        pass


def _seconds(stream: Stream[Any], *, on_event_loop: bool) -> float:
    async def consume() -> float:
        begun = time.perf_counter()
        async for _ in stream:
            pass
        return time.perf_counter() - begun

    if on_event_loop:
        return asyncio.run(consume())
    begun = time.perf_counter()
    for _ in stream:
        pass
    return time.perf_counter() - begun


def _one_by_one(store: Any, chunks: int, batch: int) -> float:
    """Seconds to publish, where the next batch comes only once the one before is stored: what a provider's pace is."""
    from rxllm._stores._entries import COMPLETED, entry_of
    from rxllm._stores._protocol import Append, Create, Finish

    session, key, chunk = store.open(), f"paced{next(_numbers)}", ModelResponseStream.of(" token")
    session.perform(Create(key, "t"))
    begun = time.perf_counter()
    for first in range(1, chunks + 1, batch):
        session.perform(Append(key, "t", first, [entry_of(chunk) for _ in range(batch)]))
    seconds = time.perf_counter() - begun
    session.perform(Finish(key, "t", chunks, COMPLETED))
    return seconds


def _measure(name: str, store: Any, chunks: int, commands: Any = None) -> None:
    for batch in (1, 16):
        before = commands() if commands else 0
        paced = _one_by_one(store, chunks, batch)
        each = f"{(commands() - before) / chunks:.2f} commands a chunk" if commands else ""
        print(
            f"{name:24} batch {batch:2}: stored at the provider's pace {1e6 * paced / chunks:7.1f} us a chunk  {each}"
        )
        for on_event_loop in (False, True):
            key = f"a{next(_numbers)}"
            source: Stream[Any] = Stream.from_source(_Batches(chunks, batch))
            before = commands() if commands else 0
            published = _seconds(source.pipe(ops.publish_to(store, key)), on_event_loop=on_event_loop)
            each = f"{(commands() - before) / chunks:.2f} commands a chunk" if commands else ""
            observed = _seconds(ops.observe_from(store, key), on_event_loop=on_event_loop)
            followed = _seconds(store.follow(key), on_event_loop=on_event_loop)
            print(
                f"{name:24} batch {batch:2} {'event loop' if on_event_loop else 'thread':10}: "
                f"published {1e6 * published / chunks:6.1f}, observed {1e6 * observed / chunks:6.1f}, "
                f"followed {1e6 * followed / chunks:6.1f} us a chunk  {each}"
            )


def main() -> None:
    """Measures all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=4000)
    chunks = parser.parse_args().chunks
    _measure("memory", MemoryStore(), chunks)
    with RedisServer() as server, server.client() as client:
        for how in ("always", "everysec"):
            client.config_set("appendfsync", how)
            store = RedisStore(server.url)
            _measure(f"redis, fsync {how}", store, chunks, lambda: client.info("stats")["total_commands_processed"])
            used = client.memory_usage("rxllm:{a%d}:entries" % (next(_numbers) - 1))  # noqa: UP031
            print(f"Redis holds {used / chunks:.0f} bytes a chunk")
            store.close()


if __name__ == "__main__":
    main()
