"""What holds for every store, however it is used: its commands, one by one and against a plain model."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxllm._stores._entries import ABANDONED, COMPLETED, LEFT, STOPPED
from rxllm._stores._protocol import (
    LONGEST_PAGE,
    Append,
    ClosedSession,
    Command,
    Create,
    Finish,
    Page,
    Read,
    Renew,
    Stop,
    Verdict,
)
from rxllm.exceptions import NotFoundError
from rxllm.stores import MemoryStore, RedisStore
from tests.server import PATIENCE

DONE, MISSING, TAKEN, GAP = Verdict("done"), Verdict("missing"), Verdict("taken"), Verdict("gap")
Perform = Callable[[Command], Any]


@pytest.fixture(params=["thread", "event loop"])
def perform(store: Any, request: pytest.FixtureRequest) -> Iterator[Perform]:
    """Asks the store in a thread, or on an event loop."""
    if request.param == "thread":
        session = store.open()
        yield session.perform
        session.close()
        return
    with asyncio.Runner() as runner:

        async def ask(command: Command) -> Any:
            return await store.open_async().perform(command)

        yield lambda command: runner.run(ask(command))


def read(after: str = "0", wait: float = 0.0, key: str = "a") -> Read:
    """Asks for what stands after an id."""
    return Read(key, after, wait, ABANDONED)


def seen(page: Page) -> tuple[Any, ...]:
    """What a page says but for its time."""
    return page.kind, page.entries, page.ending


def test_what_is_appended_is_read_in_its_order(perform: Perform) -> None:
    """From the beginning or after any id, and with the ending once there is one."""
    assert perform(Create("a", "t")) == DONE
    assert seen(perform(read())) == ("open", [], b"")
    assert perform(Append("a", "t", 1, [b"x", b"\x00\xff"])) == DONE
    assert perform(Append("a", "t", 3, [b""])) == DONE
    everything = [("1", b"x"), ("2", b"\x00\xff"), ("3", b"")]
    assert seen(perform(read())) == ("open", everything, b"")
    assert seen(perform(read("2"))) == ("open", everything[2:], b"")
    assert perform(Finish("a", "t", 3, COMPLETED)) == DONE
    assert seen(perform(read("1"))) == ("over", everything[1:], COMPLETED)
    assert seen(perform(read("3"))) == ("over", [], COMPLETED)
    assert seen(perform(read("4"))) == ("over", [], COMPLETED)
    assert seen(perform(read("5"))) == ("beyond", [], b"")


def test_asking_again_changes_nothing(perform: Perform) -> None:
    """Whoever has lost an acknowledgement asks again: nothing is there twice."""
    for _ in range(2):
        assert perform(Create("a", "t")) == DONE
    for _ in range(2):
        assert perform(Append("a", "t", 1, [b"1", b"2"])) == DONE
    assert perform(Append("a", "t", 2, [b"2", b"3"])) == DONE
    assert seen(perform(read())) == ("open", [("1", b"1"), ("2", b"2"), ("3", b"3")], b"")
    assert perform(Finish("a", "t", 3, COMPLETED)) == DONE
    assert perform(Finish("a", "t", 3, COMPLETED)) == Verdict("over", COMPLETED)


def test_nobody_else_writes(perform: Perform) -> None:
    """A key that is taken is refused, and so is who has another token."""
    assert perform(Create("a", "t")) == DONE
    for command in (
        Create("a", "other"),
        Append("a", "other", 1, [b"x"]),
        Renew("a", "other"),
        Finish("a", "other", 0, LEFT),
    ):
        assert perform(command) == TAKEN
    assert seen(perform(read())) == ("open", [], b"")


def test_what_is_missing_is_told(perform: Perform) -> None:
    """A stream that is not there, entries before those that are added, ids that stand for none."""
    for command in (Append("a", "t", 1, [b"x"]), Renew("a", "t"), Finish("a", "t", 0, LEFT), Stop("a", STOPPED)):
        assert perform(command) == MISSING
    assert seen(perform(read())) == ("missing", [], b"")
    perform(Create("a", "t"))
    assert perform(Append("a", "t", 2, [b"x"])) == GAP
    assert perform(Finish("a", "t", 1, COMPLETED)) == GAP
    assert seen(perform(read("1"))) == ("beyond", [], b"")


def test_after_the_end_nothing_is_added(perform: Perform) -> None:
    """Whoever ended it first has ended it; who publishes is told how."""
    perform(Create("a", "t"))
    perform(Append("a", "t", 1, [b"1"]))
    assert perform(Stop("a", STOPPED)) == DONE
    over = Verdict("over", STOPPED)
    for command in (
        Append("a", "t", 2, [b"2"]),
        Renew("a", "t"),
        Finish("a", "t", 1, COMPLETED),
        Stop("a", STOPPED),
    ):
        assert perform(command) == over
    assert seen(perform(read())) == ("over", [("1", b"1")], STOPPED)


def test_long_streams_are_read_page_by_page(perform: Perform) -> None:
    """No read gives more than a page, and the ending comes with the last."""
    perform(Create("a", "t"))
    entries = [str(number).encode() for number in range(LONGEST_PAGE + 1)]
    perform(Append("a", "t", 1, entries))
    perform(Finish("a", "t", len(entries), COMPLETED))
    first, second = perform(read()), perform(read(str(LONGEST_PAGE)))
    assert (first.kind, second.kind) == ("open", "over")
    assert [entry for _, entry in first.entries + second.entries] == entries


def test_who_waits_is_woken(store: Any) -> None:
    """By each entry and by the end; in a thread and on an event loop."""
    writer, long = store.open(), 10 * PATIENCE
    writer.perform(Create("a", "t"))
    got: list[list[bytes]] = [[], []]
    news = threading.Semaphore(0)

    def take(page: Page, entries: list[bytes]) -> Read | None:
        entries += [entry for _, entry in page.entries]
        for _ in page.entries:
            news.release()
        return None if page.kind == "over" else read(str(len(entries)), wait=long)

    def follow() -> None:
        session, command = store.open(), take(Page("open"), got[0])
        while command is not None:
            command = take(session.perform(command), got[0])

    async def async_follow() -> None:
        session, command = store.open_async(), take(Page("open"), got[1])
        while command is not None:
            command = take(await session.perform(command), got[1])

    threads = [
        threading.Thread(target=follow, daemon=True),
        threading.Thread(target=lambda: asyncio.run(async_follow()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    entries = [str(number).encode() for number in range(1, 10)]
    for number, entry in enumerate(entries, 1):
        writer.perform(Append("a", "t", number, [entry]))
        assert all(news.acquire(timeout=PATIENCE) for _ in threads)
    writer.perform(Finish("a", "t", len(entries), COMPLETED))
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert got == [entries] * 2


def test_closing_wakes_who_waits(store: Any) -> None:
    """From another thread, at once; and who uses it later is told as well."""
    store.open().perform(Create("a", "t"))
    session = store.open()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            while True:
                session.perform(read(wait=PATIENCE))
        except ClosedSession as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    session.close()
    thread.join(PATIENCE)
    assert len(raised) == 1
    with pytest.raises(ClosedSession):
        session.perform(read())


def test_an_abandoned_stream_ends_for_all(hasty: Any) -> None:
    """Whoever reads after the lease ends it; its publisher, who comes back, is told so."""
    session = hasty.open()
    session.perform(Create("a", "t"))
    session.perform(Append("a", "t", 1, [b"1"]))
    page = session.perform(read("1"))
    while page.kind == "open":
        page = session.perform(read("1", wait=page.patience + 0.005))
    assert seen(page) == ("over", [], ABANDONED)
    assert session.perform(Append("a", "t", 2, [b"2"])) == Verdict("over", ABANDONED)
    assert seen(session.perform(read())) == ("over", [("1", b"1")], ABANDONED)


def test_stopping(store: Any) -> None:
    """Tells whether it was under way; what is not there cannot be stopped."""
    store.open().perform(Create("a", "t"))
    assert store.stop("a") is True
    assert store.stop("a") is False
    assert asyncio.run(store.astop("a")) is False
    with pytest.raises(NotFoundError) as caught:
        store.stop("b")
    assert caught.value.code == "missing"


def test_following_gives_entries_and_ids(store: Any) -> None:
    """As they are kept, in a loop and on an event loop."""
    session = store.open()
    session.perform(Create("a", "t"))
    session.perform(Append("a", "t", 1, [b"x", b"y"]))
    session.perform(Finish("a", "t", 2, COMPLETED))
    assert list(store.follow("a")) == [("1", b"x"), ("2", b"y")]

    async def follow() -> list[tuple[str, bytes]]:
        return [pair async for pair in store.follow("a", after="1")]

    assert asyncio.run(follow()) == [("2", b"y")]


@pytest.mark.parametrize("kind", [MemoryStore, partial(RedisStore, "redis://127.0.0.1:1")])
@pytest.mark.parametrize("name", ["keep", "lease"])
def test_times_are_checked(kind: Any, name: str) -> None:
    """Whole or not, they are above 0 and end some time."""
    wrong: Any
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=name):
            kind(**{name: wrong})
    for wrong in ("1", True, None):
        with pytest.raises(TypeError, match=name):
            kind(**{name: wrong})


def test_memory_lets_go_of_what_is_old() -> None:
    """A while after its end, or after its publisher was last heard of, whenever the store is used."""
    store = MemoryStore(keep=0.05, lease=0.05)
    session = store.open()
    for key in ("finished", "silent"):
        session.perform(Create(key, "t"))
    session.perform(Finish("finished", "t", 0, COMPLETED))
    # Another stream's news is waited for, which does not come.
    session.perform(read(key="none", wait=0.15))
    assert session.perform(read(key="finished")).kind == "missing"
    assert session.perform(read(key="silent")).kind == "missing"
    assert session.perform(Create("finished", "other")) == DONE


class Model:
    """A store as one would write it on a napkin."""

    def __init__(self) -> None:
        self.streams: dict[str, tuple[str, list[bytes], list[bytes]]] = {}

    def perform(self, command: Command) -> Any:
        """What a store has to say."""
        key = command.key
        if isinstance(command, Create) and key not in self.streams:
            self.streams[key] = (command.token, [], [])
        if key not in self.streams:
            return ("missing", [], b"") if isinstance(command, Read) else MISSING
        token, entries, endings = self.streams[key]
        if isinstance(command, Read):
            after, there = int(command.after), len(entries)
            if after > there + len(endings):
                return ("beyond", [], b"")
            numbered = [(str(at + 1), entry) for at, entry in enumerate(entries)][after:]
            return ("over", numbered, endings[0]) if endings else ("open", numbered, b"")
        if not isinstance(command, Stop) and command.token != token:
            return TAKEN
        if isinstance(command, Create):
            return DONE
        if endings:
            return Verdict("over", endings[0])
        if isinstance(command, Append):
            if command.first > len(entries) + 1:
                return GAP
            entries += command.entries[len(entries) + 1 - command.first :]
        elif isinstance(command, Finish) and command.count != len(entries):
            return GAP
        elif isinstance(command, Finish | Stop):
            endings.append(command.ending)
        return DONE


keys, tokens, endings = st.sampled_from("ab"), st.sampled_from("st"), st.sampled_from([COMPLETED, LEFT])
commands = st.one_of(
    st.builds(Create, keys, tokens),
    st.builds(Append, keys, tokens, st.integers(1, 6), st.lists(st.binary(max_size=3), max_size=4)),
    st.builds(Renew, keys, tokens),
    st.builds(Finish, keys, tokens, st.integers(0, 6), endings),
    st.builds(Stop, keys, st.just(STOPPED)),
    st.builds(Read, keys, st.integers(0, 8).map(str), st.just(0.0), st.just(ABANDONED)),
)
_runs = count()


@given(st.lists(commands, max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_is_as_the_model(store: Any, asked: list[Command]) -> None:
    """Whatever is asked in whatever order, a store says what the plain one does."""
    model, session, run = Model(), store.open(), next(_runs)
    try:
        for command in asked:
            expected = model.perform(command)
            object.__setattr__(command, "key", f"{command.key}{run}")
            result = session.perform(command)
            object.__setattr__(command, "key", command.key[0])
            assert (seen(result) if isinstance(result, Page) else result) == expected
    finally:
        session.close()
