"""cached: what was whole once is not asked for again."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from reactivex import Observable
from reactivex import operators as rxops
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm._answer_store import key_of
from rxllm.exceptions import APIConnectionError
from rxllm.types import Request
from tests.consume import WAYS
from tests.operators.sources import asked, collect, failure, never_subscribed, notifications, of, reported
from tests.server import Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
ANSWER = [of("", role="assistant"), of("Hel\ud83d"), of("lo"), of(finish_reason="stop"), reported(total_tokens=7)]
REQUEST = Request(model="gpt-4", messages=[{"role": "user", "content": "Hi"}], params={"n": 1, "temperature": 0.5})


class City(BaseModel):
    """A shape to answer in."""

    name: str


@pytest.fixture(params=["mapping", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each kind of store, empty."""
    return {} if request.param == "mapping" else tmp_path / "answers"


def said(chunks: list[ModelResponseStream]) -> list[dict[str, Any]]:
    """What chunks say, but for where they are from."""
    return [chunk.model_dump(exclude={"cached"}) | {"reported": chunk.reported_usage} for chunk in chunks]


def test_a_second_time_nothing_is_asked(store: Any) -> None:
    """The same chunks, usage too, each of which says that it was stored."""
    operator = ops.cached(store, key="a")
    first = collect(rx.of(*ANSWER).pipe(operator))
    assert first == ANSWER
    again = collect(never_subscribed().pipe(operator))
    assert said(again) == said(first)
    assert all(chunk.get("cached") is True for chunk in again)
    assert not any(chunk.get("cached") for chunk in first)


def test_a_store_outlives_the_operator(store: Any) -> None:
    """As a folder does the process; under another key there is nothing."""
    collect(rx.of(*ANSWER).pipe(ops.cached(store, key="a")))
    assert len(collect(never_subscribed().pipe(ops.cached(store, key="a")))) == len(ANSWER)
    assert collect(rx.of(of("other")).pipe(ops.cached(store, key="b"))) == [of("other")]


def test_what_is_not_whole_is_not_stored(store: Any) -> None:
    """Neither an answer that failed nor one that its consumer left."""
    operator = ops.cached(store, key="a")
    source: Observable[ModelResponseStream] = rx.concat(rx.of(of("Hel")), rx.throw(APIConnectionError("down")))
    failure(source.pipe(operator))
    collect(rx.of(*ANSWER).pipe(operator, rxops.take(2)))
    assert collect(rx.of(of("Bye")).pipe(operator)) == [of("Bye")]
    assert [c.choices[0].delta.content for c in collect(never_subscribed().pipe(operator))] == ["Bye"]


