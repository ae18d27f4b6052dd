"""by_choice: each choice by itself."""

from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import GroupedObservable, Observable
from reactivex import operators as rx_ops
from reactivex.subject import Subject

import rxllm
from rxllm import operators as ops
from rxllm.types import ChatCompletionMessageToolCall, Function, ModelResponseStream, ToolResult
from tests.consume import WAYS
from tests.operators.sources import collect, failure, items, of, reported
from tests.server import Answering, Server, chunk

Choice = GroupedObservable[int, ModelResponseStream]


def text_of(choice: Choice) -> Observable[tuple[int, str]]:
    """Whose text it is, at the end."""

    def named(texts: list[str]) -> tuple[int, str]:
        return choice.key, texts[-1]

    return choice.pipe(ops.accumulate_text(), rx_ops.to_list(), rx_ops.map(named))


def parts_of(*chunks: ModelResponseStream) -> dict[int, list[ModelResponseStream]]:
    """The chunks of each choice."""
    seen: dict[int, list[ModelResponseStream]] = {}

    def keep(choice: Choice) -> None:
        choice.subscribe(seen.setdefault(choice.key, []).append)

    rx.of(*chunks).pipe(ops.by_choice()).subscribe(keep)
    return seen


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=4)), max_size=20))
def test_each_choice_is_what_it_would_be_alone(pieces: list[tuple[int, str]]) -> None:
    """However they are interleaved; operators read it without choice=."""
    chunks = [of(text, index=index) for index, text in pieces]
    found = dict(collect(rx.of(*chunks).pipe(ops.by_choice(), rx_ops.flat_map(text_of))))
    assert found == {
        index: items(ops.accumulate_text(choice=index), *chunks)[-1] for index in {index for index, _ in pieces}
    }


def test_they_come_when_their_first_chunk_does() -> None:
    """Each once, by its index."""
    source = Subject[ModelResponseStream]()
    seen: list[int] = []
    source.pipe(ops.by_choice()).subscribe(lambda choice: seen.append(choice.key))
    for index in (1, 0, 1, 0):
        source.on_next(of("a", index=index))
    assert seen == [1, 0]


def test_a_chunk_of_several_choices_is_taken_apart() -> None:
    """Each gets its own, as the only one, under index 0; what was shared stays as it was."""
    both = ModelResponseStream(id="a", choices=[*of("x").choices, *of("y", index=1).choices])
    seen = parts_of(both)
    assert {key: [(c.id, len(c.choices), c.choices[0].index) for c in chunks] for key, chunks in seen.items()} == {
        0: [("a", 1, 0)],
        1: [("a", 1, 0)],
    }
    assert [seen[key][0].choices[0].delta.content for key in (0, 1)] == ["x", "y"]
    assert [choice.index for choice in both.choices] == [0, 1]


def test_whoever_subscribes_first_gets_all() -> None:
    """Even after the end; the next gets what comes from then on."""
    source = Subject[ModelResponseStream]()
    choices: list[Choice] = []
    source.pipe(ops.by_choice()).subscribe(choices.append)
    source.on_next(of("a"))
    source.on_next(of("b", index=1))
    source.on_next(of("c"))
    first: list[str] = []
    second: list[str] = []
    choices[0].pipe(ops.text_deltas()).subscribe(first.append)
    choices[0].pipe(ops.text_deltas()).subscribe(second.append)
    source.on_next(of("d"))
    source.on_completed()
    assert (first, second) == (["a", "c", "d"], ["d"])
    assert collect(choices[1].pipe(ops.text_deltas())) == ["b"]
    assert collect(choices[1].pipe(ops.text_deltas())) == []


def test_an_error_reaches_every_choice() -> None:
    """And whoever waits for further choices; also one who comes later."""
    source = rx.concat(rx.of(of("a"), of("b", index=1)), rx.throw(RuntimeError("broken")))
    choices: list[Choice] = []
    errors: list[Exception] = []
    source.pipe(ops.by_choice()).subscribe(choices.append, errors.append)
    assert [str(error) for error in errors] == ["broken"]
    for choice, text in zip(choices, "ab", strict=True):
        seen, error = failure(choice.pipe(ops.text_deltas()))
        assert (seen, str(error)) == ([text], "broken")


def test_the_last_to_leave_cancels() -> None:
    """The one who takes the choices, or who has one of them."""
    source = Subject[ModelResponseStream]()
    choices: list[Choice] = []
    outer = source.pipe(ops.by_choice()).subscribe(choices.append)
    source.on_next(of("a"))
    inner = choices[0].subscribe()
    outer.dispose()
    assert source.observers
    inner.dispose()
    assert not source.observers


def test_what_is_no_choice_s() -> None:
    """Usage is that of all together, restarts are everybody's, and tools are run for choice 0."""
    result = ToolResult(call=ChatCompletionMessageToolCall(function=Function(name="f")), content="1")
    last = of("b", index=1, finish_reason="stop")
    last.reported_usage = reported(completion_tokens=5).reported_usage
    chunks = [
        of("a"),
        last,
        ModelResponseStream.restarting("broken"),
        ModelResponseStream.of_tool(result),
        reported(completion_tokens=5),
    ]
    seen = parts_of(*chunks)
    assert [c.restart for c in seen[0]] == [None, "broken", None]
    assert [c.restart for c in seen[1]] == [None, "broken"]
    assert [c.tool_result for c in seen[0]] == [None, None, result]
    assert all(c.usage is c.reported_usage is None for c in [*seen[0], *seen[1]])
    assert last.reported_usage is not None


@pytest.mark.parametrize("way", WAYS)
def test_over_a_real_connection(server: Server, ask: Any, way: str) -> None:
    """In every way to consume."""

    async def script(answering: Answering) -> None:
        await answering.start()
        for text in ("Hel", "lo"):
            await answering.event(chunk(text), chunk(text.upper(), index=1))
        await answering.last(chunk(finish="stop"), chunk(index=1, finish="stop"), "[DONE]")

    server.script = script
    stream = ask(n=2).pipe(ops.by_choice(), rx_ops.flat_map(text_of))
    assert sorted(WAYS[way](stream)) == [(0, "Hello"), (1, "HELLO")]


def test_a_choice_taken_in_a_loop_over_the_choices() -> None:
    """What came of it before is not lost."""
    stream = rxllm.as_stream([of("a"), of("b", index=1), of("c")])
    texts: dict[int, list[str]] = {}
    for choice in stream.pipe(ops.by_choice()):
        choice.pipe(ops.text_deltas()).subscribe(texts.setdefault(choice.key, []).append)
    assert texts == {0: ["a", "c"], 1: ["b"]}
