"""A restart: what came before the marker is void, and every accumulator forgets it."""

import copy
import io
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx

from rxllm import ModelResponseStream
from rxllm import operators as ops
from rxllm.exceptions import APIResponseValidationError
from rxllm.types import ChatCompletionMessageToolCall, Restart, ToolResult
from tests.operators.sources import Operator, call_piece, calling, collect, failure, items, of, reported

RESTART = ModelResponseStream.restarting("the connection broke")
VOID = [
    of("", role="assistant"),
    of("Once upon \ud83d"),
    of("no", index=1),
    calling(call_piece('{"x": 1}', index=0, id="a", name="f")),
    of(finish_reason="length"),
    reported(prompt_tokens=1, completion_tokens=500, total_tokens=501),
    RESTART,
]
REST = [of("\ude00Hel"), of("lo"), of(finish_reason="stop")]
ACCUMULATORS: dict[str, Callable[[], Operator[Any]]] = {
    "accumulate_text": ops.accumulate_text,
    "build_response": ops.build_response,
    "count_tokens": lambda: ops.count_tokens("gpt-4"),
    "finish_reason": ops.finish_reason,
    "attach_usage": lambda: ops.attach_usage("gpt-4"),
    "attach_usage on a chunk of its own": lambda: ops.attach_usage("gpt-4", own_chunk=True),
}


@pytest.mark.parametrize("make", ACCUMULATORS.values(), ids=ACCUMULATORS)
def test_what_was_void_leaves_no_trace(make: Callable[[], Operator[Any]]) -> None:
    """The last item is that of what follows alone, however often it begins anew."""
    alone = items(make(), *REST)[-1]
    assert items(make(), *VOID, *REST)[-1] == alone
    assert items(make(), *VOID, *VOID, *REST)[-1] == alone


@pytest.mark.parametrize("make", ACCUMULATORS.values(), ids=ACCUMULATORS)
def test_nothing_after_a_restart_is_nothing(make: Callable[[], Operator[Any]]) -> None:
    """As of a stream without content."""
    alone = items(make(), of("", role="assistant"))
    together = items(make(), *VOID, of("", role="assistant"))
    assert together[-1:] == alone[-1:]


def test_every_text_after_it_is_of_what_follows() -> None:
    """The half of a pair that stood at the end of the void text is joined to nothing."""
    assert items(ops.accumulate_text(), *VOID, of("Hel"), of("lo"))[-2:] == ["Hel", "Hello"]
    assert items(ops.text_deltas(), *VOID, *REST) == ["Once upon ", "", "\ude00Hel", "lo"]


@pytest.mark.parametrize("make", [ops.text_deltas, ops.accumulate_text], ids=["text_deltas", "accumulate_text"])
def test_an_empty_text_says_that_what_was_given_is_void(make: Callable[[], Operator[str]]) -> None:
    """It has the reason; where nothing had been given there is nothing to say."""
    seen = items(make(), *VOID, *REST)
    assert [text.restart for text in seen if isinstance(text, Restart)] == ["the connection broke"]
    assert [isinstance(text, Restart) for text in seen if not text] == [True]
    assert "".join(seen[:2]) == "Once upon " + ("\ud83d" if make is ops.accumulate_text else "")
    assert items(make(), of("no", index=1), RESTART, of("Hel")) == ["Hel"]
    assert items(make(), of("a"), RESTART, RESTART, of("b")) == ["a", "", "b"]


def test_the_marker_is_a_text_like_any_other() -> None:
    """It can be joined, copied and pickled, and keeps its reason."""
    (_, marker, *_) = items(ops.text_deltas(), of("a"), RESTART)
    assert (f"{marker}", marker == "", json.dumps(marker), isinstance(marker, Restart)) == ("", True, '""', True)
    for again in (copy.copy(marker), copy.deepcopy(marker), pickle.loads(pickle.dumps(marker))):  # noqa: S301  ours
        assert isinstance(again, Restart)
        assert (again, again.restart) == ("", "the connection broke")


def test_the_count_begins_anew() -> None:
    """It is 0 at the marker, where it was more."""
    assert items(ops.count_tokens("gpt-4"), of("Once"), RESTART, of("Once")) == [1, 0, 1]
    assert items(ops.count_tokens("gpt-4"), RESTART, of("Once")) == [1]


def test_text_that_is_held_back_is_void() -> None:
    """Below text_deltas() nothing of it is in what follows, and lines and sentences say where it began anew."""

    def below(operator: Any) -> list[Any]:
        chunks = (of("One.\nTwo"), RESTART, of("Three.\nFo"), of("ur"))
        return items(lambda source: source.pipe(ops.text_deltas(), operator), *chunks)

    for make in (ops.split_lines, ops.split_sentences):
        assert below(make()) == ["One.\n", "", "Three.\n", "Four"]


