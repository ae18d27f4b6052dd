"""publish_to: nobody gets a chunk before the store has it, and the store hears of every end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as rxops
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm._stores._entries import ABANDONED, LEFT
from rxllm._stores._protocol import Append, Command, Finish, Read, Renew
from rxllm.exceptions import APIConnectionError, ConflictError, IncompleteStreamError, RateLimitError
from rxllm.stores import MemoryStore
from tests.consume import WAYS, by_async_for, by_for
from tests.operators.sources import of
from tests.server import PATIENCE, Answering, Server

Ask = Callable[..., Stream[ModelResponseStream]]
each_way = pytest.mark.parametrize("way", WAYS)


class Fed:
    """A Stream of chunks with these texts, all at once, and then nothing, until its consumer leaves."""

    def __init__(self, *pieces: str) -> None:
        self.closed = threading.Event()

        def subscribe(observer: abc.ObserverBase[ModelResponseStream], _: object) -> Disposable:
            for piece in pieces:
                observer.on_next(of(piece))
            return Disposable(self.closed.set)

        self.stream = Stream[ModelResponseStream](subscribe)


def said(chunks: list[ModelResponseStream]) -> str:
    """The text of the chunks."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def observed(store: Any, key: str) -> tuple[str, Exception | None]:
    """What is to be observed of a stream, and how it ends."""
    chunks: list[ModelResponseStream] = []
    try:
        chunks.extend(ops.observe_from(store, key))
    except Exception as error:  # noqa: BLE001  it is what is asked for
        return said_each(chunks), error
    return said_each(chunks), None


def said_each(chunks: list[ModelResponseStream]) -> str:
    """The same, where each chunk has its place as its id."""
    assert [chunk.stored_id for chunk in chunks] == [str(at + 1) for at in range(len(chunks))]
    return said(chunks)


@each_way
def test_what_is_delivered_is_stored(way: str) -> None:
    """Every chunk, in its order, and the completion."""
    store = MemoryStore()
    chunks = [of(text) for text in "Hello"]
    assert WAYS[way](as_stream(chunks).pipe(ops.publish_to(store, "a"))) == chunks
    assert observed(store, "a") == ("Hello", None)


@each_way
def test_the_error_is_stored_and_delivered(way: str) -> None:
    """It is the same on both sides, after the chunks before it."""

    def failing() -> Iterator[ModelResponseStream]:
        yield of("Hel")
        raise RateLimitError("Slow down", status_code=429)

    store = MemoryStore()
    with pytest.raises(RateLimitError, match="Slow down"):
        WAYS[way](as_stream(failing()).pipe(ops.publish_to(store, "a")))
    text, error = observed(store, "a")
    assert text == "Hel"
    assert isinstance(error, RateLimitError)
    assert (str(error), error.status_code) == ("Slow down", 429)


@each_way
def test_a_key_that_is_taken_sends_nothing(way: str) -> None:
    """The source is not asked at all."""
    store = MemoryStore()
    by_for(as_stream([of("Hi")]).pipe(ops.publish_to(store, "a")))
    asked: list[object] = []

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _: object) -> Disposable:
        asked.append(observer)
        return Disposable()

    source = Stream[ModelResponseStream](subscribe)
    with pytest.raises(ConflictError, match="'a'"):
        WAYS[way](source.pipe(ops.publish_to(store, "a")))
    assert not asked
    assert observed(store, "a") == ("Hi", None)


def test_leaving_is_stored_and_cancels() -> None:
    """The request is cancelled at once, and observers hear that the consumer has left."""
    store, fed = MemoryStore(), Fed("a", "b")
    items = iter(fed.stream.pipe(ops.publish_to(store, "a")))
    assert [said([next(items)]), said([next(items)])] == ["a", "b"]
    items.close()
    assert fed.closed.wait(PATIENCE)
    text, error = observed(store, "a")
    assert text == "ab"
    assert isinstance(error, IncompleteStreamError)
    assert (error.code, error.chunks) == ("left", 2)


def test_leaving_an_event_loop_waits_for_the_stores_word() -> None:
    """Once the loop has been left, the store knows."""

    async def leave(store: MemoryStore) -> None:
        fed = Fed("a")
        items = aiter(fed.stream.pipe(ops.publish_to(store, "a")))
        await anext(items)
        await items.aclose()
        page = await store.open_async().perform(Read("a", "0", 0.0, ABANDONED))
        assert (page.kind, page.ending) == ("over", LEFT)

    asyncio.run(leave(MemoryStore()))


