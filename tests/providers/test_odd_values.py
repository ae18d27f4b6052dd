"""Values that nobody expects where a dialect reads them, one by one: chunks, or a typed error, and at no great cost."""

import base64
import json
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm.exceptions import APIError, APIResponseValidationError, BadRequestError
from rxllm.providers import PROVIDERS
from rxllm.types import Request
from tests.decoders.eventstream import event as aws_event
from tests.providers.reading import Outcome, event, sse, text


def read(model: str, *pieces: bytes) -> Outcome:
    """Reads a body to its end, as the provider of this model sends it."""
    provider, wire_model = PROVIDERS[model.partition("/")[0]].variant(model.partition("/")[2])
    reading = provider.dialect.reading(Request(model, [], {}, provider.name, wire_model), {})
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)] + reading.end()
    for chunk in chunks:
        json.dumps(chunk.model_dump())
        chunk.model_dump_json()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def error_of(body: Any, status: int = 400) -> APIError:
    """The error that a response amounts to."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PROVIDERS["openai"].dialect.error(Request("gpt-4", []), status, {}, content)


def invoked(*payloads: Any) -> bytes:
    """Objects of a vendor's, as Bedrock sends them."""
    return b"".join(
        aws_event("chunk", {"bytes": base64.b64encode(json.dumps(payload).encode()).decode()}) for payload in payloads
    )


HUGE = int("9" * 4300)
CLAUDE_ENDS = (
    {"type": "message_start", "message": {"id": "m"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
)


# -- numbers


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("anthropic/m", sse({"type": "message_delta", "usage": {"input_tokens": HUGE, "output_tokens": HUGE}})),
        ("cohere/m", sse({"type": "message-end", "delta": {"usage": {"tokens": {"input_tokens": HUGE}}}})),
        ("cohere/m", sse({"type": "content-delta", "logprobs": {"text": "a", "logprobs": [0.5, HUGE]}}, done=False)),
        ("ollama/m", json.dumps({"message": {}, "done": True, "eval_count": HUGE, "prompt_eval_count": HUGE}).encode()),
        (
            "gemini/m",
            sse({"candidates": [{}], "usageMetadata": {"candidatesTokenCount": HUGE, "thoughtsTokenCount": HUGE}}),
        ),
        ("openai/m", sse(text("a", usage={"prompt_tokens": HUGE, "completion_tokens": HUGE}))),
        ("bedrock/invoke/m", invoked({"outputText": "a", "inputTextTokenCount": float("nan")})),
        ("bedrock/invoke/m", invoked({"outputText": "a", "inputTextTokenCount": float("inf")})),
        ("bedrock/invoke/m", invoked({"generation": "a", "prompt_token_count": HUGE, "generation_token_count": HUGE})),
    ],
)  # fmt: skip
def test_counts_that_nobody_counts(model: str, body: bytes) -> None:
    """Numbers that no float can hold, and floats that are no numbers, count nothing; the answer goes on."""
    outcome = read(model, body)
    assert not isinstance(outcome.failure, APIResponseValidationError)
    assert outcome.usage is None or outcome.usage.total_tokens < 1 << 60


def test_a_place_in_an_array_of_thousands_of_digits() -> None:
    """Python reads no number that long."""
    part = {"jsonPath": f"$.a[{'1' * 5000}]", "stringValue": "x"}
    calls = [{"functionCall": {"name": "f", "partialArgs": [part]}}]
    outcome = read("gemini/m", sse({"candidates": [{"content": {"parts": calls}, "finishReason": "STOP"}]}))
    assert [arguments for _, _, arguments in outcome.told_calls()] == ['{"a": ["x"]}']


