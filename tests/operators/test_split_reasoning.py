"""split_reasoning: thinking in the text is moved to where reasoning belongs."""

from typing import Any

import pytest
import reactivex as rx

from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.operators.sources import call_piece, calling, failure, items, of, reported, text_chunks


def messages(chunks: list[ModelResponseStream]) -> list[tuple[str | None, str | None]]:
    """Reasoning and content of each choice, put together."""
    response = rx.of(*chunks).pipe(ops.build_response()).run()
    return [(choice.message.reasoning_content, choice.message.content) for choice in response.choices]


def test_thinking_is_moved_and_all_else_stays() -> None:
    """Role, calls, finish reason and usage are where they were, and the answer's chunks are the same."""
    chunks = [
        of("", role="assistant"),
        of("<th"),
        of("ink>\nGreet"),
        of(" them.</think>\n"),
        of("\nHello"),
        of(" there"),
        calling(call_piece("{}", index=0, id="a", name="f")),
        of(finish_reason="tool_calls"),
        reported(prompt_tokens=1),
    ]
    seen = items(ops.split_reasoning(), *chunks)
    assert messages(seen) == [("Greet them.", "Hello there")]
    assert seen[0] is chunks[0]
    assert [each.choices[0].delta.reasoning_content for each in seen[1:3]] == ["Greet", " them."]
    assert seen[3].choices[0].delta.content == "Hello"
    assert [each is chunk for each, chunk in zip(seen[4:], chunks[5:], strict=True)] == [True] * 4


def test_both_sides_of_a_tag_in_one_chunk() -> None:
    """Thinking and what follows it share a delta; what comes before it has one of its own."""
    seen = items(ops.split_reasoning(), of("a<think>b</think>c<think>d", role="assistant", finish_reason="length"))
    deltas = [each.choices[0].delta.model_dump(exclude_none=True) for each in seen]
    assert deltas == [
        {"role": "assistant", "content": "a"},
        {"reasoning_content": "b", "content": "c"},
        {"reasoning_content": "\nd"},
    ]
    assert [each.choices[0].finish_reason for each in seen] == [None, None, "length"]


def test_what_the_provider_told_apart_stays() -> None:
    """Beside thinking in the text, and after it."""
    chunks = [of(reasoning_content="a <think>"), of("<think>b</think>c", reasoning_content="!"), of("d")]
    assert messages(items(ops.split_reasoning(), *chunks)) == [("a <think>!b", "cd")]


def test_choices_are_split_by_themselves() -> None:
    """Their tags are interleaved, and one is never closed."""
    first, second = "<think>a</think>b", "<think>cccccccccc"
    chunks = [
        chunk
        for one, two in zip(first, second, strict=True)
        for chunk in (ModelResponseStream(choices=[*of(one).choices, *of(two, index=1).choices]),)
    ]
    assert messages(items(ops.split_reasoning(), *chunks)) == [("a", "b"), ("cccccccccc", "")]


def test_what_looked_like_a_tag_comes_before_the_end() -> None:
    """Before a finish reason, a call, the completion and an error."""
    call = calling(call_piece("{}", index=0, id="a", name="f"))
    for ending in ([of(finish_reason="stop")], [call], []):
        assert messages(items(ops.split_reasoning(), of("a <"), of("think"), *ending)) == [(None, "a <think")]
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("a <th")), rx.throw(error)).pipe(ops.split_reasoning()))
    assert (messages(seen), raised) == ([(None, "a <th")], error)


def test_text_that_begins_inside() -> None:
    """All up to the closing tag is thinking."""
    assert messages(items(ops.split_reasoning(inside=True), *text_chunks("Greet.</think>Hi"))) == [("Greet.", "Hi")]


def test_an_answer_that_begins_anew() -> None:
    """It does not begin in the thinking of what is void."""
    chunks = [of("<think>a"), ModelResponseStream.restarting("broke"), of("b")]
    seen = items(ops.split_reasoning(), *chunks)
    assert [each.choices[0].delta.content for each in seen[-1:]] == ["b"]
    assert seen[-2] is chunks[1]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"tags": "<think>"}, TypeError),
        ({"tags": ("<think>",)}, TypeError),
        ({"tags": ("<think>", None)}, TypeError),
        ({"tags": ("", "</think>")}, ValueError),
        ({"inside": 1}, TypeError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"tags|inside"):
        ops.split_reasoning(**arguments)
