"""observe_from: what is published in a store, as a Stream like any other."""

import asyncio
import copy
import pickle
import threading
from decimal import Decimal
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxops

from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm._stores._entries import COMPLETED, STOPPED
from rxllm._stores._protocol import Append, Create, Finish, Stop
from rxllm.exceptions import APIResponseValidationError, GuardrailError, IncompleteStreamError, NotFoundError
from rxllm.stores import MemoryStore
from rxllm.types import ChatCompletionMessageToolCall, ToolResult, Usage
from tests.consume import WAYS, by_async_for, by_for
from tests.operators.sources import collect, of, reported
from tests.server import PATIENCE

each_way = pytest.mark.parametrize("way", WAYS)


def publish(store: MemoryStore, *chunks: ModelResponseStream, key: str = "a") -> None:
    """Publishes these, and the completion."""
    rx.of(*chunks).pipe(ops.publish_to(store, key)).subscribe()


def texts(chunks: list[ModelResponseStream]) -> list[str | None]:
    """The text of each."""
    return [chunk.choices[0].delta.content for chunk in chunks]


@each_way
def test_the_same_however_consumed(way: str) -> None:
    """From the beginning or after an id, any number of times."""
    store = MemoryStore()
    publish(store, of("a"), of("b"), of("c"))
    everything = ops.observe_from(store, "a")
    for _ in range(2):
        assert texts(WAYS[way](everything)) == ["a", "b", "c"]
    assert texts(WAYS[way](ops.observe_from(store, "a", after="1"))) == ["b", "c"]
    assert WAYS[way](ops.observe_from(store, "a", after="3")) == []


def test_chunks_come_back_as_they_were() -> None:
    """Usage, markers of operators and what only some providers send, beside an id of their own."""
    store = MemoryStore()
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    chunks = [
        of("a", role="assistant", reasoning_content="hm"),
        ModelResponseStream.restarting("the connection broke"),
        ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(id="call_1"), content="4")),
        of(finish_reason="stop"),
        reported(prompt_tokens=1, completion_tokens=2, total_tokens=3),
        ModelResponseStream(usage=usage, some_extension={"x": [1]}),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ]
    publish(store, *chunks)
    again = by_for(ops.observe_from(store, "a"))
    assert [chunk.stored_id for chunk in again] == list("123456")
    assert [chunk.model_dump() for chunk in again] == [chunk.model_dump() for chunk in chunks]
    (response,) = collect(rx.of(*again).pipe(ops.build_response()))
    assert "stored_id" not in response
    assert "stored_id" not in again[0].model_dump_json() + repr(again[0])
    for copied in (again[0].model_copy(), copy.deepcopy(again[0]), pickle.loads(pickle.dumps(again[0]))):  # noqa: S301
        assert (copied.stored_id, copied) == ("1", chunks[0])
    assert again[1].restart == "the connection broke"
    assert again[2].tool_result is not None
    assert again[4].reported_usage == chunks[4].reported_usage
    assert again[5].choices[0].delta.content is None  # the blank choice of a chunk without one


@each_way
def test_observing_while_it_is_published(way: str) -> None:
    """Who comes before the publisher waits for it, and gets each chunk as it is stored."""
    store = MemoryStore()
    got: list[str | None] = []
    seen = threading.Semaphore(0)

    def note(chunk: ModelResponseStream) -> None:
        got.append(chunk.choices[0].delta.content)
        seen.release()

    stream = ops.observe_from(store, "a", wait=PATIENCE).pipe(rxops.do_action(note))
    thread = threading.Thread(target=WAYS[way], args=(stream,))
    thread.start()
    session = store.open()
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    source.pipe(ops.publish_to(store, "a")).subscribe()
    for number in range(5):
        source.on_next(of(str(number)))
        assert seen.acquire(timeout=PATIENCE)
        assert got[-1] == str(number)
    source.on_completed()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    session.close()


def test_any_number_observe_at_their_own_pace() -> None:
    """On one event loop and in threads: a slow one holds up nobody."""
    store = MemoryStore()
    slow = ops.observe_from(store, "a", wait=PATIENCE)
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    source.pipe(ops.publish_to(store, "a")).subscribe()
    source.on_next(of("0"))
    items = iter(slow)
    assert texts([next(items)]) == ["0"]

    async def observe_all() -> list[list[str | None]]:
        async def one() -> list[str | None]:
            return texts([chunk async for chunk in ops.observe_from(store, "a")])

        tasks = [asyncio.create_task(one()) for _ in range(100)]
        for number in range(1, 20):
            await asyncio.sleep(0)
            source.on_next(of(str(number)))
        source.on_completed()
        return await asyncio.gather(*tasks)

    expected = [str(number) for number in range(20)]
    assert asyncio.run(observe_all()) == [expected] * 100
    assert texts(list(items)) == expected[1:]


@each_way
def test_a_stream_that_is_not_there(way: str) -> None:
    """Is told at once, or after the time that it was waited for."""
    for wait in (0.0, 0.05):
        with pytest.raises(NotFoundError, match="'a'") as caught:
            WAYS[way](ops.observe_from(MemoryStore(), "a", wait=wait))
        assert caught.value.code == "missing"


