"""The OpenAI dialect's reading: what providers send, well-formed or not, becomes chunks, an end, or a typed error."""

import json
from typing import Any

import pytest

from rxllm.exceptions import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    BadGatewayError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
)
from rxllm.providers._openai import OpenAIChat
from tests.providers.reading import EVENT_STREAM, USAGE, event, read, request, sse, text

CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGE = {"role": "assistant", "content": "Hi", "tool_calls": None}
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 7,
    "model": "gpt-4",
    "choices": [
        {"index": 0, "message": MESSAGE, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"},
    ],
    "usage": USAGE,
}


def test_done_is_the_end_and_nothing_after_it_is_read() -> None:
    """``[DONE]`` proves the end, with a finish reason or without, and what follows is left alone."""
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    [chunk] = reading.feed(sse(text("Hi")) + sse(text("more")))
    assert chunk.choices[0].delta.content == "Hi"
    assert reading.complete
    assert reading.feed(sse(text("more"))) == []
    assert reading.end() == []
    assert reading.complete


def test_done_before_any_choice_is_no_answer() -> None:
    """A stream without a single choice is an error, not an empty answer."""
    outcome = read([sse()])
    assert isinstance(outcome.failure, APIResponseValidationError)
    assert not outcome.complete
    assert not read([sse({"choices": [], "prompt_filter_results": []})]).complete


def test_a_finish_reason_for_every_choice_proves_the_end() -> None:
    """Without ``[DONE]`` all choices that were asked for, and all that came, must have finished."""
    one = sse(text("a", finish="stop"), done=False)
    both = one + sse(text("b", index=1, finish="stop"), done=False)
    assert read([one]).complete
    assert not read([one], request(n=2)).complete
    assert read([both], request(n=2)).complete
    assert not read([one + sse(text("b", index=1), done=False)]).complete
    assert read([sse(text("a", finish="stop"))], request(n=2)).complete
    assert not read([sse(text("a"), done=False)]).complete
    assert not read([b""]).complete


def test_reading_goes_on_after_the_finish_reasons() -> None:
    """Usage comes after the finish reasons, so they alone do not end the reading."""
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    assert reading.feed(sse(text("a", finish="stop"), done=False)) == []
    assert not reading.complete
    [last] = reading.feed(sse({"choices": [], "usage": USAGE}))
    assert last.reported_usage is not None
    assert reading.complete


def test_an_event_cut_off_by_the_end_is_left_out() -> None:
    """A body that breaks off within an event is incomplete, not invalid; a whole last one needs no line end."""
    body = sse(text("a"), text("b"), done=False)
    outcome = read([body[:-30]])
    assert outcome.texts == {0: "a"}
    assert outcome.failure is None
    assert not outcome.complete
    assert read([body.rstrip(b"\n") + b"\n\ndata: [DONE]"]).complete


def test_events_are_counted_and_comments_are_not() -> None:
    """Keep-alive comments are no events."""
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    reading.feed(b": keep-alive\n\n: keep-alive\n\n")
    assert reading.events == 0
    reading.feed(sse(text("a"), b": keep-alive", text("b"), done=False))
    assert reading.events == 2


@pytest.mark.parametrize(
    ("sent", "kind", "message", "code"),
    [
        (b'event: error\ndata: {"error": {"message": "m", "code": "tool_use_failed", "status_code": 400}}',
         BadRequestError, "m", "tool_use_failed"),
        (b'event: error\ndata: {"message": "m", "type": "rate_limit_error"}', RateLimitError, "m", None),
        (b"event: error\ndata: all is lost", APIStatusError, "all is lost", None),
        ({"error": {"message": "m", "code": 502}}, BadGatewayError, "m", "502"),
        ({"error": "m"}, APIStatusError, "m", None),
        ({"object": "error", "message": "m", "code": 400}, BadRequestError, "m", "400"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, InternalServerError, "m", None),
        ({"detail": "m"}, APIStatusError, "m", None),
        ({"code": "InvalidParameter", "message": "m"}, APIStatusError, "m", "InvalidParameter"),
        ([{"error": {"message": "m", "status": "RESOURCE_EXHAUSTED"}}], RateLimitError, "m", "RESOURCE_EXHAUSTED"),
    ],
)  # fmt: skip
def test_errors_in_the_stream(sent: Any, kind: type[APIError], message: str, code: str | None) -> None:
    """An error in a stream with status 200 is typed, in the provider's words; what came before is given."""
    outcome = read([sse(text("a"), sent, text("b"))])
    assert outcome.texts == {0: "a"}
    failure = outcome.failure
    assert type(failure) is kind or (kind is InternalServerError and isinstance(failure, kind))
    assert failure is not None
    assert (str(failure), failure.code, failure.status_code) == (message, code, 200)
    assert (failure.llm_provider, failure.model) == ("openai", "openai/gpt-4")
    assert not outcome.complete


