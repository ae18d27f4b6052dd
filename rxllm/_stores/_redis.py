"""The store that many processes share: a Redis, spoken to from threads and from event loops."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final, cast

from rxllm._extras import missing_extra
from rxllm._secrets import Secrets, hidden_url, unframed
from rxllm._stores._protocol import LONGEST_WAIT, ClosedSession, Command
from rxllm._stores._redis_talk import Ask, Broken, Refused, Talk
from rxllm._stores._store import Store, seconds

__all__ = ["RedisStore"]

_CONNECT_WITHIN: Final = 5.0
# What waits bounds them: whoever had to wait for a connection could not even say that it is alive.
_MOST_CONNECTIONS: Final = 1 << 31
# Longer than a read that waits: a Redis that says nothing for so long has not been heard of at all.
_ANSWER_WITHIN: Final = LONGEST_WAIT + 5.0


class RedisStore(Store):
    """Keeps published streams in Redis Streams, for any number of processes on any number of machines.

    ::

        store = RedisStore("redis://localhost:6379/0")
        completion(...).pipe(publish_to(store, "answer")).subscribe()      # in one process
        for chunk in observe_from(store, "answer"): ...                    # in another

    A chunk counts as stored once Redis has acknowledged it; whether it outlives Redis itself, is what its
    ``appendonly`` and ``appendfsync`` say. Redis may restart in the middle: both sides ask again for ``patience``
    seconds, and no chunk is lost, doubled or out of order. Where it comes back without what it had, both sides get a
    typed error. Everything expires: ``keep`` seconds after a stream's end, or ``keep`` and ``lease`` seconds after its
    publisher was last heard of.

    It can be used from any thread and any event loop. There is a connection for each command that is under way, and
    each that waits for chunks is one; they are used again, and those of an event loop are closed with it. ``close()``
    and ``aclose()`` close those that wait for use.

    Args:
        url: as redis-py takes it: ``redis://``, ``rediss://`` for TLS, or ``unix://``, with a password if need be,
            which no error shows. Redis 5 or later, or a server that is compatible.
        keep: how many seconds a stream is kept after its end.
        lease: how many seconds a publisher may be silent before its streams count as abandoned; it says that it is
            there more often than that, also where nothing is published.
        prefix: what the names of all its keys in Redis begin with.
        patience: for how many seconds a Redis that does not answer is asked again.

    Raises:
        ImportError: the extra ``redis`` is not installed.
        TypeError, ValueError: an argument is of the wrong kind, or the URL is none of Redis.

    >>> RedisStore("redis://:pa55word@localhost:6379/0")
    <RedisStore redis://***@localhost:6379/0>
    """

    def __init__(
        self, url: str, *, keep: float = 3600.0, lease: float = 10.0, prefix: str = "rxllm:", patience: float = 30.0
    ) -> None:
        super().__init__(keep=keep, lease=lease)
        try:
            from redis.asyncio.connection import ConnectionPool as AsyncConnectionPool
            from redis.asyncio.retry import Retry as AsyncRetry
            from redis.backoff import NoBackoff
            from redis.connection import ConnectionPool
            from redis.retry import Retry
        except ImportError:
            raise missing_extra("RedisStore()", "redis") from None
        given: Any = url
        if not isinstance(given, str):
            raise TypeError(f"url is a text, not {given!r}")
        self._secrets = Secrets()
        self._secrets.add_address(url)
        self._name = hidden_url(url)
        clean = self._secrets.clean
        self._talk = Talk(self._name, prefix, self.keep, self.lease, seconds("patience", patience), clean)
        options: dict[str, Any] = {
            "protocol": 2,
            "max_connections": _MOST_CONNECTIONS,
            "socket_connect_timeout": _CONNECT_WITHIN,
            "socket_timeout": _ANSWER_WITHIN,
        }
        # redis-py's own way of trying again knows no patience.
        pool: Any = partial(ConnectionPool.from_url, url, retry=Retry(NoBackoff(), 0), **options)  # pyright: ignore[reportUnknownMemberType]
        async_pool = cast("Any", AsyncConnectionPool).from_url
        self._async_pools = _AsyncPools(partial(async_pool, url, retry=AsyncRetry(NoBackoff(), 0), **options))
        readable = True
        try:
            self._pool = pool()
        except ValueError:
            readable = False
        if not readable:
            # redis-py's own error may show a part of the password, and a traceback all of it.
            url = self._name
            raise ValueError(
                "url is none of Redis: it begins with redis://, rediss:// or unix://, and what is special in its "
                "password is percent-encoded"
            )

    def open(self) -> "_Session":
        """For a thread."""
        return _Session(self._talk, self._pool)

    def open_async(self) -> "_AsyncSession":
        """For the running event loop."""
        return _AsyncSession(self._talk, self._async_pools)

    def close(self) -> None:
        """Closes the connections of threads that wait for use; the next use opens new ones."""
        self._pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Closes those of the running event loop."""
        await self._async_pools.aclose()

    def __repr__(self) -> str:
        return f"<RedisStore {self._name}>"


