"""Stores of streams: what is published in one place is observed in another.

``operators.publish_to(store, key)`` writes to one, ``operators.observe_from(store, key)`` reads from it: in another
thread, another process or on another machine, from the beginning or from where one was, and also after the end.
"""

from rxllm._stores._memory import MemoryStore
from rxllm._stores._protocol import StreamStore
from rxllm._stores._redis import RedisStore

__all__ = ["MemoryStore", "RedisStore", "StreamStore"]