def test_an_error_beside_choices_comes_after_them() -> None:
    """The delta beside an error is given if there is anything in it, and so are its usage and what was held back."""
    with_text = read([sse(text("a"), text("b", error={"message": "m"}))])
    assert with_text.texts == {0: "ab"}
    assert str(with_text.failure) == "m"
    empty = read([sse(text("a", finish="length"), text("", error={"message": "m"}, usage=USAGE))])
    assert len(empty.chunks) == 1
    assert empty.finishes == {0: ["length"]}
    assert empty.chunks[0].reported_usage is not None


def test_an_empty_error_is_none() -> None:
    """Some providers send ``error: null`` on each chunk."""
    outcome = read([sse(text("a", error=None), text("b", error={}), text("", finish="stop"))])
    assert outcome.texts == {0: "ab"}
    assert outcome.failure is None


@pytest.mark.parametrize("reason", ["error", "network_error", "abort"])
def test_a_finish_reason_that_says_failure(reason: str) -> None:
    """Where the provider says by the finish reason that it failed, the answer is not whole."""
    outcome = read([sse(text("a"), text("b", finish=reason))])
    assert outcome.texts == {0: "ab"}
    assert outcome.finishes == {}
    assert isinstance(outcome.failure, InternalServerError)
    assert reason in str(outcome.failure)
    choice = {"delta": {}, "finish_reason": reason, "error": {"message": "Upstream is down", "code": 502}}
    assert str(read([sse({"choices": [choice]})]).failure) == "Upstream is down"


@pytest.mark.parametrize("native", ["MALFORMED_FUNCTION_CALL", "STOP", None])
def test_a_failure_that_the_upstream_calls_otherwise(native: str | None) -> None:
    """OpenRouter's ``error`` is a failure whatever its upstream said."""
    choice = {"delta": {"content": "b"}, "finish_reason": "error", "native_finish_reason": native}
    outcome = read([sse(text("a"), {"choices": [choice]})])
    assert (outcome.texts, outcome.finishes, outcome.complete) == ({0: "ab"}, {}, False)
    assert isinstance(outcome.failure, InternalServerError)
    assert repr(native or "error") in str(outcome.failure)


@pytest.mark.parametrize("finish", [None, "stop"])
@pytest.mark.parametrize("before", [(), (text("a"),)])
def test_an_error_within_a_choice(before: tuple[Any, ...], finish: str | None) -> None:
    """OpenRouter puts its upstream's error into the choice, also where it says no finish reason."""
    choice = {"delta": {"content": "b"}, "finish_reason": finish, "error": {"code": 502, "message": "up"}}
    outcome = read([sse(*before, {"choices": [choice]})])
    assert outcome.texts[0].endswith("b")
    assert (outcome.finishes, outcome.complete) == ({}, False)
    assert isinstance(outcome.failure, BadGatewayError)
    assert str(outcome.failure) == "up"
    assert read([sse(text("a"), {"choices": [{**choice, "error": None}]}, text("", finish="stop"))]).complete