@each_way
def test_an_id_that_is_not_there(way: str) -> None:
    """Nobody gets less than was asked for, in silence."""
    store = MemoryStore()
    publish(store, of("a"))
    with pytest.raises(NotFoundError, match="no entry 5") as caught:
        WAYS[way](ops.observe_from(store, "a", after="5"))
    assert caught.value.code == "beyond"


@each_way
def test_errors_come_as_what_they_were(way: str) -> None:
    """With what they hold; one that is none of this library's is told of."""
    store = MemoryStore()
    error = GuardrailError("No", code="x")
    error.text, error.reason, error.choice = "bad", "rude", 1
    error.usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    rx.concat(rx.of(of("a")), rx.throw(error)).pipe(ops.publish_to(store, "a")).subscribe(on_error=lambda _: None)
    with pytest.raises(GuardrailError, match="No") as caught:
        WAYS[way](ops.observe_from(store, "a"))
    assert (caught.value.text, caught.value.reason, caught.value.choice) == ("bad", "rude", 1)
    assert caught.value.usage is not None
    assert caught.value.usage.total_tokens == 3
    rx.throw(ZeroDivisionError("by zero")).pipe(ops.publish_to(store, "b")).subscribe(on_error=lambda _: None)
    with pytest.raises(RuntimeError, match="ZeroDivisionError: by zero"):
        WAYS[way](ops.observe_from(store, "b"))


@each_way
def test_what_is_no_stream_of_ours(way: str) -> None:
    """An entry or an ending that somebody else wrote is a typed error, after what came before it."""
    store = MemoryStore()
    session = store.open()
    for key, entry, ending in (
        ("garbage", b"\xff", COMPLETED),
        ("number", b"1", COMPLETED),
        ("shape", b'{"choices":5}', COMPLETED),
        ("how", b'{"choices":[]}', b"{}"),
        ("ending", b'{"choices":[]}', b"\x00"),
        ("error", b'{"choices":[]}', b'{"error":5}'),
    ):
        session.perform(Create(key, "t"))
        session.perform(Append(key, "t", 1, [b'{"choices":[]}', entry]))
        session.perform(Finish(key, "t", 2, ending))
        got: list[ModelResponseStream] = []
        with pytest.raises(APIResponseValidationError):
            WAYS[way](ops.observe_from(store, key).pipe(rxops.do_action(got.append)))
        assert len(got) >= 1


@pytest.mark.parametrize("way", [by_for, by_async_for])
def test_stopping_while_observing(way: Any) -> None:
    """It ends at once in a typed error."""
    store = MemoryStore()
    store.open().perform(Create("a", "t"))
    threading.Timer(0.02, lambda: store.open().perform(Stop("a", STOPPED))).start()
    with pytest.raises(IncompleteStreamError) as caught:
        way(ops.observe_from(store, "a"))
    assert (caught.value.code, caught.value.chunks) == ("stopped", 0)


def test_leaving_while_nothing_comes() -> None:
    """From another thread, and by cancelling the task: nobody waits for a chunk that does not come."""
    store = MemoryStore()
    store.open().perform(Create("a", "t"))

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                async for _ in ops.observe_from(store, "a"):
                    pass

    asyncio.run(leave())
    ended: list[object] = []
    subscription = ops.observe_from(store, "a").subscribe(
        on_error=ended.append, on_completed=lambda: ended.append("completed")
    )
    subscription.dispose()
    assert not ended


def test_it_is_a_source_for_operators() -> None:
    """Also for one that publishes it again elsewhere."""
    first, second = MemoryStore(), MemoryStore()
    publish(first, of("Hel"), of("lo"))
    observed = ops.observe_from(first, "a", after="1")
    assert isinstance(observed, Stream)
    assert observed.pipe(ops.publish_to(second, "b"), ops.accumulate_text()).run() == "lo"
    assert [chunk.stored_id for chunk in ops.observe_from(second, "b")] == ["1"]
    assert as_stream(observed) is observed


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"after": 1}, TypeError),
        ({"after": ""}, ValueError),
        ({"after": "-1"}, ValueError),
        ({"after": "1-0"}, ValueError),
        ({"after": "\u0661"}, ValueError),
        ({"after": "9" * 16}, ValueError),
        ({"key": ""}, ValueError),
        ({"key": None}, TypeError),
        ({"wait": -1}, ValueError),
        ({"wait": "1"}, TypeError),
        ({"store": {}}, TypeError),
    ],
)
def test_arguments_are_checked_when_it_is_made(named: dict[str, Any], error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    given: dict[str, Any] = {"store": MemoryStore(), "key": "a", **named}
    with pytest.raises(error, match=next(iter(named))):
        ops.observe_from(**given)


def test_costs_come_back() -> None:
    """A cost that an operator has attached is still there."""
    store = MemoryStore()
    usage = Usage.model_validate({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5})
    publish(store, ModelResponseStream(usage=usage))
    (chunk,) = by_for(ops.observe_from(store, "a"))
    assert chunk.usage is not None
    assert Decimal(str(chunk.usage.cost)) == Decimal("0.5")
