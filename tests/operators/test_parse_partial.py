"""parse_partial: the object so far, and the whole one at the end."""

import json
import re
import sys
from itertools import groupby
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, field_validator
from reactivex import operators as rx_ops
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import APIResponseValidationError
from tests.consume import WAYS
from tests.operators.sources import asked, failure, items, notifications, of, text_chunks
from tests.server import Answering, Server, chunk


class City(BaseModel):
    """What the model is to give."""

    name: str
    people: int
    country: str = "Italy"


def timed(interval: float, *timed_texts: tuple[int, str], end: int = 400) -> list[tuple[float, Any]]:
    """When each object comes."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(time, of(text)) for time, text in timed_texts), ReactiveTest.on_completed(end)
    )
    messages = scheduler.start(lambda: source.pipe(ops.parse_partial(interval=interval))).messages
    return [(time, value) for time, kind, value in notifications(messages) if kind == "N"]


def test_a_model_grows() -> None:
    """Required fields that have not come are None, others have their default; the last one is whole."""
    texts = ['{"na', 'me": "Ro', 'me", "peo', 'ple": ', "3}"]
    seen = items(ops.parse_partial(City, interval=0), *text_chunks(texts), of(finish_reason="stop"))
    assert [(city.name, city.people, city.country, sorted(city.model_fields_set)) for city in seen] == [
        (None, None, "Italy", []),
        ("Ro", None, "Italy", ["name"]),
        ("Rome", None, "Italy", ["name"]),
        ("Rome", 3, "Italy", ["name", "people"]),
        ("Rome", 3, "Italy", ["name", "people"]),
    ]
    assert all(type(city) is City for city in seen)


def test_it_comes_at_most_once_an_interval_and_always_at_the_end() -> None:
    """At once if it has rested that long, else when it has; not where nothing has changed."""
    texts = [(210, "["), (215, "1, "), (225, "2, "), (226, "3"), (229, "0"), (290, ", 4"), (300, "\n"), (315, " ]")]
    assert timed(20, *texts) == [(210, []), (230, [1, 2, 30]), (290, [1, 2, 30, 4]), (400, [1, 2, 30, 4])]


def test_the_whole_object_is_given_even_if_nothing_has_changed() -> None:
    """So that run() gives the one that was validated; and before the interval is over, too."""
    assert timed(20, (210, "[1]")) == [(210, [1]), (400, [1])]
    assert timed(500, (210, "["), (220, "1]"), end=230) == [(210, []), (230, [1])]
    assert timed(0, (210, "["), (211, "1"), (211, "2]")) == [(210, []), (211, [1]), (211, [12]), (400, [12])]


def test_leaving_lets_no_timer_run_on() -> None:
    """Nothing is left to do on the scheduler."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("[")), ReactiveTest.on_next(215, of("1"))
    )
    result = scheduler.start(lambda: source.pipe(ops.parse_partial(interval=20)), disposed=220)
    assert [time for time, _, _ in notifications(result.messages)] == [210]
    assert source.subscriptions == [ReactiveTest.subscribe(200, 220)]


def test_an_error_of_the_source_passes_at_once() -> None:
    """And no object after it."""
    scheduler = TestScheduler()
    error = RuntimeError("broken")
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("[")), ReactiveTest.on_next(215, of("1")), ReactiveTest.on_error(220, error)
    )
    result = scheduler.start(lambda: source.pipe(ops.parse_partial(interval=20)))
    assert result.messages == [ReactiveTest.on_next(210, []), ReactiveTest.on_error(220, error)]


@pytest.mark.parametrize("text", ['{"name": "Rome"}', '{"name": "Ro', "I would rather not.", "```json\n{}\n```"])
def test_the_error_carries_the_text(text: str) -> None:
    """What came, as it came, and whose answer it is."""
    source = asked(rx.of(of(text[:5]), of(text[5:])), provider="openai")
    _, error = failure(source.pipe(ops.parse_partial(City, interval=0)))
    assert isinstance(error, APIResponseValidationError)
    assert (error.body, error.llm_provider, error.model) == (text, "openai", "openai/gpt-4o")
    assert "does not fit City" in error.message


def test_validators_of_ones_own_are_asked_at_the_end() -> None:
    """What such a one raises is no reason to give nothing before, and ends the stream then."""

    class Strict(BaseModel):
        name: str
        other: int

        @field_validator("name")
        @classmethod
        def known(cls, name: str) -> str:
            raise LookupError(name)

    source = Subject[ModelResponseStream]()
    seen: list[Any] = []
    errors: list[Exception] = []
    source.pipe(ops.parse_partial(Strict, interval=0)).subscribe(seen.append, errors.append)
    for text in ('{"name": "Ro', 'me", "other": 1}'):
        source.on_next(of(text))
    source.on_completed()
    assert [city.name for city in seen] == ["Ro", "Rome"]
    assert [type(error) for error in errors] == [LookupError]


@pytest.mark.parametrize("chunks", [[], [of("")], [of(finish_reason="stop")], [of("{}", index=1)]])
def test_without_text_there_is_no_object(chunks: list[ModelResponseStream]) -> None:
    """A refusal or a tool call is no broken JSON."""
    assert items(ops.parse_partial(City), *chunks) == []