@pytest.mark.parametrize("way", [by_for, by_async_for])
def test_stopping_ends_both_sides(way: Callable[[Any], Any]) -> None:
    """The request is cancelled, and neither side takes what came for a whole answer."""
    store, fed = MemoryStore(), Fed("a")

    def stop(_: object) -> None:
        threading.Thread(target=store.stop, args=("a",)).start()

    with pytest.raises(IncompleteStreamError) as caught:
        way(fed.stream.pipe(ops.publish_to(store, "a"), rxops.do_action(stop)))
    assert (caught.value.code, caught.value.chunks) == ("stopped", 1)
    assert fed.closed.wait(PATIENCE)
    text, error = observed(store, "a")
    assert (text, getattr(error, "code", None)) == ("a", "stopped")


class Watched(MemoryStore):
    """A store whose commands are noted, and may be made to fail."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: list[Command] = []
        self.broken = False
        self.renewed = threading.Event()

    def note(self, command: Command) -> None:
        """What is about to be asked."""
        self.commands.append(command)
        if isinstance(command, Renew):
            self.renewed.set()
        if self.broken and isinstance(command, Append):
            raise APIConnectionError("The store is gone", code="unreachable")

    def open(self) -> Any:
        """For a thread."""
        return _Noting(self, super().open())

    def open_async(self) -> Any:
        """For an event loop."""
        return _AsyncNoting(self, super().open_async())


class _Noting:
    def __init__(self, store: Watched, session: Any) -> None:
        self._store, self._session = store, session
        self.close = session.close

    def perform(self, command: Command) -> Any:
        self._store.note(command)
        return self._session.perform(command)


class _AsyncNoting(_Noting):
    def __init__(self, store: Watched, session: Any) -> None:
        self._store, self._session = store, session

    async def perform(self, command: Command) -> Any:
        self._store.note(command)
        return await self._session.perform(command)


@each_way
def test_what_came_together_is_stored_together(way: str) -> None:
    """One command for many chunks, where the store is slower than the source."""
    store = Watched()
    chunks = [of("x")] * 100
    source = rx.from_iterable(chunks)
    assert len(WAYS[way](as_stream(source).pipe(ops.publish_to(store, "a")))) == 100
    appended = [command for command in store.commands if isinstance(command, Append)]
    assert sum(len(command.entries) for command in appended) == 100
    assert len(appended) < 100
    assert isinstance(store.commands[-1], Finish)


@each_way
def test_a_store_that_fails_cancels_the_request(way: str) -> None:
    """What it has not acknowledged is not passed on."""
    store, fed = Watched(), Fed("a")
    store.broken = True
    with pytest.raises(APIConnectionError, match="gone"):
        WAYS[way](fed.stream.pipe(ops.publish_to(store, "a")))
    assert fed.closed.wait(PATIENCE)


def test_the_lease_is_renewed_while_the_consumer_is_busy() -> None:
    """Not even a consumer who holds up its own loop makes observers believe that the publisher died."""
    store, fed = Watched(lease=1), Fed("a")
    for _ in fed.stream.pipe(ops.publish_to(store, "a")):
        for _ in range(4):  # longer than the lease
            store.renewed.clear()
            assert store.renewed.wait(PATIENCE)
        assert store.open().perform(Read("a", "0", 0.0, ABANDONED)).kind == "open"
        break
    text, error = observed(store, "a")
    assert (text, getattr(error, "code", None)) == ("a", "left")


def test_on_a_bare_observable_the_source_waits() -> None:
    """Without a loop, the store is asked on the thread of the source, and renewed beside it."""
    store = Watched(lease=1)
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    got: list[ModelResponseStream] = []
    ends: list[str] = []
    source.pipe(ops.publish_to(store, "a")).subscribe(got.append, on_completed=lambda: ends.append("completed"))
    source.on_next(of("a"))
    assert said(got) == "a"
    assert store.renewed.wait(PATIENCE)
    source.on_next(of("b"))
    source.on_completed()
    assert (said(got), ends) == ("ab", ["completed"])
    assert observed(store, "a") == ("ab", None)


def test_a_consumer_below_may_bring_the_next_chunk() -> None:
    """Also while the one before is being delivered."""
    store = MemoryStore()
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    got: list[str] = []

    def on_next(item: ModelResponseStream) -> None:
        got.append(said([item]))
        if len(got) == 1:
            source.on_next(of("1"))
            source.on_next(of("2"))
            got.append("|")

    source.pipe(ops.publish_to(store, "a")).subscribe(on_next)
    source.on_next(of("0"))
    source.on_completed()
    assert got == ["0", "|", "1", "2"]
    assert observed(store, "a") == ("012", None)


def test_a_consumer_who_raises_leaves() -> None:
    """The error stays the consumer's; the store hears that it has left."""
    store = MemoryStore()
    source: rx.Subject[ModelResponseStream] = rx.Subject()

    def fail(_: object) -> None:
        raise LookupError("the consumer's own")

    source.pipe(ops.publish_to(store, "a")).subscribe(fail)
    with pytest.raises(LookupError):
        source.on_next(of("a"))
    assert getattr(observed(store, "a")[1], "code", None) == "left"


