"""RedisStore, with a real Redis: several processes, some of which are killed, and a Redis that comes and goes."""

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

import rxllm
from rxllm import ModelResponseStream, as_stream
from rxllm import operators as ops
from rxllm._stores._entries import ABANDONED, COMPLETED
from rxllm._stores._protocol import Append, ClosedSession, Create, Finish, Read, Verdict
from rxllm.exceptions import APIConnectionError, IncompleteStreamError
from rxllm.stores import RedisStore
from tests.redis_server import RedisServer
from tests.server import PATIENCE

of = ModelResponseStream.of
PUBLISHER = Path(__file__).with_name("publisher.py")


class Publisher:
    """A process that publishes what it is given."""

    def __init__(self, server: RedisServer, key: str, lease: float = 10.0) -> None:
        command = [sys.executable, str(PUBLISHER), server.url, key, str(lease)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, encoding="utf-8"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def publish(self, *lines: str) -> None:
        """Has it publish these, and waits until they are passed on."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        for line in lines:
            stdin.write(f"{line}\n")
            stdin.flush()
            assert stdout.readline() == f"{line}\n"

    def finish(self) -> None:
        """Lets it come to its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0

    def kill(self) -> None:
        """Kills it at once."""
        self._process.kill()
        self._process.wait(PATIENCE)


class Observing:
    """What one who observes gets, in a thread of its own; on an event loop of its own, if so asked."""

    def __init__(self, store: RedisStore, key: str, *, on_event_loop: bool = False, after: str | None = None) -> None:
        self.texts: list[str] = []
        self.error: Exception | None = None
        self._grown = threading.Condition()
        self._stream = ops.observe_from(store, key, after, wait=PATIENCE)
        consume: Callable[[], None] = (lambda: asyncio.run(self._async_consume())) if on_event_loop else self._consume
        self._thread = threading.Thread(target=self._run, args=(consume,), daemon=True)
        self._thread.start()

    def _run(self, consume: Callable[[], None]) -> None:
        try:
            consume()
        except Exception as error:  # noqa: BLE001  it is what is asked for
            self.error = error

    def _take(self, chunk: ModelResponseStream) -> None:
        with self._grown:
            self.texts.append(chunk.choices[0].delta.content or "")
            self._grown.notify_all()

    def _consume(self) -> None:
        for chunk in self._stream:
            self._take(chunk)

    async def _async_consume(self) -> None:
        async for chunk in self._stream:
            self._take(chunk)

    def has(self, count: int) -> None:
        """Waits until it has so many."""
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.texts) >= count, PATIENCE)

    def result(self) -> tuple[list[str], Exception | None]:
        """All of it, and the error."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.texts, self.error


def both(store: RedisStore, key: str, after: str | None = None) -> list[Observing]:
    """One who observes in a thread, and one on an event loop."""
    return [Observing(store, key, on_event_loop=on, after=after) for on in (False, True)]


@pytest.fixture
def connected(running_redis: RedisServer) -> Iterator[RedisStore]:
    """A store in a Redis that nobody stops."""
    with running_redis.client() as client:
        client.flushall()
    store = RedisStore(running_redis.url)
    yield store
    store.close()


def test_one_process_publishes_and_others_observe(connected: RedisStore, running_redis: RedisServer) -> None:
    """From the beginning, from the middle, and after the end."""
    with Publisher(running_redis, "a") as publisher:
        observing = both(connected, "a")
        publisher.publish("one", "two")
        for observer in observing:
            observer.has(2)
        late = both(connected, "a", after="1")
        publisher.publish("three")
        publisher.finish()
    for observer in observing:
        assert observer.result() == (["one", "two", "three"], None)
    for observer in late:
        assert observer.result() == (["two", "three"], None)
    assert [chunk.stored_id for chunk in ops.observe_from(connected, "a", after="2")] == ["3"]


def test_a_publisher_that_is_killed_ends_in_a_typed_error(running_redis: RedisServer) -> None:
    """For everyone who observes, and whoever comes later: with all that was acknowledged before."""
    store = RedisStore(running_redis.url, lease=2)
    with Publisher(running_redis, "killed", lease=2) as publisher:
        observing = both(store, "killed")
        publisher.publish("one", "two")
        publisher.kill()
        observing += both(store, "killed")
        for observer in observing:
            texts, error = observer.result()
            assert texts == ["one", "two"]
            assert isinstance(error, IncompleteStreamError)
            assert (error.code, error.chunks) == ("abandoned", 2)
    store.close()


class Gated:
    """A source that goes on when it is told to."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.error: Exception | None = None
        self._go = threading.Semaphore(0)
        self._grown = threading.Condition()

    def let(self, count: int) -> None:
        """Lets so many chunks come."""
        self._go.release(count)

    def chunks(self, count: int) -> Iterator[ModelResponseStream]:
        """So many chunks, each when it is let."""
        for number in range(count):
            assert self._go.acquire(timeout=PATIENCE)
            yield of(str(number))

    def publish(self, store: RedisStore, key: str, count: int, *, on_event_loop: bool) -> threading.Thread:
        """Publishes so many, in a thread of its own."""
        stream = as_stream(self.chunks(count)).pipe(ops.publish_to(store, key))

        async def consume() -> None:
            async for chunk in stream:
                self._pass_on(chunk)

        def run() -> None:
            try:
                if on_event_loop:
                    asyncio.run(consume())
                else:
                    for chunk in stream:
                        self._pass_on(chunk)
            except Exception as error:  # noqa: BLE001  it is what is asked for
                self.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def has_passed(self, count: int) -> None:
        """Waits until so many were passed on."""
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.passed) >= count, PATIENCE)

    def _pass_on(self, chunk: ModelResponseStream) -> None:
        with self._grown:
            self.passed.append(chunk.choices[0].delta.content or "")
            self._grown.notify_all()


