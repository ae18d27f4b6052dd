"""A source of one item: what a function gives."""

import asyncio
import contextvars
import functools
import threading
from typing import Any

import pytest

from rxllm import Stream
from rxllm._calling import CallSource, is_coroutine_function
from tests.consume import WAYS, by_async_for, by_for
from tests.server import PATIENCE

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="none")
each_way = pytest.mark.parametrize("way", WAYS)


def called(function: Any) -> Stream[Any]:
    """A Stream of what it gives."""
    return Stream.from_source(CallSource(function))


def seven() -> int:
    """A function."""
    return 7


async def seven_later() -> int:
    """A coroutine function."""
    await asyncio.to_thread(seven)
    return 7


def giving_seven_later() -> Any:
    """A function that gives a coroutine."""
    return seven_later()


class Called:
    """Objects that can be called, and give coroutines."""

    async def __call__(self) -> int:
        return 7

    async def method(self) -> int:
        return 7


@each_way
@pytest.mark.parametrize(
    "function",
    [seven, seven_later, giving_seven_later, Called(), Called().method, functools.partial(seven_later)],
)
def test_it_gives_what_the_function_gives(way: str, function: Any) -> None:
    """Returned, or awaited; each consumer calls anew."""
    stream = called(function)
    assert [WAYS[way](stream) for _ in range(2)] == [[7], [7]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (seven, False),
        (seven_later, True),
        (functools.partial(functools.partial(seven_later)), True),
        (Called(), True),
        (Called().method, True),
        (len, False),
        (Called, False),
    ],
)
def test_what_is_a_coroutine_function(function: Any, expected: bool) -> None:
    """Those whose calling only gives a coroutine, and need no thread."""
    assert is_coroutine_function(function) is expected


@each_way
def test_what_it_raises_ends_the_stream(way: str) -> None:
    """As with any source."""

    def fail() -> None:
        raise LookupError("none")

    async def fail_later() -> None:
        fail()

    for function in (fail, fail_later):
        with pytest.raises(LookupError, match="none"):
            WAYS[way](called(function))


@each_way
def test_a_function_that_was_cancelled_gives_nothing(way: str) -> None:
    """Nothing is given, and nothing else is."""

    async def cancel() -> None:
        raise asyncio.CancelledError

    assert WAYS[way](called(cancel)) == []


@pytest.mark.parametrize("consume", [by_for, by_async_for])
def test_what_is_no_exception_reaches_the_consumer(consume: Any) -> None:
    """A BaseException is nobody's on_error: the loop raises it where it is consumed."""

    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        consume(called(stop))


@pytest.mark.parametrize("consume", [by_for, by_async_for])
def test_the_consumers_context_is_there(consume: Any) -> None:
    """Context variables, as tracing needs them."""

    async def name_later() -> str:
        return NAME.get()

    token = NAME.set("mine")
    try:
        assert consume(called(NAME.get)) == consume(called(name_later)) == ["mine"]
    finally:
        NAME.reset(token)


def test_plain_functions_do_not_hold_up_an_event_loop() -> None:
    """Nor its end: asyncio.run() waits for no thread that was let go of."""
    release, begun = threading.Event(), threading.Event()

    def blocking() -> None:
        begun.set()
        release.wait(PATIENCE)

    async def consume() -> None:
        iterator = aiter(called(blocking))
        task = asyncio.ensure_future(anext(iterator))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(consume())
    assert not release.is_set()
    release.set()


@pytest.mark.parametrize("on_event_loop", [False, True])
def test_closing_cancels_a_coroutine(on_event_loop: bool) -> None:
    """Also one that has an event loop of its own in a thread; its cleaning up is done."""
    begun, ended = threading.Event(), threading.Event()

    async def patient() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def consume() -> None:
        reading = CallSource(patient).open_async()
        await asyncio.sleep(0)
        assert begun.is_set()
        assert reading.close()
        await reading.aclose()

    if on_event_loop:
        asyncio.run(consume())
    else:
        reading = CallSource(patient).open()
        assert begun.wait(PATIENCE)
        reading.close()
        assert reading.pull() is None
    assert ended.wait(PATIENCE)


def test_closing_wakes_a_pull() -> None:
    """From another thread, however long the function takes."""
    release = threading.Event()
    reading = CallSource(lambda: release.wait(PATIENCE)).open()
    threading.Timer(0.05, reading.close).start()
    assert reading.pull() is None
    release.set()


def test_it_is_called_here_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the interpreter shuts down."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    threads: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert by_for(called(lambda: threads.append(threading.get_ident()))) == [None]
    assert threads == [threading.get_ident()]
