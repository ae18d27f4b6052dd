"""assemble_tool_calls: each call once it is whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm.exceptions import APIResponseValidationError
from rxllm.types import ModelResponseStream
from tests.operators.sources import call_piece, calling, items, notifications, of


def timed(*chunks: ModelResponseStream) -> list[tuple[float, Any]]:
    """When each call comes, for chunks at 210, 220, ... and the completion at 400."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, chunk) for at, chunk in enumerate(chunks)),
        ReactiveTest.on_completed(400),
    )
    messages = scheduler.start(lambda: source.pipe(ops.assemble_tool_calls())).messages
    assert messages[-1] == ReactiveTest.on_completed(400)
    return [(time, call) for time, _, call in notifications(messages[:-1])]


def test_a_call_comes_when_another_starts_and_when_the_choice_finishes() -> None:
    """Not before: more of it could come; not later: it can be run while the rest streams."""
    calls = timed(
        calling(call_piece('{"x"', index=0, id="a", name="f")),
        calling(call_piece(": 1}", index=0)),
        calling(call_piece("", index=1, id="b", name="g")),
        calling(call_piece("{}", index=1)),
        of(finish_reason="tool_calls"),
    )
    assert [(time, call.id, call.function.name, call.parsed, call.index) for time, call in calls] == [
        (230, "a", "f", {"x": 1}, 0),
        (250, "b", "g", {}, 1),
    ]


def test_whole_calls_in_one_chunk() -> None:
    """All of them come, in order."""
    pieces = [call_piece(json.dumps({"n": n}), id=f"c{n}", name="f") for n in range(3)]
    calls = timed(calling(*pieces, finish_reason="tool_calls"))
    assert [(time, call.parsed["n"], call.index) for time, call in calls] == [(210, 0, 0), (210, 1, 1), (210, 2, 2)]


def test_interleaved_calls_wait_until_their_arguments_parse() -> None:
    """A call that another has overtaken is not cut off."""
    calls = timed(
        calling(call_piece("{", index=0, id="a", name="f")),
        calling(call_piece("{", index=1, id="b", name="f")),
        calling(call_piece('"x": 1}', index=0)),
        calling(call_piece("}", index=1)),
        of(finish_reason="tool_calls"),
    )
    assert [(time, call.id, call.parsed) for time, call in calls] == [(250, "a", {"x": 1}), (250, "b", {})]


def test_what_does_not_parse_comes_at_the_end() -> None:
    """Arguments never sent are empty, and those cut off by a limit are given as they are, with a clear error."""
    calls = timed(
        calling(call_piece(index=0, id="a", name="ping")),
        calling(call_piece('{"x": "unfini', index=1, id="b", name="f")),
        of(finish_reason="length"),
    )
    assert [(time, call.id) for time, call in calls] == [(400, "a"), (400, "b")]
    assert (calls[0][1].function.arguments, calls[0][1].parsed) == ("", {})
    with pytest.raises(APIResponseValidationError, match="unfini"):
        _ = calls[1][1].parsed


def test_a_finish_reason_on_every_chunk_cuts_nothing_off() -> None:
    """Some providers repeat it from the first piece on."""
    calls = timed(
        calling(call_piece("", index=0, id="a", name="f"), finish_reason="tool_calls"),
        calling(call_piece('{"x"', index=0), finish_reason="tool_calls"),
        calling(call_piece(": 1}", index=0), finish_reason="tool_calls"),
    )
    assert [(time, call.parsed) for time, call in calls] == [(230, {"x": 1})]


def test_the_calls_of_all_choices() -> None:
    """The same index in two choices is two calls, and each says whose it is."""
    calls = items(
        ops.assemble_tool_calls(),
        calling(call_piece('{"n":', index=0, id="a", name="f"), index=1),
        calling(call_piece('{"n":', index=0, id="b", name="f"), index=0),
        calling(call_piece("1}", index=0), index=1),
        calling(call_piece("0}", index=0), index=0),
        of(index=0, finish_reason="tool_calls"),
    )
    assert [(call.id, call.choice, call.index, call.parsed) for call in calls] == [
        ("b", 0, 0, {"n": 0}),
        ("a", 1, 0, {"n": 1}),
    ]


def test_an_assembled_call_can_be_sent_back() -> None:
    """It dumps as the wire has it, without the library's own fields."""
    (call,) = items(ops.assemble_tool_calls(), calling(call_piece("{}", index=1, id="a", name="f")))
    assert call.model_dump() == {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3)


