"""Reading Cohere's answers: the events of version 2, the lines of version 1, and what goes wrong."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from rxllm.exceptions import APIResponseValidationError, ContextWindowExceededError, Timeout
from rxllm.providers._cohere import CohereChat
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import EVENT_STREAM, Outcome

REQUEST = Request(model="cohere/command-a", messages=[], wire_model="command-a")
LINES = {"content-type": "application/stream+json"}
START: dict[str, Any] = {"type": "message-start", "id": "m1", "delta": {"message": {"role": "assistant"}}}
END: dict[str, Any] = {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}


def read(pieces: Iterable[bytes], headers: dict[str, str] = EVENT_STREAM) -> Outcome:
    """Reads a body to its end."""
    reading = CohereChat().reading(REQUEST, headers)
    chunks: list[ModelResponseStream] = []
    for piece in pieces:
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def events(*told: Any) -> bytes:
    """A body of version 2."""
    framed = (f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in told)
    return "".join(framed).encode() + b"data: [DONE]\n\n"


def lines(*told: Any) -> bytes:
    """A body of version 1."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in told)


def part(kind: str, index: int = 0, /, **message: Any) -> dict[str, Any]:
    """An event of version 2."""
    return {"type": kind, "index": index, "delta": {"message": message}}


def text(content: str) -> dict[str, Any]:
    """A piece of text."""
    return part("content-delta", content={"text": content})


def test_text_and_thinking() -> None:
    """In the order in which they came; the id and the model on each chunk."""
    outcome = read([events(START, part("content-delta", content={"thinking": "Hm"}), text("Hel"), text("lo"), END)])
    assert (outcome.texts[0], outcome.reasoning[0], outcome.roles[0]) == ("Hello", "Hm", ["assistant"])
    assert (outcome.finishes[0], outcome.natives[0], outcome.complete) == (["stop"], "COMPLETE", True)
    assert {(chunk.id, chunk.model) for chunk in outcome.chunks} == {("m1", "command-a")}
    assert outcome.usage is None


@pytest.mark.parametrize("named", [True, False])
def test_the_type_is_in_the_data_or_is_the_events_name(named: bool) -> None:
    """Either will do."""
    bodies = [{key: value for key, value in event.items() if key != "type" or not named} for event in (text("Hi"), END)]
    names = ["event: content-delta\n", "event: message-end\n"] if named else ["", ""]
    body = "".join(f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(names, bodies, strict=True))
    outcome = read([body.encode()])
    assert (outcome.texts[0], outcome.complete) == ("Hi", True)


def test_calls_after_a_plan() -> None:
    """The plan streams; whole, it stands on the first chunk after it, once."""
    call = part("tool-call-start", 0, tool_calls={"id": "f1", "type": "function", "function": {"name": "f"}})
    more = part("tool-call-delta", 0, tool_calls={"function": {"arguments": "{}"}})
    other = part("tool-call-start", 1, tool_calls={"id": "g1", "function": {"name": "g", "arguments": ""}})
    plan = [part("tool-plan-delta", tool_plan=piece) for piece in ("I ", "will.")]
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    outcome = read([events(START, *plan, call, more, {"type": "tool-call-end", "index": 0}, other, end)])
    assert outcome.told_calls() == [("f1", "f", "{}"), ("g1", "g", "")]
    assert (outcome.texts[0], outcome.reasoning[0], outcome.finishes[0]) == ("", "", ["tool_calls"])
    deltas = [chunk.choices[0].delta for chunk in outcome.chunks]
    assert [delta.get("tool_plan") for delta in deltas if "tool_plan" in delta] == ["I ", "will."]
    wholes = [delta.provider_specific_fields for delta in deltas if delta.provider_specific_fields]
    assert wholes == [{"tool_plan": "I will."}]
    assert deltas[3].tool_calls is not None


def test_a_plan_and_no_calls() -> None:
    """It is over with the answer."""
    outcome = read([events(START, part("tool-plan-delta", tool_plan="Hm"), END)])
    assert outcome.chunks[-1].choices[0].delta.provider_specific_fields == {"tool_plan": "Hm"}