# -- values of other kinds


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("openai/m", sse(event({"content": [{"type": "image"}], "provider_specific_fields": ["a"]}))),
        ("openai/responses/m", json.dumps({"output": [], "status": []}).encode()),
        (
            "openai/responses/m",
            sse({"type": "response.output_item.done", "item": {"type": "custom_tool_call", "name": [], "input": "x"}}),
        ),
        (
            "bedrock/m",
            b"".join(
                aws_event("contentBlockDelta", {"delta": {"reasoningContent": {"redactedContent": data}}})
                for data in ("aQ==", "é")
            )
            + aws_event("contentBlockStop", {}),
        ),
    ],
)
def test_values_of_other_kinds(model: str, body: bytes) -> None:
    """What cannot be looked up, merged or decoded is passed over, or refused."""
    outcome = read(model, body)
    assert outcome.failure is None or isinstance(outcome.failure, APIError)


def test_more_wrong_values_than_anybody_repairs() -> None:
    """A few nulls are taken out; of thousands the event is no chunk."""
    for count, fails in ((50, False), (500, True)):
        outcome = read("openai/m", sse(event({"tool_calls": [None] * count}), text("a")))
        assert isinstance(outcome.failure, APIResponseValidationError) == fails


@pytest.mark.parametrize(
    "body",
    [
        sse({"choices": [{}] * 100_000}),
        sse(event({"tool_calls": [{}] * 100_000})),
        json.dumps({"choices": [{"message": {}}] * 100_000}).encode(),
    ],
)
def test_more_choices_than_anybody_asks_for(body: bytes) -> None:
    """They are refused before each becomes an object five hundred times its size."""
    outcome = read("openai/m", body)
    assert "choices and calls at once" in str(outcome.failure)
    assert not outcome.chunks


# -- text


@pytest.mark.parametrize("model", ["openai/m", "anthropic/m", "ollama/m", "gemini/m", "cohere/m"])
def test_halves_of_surrogate_pairs_outside_the_text(model: str) -> None:
    """One that stands alone becomes U+FFFD, wherever it is, so that each chunk can be written down."""
    half = "\ud83d"
    fields: dict[str, dict[str, Any]] = {
        "openai/m": text("a", id=half, extra={half: [half]}),
        "anthropic/m": {"type": "message_start", "message": {"id": half, "model": half, "new": {half: half}}},
        "ollama/m": {"model": half, "message": {"content": "a", "new": [half]}},
        "gemini/m": {"candidates": [{"content": {"parts": [{"new": half}]}}], "modelVersion": half},
        "cohere/m": {"type": "citation-start", "delta": {"message": {"citations": [{"new": half}]}}},
    }
    outcome = read(model, sse(fields[model], done=False))
    assert "\ufffd" in outcome.chunks[0].model_dump_json()
    assert half not in repr(outcome.dumped)


