"""Bedrock's events as chunks: Converse's, those of InvokeModel's vendors, exceptions, and whatever else may come."""

import base64
import json
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm.exceptions import (
    APIError,
    APIResponseValidationError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    ServiceUnavailableError,
    Timeout,
)
from tests.decoders.eventstream import event, exception, message
from tests.providers.bedrock import asked, read
from tests.providers.reading import Outcome

INVOKE = "bedrock/invoke/some.model"
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 4}}


def delta(index: int = 0, **fields: Any) -> bytes:
    """A delta of a content block."""
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": fields, "p": "abc"})


def start(index: int, **fields: Any) -> bytes:
    """The start of a content block."""
    return event("contentBlockStart", {"contentBlockIndex": index, "start": fields})


def stop(index: int) -> bytes:
    """The end of a content block."""
    return event("contentBlockStop", {"contentBlockIndex": index})


def end(reason: str = "end_turn", usage: dict[str, int] | None = None) -> bytes:
    """The end of a message, and what it cost."""
    counts = usage or {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
    return event("messageStop", {"stopReason": reason}) + event(
        "metadata", {"usage": counts, "metrics": {"latencyMs": 9}}
    )


def chunk(*payloads: Any) -> list[bytes]:
    """Objects of a vendor's own, as InvokeModel sends them."""
    return [event("chunk", {"bytes": base64.b64encode(json.dumps(each).encode()).decode()}) for each in payloads]


def converse(*events: bytes, **params: Any) -> Outcome:
    """What Converse's events come to."""
    return read(events, asked(messages=[], **params), {"x-amzn-requestid": "req-1"})


def invoke(*payloads: Any, **params: Any) -> Outcome:
    """What a vendor's objects come to."""
    return read(chunk(*payloads), asked(INVOKE, **params))


def specific(outcome: Outcome) -> list[dict[str, Any]]:
    """The provider's own fields, delta by delta."""
    fields = [choice.delta.provider_specific_fields for each in outcome.chunks for choice in each.choices]
    return [each for each in fields if each]


def test_text() -> None:
    """The request's id and the model are each chunk's; metrics are on the last."""
    outcome = converse(
        event("messageStart", {"role": "assistant"}), delta(text="Hel"), delta(text="lo"), stop(0), end()
    )
    assert (outcome.complete, outcome.failure, outcome.texts) == (True, None, {0: "Hello"})
    assert {(each.id, each.model) for each in outcome.chunks} == {("req-1", "amazon.nova-lite-v1:0")}
    last = outcome.chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    assert last["metrics"] == {"latencyMs": 9}
    assert last.reported_usage is not None
    assert last.reported_usage.total_tokens == 7


def test_cached_tokens_are_of_the_prompt() -> None:
    """As OpenAI counts; what Bedrock said stays beside."""
    counts = {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 5}
    usage = converse(delta(text="a"), end(usage=counts), stream_options={"include_usage": True}).chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (18, 4, 22)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.model_dump(exclude_none=True) == {
        "cached_tokens": 10,
        "cache_creation_tokens": 5,
    }
    assert usage["cacheWriteInputTokens"] == 5


@pytest.mark.parametrize(
    ("native", "told"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
    ],
)
def test_stop_reasons(native: str, told: str) -> None:
    """Each is one of four; Bedrock's own word is beside."""
    outcome = converse(delta(text="a"), end(native))
    assert (outcome.finishes, outcome.natives) == ({0: [told]}, {0: native})


def test_the_end_is_the_stop_reason_and_the_usage_in_either_order() -> None:
    """Either alone ends nothing; a body that ends after the stop reason is whole, before it is not."""
    whole = event("messageStop", {"stopReason": "end_turn"})
    usage = event("metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}})
    assert converse(delta(text="a"), usage, whole).complete
    assert converse(delta(text="a"), whole).complete
    assert not converse(delta(text="a"), usage).complete
    assert not converse(delta(text="a"), stop(0)).complete
    assert converse(delta(text="a"), usage, whole, exception("throttlingException", {})).failure is None


def test_tool_calls() -> None:
    """Numbered among themselves; without input their arguments are an empty object; a missing stop is no loss."""
    outcome = converse(
        delta(0, text="I call."),
        start(1, toolUse={"toolUseId": "a", "name": "f", "type": "tool_use"}),
        delta(1, toolUse={"input": ""}),
        delta(1, toolUse={"input": '{"x"'}),
        delta(1, toolUse={"input": ": 1}"}),
        stop(1),
        start(2, toolUse={"toolUseId": "b", "name": "g"}),
        start(2, toolUse={"toolUseId": "c", "name": "g"}),
        end("tool_use"),
    )
    assert outcome.told_calls() == [("a", "f", '{"x": 1}'), ("b", "g", "{}"), ("c", "g", "{}")]
    assert outcome.finishes == {0: ["tool_calls"]}


def test_server_tools_are_none_of_the_callers() -> None:
    """Their calls and results come whole among the provider's own fields, and web citations as annotations too."""
    web = {"location": {"web": {"url": "https://example.com", "domain": "example.com"}}}
    outcome = converse(
        start(0, toolUse={"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}),
        delta(0, toolUse={"input": '{"q":'}),
        delta(0, toolUse={"input": "1}"}),
        stop(0),
        start(1, toolResult={"toolUseId": "s", "type": "nova_grounding_result", "status": "success"}),
        delta(1, toolResult=[{"text": "a"}]),
        delta(1, toolResult=[{"json": {}}]),
        stop(1),
        delta(2, text="It is so."),
        delta(3, citation=web),
        delta(4, citation={"title": "Policy", "location": {"documentChar": {"start": 0}}}),
        end(),
    )
    result = {"toolUseId": "s", "type": "nova_grounding_result", "status": "success"}
    assert outcome.told_calls() == []
    assert outcome.finishes == {0: ["stop"]}
    assert specific(outcome) == [
        {"server_tool_calls": [{"id": "s", "name": "nova_grounding", "arguments": '{"q":1}'}]},
        {"server_tool_results": [{**result, "content": [{"text": "a"}, {"json": {}}]}]},
        {"citations": [web]},
        {"citations": [{"title": "Policy", "location": {"documentChar": {"start": 0}}}]},
    ]
    annotations = [note for each in outcome.chunks for c in each.choices for note in c.delta.annotations or ()]
    assert annotations == [
        {"type": "url_citation", "url_citation": {"url": "https://example.com", "title": "example.com"}}
    ]


def test_reasoning() -> None:
    """Its text at once, its signature with the whole of it; unsigned it is no block; redacted it is one."""
    first, second = base64.b64encode(b"a").decode(), base64.b64encode(b"b").decode()
    outcome = converse(
        delta(0, reasoningContent={"text": "Hm"}),
        delta(0, reasoningContent={"text": "m"}),
        delta(0, reasoningContent={"signature": "sig"}),
        stop(0),
        delta(1, reasoningContent={"text": "?"}),
        stop(1),
        delta(2, reasoningContent={"redactedContent": first}),
        delta(2, reasoningContent={"redactedContent": second}),
        end(),
    )
    assert outcome.reasoning == {0: "Hmm?"}
    assert [block for each in outcome.chunks for c in each.choices for block in c.delta.thinking_blocks or ()] == [
        {"type": "thinking", "thinking": "Hmm", "signature": "sig"},
        {"type": "redacted_thinking", "data": base64.b64encode(b"ab").decode()},
    ]


def test_what_is_not_known_is_kept_or_passed_over() -> None:
    """Unknown events are nothing; unknown blocks and deltas, and the fields that were asked for, are the provider's."""
    image = {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}
    outcome = converse(
        event("novelty", {"x": 1}),
        event("contentBlockStart", image),
        delta(0, image={"source": {"bytes": "AA=="}}),
        event("messageStop", {"stopReason": "end_turn", "additionalModelResponseFields": {"stop_sequence": "x"}}),
    )
    assert specific(outcome) == [
        {"contentBlockStart": [image]},
        {"contentBlockDelta": [{"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": "AA=="}}}}]},
        {"additionalModelResponseFields": {"stop_sequence": "x"}},
    ]


@pytest.mark.parametrize(
    ("name", "fields", "kind"),
    [
        ("throttlingException", {"message": "Slow down"}, RateLimitError),
        ("modelStreamErrorException", {"message": "Slow down"}, InternalServerError),
        ("modelStreamErrorException", {"message": "Slow down", "originalStatusCode": 429}, RateLimitError),
        ("internalServerException", {"message": "Slow down"}, InternalServerError),
        ("serviceUnavailableException", {"message": "Slow down"}, ServiceUnavailableError),
        ("validationException", {"message": "Slow down"}, BadRequestError),
        ("modelTimeoutException", {"message": "Slow down"}, Timeout),
    ],
)
@pytest.mark.parametrize("model", ["bedrock/m", INVOKE])
def test_exceptions_in_the_stream(model: str, name: str, fields: dict[str, Any], kind: type[APIError]) -> None:
    """A typed error with Bedrock's words and its name for it, after what came before."""
    first = delta(text="a") if model != INVOKE else chunk({"outputText": "a"})[0]
    outcome = read([first, exception(name, fields), delta(text="b")], asked(model), {"x-amzn-requestid": "r"})
    failure = outcome.failure
    assert type(failure) is kind
    assert failure is not None
    assert (failure.code, failure.status_code, failure.request_id) == (name, 200, "r")
    assert failure.message == "Slow down"
    assert (outcome.complete, outcome.texts) == (False, {0: "a"})


def test_an_error_message() -> None:
    """An error that Bedrock has no exception for is in the headers alone."""
    headers = {":message-type": "error", ":error-code": "503", ":error-message": "Down"}
    failure = converse(delta(text="a"), message(headers, b"")).failure
    assert isinstance(failure, ServiceUnavailableError)
    assert failure.message == "Down"


def test_a_whole_answer() -> None:
    """A server that does not stream is read too, whatever its blocks."""
    answer = {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "s"}}},
                    {"citationsContent": {"content": [{"text": "So it is."}], "citations": [{"title": "t"}]}},
                    {"text": " And so."},
                    {"toolUse": {"toolUseId": "a", "name": "f", "input": {"x": 1}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
    }
    for model in ("bedrock/m", INVOKE):
        outcome = read([json.dumps(answer).encode()], asked(model), {"content-type": "application/json"})
        assert (outcome.complete, outcome.failure) == (True, None)
        assert (outcome.texts, outcome.reasoning) == ({0: "So it is. And so."}, {0: "Hm"})
        assert outcome.told_calls() == [("a", "f", '{"x": 1}')]
        assert outcome.usage is not None
        assert outcome.usage.total_tokens == 7


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"<html></html>",
        b'{"unknown": 1}',
        b"\0" * 40,
        delta(text="a") + b"\xff" * 40,
        event("messageStop", []),
    ],
)
@pytest.mark.parametrize("model", ["bedrock/m", INVOKE])
def test_what_is_no_answer(body: bytes, model: str) -> None:
    """It is a typed error, after what came before."""
    failure = read([body], asked(model)).failure
    assert isinstance(failure, APIResponseValidationError)
    assert failure.model == model