def test_blocks_of_code_are_numbered_anew() -> None:
    """One that was open is void, and so is the indentation of a list that it stood in."""
    chunks = (of("```\na\n```\n1. b\n   ```py\nc"), RESTART, of("```\nd\n"), of("```\n"))
    blocks = items(lambda source: source.pipe(ops.text_deltas(), ops.extract_code_blocks()), *chunks)
    assert [(block.index, block.code) for block in blocks] == [(0, "a\n"), (0, "d\n")]


def test_chunks_are_counted_anew() -> None:
    """As many as were wanted are of the answer that stands."""
    chunks = [of("a"), RESTART, of("b"), of("c"), of("d")]
    assert items(ops.take_chunks(2), *chunks) == chunks[:4]
    assert items(ops.take_chunks(1), *chunks) == chunks[:1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ops.redact("Hello", window=8),
        lambda: ops.stop_at("Hello"),
        lambda: ops.split_reasoning(("Hello", "!")),
        lambda: ops.guard(lambda _: True),
        lambda: ops.smooth_text(0),
    ],
    ids=["redact", "stop_at", "split_reasoning", "guard", "smooth_text"],
)
def test_what_operators_on_chunks_hold_back_is_void(make: Callable[[], Operator[ModelResponseStream]]) -> None:
    """The end of the one answer and the beginning of the other make nothing together."""
    seen = items(make(), of("He"), RESTART, of("llo"), of(finish_reason="stop"))
    at = seen.index(RESTART)
    assert ["".join(c.choices[0].delta.content or "" for c in part) for part in (seen[:at], seen[at:])] == ["", "llo"]


def test_calls_are_numbered_anew_and_objects_made_anew() -> None:
    """Nothing of what was void is in either."""
    call = calling(call_piece('{"x": 1}', index=0, id="a", name="f"))
    calls = items(ops.assemble_tool_calls(), call, RESTART, call, of(finish_reason="tool_calls"))
    assert [(call.index, call.function.arguments) for call in calls] == [(0, '{"x": 1}')]
    objects = items(ops.parse_partial(interval=0), of('{"a": 1'), RESTART, of('{"b": 2}'))
    assert objects == [{"a": 1}, {"b": 2}, {"b": 2}]


def test_chunk_operators_pass_the_marker_on() -> None:
    """Whoever is below has to know as well."""
    makes: list[Callable[[], Operator[ModelResponseStream]]] = [
        lambda: ops.attach_usage("gpt-4"),
        lambda: ops.print_text(io.StringIO()),
        ops.require_finish,
        lambda: ops.take_chunks(100),
        lambda: ops.retry_before_content(1),
        lambda: ops.hedge(rx.never(), after=100),
    ]
    for make in makes:
        assert [chunk.restart for chunk in items(make(), *VOID, *REST) if chunk.restart] == ["the connection broke"]


def test_a_finish_that_was_held_for_its_usage_is_void_too() -> None:
    """It goes down without usage, before the marker."""
    chunks = items(ops.attach_usage("gpt-4"), of("no"), of(finish_reason="stop"), RESTART, *REST)
    assert [chunk.usage is not None for chunk in chunks] == [False, False, False, False, False, True]
    assert chunks[1:3] == [of(finish_reason="stop"), RESTART]


def test_what_has_to_finish_is_what_follows() -> None:
    """A finish before it counts for nothing, good or bad."""
    assert len(items(ops.require_finish(), *VOID, *REST)) == len(VOID + REST)
    _, error = failure(rx.of(of(finish_reason="stop"), RESTART, of("cut off")).pipe(ops.require_finish()))
    assert isinstance(error, APIResponseValidationError)


def test_printing_begins_anew_on_a_new_line() -> None:
    """The half of a pair before it is not printed; with nothing printed there is no line to end."""
    file = io.StringIO()
    items(ops.print_text(file), *VOID, of("Hel"), of("lo"))
    assert file.getvalue() == "Once upon \nHello\n"
    file = io.StringIO()
    collect(rx.of(RESTART, of("Hello")).pipe(ops.print_text(file)))
    assert file.getvalue() == "Hello\n"


def test_markers_of_tools_are_no_part_of_the_response() -> None:
    """Neither they nor a restart leave a field in it."""
    told = ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(id="a"), content="18 degrees"))
    (response,) = items(ops.build_response(), *VOID, told, *REST)
    assert response.model_extra == {}
