"""Reading legacy completions: choices with text, log probabilities in lists, and what goes wrong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from rxllm.exceptions import APIResponseValidationError, BadGatewayError
from rxllm.providers._completions import TextCompletions
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import EVENT_STREAM, USAGE, Outcome, sse


def read(pieces: Iterable[bytes], headers: dict[str, str] = EVENT_STREAM, **params: Any) -> Outcome:
    """Reads a body to its end."""
    reading = TextCompletions().reading(Request(model="text-completion-openai/m", messages=[], params=params), headers)
    chunks: list[ModelResponseStream] = []
    for piece in pieces:
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def said(text: str, index: int = 0, finish: str | None = None, **rest: Any) -> dict[str, Any]:
    """A chunk of a completion."""
    choice = {"index": index, "text": text, "finish_reason": finish, "logprobs": None, **rest}
    return {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m", "choices": [choice]}


def test_an_answer() -> None:
    """Text becomes content, in chunks of a chat."""
    outcome = read([sse(said("Hel"), said("lo", finish="stop"), {"choices": [], "usage": USAGE})])
    assert (outcome.texts[0], outcome.finishes[0], outcome.roles[0]) == ("Hello", ["stop"], ["assistant"])
    assert outcome.usage is not None
    assert (outcome.usage.total_tokens, outcome.complete) == (7, True)
    assert {(chunk.id, chunk.object, chunk.created) for chunk in outcome.chunks} == {
        ("cmpl-1", "chat.completion.chunk", 7)
    }
    assert "text" not in outcome.chunks[0].choices[0]


def test_several_choices() -> None:
    """Each has its text, also where one chunk ends them all."""
    ends = [{"index": index, "text": "", "finish_reason": "length"} for index in range(2)]
    outcome = read([sse(said("a", 0), said("b", 1), said("A", 0), {"choices": ends})], n=2)
    assert outcome.texts == {0: "aA", 1: "b"}
    assert outcome.finishes == {0: ["length"], 1: ["length"]}


def test_a_delta_beside_the_text() -> None:
    """Together sends the same twice; what else it sends stays with the choice."""
    told = said("Hi", delta={"content": "Hi", "role": "assistant", "token_id": 3}, seed=9)
    outcome = read([sse(told, said("", finish="eos"))])
    assert (outcome.texts[0], outcome.finishes[0], outcome.natives[0]) == ("Hi", ["stop"], "eos")
    assert outcome.chunks[0].choices[0]["seed"] == 9


def test_what_comes_before_the_choices_is_kept() -> None:
    """Azure tells first how the prompt was filtered."""
    outcome = read([sse({"id": "", "choices": [], "prompt_filter_results": [1]}, said("Hi", finish="stop"))])
    assert outcome.chunks[0]["prompt_filter_results"] == [1]
    assert (outcome.texts[0], outcome.complete) == ("Hi", True)


def test_a_chats_chunk_is_read_too() -> None:
    """Some servers answer so on either path."""
    outcome = read([sse({"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [{"finish_reason": "stop"}]})])
    assert (outcome.texts[0], outcome.complete) == ("Hi", True)


def test_log_probabilities() -> None:
    """Parallel lists become the items of a chat."""
    lists = {
        "tokens": ["H", "é"],
        "token_logprobs": [None, -0.5],
        "top_logprobs": [None, {"é": -0.5, "e": -1.5}],
        "text_offset": [0, 1],
    }
    outcome = read([sse(said("Hé", logprobs=lists), said("", finish="stop"))])
    assert outcome.chunks[0].choices[0].logprobs == {
        "content": [
            {"token": "H", "logprob": None, "bytes": [72], "top_logprobs": [], "text_offset": 0},
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -1.5, "bytes": [101]},
                ],
                "text_offset": 1,
            },
        ]
    }


@pytest.mark.parametrize("indent", [None, 1])
def test_a_whole_answer(indent: int | None) -> None:
    """From a server that does not stream."""
    told = {**said("Hello", finish="length"), "usage": USAGE}
    outcome = read([json.dumps(told, indent=indent).encode()], {"content-type": "application/json"})
    assert (outcome.texts[0], outcome.finishes[0], outcome.complete) == ("Hello", ["length"], True)
    assert outcome.usage is not None


def test_an_error_in_the_stream() -> None:
    """After the text before it, and beside a choice."""
    error = {"message": "upstream", "code": 502}
    outcome = read([sse(said("Hi"), {"error": error})])
    assert (outcome.texts[0], outcome.complete) == ("Hi", False)
    assert isinstance(outcome.failure, BadGatewayError)
    outcome = read([sse(said("Hi"), {**said(" you"), "error": error})])
    assert outcome.texts[0] == "Hi you"
    assert isinstance(outcome.failure, BadGatewayError)


@pytest.mark.parametrize("body", [b"", sse(said("Hi"), done=False)])
def test_no_end_is_no_whole_answer(body: bytes) -> None:
    """The answer broke off."""
    outcome = read([body])
    assert (outcome.complete, outcome.failure) == (False, None)


@pytest.mark.parametrize("body", [b"<html>no</html>", b"[1]", b'{"a": 1}', b"data: [1]\n\n", b"data: [DONE]\n\n"])
def test_what_is_no_answer(body: bytes) -> None:
    """Is a typed error."""
    assert isinstance(read([body], {}).failure, APIResponseValidationError)