def thread_names() -> list[str]:
    """The threads that run."""
    return [thread.name for thread in threading.enumerate()]


def test_what_emits_inside_its_subscribe_can_be_left() -> None:
    """A bare Observable of any length is published as it comes, and no further than the consumer wants."""
    store = MemoryStore()
    got: list[ModelResponseStream] = []
    source = rx.from_iterable(of(str(number)) for number in range(1000))
    source.pipe(ops.publish_to(store, "a"), rxops.take(2)).subscribe(got.append)
    assert said(got) == "01"
    text, error = observed(store, "a")
    assert (text, getattr(error, "code", None)) == ("01", "left")


def test_on_an_event_loop_nothing_blocks() -> None:
    """A bare Observable with asyncio's scheduler gets a loop, and tasks write."""
    store = MemoryStore()

    async def consume() -> list[ModelResponseStream]:
        loop = asyncio.get_running_loop()
        got: list[ModelResponseStream] = []
        publishers: list[str] = []

        def on_next(item: ModelResponseStream) -> None:
            got.append(item)
            publishers.extend(name for name in thread_names() if name == "rxllm-publisher")

        done: asyncio.Future[None] = loop.create_future()
        source: Observable[ModelResponseStream] = rx.of(of("a"), of("b"))
        source.pipe(ops.publish_to(store, "a")).subscribe(
            on_next, done.set_exception, lambda: done.set_result(None), scheduler=AsyncIOScheduler(loop)
        )
        await asyncio.wait_for(done, PATIENCE)
        assert not publishers
        return got

    assert said(asyncio.run(consume())) == "ab"
    assert observed(store, "a") == ("ab", None)


def test_with_a_server(server: Server, ask: Ask) -> None:
    """Over a real connection, in a loop and on an event loop; both sides have the same."""

    async def script(answering: Answering) -> None:
        await answering.stream("Hel", "lo")

    server.script = script
    store = MemoryStore()
    for key, way in (("thread", by_for), ("event loop", by_async_for)):
        chunks = way(ask().pipe(ops.publish_to(store, key)))
        again = way(ops.observe_from(store, key))
        assert said(again) == "Hello"
        assert [chunk.model_dump() for chunk in again] == [chunk.model_dump() for chunk in chunks]


@given(st.lists(st.text(st.characters(), max_size=5), max_size=12))
def test_any_texts_come_back(pieces: list[str]) -> None:
    """Also the halves of a surrogate pair, and empty ones."""
    store = MemoryStore()
    chunks = [of(piece) for piece in pieces]
    rx.from_iterable(chunks).pipe(ops.publish_to(store, "a")).subscribe()
    again = by_for(ops.observe_from(store, "a"))
    assert [chunk.choices[0].delta.content for chunk in again] == pieces


def test_arguments_are_checked_when_it_is_made() -> None:
    """No stream has to run to learn that an argument is wrong."""
    wrong: Any
    for wrong in (None, 1, "redis://localhost"):
        with pytest.raises(TypeError, match="store"):
            ops.publish_to(wrong, "a")
    with pytest.raises(TypeError, match="key"):
        ops.publish_to(MemoryStore(), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for text in ("", "\ud800"):
        with pytest.raises(ValueError, match="key"):
            ops.publish_to(MemoryStore(), text)
