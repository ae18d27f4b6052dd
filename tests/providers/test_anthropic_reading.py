"""What Claude's events come to."""

import json
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.exceptions import (
    APIResponseValidationError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    ServiceUnavailableError,
)
from rxllm.providers._anthropic import AnthropicMessages, AnthropicReading
from rxllm.types import Message, Request
from tests.providers.reading import EVENT_STREAM, Outcome

JSON = {"content-type": "application/json"}


def request(**params: Any) -> Request:
    """A request to Claude with these parameters."""
    return Request(model="anthropic/claude-sonnet-4-5", messages=[], params=params, provider="anthropic")


def read(pieces: list[bytes], headers: dict[str, str] = EVENT_STREAM, **params: Any) -> Outcome:
    """Reads a body to its end."""
    reading = AnthropicMessages().reading(request(**params), headers)
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)]
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def body(*events: dict[str, Any]) -> bytes:
    """A body of these events, each under its name."""
    return b"".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def start(**more: Any) -> dict[str, Any]:
    """The beginning of a message."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1}
    return {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": usage, **more}}


def block(index: int, **fields: Any) -> dict[str, Any]:
    """The beginning of a content block."""
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: int, **fields: Any) -> dict[str, Any]:
    """More of a content block."""
    return {"type": "content_block_delta", "index": index, "delta": fields}


def stop(index: int) -> dict[str, Any]:
    """The end of a content block."""
    return {"type": "content_block_stop", "index": index}


def text(index: int, *pieces: str) -> list[dict[str, Any]]:
    """A block of text."""
    deltas = [delta(index, type="text_delta", text=piece) for piece in pieces]
    return [block(index, type="text", text=""), *deltas, stop(index)]


def end(reason: str | None = "end_turn", **more: Any) -> list[dict[str, Any]]:
    """The end of a message."""
    said = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": said, "usage": {"output_tokens": 9}, **more}, {"type": "message_stop"}]


def message(outcome: Outcome) -> Message:
    """The whole message."""
    builder = ResponseBuilder()
    for chunk in outcome.chunks:
        builder.add(chunk)
    return builder.response().choices[0].message


def test_text() -> None:
    """The role comes first, the text as it comes, the finish reason and the usage last; each chunk has the id."""
    outcome = read([body(start(), {"type": "ping"}, *text(0, "Hel", "lo"), *end())])
    assert [chunk.choices[0].delta.content for chunk in outcome.chunks] == ["", "Hel", "lo", None]
    assert outcome.roles == {0: ["assistant"]}
    assert (outcome.finishes, outcome.natives) == ({0: ["stop"]}, {0: "end_turn"})
    assert {(chunk.id, chunk.model) for chunk in outcome.chunks} == {("msg_1", "claude")}
    assert (outcome.complete, outcome.failure, outcome.events) == (True, None, 8)
    assert message(outcome).model_dump(exclude_none=True) == {"role": "assistant", "content": "Hello"}


def test_usage() -> None:
    """The prompt's tokens include those of the cache; what the start said holds where the end says nothing."""
    outcome = read([body(start(), *text(0, "Hi"), *end())], stream_options={"include_usage": True})
    *_, last = outcome.chunks
    assert (len(last.choices), last.usage) == (0, outcome.usage)
    assert outcome.usage is not None
    told = outcome.usage
    assert (told.prompt_tokens, told.completion_tokens, told.total_tokens) == (8, 9, 17)
    assert told.prompt_tokens_details is not None
    assert told.prompt_tokens_details.cached_tokens == 3
    assert told.model_extra == {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 9}
    revised = {"input_tokens": 7, "cache_read_input_tokens": None, "output_tokens_details": {"thinking_tokens": 2}}
    outcome = read([body(start(), *text(0, "Hi"), *end(usage=revised))])
    assert outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (10, 1)
    assert outcome.usage.completion_tokens_details is not None
    assert outcome.usage.completion_tokens_details.reasoning_tokens == 2


def test_cached_tokens_are_of_the_prompt() -> None:
    """What the cache took is told as Bedrock's is; what Claude said stays beside."""
    counts = {"input_tokens": 3, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5}
    usage = read([body(start(), *text(0, "Hi"), *end(usage=counts))]).usage
    assert usage is not None
    assert usage.prompt_tokens == 18
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.model_dump(exclude_none=True) == {
        "cached_tokens": 10,
        "cache_creation_tokens": 5,
    }
    assert usage["cache_creation_input_tokens"] == 5