def test_citations() -> None:
    """All as they came; those of an address as annotations too."""
    document = {"type": "document", "id": "d", "document": {"url": "https://a.b", "title": "A"}}
    one = {"start": 0, "end": 2, "text": "Hi", "sources": [document]}
    two = {"start": 1, "end": 2, "text": "i", "sources": [{"type": "tool", "id": "t"}]}
    outcome = read([events(START, text("Hi"), *(part("citation-start", citations=cited) for cited in (one, two)), END)])
    deltas = [chunk.choices[0].delta for chunk in outcome.chunks]
    beside = [delta.provider_specific_fields for delta in deltas if delta.provider_specific_fields]
    assert beside == [{"citations": [one]}, {"citations": [two]}]
    place = {"start_index": 0, "end_index": 2, "url": "https://a.b", "title": "A"}
    assert [delta.annotations for delta in deltas if delta.annotations] == [
        [{"type": "url_citation", "url_citation": place}]
    ]


def test_log_probabilities() -> None:
    """Of a piece of text; where that is several tokens, of all together."""
    said = {"text": "Hi", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}
    [_, chunk, _] = read([events(START, {**text("Hi"), "logprobs": said}, END)]).chunks
    item = {"token": "Hi", "logprob": -0.75, "bytes": [72, 105], "top_logprobs": [], "token_ids": [1, 2]}
    assert chunk.choices[0].logprobs == {"content": [item]}


def test_usage() -> None:
    """What the model read and wrote, numbers written as 7.0 too; the rest beside."""
    tokens, billed = {"input_tokens": 7.0, "output_tokens": 2}, {"input_tokens": 3, "output_tokens": 2}
    said = {"tokens": tokens, "billed_units": billed, "cached_tokens": 4}
    usage = read([events(START, {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": said}})]).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 2, 9)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage["billed_units"] == billed
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": billed}}}
    usage = read([events(START, end)]).usage
    assert usage is not None
    assert usage.total_tokens == 5


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR_LIMIT", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("NEW", "stop"),
    ],
)
def test_finish_reasons(native: str, finish: str) -> None:
    """Cohere's names are told beside."""
    outcome = read([events(START, text("Hi"), {"type": "message-end", "delta": {"finish_reason": native}})])
    assert (outcome.finishes[0], outcome.natives[0], outcome.complete) == ([finish], native, True)


@pytest.mark.parametrize(
    ("end", "words", "code"),
    [
        ({"finish_reason": "ERROR", "error": "bad tool", "error_type": "INVALID"}, "bad tool", "INVALID"),
        ({"finish_reason": "ERROR"}, "broke the answer off", None),
        ({"error": "gone"}, "gone", None),
        ({"finish_reason": "TIMEOUT"}, "broke the answer off", None),
    ],
)
def test_an_answer_that_failed(end: dict[str, Any], words: str, code: str | None) -> None:
    """Is an error with Cohere's words, after the text before it; it has no finish reason."""
    outcome = read([events(START, text("Hi"), {"type": "message-end", "delta": end})])
    assert (outcome.texts[0], outcome.finishes, outcome.complete) == ("Hi", {}, False)
    assert outcome.failure is not None
    assert words in str(outcome.failure)
    assert outcome.failure.code == code
    assert isinstance(outcome.failure, Timeout) == (end.get("finish_reason") == "TIMEOUT")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (events(START, text("Hi")).replace(b"[DONE]", b'{"message": "too many requests"}'), "too many requests"),
        (b'{"message": "no such model", "id": "1"}', "no such model"),
        (b'{\n  "message": "no such model"\n}', "no such model"),
        (b'event: error\ndata: {"message": "broken"}\n\n', "broken"),
        (b'data: {"type": "error", "message": "broken"}\n\n', "broken"),
    ],
)
def test_errors_in_a_successful_response(body: bytes, words: str) -> None:
    """Whatever way they come."""
    assert words in str(read([body]).failure)


def test_a_prompt_that_is_too_long() -> None:
    """Cohere says so in words of its own."""
    body = b'{"id": "1", "message": "too many tokens: size limit exceeded by 11326 tokens."}'
    error = CohereChat().error(REQUEST, 400, {"content-type": "application/json"}, body)
    assert isinstance(error, ContextWindowExceededError)


@pytest.mark.parametrize("body", [b"", events(START, text("Hi"))[:-14], events(START)[:20]])
def test_no_end_is_no_whole_answer(body: bytes) -> None:
    """The answer broke off."""
    outcome = read([body])
    assert (outcome.complete, outcome.failure) == (False, None)


def test_the_end_is_the_messages() -> None:
    """Some gateways leave ``[DONE]`` out."""
    assert read([events(START, text("Hi"), END).replace(b"data: [DONE]\n\n", b"")]).complete


