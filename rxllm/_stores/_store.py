"""What the stores have in common: following a stream, and stopping it."""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rxllm._stores._entries import STOPPED
from rxllm._stores._protocol import AsyncSession, Session, Stop, StreamStore, Verdict
from rxllm.exceptions import NotFoundError

if TYPE_CHECKING:
    from rxllm._stream import Stream

__all__ = ["Store", "check_key", "check_store", "seconds"]


class Store(ABC):
    """A ``StreamStore``, with what people call by themselves."""

    def __init__(self, *, keep: float, lease: float) -> None:
        self.keep = seconds("keep", keep)
        self.lease = seconds("lease", lease)

    @abstractmethod
    def open(self) -> Session:
        """For a thread."""

    @abstractmethod
    def open_async(self) -> AsyncSession:
        """For the running event loop."""

    def follow(self, key: str, after: str | None = None, *, wait: float = 0.0) -> "Stream[tuple[str, bytes]]":
        r"""A Stream of the entries as they are kept, each with its id: what ``observe_from()`` makes chunks of.

        For a server that passes them on and gives each its id, so that a client can come back. It ends as
        ``observe_from()`` does.

        Args:
            key: what the stream was published as.
            after: the id of the last entry that is known already.
            wait: for how many seconds a stream that is not there is waited for.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: ``key`` is empty, or ``after`` cannot be an id.

        >>> from rxllm import as_stream, operators as ops, stores
        >>> store = stores.MemoryStore()
        >>> chunks = as_stream([{"choices": [{"delta": {"content": "Hi"}}]}])
        >>> _ = chunks.pipe(ops.publish_to(store, "greeting")).run()
        >>> list(store.follow("greeting"))
        [('1', b'{"choices":[{"delta":{"content":"Hi"}}]}\n')]
        """
        from rxllm._stores._following import follow

        return follow(self, key, after, wait)

    def stop(self, key: str) -> bool:
        """Ends a stream now, from anywhere: its publisher cancels the request within a second.

        Who observes it gets what was kept and then an ``IncompleteStreamError`` whose ``code`` is ``"stopped"``, and so
        does who publishes it. Blocks; ``astop()`` is for event loops.

        Returns:
            whether it was under way; false where it had ended before.

        Raises:
            NotFoundError: there is no such stream.
            APIConnectionError: the store cannot be reached.

        >>> from rxllm import as_stream, operators as ops, stores
        >>> store = stores.MemoryStore()
        >>> _ = as_stream([]).pipe(ops.publish_to(store, "nothing")).subscribe()
        >>> for _ in ops.observe_from(store, "nothing", wait=10): pass
        >>> store.stop("nothing")
        False
        """
        session = self.open()
        try:
            return _stopped(key, session.perform(Stop(check_key(key), STOPPED)))
        finally:
            session.close()

    async def astop(self, key: str) -> bool:
        """As ``stop()``, on an event loop."""
        return _stopped(key, await self.open_async().perform(Stop(check_key(key), STOPPED)))


def _stopped(key: str, verdict: Verdict) -> bool:
    if verdict.kind == "missing":
        raise NotFoundError(f"There is no stream {key!r}, or it is kept no more", code="missing")
    return verdict.kind == "done"


def check_store(store: StreamStore) -> None:
    """Raises ``TypeError`` unless ``store`` is a store."""
    given: Any = store
    if not hasattr(given, "open_async"):
        raise TypeError(f"store is a MemoryStore or a RedisStore, not {given!r}")


def check_key(key: str) -> str:
    """``key``, where it can be one.

    Raises:
        TypeError, ValueError: it is no text, is empty, or holds half a character.
    """
    given: Any = key
    if not isinstance(given, str):
        raise TypeError(f"key is a text, not {given!r}")
    if not key or any("\ud800" <= character <= "\udfff" for character in key):
        raise ValueError(f"key is a text with something in it, and whole characters, not {key!r}")
    return key


def seconds(name: str, value: float, *, zero: bool = False) -> float:
    """``value``, the argument ``name``, where it is a finite number above 0, or 0 where that may be."""
    given: Any = value
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"{name} is a number of seconds, not {given!r}")
    if not (0 < value < math.inf or (zero and value == 0)):
        raise ValueError(f"{name} is a number of seconds{', 0 or more' if zero else ' above 0'}, not {value}")
    return float(value)
