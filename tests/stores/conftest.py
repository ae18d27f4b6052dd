"""The stores that the tests are about: one in memory, and one in a real Redis."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from rxllm.stores import MemoryStore, RedisStore
from tests.redis_server import RedisServer

_numbers = count()


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """A Redis that nobody stops."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, to kill and to start again."""
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A store of either kind."""
    if request.param == "memory":
        yield MemoryStore(lease=100)  # longer than a test: nobody is woken by its end
        return
    server: RedisServer = request.getfixturevalue("running_redis")
    store = RedisStore(server.url, prefix=f"test{next(_numbers)}:")
    yield store
    store.close()


@pytest.fixture(params=["memory", "redis"])
def hasty(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A store whose leases are over soon."""
    if request.param == "memory":
        yield MemoryStore(lease=1)
        return
    server: RedisServer = request.getfixturevalue("running_redis")
    store = RedisStore(server.url, prefix=f"test{next(_numbers)}:", lease=1)
    yield store
    store.close()