@given(st.lists(st.tuples(st.sampled_from("fg"), arguments), max_size=4), st.data())
def test_any_cutting_gives_the_same_calls(calls: list[tuple[str, dict[str, Any]]], data: st.DataObject) -> None:
    """Wherever the arguments are cut and however the pieces are spread over chunks."""
    pieces: list[dict[str, Any]] = []
    for index, (name, value) in enumerate(calls):
        text = json.dumps(value)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
        first, *rest = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        pieces += [call_piece(first, index=index, id=f"c{index}", name=name)]
        pieces += [call_piece(more, index=index) for more in rest]
    chunks: list[ModelResponseStream] = []
    while pieces:
        size = data.draw(st.integers(1, 3))
        chunks.append(calling(*pieces[:size]))
        pieces = pieces[size:]
    found = items(ops.assemble_tool_calls(), *chunks, of(finish_reason="tool_calls"))
    assert [(call.id, call.function.name, call.parsed) for call in found] == [
        (f"c{index}", name, value) for index, (name, value) in enumerate(calls)
    ]
    if calls:
        whole = items(ops.build_response(), *chunks)[0].choices[0].message.tool_calls
        assert whole == found


def growing(*chunks: ModelResponseStream) -> list[tuple[str, str, bool]]:
    """Whose arguments have come how far, and whether that is all."""
    calls = items(ops.assemble_tool_calls(partial=True), *chunks)
    return [(call.id, call.function.arguments, call.complete) for call in calls]


def test_calls_as_they_grow() -> None:
    """When one starts, whenever it grows, and once more when it is whole, before the next that starts."""
    assert growing(
        calling(call_piece("", index=0, id="a", name="f")),
        calling(call_piece('{"x"', index=0)),
        calling(call_piece("", index=0)),
        calling(call_piece(": 1}", index=0)),
        calling(call_piece("{", index=1, id="b", name="g")),
        calling(call_piece(index=0)),
        calling(call_piece("}", index=1)),
        of(finish_reason="tool_calls"),
    ) == [
        ("a", "", False),
        ("a", '{"x"', False),
        ("a", '{"x": 1}', False),
        ("a", '{"x": 1}', True),
        ("b", "{", False),
        ("b", "{}", False),
        ("b", "{}", True),
    ]


def test_what_arguments_amount_to_so_far() -> None:
    """Strings as far as they have come; the strict view still raises."""
    calls = items(
        ops.assemble_tool_calls(partial=True),
        calling(call_piece('{"city": "Ro', index=0, id="a", name="f")),
        calling(call_piece('me", "days"', index=0)),
        calling(call_piece(": 3", index=0)),
    )
    assert [(call.so_far, call.complete) for call in calls] == [
        ({"city": "Ro"}, False),
        ({"city": "Rome"}, False),
        ({"city": "Rome", "days": 3}, False),
        ({"city": "Rome", "days": 3}, True),
    ]
    with pytest.raises(APIResponseValidationError):
        _ = calls[-1].parsed
    assert calls[0].model_dump() == {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": '{"city": "Ro'},
    }


def test_growing_calls_of_all_choices() -> None:
    """The same index in two choices is two calls."""
    assert growing(
        calling(call_piece("{", index=0, id="a", name="f"), index=1),
        calling(call_piece("{", index=0, id="b", name="f"), index=0),
        calling(call_piece("}", index=0), index=1),
    ) == [("a", "{", False), ("b", "{", False), ("a", "{}", False), ("b", "{", True), ("a", "{}", True)]


def test_a_call_that_was_given_grows_no_more() -> None:
    """What still comes for it is left out."""
    assert growing(
        calling(call_piece("{}", index=0, id="a", name="f"), finish_reason="tool_calls"),
        calling(call_piece("more", index=0)),
    ) == [("a", "{}", False), ("a", "{}", True)]


@pytest.mark.parametrize("partial", [False, True])
def test_a_restart_voids_the_calls_before_it(partial: bool) -> None:
    """Those that were not given are forgotten, and the next is another with the same id."""
    chunks = [
        calling(call_piece('{"x"', index=0, id="a", name="f")),
        ModelResponseStream.restarting("broken"),
        calling(call_piece("{}", index=0, id="a", name="f")),
    ]
    operator: Any = ops.assemble_tool_calls(partial=partial) if partial else ops.assemble_tool_calls()
    assert items(operator, *chunks)[-1].function.arguments == "{}"


@given(st.text(max_size=12), st.data())
def test_the_complete_ones_are_those_that_come_anyway(value: str, data: st.DataObject) -> None:
    """Wherever it is cut, arguments only grow, up to the whole."""
    text = json.dumps({"x": value}, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    first, *rest = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    chunks = [calling(call_piece(first, index=0, id="a", name="f"))]
    chunks += [calling(call_piece(more, index=0)) for more in rest]
    calls = items(ops.assemble_tool_calls(partial=True), *chunks)
    assert [call.model_dump() for call in calls if call.complete] == [
        call.model_dump() for call in items(ops.assemble_tool_calls(), *chunks)
    ]
    lengths = [len(call.function.arguments) for call in calls if not call.complete]
    assert lengths == sorted(set(lengths))
    assert all(text.startswith(call.function.arguments) for call in calls)


def test_partial_is_checked_when_it_is_made() -> None:
    """What is neither True nor False is a mistake."""
    wrong: Any = "yes"
    with pytest.raises(TypeError, match="partial"):
        ops.assemble_tool_calls(partial=wrong)