def test_named_events() -> None:
    """``message`` is a chunk like any other; other names count where they bring choices, and a ping brings none."""
    chunk = json.dumps(text("a")).encode()
    named = [b"event: message\ndata: " + chunk, b"event: chunk\ndata: " + chunk]
    pings = [b"event: ping\ndata: {}", b"event: ping\ndata: pong", b'event: ping\ndata: {"message": "m"}']
    outcome = read([sse(*named, *pings, b"event: done\ndata: [DONE]", done=False)])
    assert outcome.texts == {0: "aa"}
    assert len(outcome.chunks) == 2
    assert outcome.complete


@pytest.mark.parametrize("sent", [b"data: nonsense", b"data: {", b"data: 5", b"data: null", b"data: [1]"])
def test_garbage_is_a_failure_that_shows_it(sent: bytes) -> None:
    """An event that is no JSON object cannot be read; what came before is given."""
    outcome = read([sse(text("a"), sent, text("b"))])
    assert outcome.texts == {0: "a"}
    assert isinstance(outcome.failure, APIResponseValidationError)
    assert sent[6:].decode() in str(outcome.failure)
    assert outcome.failure.body == sent[6:].decode()


def test_a_long_event_is_not_shown_whole() -> None:
    """Message and body of the error stay of a sane length."""
    failure = read([b"data: " + b"x" * 100_000 + b"\n\n"]).failure
    assert failure is not None
    assert len(str(failure)) < 400
    assert len(failure.body) <= 4000


def test_an_oversized_event_is_a_failure() -> None:
    """The decoder's limit comes out as a typed error with the request's names."""
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    assert len(reading.feed(sse(text("a"), done=False) + b"data: ")) == 1
    piece = b"x" * (1 << 20)
    for _ in range(40):
        reading.feed(piece)
    assert isinstance(reading.failure, APIResponseValidationError)
    assert reading.failure.llm_provider == "openai"


@pytest.mark.parametrize(
    ("choice", "content"),
    [
        ({"index": None, "delta": {"content": "a"}}, "a"),
        ({"delta": {"content": "a"}, "logprobs": [1]}, "a"),
        ({"delta": {"content": "a", "role": 1, "annotations": {}}}, "a"),
        ({"delta": None}, ""),
        ({"delta": []}, ""),
        ({"index": 0}, ""),
        ({"index": 0.0, "delta": {"content": "a"}}, "a"),
        ({"index": "0", "delta": {"content": "a"}}, "a"),
    ],
)
def test_oddities_are_repaired(choice: dict[str, Any], content: str) -> None:
    """Nulls and odd types where they can only mean one thing."""
    outcome = read([sse({"id": 5, "created": 1.5, "model": None, "choices": [choice, None]}, text("b"))])
    assert outcome.failure is None
    assert outcome.texts == {0: content + "b"}
    first = outcome.chunks[0]
    assert (first.id, first.created, first.model) == ("5", 1, "")