def test_halves_within_the_input_of_a_tool() -> None:
    """It is JSON in a string, where halves are told as in JSON."""
    start: Any = {"type": "content_block_start", "content_block": {"type": "server_tool_use", "name": "w", "input": {}}}
    more = {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a": "\\ud83d"}'}}
    [*_, last] = read("anthropic/m", sse(start, more, {"type": "content_block_stop"}, done=False)).chunks
    [block] = (last.choices[0].delta.provider_specific_fields or {})["content_blocks"]
    assert block["input"] == {"a": "\ufffd"}


def test_halves_in_an_error() -> None:
    """What is raised can be printed."""
    said = {"error": {"message": "No \ud83d", "code": "\ude00"}}
    assert str(error_of(said)) == "No \ufffd"
    outcome = read("openai/m", sse(said))
    assert (str(outcome.failure), outcome.failure and outcome.failure.code) == ("No \ufffd", "\ufffd")


@pytest.mark.parametrize("depth", [150, 300, 900, 3000, 100_000])
@pytest.mark.parametrize("model", ["openai/m", "anthropic/m"])
def test_json_that_is_nested_deeply(model: str, depth: int) -> None:
    """As deep as can be written down again, or an error: the same however deep Python's own calls are nested."""
    deep = "[" * depth + "]" * depth
    fields = f'"type": "message_start", "message": {{"a": {deep}}}, "choices": [{{"delta": {{"b": {deep}}}}}]'
    body = f"data: {{{fields}}}\n\n"
    outcome = read(model, body.encode())
    assert (outcome.failure is None) == (depth == 150)
    assert len(outcome.chunks) == (1 if depth == 150 else 0)


# -- Bedrock, with Claude within


@pytest.mark.parametrize("size", [1, 10_000])
def test_what_claude_said_before_the_damage_is_given(size: int) -> None:
    """The last chunk is held back for what may follow it; then the damage is told, in whatever pieces it comes."""
    body = invoked(*CLAUDE_ENDS) + b"\0\0\0\1 this is no message"
    outcome = read("bedrock/invoke/anthropic.claude", *(body[at : at + size] for at in range(0, len(body), size)))
    assert (outcome.texts, outcome.finishes) == ({0: "Hi"}, {0: ["stop"]})
    assert isinstance(outcome.failure, APIResponseValidationError)
    assert "no AWS event stream" in str(outcome.failure)


# -- the cost of errors: each of these once took the square of its size, and so minutes


@pytest.mark.parametrize(
    "body",
    [
        b"<title>" * 150_000,
        b"<title " * 150_000,
        b"<title>a</titl" * 80_000,
        {"error": {"message": "Hm", "code": "exceed" * 170_000}},
        {"error": {"message": "Hm", "type": "exceed" * 170_000}},
    ],
)
def test_an_error_is_told_in_linear_time(body: Any) -> None:
    """Whatever a megabyte of it looks like; the tests' bound on time holds it."""
    assert isinstance(error_of(body), BadRequestError)


def test_the_title_of_a_page() -> None:
    """It says what happened, however it is written."""
    page = b'<html><TITLE lang="en">\n 400 &amp; no\nmore </Title><body>'
    assert str(error_of(page)) == "HTTP 400 Bad Request: 400 & no more"
    assert str(error_of(b"<title>no end")) == "HTTP 400 Bad Request, with a page of HTML"


def test_ends_that_name_no_choice_end_those_that_have_not() -> None:
    """Each choice once: not all of them again at every end."""
    begun = [{"is_finished": False, "event_type": "text-generation", "text": "a", "index": i} for i in range(900)]
    end = {"is_finished": True, "finish_reason": "COMPLETE"}
    outcome = read("bedrock/invoke/cohere.command", invoked(*begun, *[end] * 3000))
    assert sum(len(chunk.choices) for chunk in outcome.chunks) < 5000
    assert all(outcome.finishes[i] == ["stop"] for i in range(900))
    assert outcome.complete


def test_a_whole_answer_says_what_is_beside_its_choices_once() -> None:
    """On the first chunk; what each chunk of a stream says, its id and the like, on all."""
    choices: list[Any] = [{"index": place, "message": {}} for place in range(3)]
    whole = {"id": "c", "model": "m", "citations": ["u"], "choices": choices}
    chunks = read("openai/m", json.dumps(whole).encode()).chunks
    assert [(chunk.id, chunk.model, "citations" in chunk) for chunk in chunks] == [
        ("c", "m", True), ("c", "m", False), ("c", "m", False)
    ]  # fmt: skip


def test_places_in_a_long_text() -> None:
    """The provider counts bytes and OpenAI's shape characters, at the edges of blocks and within characters too."""
    from rxllm.providers._gemini import _Text  # pyright: ignore[reportPrivateUsage]

    whole, known = "", _Text()
    for piece in ("é" * 700, "a" * 321, "\U0001f600" * 500, "zé"):
        whole += piece
        known.add(piece)
        utf8 = whole.encode()
        for place in range(0, len(utf8) + 1, 7):
            assert known.character(place) == len(utf8[:place].decode("utf-8", "ignore"))
        assert known.character(len(utf8)) == len(whole)