def test_usage_of_the_start_alone() -> None:
    """Where no message_delta came, what the start said is all there is; so it is with counts of no use."""
    outcome = read([body(start(), *text(0, "Hi"), {"type": "message_stop"})])
    assert (outcome.complete, outcome.usage and outcome.usage.prompt_tokens) == (True, 8)
    outcome = read([body(start(usage={"input_tokens": "many", "output_tokens": None}), *text(0, "Hi"), *end(usage=7))])
    assert (outcome.failure, outcome.texts) == (None, {0: "Hi"})
    assert outcome.usage is not None
    assert outcome.usage.total_tokens == 0


def test_thinking() -> None:
    """Thoughts come as reasoning, and once whole, with their signature, as a block; redacted ones as a block."""
    outcome = read(
        [
            body(
                start(),
                block(0, type="thinking", thinking="", signature=""),
                delta(0, type="thinking_delta", thinking="Let me"),
                delta(0, type="thinking_delta", thinking=" see."),
                delta(0, type="signature_delta", signature="s1"),
                delta(0, type="signature_delta", signature="s2"),
                stop(0),
                block(1, type="redacted_thinking", data="xyz"),
                stop(1),
                *text(2, "Hi"),
                *end(),
            )
        ]
    )
    assert message(outcome).model_dump(exclude_none=True) == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "Let me see.",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "Let me see.", "signature": "s1s2"},
            {"type": "redacted_thinking", "data": "xyz"},
        ],
    }


def test_tool_use() -> None:
    """Calls are numbered among themselves; no input is an empty object, and one at the start counts alone."""
    outcome = read(
        [
            body(
                start(),
                *text(0, "Wait."),
                block(1, type="tool_use", id="a", name="f", input={}),
                delta(1, type="input_json_delta", partial_json=""),
                delta(1, type="input_json_delta", partial_json='{"a"'),
                delta(1, type="input_json_delta", partial_json=": 1}"),
                stop(1),
                block(2, type="tool_use", id="b", name="g", input={}),
                delta(2, type="input_json_delta", partial_json=""),
                stop(2),
                block(3, type="tool_use", id="c", name="h", input={"é": 1}, caller={"type": "direct"}),
                *end("tool_use"),
            )
        ]
    )
    assert outcome.told_calls() == [("a", "f", '{"a": 1}'), ("b", "g", "{}"), ("c", "h", '{"é":1}')]
    assert outcome.finishes == {0: ["tool_calls"]}
    calls = message(outcome).tool_calls
    assert calls is not None
    assert calls[2].model_dump()["provider_specific_fields"] == {"caller": {"type": "direct"}}
    assert message(outcome).provider_specific_fields is None


def test_server_tools() -> None:
    """They are no calls of the caller's; all blocks are kept from the first of them on, those before it included."""
    result: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    outcome = read(
        [
            body(
                start(),
                *text(0, "Look:"),
                block(1, type="server_tool_use", id="s", name="web_search", input={}),
                delta(1, type="input_json_delta", partial_json='{"query": "a"}'),
                stop(1),
                block(2, **result),
                stop(2),
                *text(3, "Found."),
                *end("pause_turn"),
            )
        ]
    )
    assert (outcome.told_calls(), outcome.texts) == ([], {0: "Look:Found."})
    assert (outcome.finishes, outcome.natives) == ({0: ["stop"]}, {0: "pause_turn"})
    beside = message(outcome).provider_specific_fields
    assert beside is not None
    assert beside["content_blocks"] == [
        {"type": "text", "text": "Look:"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "a"}},
        result,
        {"type": "text", "text": "Found."},
    ]


def test_order_of_blocks() -> None:
    """Thoughts after text cannot be told by a message in OpenAI's shape, so that the blocks are kept."""
    thought = [block(1, type="thinking", thinking="Hm", signature="s"), stop(1)]
    kept = message(read([body(start(), *text(0, "a"), *thought, *end())])).provider_specific_fields
    assert kept is not None
    assert [each["type"] for each in kept["content_blocks"]] == ["text", "thinking"]
    assert message(read([body(start(), *thought, *text(2, "a"), *end())])).provider_specific_fields is None