@pytest.mark.parametrize("payload", ["!!", "bm8=", base64.b64encode(b"[1]").decode(), 7])
def test_a_chunk_that_is_no_object(payload: Any) -> None:
    """Bytes that are no base64, no JSON or no object."""
    assert isinstance(read([event("chunk", {"bytes": payload})], asked(INVOKE)).failure, APIResponseValidationError)


def cohere(text: str | None, **more: Any) -> dict[str, Any]:
    """An object of Cohere's."""
    return {"is_finished": bool(more), **more, **({"text": text} if text else {})}


BLOCKED = {"outputText": "Hi", "index": 0.0, "completionReason": "CONTENT_FILTERED"}
MESSAGE = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "stop_reason": "stop"}
EVENT = {"event_type": "text-generation", "text": "Hi"}


@pytest.mark.parametrize(
    ("payloads", "finish", "native"),
    [
        ([BLOCKED], "content_filter", "CONTENT_FILTERED"),
        ([{"generation": "Hi", "stop_reason": None}, {"generation": "", "stop_reason": "length"}], "length", None),
        ([{"completion": "Hi", "stop_reason": "stop_sequence", "stop": "Human:"}], "stop", "stop_sequence"),
        ([cohere("Hi"), cohere(None, finish_reason="COMPLETE")], "stop", "COMPLETE"),
        ([cohere("Hi", finish_reason="ERROR_TOXIC")], "content_filter", "ERROR_TOXIC"),
        ([{"generations": [{"text": "Hi", "finish_reason": "MAX_TOKENS", "id": "g"}]}], "length", "MAX_TOKENS"),
        ([{"outputs": [{"text": "Hi", "stop_reason": "stop"}]}], "stop", None),
        ([EVENT, {"event_type": "stream-end", "finish_reason": "COMPLETE"}], "stop", "COMPLETE"),
        ([{"choices": [MESSAGE]}], "stop", None),
        ([{"choices": [{"text": "Hi", "stop_reason": "length"}]}], "length", None),
        ([{"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop", "stop_reason": 518}]}], "stop", None),
        ([{"contentBlockDelta": {"delta": {"text": "Hi"}}}, {"messageStop": {"stopReason": "max_tokens"}}], "length",
         "max_tokens"),
    ],
)  # fmt: skip
def test_the_vendors_shapes(payloads: list[dict[str, Any]], finish: str, native: str | None) -> None:
    """Text, finish and Bedrock's own count of tokens, on the last object or by itself."""
    together = invoke(*payloads[:-1], {**payloads[-1], **METRICS})
    for outcome in (together, invoke(*payloads, METRICS)):
        assert (outcome.complete, outcome.failure, outcome.texts) == (True, None, {0: "Hi"})
        assert (outcome.finishes, outcome.natives) == ({0: [finish]}, {0: native})
        assert outcome.usage is not None
        assert (outcome.usage.prompt_tokens, outcome.usage.total_tokens) == (3, 7)
        assert outcome.usage["amazon-bedrock-invocationMetrics"] == METRICS["amazon-bedrock-invocationMetrics"]
    assert not invoke(*payloads[:-1]).complete