@pytest.mark.parametrize("on_event_loop", [False, True])
def test_redis_may_be_killed_in_the_middle(redis_server: RedisServer, *, on_event_loop: bool) -> None:
    """Several times, while chunks come and while none does: nothing is lost, doubled or out of order."""
    count = 400
    store = RedisStore(redis_server.url, lease=1)
    source = Gated()
    thread = source.publish(store, "a", count, on_event_loop=on_event_loop)
    observing = both(store, "a")
    for part in range(4):
        source.let(50)
        source.has_passed(100 * part + 25)  # the rest is under way
        redis_server.kill()
        source.let(50)
        redis_server.start()
        source.has_passed(100 * part + 75)
    thread.join(PATIENCE)
    everything = [str(number) for number in range(count)]
    assert (source.passed, source.error) == (everything, None)
    for observer in observing:
        assert observer.result() == (everything, None)
    store.close()


@pytest.mark.parametrize("on_event_loop", [False, True])
def test_a_redis_that_is_gone_for_good(redis_server: RedisServer, *, on_event_loop: bool) -> None:
    """Both sides get a typed error once their patience is over, and the request is cancelled."""
    store = RedisStore(redis_server.url, patience=0.3)
    source = Gated()
    thread = source.publish(store, "a", 10, on_event_loop=on_event_loop)
    source.let(3)
    observing = both(store, "a")
    for observer in observing:
        observer.has(3)
    redis_server.kill()
    source.let(7)  # that the generator may end: an event loop waits for the thread that it is in
    thread.join(PATIENCE)
    assert source.passed == ["0", "1", "2"]
    assert isinstance(source.error, APIConnectionError)
    assert source.error.code == "unreachable"
    for observer in observing:
        texts, error = observer.result()
        assert texts == ["0", "1", "2"]
        assert isinstance(error, IncompleteStreamError)
        assert (error.code, error.chunks) == ("unreachable", 3)
    late = Observing(store, "a").result()[1]
    assert isinstance(late, APIConnectionError)
    assert not isinstance(late, IncompleteStreamError)
    store.close()


def test_a_redis_that_has_lost_everything(redis_server: RedisServer) -> None:
    """Neither side takes it for a stream that goes on."""
    store = RedisStore(redis_server.url, lease=1.5)
    source = Gated()
    thread = source.publish(store, "a", 5, on_event_loop=False)
    source.let(3)
    observing = both(store, "a")
    for observer in observing:
        observer.has(3)
    with redis_server.client() as client:
        client.flushall()
    source.let(2)
    thread.join(PATIENCE)
    assert getattr(source.error, "code", None) == "lost"
    for observer in observing:
        texts, error = observer.result()
        assert (texts, getattr(error, "code", None)) == (["0", "1", "2"], "lost")
    store.close()


def test_a_publisher_is_spared_where_redis_was_not_there(redis_server: RedisServer) -> None:
    """Nobody could renew a lease in that time: it begins anew with Redis."""
    store = RedisStore(redis_server.url, lease=20)
    session = store.open()
    session.perform(Create("a", "t"))
    redis_server.kill()
    redis_server.start()
    with redis_server.client() as client:
        client.hset("rxllm:{a}:state", "heard", 0)
    page = session.perform(Read("a", "0", 0.0, ABANDONED))
    assert page.kind == "open"
    assert 0 < page.patience <= 20
    store.close()