def test_content_as_a_list() -> None:
    """The texts among the parts, bare strings too, are the content; thinking is reasoning."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]}
    parts = ["a", {"type": "text", "text": "b"}, thinking, None, "c", {"type": "reference", "reference_ids": [1]}]
    outcome = read([sse(event({"content": parts}), text("d", finish="stop"))])
    assert (outcome.texts, outcome.reasoning) == ({0: "abcd"}, {0: "why"})
    assert outcome.chunks[0].choices[0].delta.provider_specific_fields == {"content": [parts[-1]]}


@pytest.mark.parametrize("before", [(), (text("a"),)])
def test_a_whole_message_within_an_event(before: tuple[Any, ...]) -> None:
    """Gateways that only seem to stream send one; beside a delta it says what came so far, and is not read."""
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "tool_calls": [CALL]}
    outcome = read([sse(*before, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE})])
    assert (outcome.texts, outcome.finishes) == ({0: "a" * len(before) + "Hi"}, {0: ["tool_calls"]})
    assert (outcome.told_calls(), outcome.complete) == ([("a", "f", "{}")], True)
    assert outcome.usage is not None
    both = [{"choices": [{"delta": {"content": piece}, "message": {"content": "Hello"}}]} for piece in ("Hel", "lo")]
    assert read([sse(*before, *both)]).texts == {0: "a" * len(before) + "Hello"}


def test_null_choices_are_none() -> None:
    """``choices: null`` is an event without a choice, and safe to read like one."""
    outcome = read([sse({"choices": None, "note": 1}, text("a"))])
    assert outcome.chunks[0].choices[0].delta.content is None
    assert outcome.chunks[0]["note"] == 1


def test_odd_usage_is_repaired_or_left_out() -> None:
    """Usage that cannot be read does not cost the answer."""
    odd = {"prompt_tokens": None, "completion_tokens": 4, "total_tokens": "seven"}
    outcome = read([sse(text("a", usage="none"), {"choices": [], "usage": odd})])
    assert outcome.failure is None
    assert outcome.usage is not None
    assert outcome.usage.total_tokens == 4


def test_odd_tool_calls_are_repaired() -> None:
    """Arguments as an object become JSON; a null function is none."""
    calls = [{"index": 0, "id": 7, "function": {"name": "f", "arguments": {"a": "é"}}}, {"index": 0, "function": None}]
    outcome = read([sse(event({"tool_calls": calls}), event({"tool_calls": {**CALL, "index": 1}}))])
    assert outcome.failure is None
    [(call_id, name, arguments), second] = outcome.told_calls()
    assert (call_id, name, json.loads(arguments)) == ("7", "f", {"a": "é"})
    assert second == ("a", "f", "{}")


@pytest.mark.parametrize("delta", [{"content": 5}, {"content": {"a": 1}}, {"tool_calls": "f"}, "text"])
def test_content_of_a_wrong_type_is_a_failure(delta: Any) -> None:
    """What would be part of the answer and cannot be read is no chunk."""
    outcome = read([sse(text("a"), {"choices": [{"delta": delta}]})])
    assert outcome.texts == {0: "a"}
    assert isinstance(outcome.failure, APIResponseValidationError)
    assert "delta" in str(outcome.failure)


def deltas(*contents: str, field: str = "content") -> bytes:
    """Events whose text is given as JSON, escapes and all."""
    return sse(*(b'data: {"choices":[{"delta":{"%s":"%s"}}]}' % (field.encode(), c.encode()) for c in contents))


@pytest.mark.parametrize(
    ("contents", "whole"),
    [
        ([r"a\ud83d", r"\ude00b"], "a\U0001f600b"),
        ([r"\ud83d", "", r"\ude00"], "\U0001f600"),
        ([r"\ud83d", "a"], "\ufffda"),
        ([r"\ude00a"], "\ufffda"),
        ([r"\ud83d\ude00"], "\U0001f600"),
        ([r"\ud83d", r"\ud83d", r"\ude00"], "\ufffd\U0001f600"),
    ],
)
def test_halves_of_a_surrogate_pair_are_joined(contents: list[str], whole: str) -> None:
    """Halves in two deltas are one character; one that stays alone is U+FFFD, so that the text can be printed."""
    assert read([deltas(*contents)]).texts == {0: whole}
    assert read([deltas(*contents, field="reasoning")]).reasoning == {0: whole}


def test_halves_are_joined_by_choice_and_field() -> None:
    """Another choice between the halves does not part them, and arguments have halves too."""
    high, low = r"\ud83d", r"\ude00"
    events = [
        b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}' % high.encode(),
        b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}',
        b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}' % low.encode(),
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"%s"}}]}}]}'
        % high.encode(),
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]}}]}'
        % low.encode(),
    ]
    outcome = read([sse(*events)])
    assert outcome.texts == {0: "\U0001f600", 1: "b"}
    assert outcome.told_calls() == [("", "f", "\U0001f600")]


def test_a_high_half_at_the_finish_is_replaced() -> None:
    """Nothing comes after the finish reason that could complete it."""
    sent = b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}'
    assert read([sse(sent, event(finish="stop"))]).texts == {0: "a\ufffd"}
    sent = b'data: {"choices":[{"delta":{"content":"a\\ud83d"},"finish_reason":"stop"}]}'
    assert read([sse(sent)]).texts == {0: "a\ufffd"}


def test_invalid_utf_8_is_replaced() -> None:
    """Bytes that are no UTF-8 read as U+FFFD, as the standard of event streams has it."""
    assert read([b'data: {"choices":[{"delta":{"content":"a\xffb"}}]}\n\n' + sse()]).texts == {0: "a\ufffdb"}


@pytest.mark.parametrize("headers", [{"content-type": "application/json"}, EVENT_STREAM, {}])
def test_a_whole_completion_becomes_chunks(headers: dict[str, str]) -> None:
    """A server that ignores ``stream`` and sends a whole completion gives a stream all the same."""
    body = json.dumps(WHOLE, indent=1).encode()
    outcome = read([body[:9], body[9:]], request(n=2), headers)
    assert outcome.texts == {0: "Hi", 1: ""}
    assert outcome.finishes == {0: ["stop"], 1: ["tool_calls"]}
    assert outcome.told_calls(1) == [("a", "f", "{}")]
    assert outcome.roles == {0: ["assistant"], 1: ["assistant"]}
    assert {chunk.object for chunk in outcome.chunks} == {"chat.completion.chunk"}
    assert outcome.chunks[-1].reported_usage is not None
    assert outcome.complete
    assert outcome.events > 0


def test_a_whole_completion_that_breaks_off_is_incomplete() -> None:
    """Half a JSON object is half an answer."""
    outcome = read([json.dumps(WHOLE).encode()[:-20]], headers={"content-type": "application/json"})
    assert outcome.chunks == []
    assert not outcome.complete
    assert outcome.failure is None


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "m", "code": 429}}', b'\n[{"error": {"message": "m", "code": 429}}]\n']
)
def test_a_json_error_with_status_200_is_typed(body: bytes) -> None:
    """An error is one, whatever the HTTP status says."""
    failure = read([body]).failure
    assert isinstance(failure, RateLimitError)
    assert (str(failure), failure.status_code) == ("m", 200)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html><title>Sign in</title></html>", "<title>Sign in</title>"),
        (b"Not an API", "Not an API"),
        (b'{"hello": "world"}', '"hello"'),
        (b"[1, 2]", "[1, 2]"),
        (b'{"choices": []}', "choices"),
        (b'{"choices": [{}]} and more', "and more"),
    ],
)
def test_anything_else_says_what_came(body: bytes, shown: str) -> None:
    """A body that is neither an event stream nor a completion is shown, with its content-type."""
    failure = read([body], headers={"content-type": "text/html"}).failure
    assert isinstance(failure, APIResponseValidationError)
    assert shown in str(failure)
    assert "text/html" in str(failure)


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "text/plain", "application/json"])
@pytest.mark.parametrize(
    "start", [b"", b"\xef\xbb\xbf", b"\n\n", b": hello\n\n", b"event: message\n", b"id: 1\n", b" "]
)
def test_an_event_stream_is_known_by_its_first_bytes(content_type: str | None, start: bytes) -> None:
    """The content-type may be missing or wrong."""
    headers = {} if content_type is None else {"content-type": content_type}
    body = start + sse(text("a"))
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        outcome = read(pieces, headers=headers)
        assert outcome.texts == {0: "a"}
        assert outcome.complete


def test_groq_usage_counts() -> None:
    """``x_groq.usage`` is usage where there is no other."""
    outcome = read([sse(text("a", x_groq={"id": "r"}), text("", finish="stop", x_groq={"usage": USAGE}))])
    assert outcome.usage is not None
    assert outcome.usage.total_tokens == 7
    assert outcome.chunks[-1].reported_usage is outcome.usage


def test_failures_carry_the_response() -> None:
    """The request id and the headers go with every failure."""
    headers = {**EVENT_STREAM, "x-request-id": "req_1"}
    for body in (sse({"error": "m"}), sse(b"data: x"), sse()):
        failure = read([body], headers=headers).failure
        assert failure is not None
        assert (failure.request_id, failure.headers) == ("req_1", headers)
