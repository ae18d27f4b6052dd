"""Reading Ollama's own answers: lines of JSON, a line of the end, and what goes wrong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from rxllm.exceptions import (
    APIError,
    APIResponseValidationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    UnsupportedParamsError,
)
from rxllm.providers._ollama import OllamaChat
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import Outcome

NDJSON = {"content-type": "application/x-ndjson"}
REQUEST = Request(model="ollama/qwen3", messages=[], wire_model="qwen3")
END: dict[str, Any] = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}


def read(pieces: Iterable[bytes], headers: dict[str, str] = NDJSON) -> Outcome:
    """Reads a body to its end."""
    reading = OllamaChat().reading(REQUEST, headers)
    chunks: list[ModelResponseStream] = []
    for piece in pieces:
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def lines(*told: Any) -> bytes:
    """A body of these lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in told)


def said(content: str = "", **message: Any) -> dict[str, Any]:
    """A line of an answer."""
    answer = {"role": "assistant", "content": content, **message}
    return {"model": "qwen3", "created_at": "2025-06-05T00:31:30.675583867Z", "message": answer, "done": False}


def test_an_answer() -> None:
    """Thinking, text and the end, which brings the usage with all that Ollama says of it."""
    outcome = read([lines(said(thinking="Hm"), said("Hel"), said("lo"), {**said(), **END, "load_duration": 9})])
    assert (outcome.texts[0], outcome.reasoning[0]) == ("Hello", "Hm")
    assert (outcome.finishes[0], outcome.natives[0], outcome.roles[0]) == (["stop"], None, ["assistant"])
    assert outcome.complete
    assert outcome.usage is not None
    assert outcome.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "estimated": False,
        "prompt_eval_count": 3,
        "eval_count": 4,
        "load_duration": 9,
    }
    assert {(chunk.model, chunk.created) for chunk in outcome.chunks} == {("qwen3", 1749083490)}
    assert outcome.events == 4


def test_text_calls_and_thinking_on_the_last_line() -> None:
    """The line of the end may hold the answer."""
    calls = [{"function": {"name": "f", "arguments": {"a": "é"}}}]
    outcome = read([lines({**said("All", thinking="Why", tool_calls=calls), **END})])
    assert (outcome.texts[0], outcome.reasoning[0]) == ("All", "Why")
    assert [call[1:] for call in outcome.told_calls()] == [("f", '{"a":"é"}')]
    assert (outcome.finishes[0], outcome.natives[0]) == (["tool_calls"], "stop")


def test_tool_calls_have_ids_that_stay() -> None:
    """Each its own, the same each time the body is read, another in another answer; the server's own is kept."""
    call: dict[str, Any] = {"function": {"name": "f", "arguments": {}}}
    body = lines(said(tool_calls=[call, call]), said(tool_calls=[call, {**call, "id": "call_x"}]), END)
    ids = [call_id for call_id, _, _ in read([body]).told_calls()]
    assert len(set(ids)) == 4
    assert ids[3] == "call_x"
    assert ids == [call_id for call_id, _, _ in read([body]).told_calls()]
    later = body.replace(b"2025", b"2026")
    assert ids[0] not in [call_id for call_id, _, _ in read([later]).told_calls()]


@pytest.mark.parametrize(
    ("arguments", "text"), [({}, "{}"), (None, "{}"), ({"a": [1, 2]}, '{"a":[1,2]}'), ('{"a": 1}', '{"a": 1}')]
)
def test_arguments_become_text(arguments: object, text: str) -> None:
    """Compact JSON; none at all are an empty object; a text is kept."""
    outcome = read([lines(said(tool_calls=[{"function": {"name": "f", "arguments": arguments}}]), END)])
    assert outcome.told_calls()[0][1:] == ("f", text)


def test_generate() -> None:
    """``/api/generate`` has text and thinking beside; the context, to go on from, comes at the end."""
    outcome = read(
        [lines({"thinking": "Hm", "response": ""}, {"response": "Hi"}, {"response": "", **END, "context": [1]})]
    )
    assert (outcome.texts[0], outcome.reasoning[0], outcome.complete) == ("Hi", "Hm", True)
    assert outcome.chunks[-1].choices[0].delta.provider_specific_fields == {"context": [1]}