def test_citations() -> None:
    """They come at once as they are, and as annotations of the text they stand for once that is whole."""
    web = {"type": "web_search_result_location", "url": "http://a", "title": "A", "encrypted_index": "x"}
    page = {"type": "page_location", "document_index": 0, "cited_text": "b"}
    outcome = read(
        [
            body(
                start(),
                *text(0, "See "),
                block(1, type="text", text="", citations=[]),
                delta(1, type="citations_delta", citation=web),
                delta(1, type="text_delta", text="this"),
                delta(1, type="citations_delta", citation=page),
                stop(1),
                *end(),
            )
        ]
    )
    whole = message(outcome)
    assert whole.annotations == [
        {"type": "url_citation", "url_citation": {"url": "http://a", "title": "A", "start_index": 4, "end_index": 8}},
        {**page, "start_index": 4, "end_index": 8},
    ]
    assert whole.provider_specific_fields == {
        "citations": [web, page],
        "content_blocks": [
            {"type": "text", "text": "See "},
            {"type": "text", "text": "this", "citations": [web, page]},
        ],
    }


def test_refusal() -> None:
    """A refusal is the filter's; its explanation is the refusal, its details stay."""
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    said = {"stop_reason": "refusal", "stop_sequence": None, "stop_details": details}
    outcome = read([body(start(), *end(delta=said))])
    assert (outcome.finishes, outcome.natives) == ({0: ["content_filter"]}, {0: "refusal"})
    assert (outcome.refusals, outcome.complete) == ({0: "No."}, True)
    assert message(outcome).provider_specific_fields == {"stop_details": details}


@pytest.mark.parametrize(
    ("native", "told"),
    [("max_tokens", "length"), ("model_context_window_exceeded", "length"), ("stop_sequence", "stop"), ("new", "stop")],
)
def test_stop_reasons(native: str, told: str) -> None:
    """Each comes to one of four; what else the end says is kept."""
    outcome = read([body(start(), *text(0, "a"), *end(native, context_management={"applied_edits": []}))])
    assert (outcome.finishes, outcome.natives) == ({0: [told]}, {0: native})
    assert message(outcome).provider_specific_fields == {"context_management": {"applied_edits": []}}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", ServiceUnavailableError),
        ("rate_limit_error", RateLimitError),
        ("api_error", InternalServerError),
        ("invalid_request_error", BadRequestError),
    ],
)
def test_errors_in_the_stream(kind: str, error: type[Exception]) -> None:
    """What came before is given; the error has its class, its words, its type."""
    said = {"type": "error", "error": {"type": kind, "message": "Sorry"}, "request_id": "req_1"}
    for data in (body(start(), *text(0, "Hi"), said), body(start(), *text(0, "Hi")) + b"data: %a\n\n" % 0):
        outcome = read([data.replace(b"data: 0", b"data: " + json.dumps(said).encode())])
        assert outcome.texts == {0: "Hi"}
        assert outcome.failure is not None
        assert type(outcome.failure) is error
        assert (str(outcome.failure), outcome.failure.type, outcome.failure.status_code) == ("Sorry", kind, 200)
        assert outcome.failure.request_id == "req_1"
        assert not outcome.complete


def test_ends() -> None:
    """A message_stop ends it, and so does a stop reason; a stream that merely stops is no whole answer."""
    whole = [start(), *text(0, "Hi")]
    assert not read([body(*whole)]).complete
    assert read([body(*whole, {"type": "message_stop"})]).complete
    assert read([body(*whole, end()[0])]).complete
    outcome = read([body({"type": "message_stop"})])
    assert isinstance(outcome.failure, APIResponseValidationError)
    outcome = read([body(*whole, *end(), *text(1, "more"))])
    assert outcome.texts == {0: "Hi"}