def test_what_is_lost_at_the_end_of_a_stream_is_noticed(redis_server: RedisServer) -> None:
    """A Redis that comes back with the beginning alone gets no entry behind the gap."""
    store = RedisStore(redis_server.url)
    session = store.open()
    session.perform(Create("a", "t"))
    session.perform(Append("a", "t", 1, [b"1", b"2"]))
    with redis_server.client() as client:
        client.xdel("rxllm:{a}:entries", "2-0")
        client.hset("rxllm:{a}:state", "count", 1)
    assert session.perform(Append("a", "t", 3, [b"3"])) == Verdict("gap")
    assert session.perform(Finish("a", "t", 2, COMPLETED)) == Verdict("gap")
    assert session.perform(Read("a", "2", 0.0, ABANDONED)).kind == "beyond"
    store.close()


def test_an_entry_that_is_lost_is_noticed(connected: RedisStore, running_redis: RedisServer) -> None:
    """Nobody gets what is behind a gap."""
    as_stream([of(text) for text in "abc"]).pipe(ops.publish_to(connected, "b")).run()
    with running_redis.client() as client:
        client.xdel("rxllm:{b}:entries", "2-0")
    for observer in both(connected, "b"):
        texts, error = observer.result()
        assert (texts, getattr(error, "code", None), getattr(error, "chunks", None)) == (["a"], "lost", 1)


def test_stopping_from_another_process(connected: RedisStore, running_redis: RedisServer) -> None:
    """Whoever publishes hears of it, though it was not the one who stopped."""
    source = Gated()
    other = RedisStore(running_redis.url)
    thread = source.publish(connected, "a", 2, on_event_loop=True)
    source.let(1)
    observing = both(other, "a")
    for observer in observing:
        observer.has(1)
    assert other.stop("a")
    for observer in observing:
        assert getattr(observer.result()[1], "code", None) == "stopped"
    source.let(1)
    thread.join(PATIENCE)
    assert getattr(source.error, "code", None) == "stopped"
    other.close()


def test_a_hundred_observe_one_stream(connected: RedisStore) -> None:
    """On one event loop, while it is published; and a hundred in threads."""
    source = Gated()
    thread = source.publish(connected, "a", 50, on_event_loop=False)

    def observe(_: int) -> list[str]:
        return [chunk.choices[0].delta.content or "" for chunk in ops.observe_from(connected, "a", wait=PATIENCE)]

    async def observe_all() -> list[list[str]]:
        async def one() -> list[str]:
            stream = ops.observe_from(connected, "a", wait=PATIENCE)
            return [chunk.choices[0].delta.content or "" async for chunk in stream]

        source.let(1)
        tasks = [asyncio.create_task(one()) for _ in range(100)]
        source.let(49)
        return await asyncio.gather(*tasks)

    with ThreadPoolExecutor(100) as pool:
        in_threads = [pool.submit(observe, number) for number in range(100)]
        expected = [str(number) for number in range(50)]
        assert asyncio.run(observe_all()) == [expected] * 100
        assert [future.result(PATIENCE) for future in in_threads] == [expected] * 100
    thread.join(PATIENCE)
    assert source.error is None


def test_two_hundred_wait_at_once(connected: RedisStore) -> None:
    """None of them keeps another, or a publisher, from its turn."""

    async def wait_and_publish() -> list[int]:
        async def one() -> int:
            return len([chunk async for chunk in ops.observe_from(connected, "a", wait=PATIENCE)])

        tasks = [asyncio.create_task(one()) for _ in range(200)]
        stream = as_stream([of("1"), of("2")])
        await asyncio.gather(*(stream.pipe(ops.publish_to(connected, key)) for key in "bcdefgh"))
        await stream.pipe(ops.publish_to(connected, "a"))
        return await asyncio.gather(*tasks)

    assert asyncio.run(wait_and_publish()) == [2] * 200


def test_everything_expires(running_redis: RedisServer) -> None:
    """What runs, a while after it was last heard of; what has ended, a while after that."""
    store = RedisStore(running_redis.url, keep=1000, lease=100, prefix="expiry:")
    session = store.open()

    def times() -> list[int]:
        with running_redis.client() as client:
            keys = client.keys("expiry:*")
            return sorted(client.pttl(key) for key in keys)

    session.perform(Create("a", "t"))
    assert all(1_000_000 < time <= 1_100_000 for time in times())
    session.perform(Append("a", "t", 1, [b"1"]))
    assert len(times()) == 2
    assert all(1_000_000 < time <= 1_100_000 for time in times())
    session.perform(Finish("a", "t", 1, COMPLETED))
    assert all(900_000 < time <= 1_000_000 for time in times())
    store.close()