def test_of_an_answer_with_a_restart_what_stands_is_stored(store: Any) -> None:
    """The void part and the marker are passed on once and forgotten."""
    operator = ops.cached(store, key="a")
    marker = ModelResponseStream.restarting("broke")
    assert len(collect(rx.of(of("void"), marker, *ANSWER).pipe(operator))) == len(ANSWER) + 2
    assert said(collect(never_subscribed().pipe(operator))) == said(ANSWER)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"rxllm_answer": 2, "chunks": []}', '{"rxllm_answer": 1, "chunks": [7]}']
)
def test_a_damaged_entry_is_a_miss(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Logged, asked for again, and repaired by that."""
    for kept in ({"a": damage}, tmp_path):
        if isinstance(kept, Path):
            collect(rx.of(*ANSWER).pipe(ops.cached(kept, key="a")))
            (file,) = kept.iterdir()
            file.write_text(damage)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "rxllm"):
            assert collect(rx.of(*ANSWER).pipe(ops.cached(kept, key="a"))) == ANSWER
        assert len(caplog.records) == 1
        assert said(collect(never_subscribed().pipe(ops.cached(kept, key="a")))) == said(ANSWER)


class Broken(dict[str, str]):
    """A store that is out of order."""

    def __getitem__(self, key: str) -> str:
        raise ConnectionError(f"no store for {key}")

    def __setitem__(self, key: str, value: str) -> None:
        raise ConnectionError(f"no store for {key} and {value}")


def test_a_store_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """A warning for the look-up and one for the storing."""
    with caplog.at_level(logging.WARNING, "rxllm"):
        assert collect(rx.of(*ANSWER).pipe(ops.cached(Broken(), key="a"))) == ANSWER
    assert len(caplog.records) == 2


def test_a_folder_is_shared_safely(tmp_path: Path) -> None:
    """Of many who write and read the same entry at once, all find a whole one; no temporary file stays."""
    folder = tmp_path / "a" / "b"

    def once(number: int) -> int:
        answer = [of(str(number) * 1000)] * 20
        return len(collect(rx.of(*answer).pipe(ops.cached(folder, key="a"))))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(once, range(200))) == {20}
    (file,) = folder.iterdir()
    assert len(json.loads(file.read_text())["chunks"]) == 20


@given(key=st.text(st.characters()))
def test_any_text_is_a_key(key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also one that is no name of a file."""
    folder = tmp_path_factory.mktemp("answers")
    collect(rx.of(*ANSWER).pipe(ops.cached(folder, key=key)))
    assert len(collect(never_subscribed().pipe(ops.cached(folder, key=key)))) == len(ANSWER)
    assert len(list(folder.iterdir())) == 1


def test_the_key_says_what_was_asked() -> None:
    """Model, messages and each parameter count; the order of members does not."""
    key = key_of(REQUEST)
    other = [
        Request(model="gpt-5", messages=REQUEST.messages, params=REQUEST.params),
        Request(model="gpt-4", messages=[{"role": "user", "content": "Bye"}], params=REQUEST.params),
        Request(model="gpt-4", messages=REQUEST.messages, params={"n": 2, "temperature": 0.5}),
        Request(model="gpt-4", messages=REQUEST.messages, params={**REQUEST.params, "response_format": City}),
        Request(model="gpt-4", messages=REQUEST.messages, params=REQUEST.params, provider="azure"),
    ]
    assert len({key, *map(key_of, other)}) == 6
    turned = Request(model="gpt-4", messages=[{"content": "Hi", "role": "user"}], params={"temperature": 0.5, "n": 1})
    assert key_of(turned) == key
    with pytest.raises(TypeError):
        key_of(Request(model="gpt-4", messages=[], params={"callback": object()}))


def test_without_a_request_a_key_is_wanted() -> None:
    """Said when the operator is applied."""
    source: Observable[ModelResponseStream] = rx.of(*ANSWER)
    with pytest.raises(ValueError, match="key="):
        source.pipe(ops.cached({}))
    store: dict[str, str] = {}
    collect(asked(rx.of(*ANSWER)).pipe(ops.cached(store)))
    assert len(store) == 1


@pytest.mark.parametrize(("name", "value"), [("store", None), ("store", 7), ("key", 7)])
def test_arguments_are_checked_when_the_operator_is_made(name: str, value: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    arguments: dict[str, Any] = {"store": dict[str, str](), name: value}
    with pytest.raises(TypeError, match=name):
        ops.cached(**arguments)


def test_a_consumer_may_leave_a_stored_answer_after_any_chunk() -> None:
    """It comes chunk by chunk."""
    store: dict[str, str] = {}
    collect(rx.of(*ANSWER).pipe(ops.cached(store, key="a")))
    scheduler = TestScheduler()
    result = scheduler.start(lambda: never_subscribed().pipe(ops.cached(store, key="a"), rxops.take(2)))
    assert [kind for _, kind, _ in notifications(result.messages)] == ["N", "N", "C"]


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_one_request_for_two_runs(
    server: Server, ask: Ask, store: Any, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """Of a real stream, however consumed; another question is another request."""
    for _ in range(2):
        assert texts(consume(ask().pipe(ops.cached(store)))) == ["Hel", "lo", " wor", "ld"]
    assert len(server.requests) == 1
    consume(ask(temperature=0.1).pipe(ops.cached(store)))
    assert len(server.requests) == 2
    response = ask().pipe(ops.cached(store), ops.build_response()).run()
    assert response.get("cached") is True


def test_a_truncated_stream_is_not_stored(server: Server, ask: Ask) -> None:
    """The end is a proof."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.end()

    server.script = script
    store: dict[str, str] = {}
    with pytest.raises(APIConnectionError):
        list(ask().pipe(ops.cached(store)))
    assert store == {}