def test_a_call_that_is_broken_off() -> None:
    """Its arguments stay as far as they came."""
    call = [block(0, type="tool_use", id="a", name="f", input={})]
    call.append(delta(0, type="input_json_delta", partial_json='{"a": '))
    outcome = read([body(start(), *call, *end("max_tokens"))])
    assert (outcome.told_calls(), outcome.finishes) == ([("a", "f", '{"a": ')], {0: ["length"]})
    assert read([body(start(), *call)]).told_calls() == [("a", "f", '{"a": ')]


def test_what_is_not_known() -> None:
    """Events to come are passed over, blocks and deltas to come kept; events may have no names, and no start."""
    plain = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in (start(), *text(0, "Hi"), *end()))
    assert read([plain]).texts == {0: "Hi"}
    outcome = read([body(delta(0, type="text_delta", text="Hi"), {"type": "news", "message": "!"}, *end())])
    assert (outcome.texts, outcome.failure) == ({0: "Hi"}, None)
    new = [block(0, type="compaction", content=None), delta(0, type="compaction_delta", content="a")]
    outcome = read([body(start(), *new, delta(0, type="compaction_delta", content="b"), *end())])
    assert message(outcome).provider_specific_fields == {"content_blocks": [{"type": "compaction", "content": "ab"}]}


def test_surrogates() -> None:
    """The halves of a character that came in two deltas are one; one that stays alone is the replacement character."""
    outcome = read([body(start(), *text(0, "a\ud83d", "\ude00", "\ud83d"), *end())])
    assert outcome.texts == {0: "a\U0001f600\ufffd"}
    thought = [delta(0, type="thinking_delta", thinking=half) for half in ("\ud83d", "\ude00")]
    blocks = message(read([body(start(), *thought, *end())])).thinking_blocks
    assert blocks == [{"type": "thinking", "thinking": "\U0001f600"}]


def test_a_whole_answer() -> None:
    """A server that does not stream is read as well."""
    usage = {"input_tokens": 1, "output_tokens": 2}
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": "s"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
    ]
    payload = {"type": "message", "id": "m", "content": content, "stop_reason": "tool_use", "usage": usage}
    outcome = read([json.dumps(payload).encode()], JSON)
    assert (outcome.complete, outcome.texts, outcome.reasoning) == (True, {0: "Hi"}, {0: "Hm"})
    assert outcome.told_calls() == [("a", "f", '{"x":1}')]
    assert (outcome.finishes, outcome.usage and outcome.usage.total_tokens) == ({0: ["tool_calls"]}, 3)
    assert message(outcome).thinking_blocks == content[:1]
    outcome = read([b'{"type": "error", "error": {"type": "overloaded_error", "message": "Sorry"}}'], JSON)
    assert isinstance(outcome.failure, ServiceUnavailableError)
    assert isinstance(read([b'{"message": "Forbidden"}'], JSON).failure, Exception)
    assert isinstance(read([b'{"type": "message"}'], JSON).failure, APIResponseValidationError)


def test_legacy_completions() -> None:
    """Text completions, with a type or, as at Bedrock, without; whole, too."""
    first: dict[str, Any] = {"completion": " Hi", "stop_reason": None}
    last: dict[str, Any] = {"completion": "!", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"}
    for kind in ({"type": "completion"}, {}):
        reading = AnthropicReading(request(), EVENT_STREAM)
        chunks = reading.take_event({**first, **kind}) + reading.take_event({**last, **kind})
        outcome = Outcome(chunks, reading.complete, reading.failure, reading.events)
        assert (outcome.texts, outcome.complete, outcome.finishes) == ({0: " Hi!"}, True, {0: ["stop"]})
        assert message(outcome).provider_specific_fields == {"stop_sequence": "\n\nHuman:"}
    assert read([json.dumps(last).encode()], JSON).texts == {0: "!"}


def test_events_without_a_stream() -> None:
    """Events may come as objects; what Bedrock says at the end rides on the last chunk; after the end there is none."""
    reading = AnthropicReading(request(), {})
    events = [start(), *text(0, "Hi"), end()[0]]
    last = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5}}
    chunks = [chunk for event in [*events, last] for chunk in reading.take_event(event)]
    assert (reading.complete, reading.events) == (True, len(events) + 1)
    assert (chunks[-1].model_extra or {})["amazon-bedrock-invocationMetrics"] == {"inputTokenCount": 5}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].reported_usage is not None
    assert reading.take_event(start()) == []
