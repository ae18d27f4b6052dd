from rxllm._stores._entries import chunk_of
from rxllm._stores._following import followed
from rxllm._stores._protocol import StreamStore
from rxllm._stream import Stream
from rxllm.types import ModelResponseStream

__all__ = ["observe_from"]


def observe_from(
    store: StreamStore, key: str, after: str | None = None, *, wait: float = 0.0
) -> Stream[ModelResponseStream]:
    """Gives a stream that is published in ``store``: what has come of it, then what comes, and the same end.

    ::

                  observe_from(store, "answer")
        chunks    role,"Hel"--"lo"--stop--|

    This makes a Stream; ``publish_to()`` publishes what it gives, in this process or another, before or at the same
    time. Any number may observe one stream, each at its own pace, from anywhere, until the store lets go of it. Each
    chunk has its id as ``chunk.stored_id``, which is not dumped: with ``after=`` that id, one who was cut off gets the
    rest, and each chunk once.

    An error of this library's comes as what it was, any other as a ``RuntimeError`` that tells of it. A stream that is
    not whole ends in an ``IncompleteStreamError``, whose ``code`` says why: ``"left"``, where the publisher's consumer
    has left; ``"stopped"``; ``"abandoned"``, where the publisher died and its lease is over; ``"lost"``, where the
    store has lost entries; ``"full"``, where it grew larger than its store lets one stream be. A
    store that fails is asked again; where it fails for longer than its patience, the error is an
    ``APIConnectionError``, after chunks an ``IncompleteStreamError`` with ``code`` ``"unreachable"``. A key that is not
    there, and an id that none of its chunks has, are a ``NotFoundError``. Holds what it reads at once, 512 chunks at
    most.

    Args:
        store: a ``MemoryStore`` or a ``RedisStore`` of ``rxllm.stores``.
        key: what the stream is published as.
        after: the id of the last chunk that is known already; from the beginning by default.
        wait: for how many seconds to wait for a stream that is not there yet.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: ``key`` is empty, ``after`` cannot be an id, or ``wait`` is negative.

    >>> from rxllm import as_stream, operators as ops, stores
    >>> store = stores.MemoryStore()
    >>> chunks = as_stream([{"choices": [{"delta": {"content": text}}]} for text in ("Hel", "lo")])
    >>> _ = chunks.pipe(ops.publish_to(store, "greeting")).run()
    >>> first = next(iter(ops.observe_from(store, "greeting")))
    >>> ops.observe_from(store, "greeting", after=first.stored_id).pipe(ops.accumulate_text()).run()
    'lo'
    """
    return followed(store, key, after, wait, chunk_of)