class _Session:
    def __init__(self, talk: Talk, pool: Any) -> None:
        self._talk = talk
        self._pool = pool
        self._closed = threading.Event()
        self._connection: Any = None

    def perform(self, command: Command) -> Any:
        steps, told = self._talk.perform(command), None
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                return stop.value
            if isinstance(step, Ask):
                told = self._ask(step)
            else:
                self._closed.wait(step.seconds)
                told = None
            if self._closed.is_set():
                raise ClosedSession

    def _ask(self, ask: Ask) -> Any:
        try:
            self._connection = connection = self._pool.get_connection()
            try:
                # Whoever closes sees the connection, or is seen here.
                if not self._closed.is_set():
                    connection.send_command(*ask.arguments)
                    return connection.read_response()
            finally:
                self._connection = None
                self._pool.release(connection)
        except Exception as error:  # noqa: BLE001  one that is closed while it is read from fails in many ways
            return None if self._closed.is_set() else _failure(error)

    def close(self) -> None:
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.disconnect()


class _AsyncSession:
    def __init__(self, talk: Talk, pools: "_AsyncPools") -> None:
        self._talk = talk
        self._pools = pools

    async def perform(self, command: Command) -> Any:
        steps, told = self._talk.perform(command), None
        pool = await self._pools.pool()
        while True:
            try:
                step = steps.send(told)
            except StopIteration as stop:
                return stop.value
            if isinstance(step, Ask):
                told = await _asked(pool, step)
            else:
                await asyncio.sleep(step.seconds)
                told = None


async def _asked(pool: Any, ask: Ask) -> Any:
    try:
        connection = await pool.get_connection()
        try:
            await connection.send_command(*ask.arguments)
            return await connection.read_response()
        finally:
            await pool.release(connection)
    except Exception as error:  # noqa: BLE001  sorted there
        return _failure(error)


class _AsyncPools:
    """The connections of each event loop, held by an async generator: the loop's shutdown closes those."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._held: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]]
        self._held = weakref.WeakKeyDictionary()

    async def pool(self) -> Any:
        """The running event loop's."""
        event_loop = asyncio.get_running_loop()
        held = self._held.get(event_loop)
        if held is None:
            pool = self._make()
            self._held[event_loop] = held = (pool, self._hold(event_loop, pool))
            await anext(held[1])
        return held[0]

    async def aclose(self) -> None:
        """Closes the running event loop's."""
        held = self._held.get(asyncio.get_running_loop())
        if held is not None:
            await held[1].aclose()

    async def _hold(self, event_loop: asyncio.AbstractEventLoop, pool: Any) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._held.pop(event_loop, None)
            await pool.disconnect()


def _failure(error: Exception) -> Refused | Broken:
    """What an error of redis-py comes to.

    Raises:
        Exception: the error itself, where it is another.
    """
    from redis import exceptions

    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return Broken(reason, passing=False)
    if isinstance(error, exceptions.ResponseError):
        return Refused(type(error).__name__, reason)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError):
        return Broken(reason, passing=True)
    raise unframed(error)