def test_the_password_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """In no repr, error or log, whether it is right or wrong; and it is used."""
    caplog.set_level(logging.DEBUG)
    with RedisServer(password="pa55-w0rd") as server:
        store = RedisStore(server.url, patience=0.1)
        assert ops.publish_to(store, "a")(as_stream([of("1")])).run() == of("1")
        wrong = RedisStore(server.url.replace("pa55-w0rd", "wr0ng-pa55"), patience=0.1)
        with pytest.raises(APIConnectionError, match="Authentication") as refused:
            list(ops.observe_from(wrong, "a"))
        store.close()
    with pytest.raises(APIConnectionError) as gone:
        list(ops.observe_from(store, "a"))
    with pytest.raises(ValueError, match="percent-encoded") as unreadable:
        RedisStore("redis://:pa55/w0rd@localhost")
    shown = [repr(store), repr(wrong), caplog.text, *map(repr, (refused.value, gone.value, unreadable.value))]
    assert not any("pa55" in text or "w0rd" in text for text in shown)
    assert "***" in repr(store)


def test_connections_are_closed_with_their_event_loop(connected: RedisStore, running_redis: RedisServer) -> None:
    """And those of threads when they are told to: nothing is left open, and nobody warns."""

    def clients() -> int:
        with running_redis.client() as client:
            return len(client.client_list())

    before = clients()
    stream = as_stream([of("1"), of("2")])
    asyncio.run(stream.pipe(ops.publish_to(connected, "a"))._last())  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def leave() -> None:
        async for _ in ops.observe_from(connected, "a"):
            break
        await connected.aclose()
        assert [chunk async for chunk in ops.observe_from(connected, "a", after="1")]

    asyncio.run(leave())
    list(ops.observe_from(connected, "a"))
    connected.close()
    gc.collect()
    assert clients() == before


def test_leaving_wakes_who_waits(connected: RedisStore) -> None:
    """Also one who waits in Redis for what does not come: on an event loop, and from another thread."""
    connected.open().perform(Create("a", "t"))

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                async for _ in ops.observe_from(connected, "a"):
                    pass

    asyncio.run(leave())
    ended = threading.Event()
    subscription = ops.observe_from(connected, "a").subscribe(on_error=lambda _: ended.set(), on_completed=ended.set)
    subscription.dispose()
    assert not ended.is_set()


SCRIPT = """
import sys
from rxllm import ModelResponseStream, as_stream, operators as ops
from rxllm.stores import RedisStore

store = RedisStore(sys.argv[1])
chunks = as_stream([ModelResponseStream.of(text) for text in "abc"])
"""


@pytest.mark.parametrize(
    ("last_line", "least", "code"),
    [
        ("chunks.pipe(ops.publish_to(store, 'a')).subscribe()", 3, None),
        ("next(iter(chunks.concat(rx.never()).pipe(ops.publish_to(store, 'a'))))", 1, "left"),
    ],
)
def test_the_end_of_a_process(
    connected: RedisStore, running_redis: RedisServer, last_line: str, least: int, code: str | None
) -> None:
    """A stream that is subscribed to comes to its end; of one that is let go of, the store hears that it was left."""
    script = f"import reactivex as rx\n{SCRIPT}{last_line}\n"
    command = [sys.executable, "-W", "error", "-c", script, running_redis.url]
    done = subprocess.run(command, check=False, timeout=PATIENCE, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    texts, error = Observing(connected, "a").result()
    assert texts in [["a", "b", "c"][:count] for count in range(least, 4)]
    assert getattr(error, "code", None) == code


def test_closing_wakes_who_waits_in_redis(
    connected: RedisStore, running_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when Redis has nothing to say for a while."""
    monkeypatch.setattr("rxllm._stores._redis_talk.LONGEST_WAIT", 60)
    session = connected.open()
    session.perform(Create("a", "t"))
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            session.perform(Read("a", "0", 60, ABANDONED))
        except ClosedSession as error:
            raised.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    with running_redis.client() as client:
        while not client.info("clients")["blocked_clients"]:
            assert thread.is_alive()
    session.close()
    thread.join(PATIENCE / 4)  # after half of it, a Redis that says nothing counts as gone
    assert len(raised) == 1


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install; importing the module needs nothing."""
    for name in [name for name in sys.modules if name == "redis" or name.startswith("redis.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match=r"pip install 'rxllm\[redis\]'"):
        RedisStore("redis://localhost")


def test_importing_it_imports_no_redis() -> None:
    """Only who makes a RedisStore pays for it."""
    code = "import sys, rxllm.stores; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE).returncode == 0
    assert rxllm.__name__ in sys.modules