def test_a_choice_of_several() -> None:
    """The others are left out."""
    chunks = [of("[1", index=1), of("no JSON"), of(", 2]", index=1)]
    assert items(ops.parse_partial(interval=0, choice=1), *chunks) == [[1], [1, 2], [1, 2]]


def test_a_restart_begins_anew() -> None:
    """What came before it is void."""
    chunks = [of('{"name": "R'), ModelResponseStream.restarting("broken"), of('{"name": "Oslo", "people": 1}')]
    seen = items(ops.parse_partial(City, interval=0), *chunks)
    assert [city.name for city in seen] == ["R", "Oslo", "Oslo"]


@pytest.mark.parametrize("way", WAYS)
def test_what_has_come_is_shown_while_the_stream_pauses(server: Server, ask: Any, way: str) -> None:
    """The server waits until an object has come out that only a timer can bring: its text came within the interval."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk('{"name": "Ro'), chunk('me", "people": 3'))
        await server.taken.wait()
        await answering.last(chunk("0}"), chunk(finish="stop"), "[DONE]")

    def notice(city: City) -> City:
        if city.people == 3:
            server.taken.open()
        return city

    server.script = script
    stream: Stream[City] = ask().pipe(ops.parse_partial(City), rx_ops.map(notice))
    seen = [state for state, _ in groupby((city.name, city.people) for city in WAYS[way](stream))]
    assert seen == [("Ro", None), ("Rome", 3), ("Rome", 30)][-len(seen) :]
    assert len(seen) >= 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


@given(json_values, st.sampled_from(["", "Here it is:\n```json\n", "```\n", "Sure: "]), st.booleans(), st.data())
def test_any_cutting_gives_the_same_whole(value: Any, before: str, ascii_only: bool, data: st.DataObject) -> None:
    """Wherever it is cut, also in the middle of an escape; what stands around it does not matter."""
    value = [value] if before else value
    after = data.draw(st.sampled_from(["", "\n```", "\nThat is all."])) if isinstance(value, list | dict) else ""
    text = before + json.dumps(value, ensure_ascii=ascii_only) + after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert items(ops.parse_partial(interval=0), *text_chunks(pieces))[-1] == value


def test_halves_of_a_surrogate_pair() -> None:
    """An emoji that comes in two deltas is one character in the end."""
    chunks = text_chunks(['["a\ud83d', '\ude00"]'])
    assert items(ops.parse_partial(interval=0), *chunks)[1:] == [["a\U0001f600"]] * 2


@pytest.mark.parametrize(
    ("shape", "texts", "last"),
    [
        (TypeAdapter(dict[str, int]), ['{"a": 1, "b', '": "2"}'], {"a": 1, "b": 2}),
        (list[City], ['[{"name": "Ro', 'me", "people": 1}]'], [City(name="Rome", people=1)]),
        (int, ["1", "2"], 12),
    ],
)
def test_other_shapes(shape: Any, texts: list[str], last: Any) -> None:
    """Whatever pydantic reads."""
    assert items(ops.parse_partial(shape, interval=0), *text_chunks(texts))[-1] == last


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"shape": {"type": "no such type"}}, ValueError),
        ({"shape": "City"}, TypeError),
        ({"shape": 5}, TypeError),
        ({"interval": -1}, ValueError),
        ({"interval": float("nan")}, ValueError),
        ({"interval": "1"}, TypeError),
        ({"choice": -1}, ValueError),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=next(iter(arguments)) if "shape" not in arguments else "type"):
        ops.parse_partial(**arguments)


def test_two_consumers_share_nothing() -> None:
    """Each has a text of its own."""
    source = Subject[ModelResponseStream]()
    pipeline = source.pipe(ops.parse_partial(interval=0))
    first: list[Any] = []
    second: list[Any] = []
    pipeline.subscribe(first.append)
    source.on_next(of("[1"))
    pipeline.subscribe(second.append)
    source.on_next(of("2]"))
    assert (first, second) == ([[1], [12]], [2])


SCHEMA = {"title": "City", "type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}


@pytest.mark.parametrize("shape", [SCHEMA, {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}])
def test_a_json_schema_is_what_the_whole_has_to_fit(shape: dict[str, Any]) -> None:
    """The object grows as it comes; the last is checked, and its error says where it is wrong, and carries the text."""
    texts = ['```json\n{"peo', 'ple": ', "3}\n```"]
    assert items(ops.parse_partial(shape, interval=0), *text_chunks(texts)) == [{}, {"people": 3}, {"people": 3}]
    for text, said in (
        ('{"people": "3"}', r"\$\.people: '3' is not of type"),
        ('{"peo', "Unterminated"),
        ("{}", "required"),
    ):
        _, error = failure(rx.of(of(text)).pipe(ops.parse_partial(shape, interval=0)))
        assert isinstance(error, APIResponseValidationError)
        assert re.search(said, str(error))
        assert "does not fit City" in str(error)
        assert error.body == text


def test_a_json_schema_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names it, when the operator is made."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ImportError, match=r"rxllm\[jsonschema\]"):
        ops.parse_partial(SCHEMA)