def test_cohere_that_failed_and_that_calls() -> None:
    """``ERROR`` is one; calls come whole."""
    assert isinstance(invoke({"is_finished": True, "text": "", "finish_reason": "ERROR"}).failure, InternalServerError)
    calls = [{"name": "f", "parameters": {"x": 1}}, {"name": "g"}]
    outcome = invoke(
        {"event_type": "tool-calls-generation", "tool_calls": calls},
        {"event_type": "stream-end", "finish_reason": "COMPLETE", **METRICS},
    )
    assert outcome.told_calls() == [("call_0", "f", '{"x": 1}'), ("call_1", "g", "{}")]
    assert outcome.finishes == {0: ["tool_calls"]}


def test_claude_by_invoke() -> None:
    """Anthropic's own events, by the reading of that dialect; cut short they are no whole answer."""
    events = [
        {"type": "message_start", "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
        {"type": "message_stop", **METRICS},
    ]
    outcome = invoke(*events)
    assert (outcome.complete, outcome.failure, outcome.texts) == (True, None, {0: "Hi"})
    assert outcome.usage is not None
    assert outcome.usage.total_tokens == 7
    short = invoke(*events[:3])
    assert (short.complete, short.failure, short.texts) == (False, None, {0: "Hi"})
    broken = read([*chunk(*events[:3]), exception("throttlingException", {"message": "Slow"})], asked(INVOKE))
    assert isinstance(broken.failure, RateLimitError)
    whole = {"type": "message", "id": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    assert read([json.dumps(whole).encode()], asked(INVOKE)).texts == {0: "Hi"}


def test_guardrails_stay_beside() -> None:
    """What Bedrock says of them is on the chunk it came with."""
    outcome = invoke(
        {"outputText": "No.", "completionReason": "FINISH", "amazon-bedrock-guardrailAction": "INTERVENED"}
    )
    assert outcome.chunks[-1]["amazon-bedrock-guardrailAction"] == "INTERVENED"