@pytest.mark.parametrize("indent", [None, 1])
def test_a_whole_answer(indent: int | None) -> None:
    """From a server that does not stream."""
    message = {
        "role": "assistant",
        "tool_plan": "Hm",
        "content": [{"type": "thinking", "thinking": "So"}, {"type": "text", "text": "Hi"}],
        "tool_calls": [{"id": "f1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "citations": [{"start": 0, "end": 1}],
    }
    usage = {"tokens": {"input_tokens": 1, "output_tokens": 2}}
    answer = {"id": "m1", "finish_reason": "TOOL_CALL", "message": message, "usage": usage}
    outcome = read([json.dumps(answer, indent=indent).encode()], {"content-type": "application/json"})
    assert (outcome.texts[0], outcome.reasoning[0], outcome.complete) == ("Hi", "So", True)
    assert outcome.told_calls() == [("f1", "f", "{}")]
    assert outcome.chunks[0].choices[0].delta.provider_specific_fields == {
        "tool_plan": "Hm",
        "citations": [{"start": 0, "end": 1}],
    }
    assert outcome.usage is not None


def test_version_1() -> None:
    """Text, citations and what was searched; the usage stands in the whole answer at the end."""
    meta = {"tokens": {"input_tokens": 5, "output_tokens": 6}, "billed_units": {"input_tokens": 1}}
    body = lines(
        {"event_type": "stream-start", "generation_id": "g1", "is_finished": False},
        {"event_type": "search-results", "documents": [{"id": "d"}], "search_results": [1], "is_finished": False},
        {"event_type": "text-generation", "text": "Hi", "is_finished": False},
        {"event_type": "citation-generation", "citations": [{"start": 0}], "is_finished": False},
        {"event_type": "new-thing", "is_finished": False},
        {
            "event_type": "stream-end",
            "finish_reason": "MAX_TOKENS",
            "response": {"text": "Hi", "meta": meta, "documents": [{"id": "d"}]},
            "is_finished": True,
        },
    )
    outcome = read([body], LINES)
    assert (outcome.texts[0], outcome.finishes[0], outcome.complete) == ("Hi", ["length"], True)
    assert outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (5, 6)
    beside = [chunk.choices[0].delta.provider_specific_fields for chunk in outcome.chunks]
    assert [told for told in beside if told] == [
        {"documents": [{"id": "d"}], "search_results": [1]},
        {"citations": [{"start": 0}]},
    ]
    assert {chunk.id for chunk in outcome.chunks} == {"g1"}


@pytest.mark.parametrize("generated", [True, False])
def test_calls_of_version_1(generated: bool) -> None:
    """They come whole, in an event of their own or at the end, and get ids that stay the same."""
    calls = [{"name": "f", "parameters": {"a": 1}}, {"name": "f", "parameters": {"a": 1}}]
    body = lines(
        {"event_type": "tool-calls-chunk", "tool_call_delta": {"text": "I will."}},
        {"event_type": "tool-calls-chunk", "tool_call_delta": {"name": "f", "parameters": '{"a"'}},
        *([{"event_type": "tool-calls-generation", "text": "I will.", "tool_calls": calls}] if generated else []),
        {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"tool_calls": calls}},
    )
    outcome = read([body], LINES)
    told = outcome.told_calls()
    assert [call[1:] for call in told] == [("f", '{"a":1}')] * 2
    assert len({call_id for call_id, _, _ in told}) == 2
    assert told == read([body], LINES).told_calls()
    assert outcome.finishes[0] == ["tool_calls"]
    plans = [chunk.choices[0].delta.provider_specific_fields for chunk in outcome.chunks]
    assert [plan for plan in plans if plan] == [{"tool_plan": "I will."}]


def test_whole_and_generated_answers_of_version_1() -> None:
    """A chat that was not streamed, and a generation, whose lines have no type."""
    whole = {"generation_id": "g", "text": "Hi", "finish_reason": "COMPLETE", "citations": [{"start": 0}]}
    outcome = read([json.dumps(whole).encode()], {"content-type": "application/json"})
    assert (outcome.texts[0], outcome.complete) == ("Hi", True)
    assert outcome.chunks[-1].choices[0].delta.provider_specific_fields == {"citations": [{"start": 0}]}
    body = lines({"text": "Hi", "is_finished": False}, {"is_finished": True, "finish_reason": "COMPLETE"})
    assert (read([body]).texts[0], read([body]).complete) == ("Hi", True)


@pytest.mark.parametrize("body", [b"<html>no</html>", b"not found", b"[1]", b"data: {]\n\n", b'{"a": 1}\nno\n'])
def test_what_is_no_answer(body: bytes) -> None:
    """Is a typed error."""
    assert isinstance(read([body], {}).failure, APIResponseValidationError)
