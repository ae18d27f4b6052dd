"""What the types of publishing and observing are, for Stream.pipe and for reactivex's own."""

from typing import assert_type

from reactivex import Observable

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.stores import MemoryStore, RedisStore, StreamStore


def stores(memory: MemoryStore, redis: RedisStore) -> list[StreamStore]:
    """Both are stores."""
    return [memory, redis]


def publishing(store: StreamStore, stream: Stream[ModelResponseStream], bare: Observable[ModelResponseStream]) -> None:
    """Chunks stay chunks, and what is observed is a Stream of them."""
    assert_type(stream.pipe(ops.publish_to(store, "a")), Stream[ModelResponseStream])
    assert_type(bare.pipe(ops.publish_to(store, "a")), Observable[ModelResponseStream])
    assert_type(ops.observe_from(store, "a", after="1", wait=1.0), Stream[ModelResponseStream])
    assert_type(ops.observe_from(store, "a").pipe(ops.accumulate_text()), Stream[str])


async def following(memory: MemoryStore, redis: RedisStore) -> None:
    """Entries come with their ids."""
    for number, entry in memory.follow("a"):
        assert_type(number, str)
        assert_type(entry, bytes)
    async for pair in redis.follow("a", "1", wait=1.0):
        assert_type(pair, tuple[str, bytes])
    assert_type(memory.stop("a"), bool)
    assert_type(await redis.astop("a"), bool)