def test_what_ollama_adds_is_kept() -> None:
    """Log probabilities where OpenAI has them; images beside; what is not known, as it came."""
    probable = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
    outcome = read([lines({**said("Hi", images=["AAAA"]), "logprobs": probable, "remote_model": "big"}, END)])
    [first, _] = outcome.chunks
    assert first.choices[0].logprobs == {"content": probable}
    assert first.choices[0].delta.provider_specific_fields == {"images": ["AAAA"]}
    assert first["remote_model"] == "big"


@pytest.mark.parametrize(
    ("end", "finish", "native"),
    [
        ({"done": True}, "stop", None),
        ({"done": True, "done_reason": "length"}, "length", None),
        ({"done": True, "done_reason": "load"}, "stop", "load"),
    ],
)
def test_the_end(end: dict[str, Any], finish: str, native: str | None) -> None:
    """Old servers name no reason; without counts there is no usage."""
    outcome = read([lines(said("Hi"), end)])
    assert (outcome.finishes[0], outcome.natives[0], outcome.usage) == ([finish], native, None)


def test_a_prompt_that_is_not_counted() -> None:
    """A cached prompt has no count on older servers."""
    usage = read([lines(said("Hi"), {"done": True, "eval_count": 2})]).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (0, 2, 2)


@pytest.mark.parametrize("body", [b"", lines(said("Hi")), lines(said("Hi"))[:-9], lines(said("Hi")) + b'{"done": tr'])
def test_no_end_is_no_whole_answer(body: bytes) -> None:
    """Whatever has come: it takes a line that is done."""
    outcome = read([body])
    assert (outcome.complete, outcome.failure) == (False, None)


def test_nothing_after_the_end_is_read() -> None:
    """The line that is done is the last."""
    outcome = read([lines(said("Hi"), END, said("more")), b"garbage\n"])
    assert (outcome.texts[0], outcome.complete, outcome.failure) == ("Hi", True, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"error": "model runner has unexpectedly stopped"}, "model runner has unexpectedly stopped"),
        ({"error": {"message": "no memory", "code": 500}}, "no memory"),
        ({"message": "upstream is down"}, "upstream is down"),
        ({"error": "gone", "done": True}, "gone"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_an_error_in_the_stream(error: dict[str, Any], words: str, before: int) -> None:
    """Text before it is given; the answer is not whole."""
    outcome = read([lines(*[said("Hi")] * before, error)])
    assert outcome.texts.get(0, "") == "Hi" * before
    assert outcome.failure is not None
    assert words in str(outcome.failure)
    assert not outcome.complete


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (404, "model 'x' not found", NotFoundError),
        (400, "registry.ollama.ai/library/x does not support tools", UnsupportedParamsError),
        (400, '"x" does not support thinking', UnsupportedParamsError),
        (400, "the input length exceeds the context length", ContextWindowExceededError),
        (500, "model requires more system memory", InternalServerError),
    ],
)
def test_an_error_of_the_response(status: int, words: str, kind: type[APIError]) -> None:
    """The error is a text; what it says of the request makes its class."""
    error = OllamaChat().error(REQUEST, status, {}, json.dumps({"error": words}).encode())
    assert (type(error), str(error)) == (kind, words)


@pytest.mark.parametrize(
    "body", [b"<html>no</html>", b"404 page not found", b"[1]", b'{"a": 1}\nnonsense\n', b"{} {}\n"]
)
def test_what_is_no_answer(body: bytes) -> None:
    """Is a typed error, whatever its content type."""
    for headers in (NDJSON, {}):
        assert isinstance(read([body], headers).failure, APIResponseValidationError)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_whole_answer(indent: int | None, end: str) -> None:
    """A server, or a proxy, that does not stream: one object, on one line or on several."""
    body = (json.dumps({**said("Hello"), **END}, indent=indent) + end).encode()
    for pieces in ([body], [bytes([byte]) for byte in body]):
        outcome = read(pieces)
        assert (outcome.texts[0], outcome.complete, outcome.failure) == ("Hello", True, None)
        assert outcome.usage is not None


def test_an_error_over_several_lines() -> None:
    """A proxy's pretty JSON."""
    assert "no such model" in str(read([json.dumps({"error": "no such model"}, indent=1).encode()]).failure)


def test_an_event_stream_of_the_same() -> None:
    """Some gateways wrap the lines."""
    body = b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in (said("Hi"), END))
    outcome = read([body], {"content-type": "text/event-stream"})
    assert (outcome.texts[0], outcome.complete) == ("Hi", True)
