"""Reading the Responses API: what each kind of event comes to, and what never may happen."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.exceptions import APIError, InternalServerError, RateLimitError
from rxllm.providers._responses import OpenAIResponses
from rxllm.types import Message, Request
from tests.providers.reading import EVENT_STREAM, Outcome

TOOLS = [
    {"type": "function", "function": {"name": "f"}},
    {"type": "custom", "custom": {"name": "shell"}},
    {"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "inner"}]},
]
REQUEST = Request(model="openai/responses/gpt-5", messages=[], params={"tools": TOOLS}, wire_model="gpt-5")
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def read(pieces: Iterable[bytes], headers: Mapping[str, str] = EVENT_STREAM) -> Outcome:
    """What a body comes to."""
    reading = OpenAIResponses().reading(REQUEST, headers)
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)]
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    """One event of the Responses API."""
    return {"type": f"response.{kind}", **fields}


def body(*events: Mapping[str, Any], named: bool = True) -> bytes:
    """An event stream of these events."""
    lines: list[str] = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(event)}\n\n")
    return "".join(lines).encode()


def take(*events: Mapping[str, Any], **ends: Any) -> Outcome:
    """What these events come to, before a completed response; the same whether they are named or not."""
    end = ev("completed", response={"status": "completed", "usage": USAGE, **ends})
    outcome = read([body(*events, end)])
    assert outcome.dumped == read([body(*events, end, named=False)]).dumped
    assert outcome.failure is None
    assert outcome.complete
    return outcome


def message(outcome: Outcome) -> Message:
    """The message that the chunks build."""
    builder = ResponseBuilder()
    for chunk in outcome.chunks:
        builder.add(chunk)
    return builder.response().choices[0].message


def item(kind: str, **fields: Any) -> dict[str, Any]:
    """An output item."""
    return {"type": kind, "id": f"{kind}_1", **fields}


def text(said: str, **fields: Any) -> dict[str, Any]:
    """A delta of text."""
    return ev("output_text.delta", delta=said, output_index=0, content_index=0, item_id="m", **fields)


def test_text_and_what_the_response_says_of_itself() -> None:
    """Chunks carry the response's id, time and model; the last has the finish reason and the usage."""
    outcome = take(
        ev("created", response={"id": "resp_1", "created_at": 7, "model": "gpt-5", "status": "in_progress"}),
        text("Hel"),
        text("lo"),
        service_tier="flex",
    )
    assert outcome.texts == {0: "Hello"}
    assert outcome.roles == {0: ["assistant"]}
    assert {(chunk.id, chunk.created, chunk.model) for chunk in outcome.chunks} == {("resp_1", 7, "gpt-5")}
    assert (outcome.finishes, outcome.natives) == ({0: ["stop"]}, {0: "completed"})
    assert outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens, outcome.usage.total_tokens) == (3, 4, 7)
    assert outcome.chunks[-1].get("service_tier") == "flex"
    assert message(outcome).provider_specific_fields is None


WHOLE = item("message", content=[{"type": "output_text", "text": "Hi", "annotations": []}])


@pytest.mark.parametrize(
    "events",
    [
        [ev("output_text.done", text="Hi", output_index=0, content_index=0)],
        [ev("content_part.done", part=WHOLE["content"][0], output_index=0, content_index=0)],
        [ev("output_item.done", item=WHOLE, output_index=0)],
        [ev("output_item.done", item=WHOLE)],
        [
            text("Hi"),
            ev("output_text.done", text="Hi", output_index=0, content_index=0),
            ev("content_part.done", part=WHOLE["content"][0], output_index=0, content_index=0),
            ev("output_item.done", item=WHOLE, output_index=0),
        ],
        [ev("output_text.delta", delta="Hi"), ev("output_text.done", text="Hi"), ev("output_item.done", item=WHOLE)],
        [
            ev("output_item.added", item=item("message", content=[]), output_index=0),
            ev("output_text.delta", delta="Hi", item_id="message_1"),
            ev("output_item.done", item=WHOLE, output_index=0),
        ],
        [
            ev("output_item.added", item=item("message", id="a"), output_index=0),
            ev("output_text.delta", delta="Hi", item_id="b", output_index=0),
            ev("output_item.done", item={**WHOLE, "id": "c"}, output_index=0),
        ],
        [ev("content_part.delta", delta="Hi", output_index=0)],
    ],
)
@pytest.mark.parametrize("output", [[], [WHOLE]])
def test_text_is_given_once(events: list[dict[str, Any]], output: list[Any]) -> None:
    """In deltas, or whole at whatever event has it first, and whatever the ids are."""
    outcome = take(*events, output=output)
    assert outcome.texts == {0: "Hi"}


def test_text_in_the_last_event_alone() -> None:
    """A server that streams nothing but the end."""
    call = item("function_call", call_id="c", name="f", arguments="{}")
    outcome = take(output=[WHOLE, call])
    assert outcome.texts == {0: "Hi"}
    assert outcome.told_calls() == [("c", "f", "{}")]
    assert outcome.finishes == {0: ["tool_calls"]}


@pytest.mark.parametrize("kind", ["reasoning_summary_text", "reasoning_text", "reasoning", "reasoning_summary"])
def test_reasoning_under_all_its_names(kind: str) -> None:
    """Summaries and raw reasoning are reasoning_content; what comes whole after its deltas is not given again."""
    parts = {
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "content": [{"type": "reasoning_text", "text": "Hm."}],
    }
    outcome = take(
        ev(f"{kind}.delta", delta="H", output_index=0),
        ev(f"{kind}.delta", delta={"type": "text", "text": "m."}, output_index=0),
        ev(f"{kind}.done", text="Hm.", output_index=0),
        ev("output_item.done", item=item("reasoning", **parts), output_index=0),
        text("Hi"),
    )
    assert outcome.reasoning == {0: "Hm."}


def test_reasoning_that_comes_whole() -> None:
    """The reasoning itself, or else its summary."""
    summary = [{"type": "summary_text", "text": "short"}]
    content = [{"type": "reasoning_text", "text": "long"}]
    for fields, told in (({"summary": summary}, "short"), ({"summary": summary, "content": content}, "long")):
        outcome = take(ev("output_item.done", item=item("reasoning", **fields), output_index=0))
        assert outcome.reasoning == {0: told}


def test_refusal() -> None:
    """A refusal is where a chat completion has it, and is no text."""
    refused = item("message", content=[{"type": "refusal", "refusal": "No."}])
    outcome = take(
        ev("refusal.delta", delta="No", output_index=0, content_index=0),
        ev("refusal.delta", delta=".", output_index=0, content_index=0),
        ev("refusal.done", refusal="No.", output_index=0, content_index=0),
        ev("output_item.done", item=refused, output_index=0),
    )
    assert (outcome.refusals, outcome.texts) == ({0: "No."}, {0: ""})
    assert take(ev("output_item.done", item=refused, output_index=0)).refusals == {0: "No."}


ADDED = item("function_call", call_id="c1", name="f", arguments="", status="in_progress")
DONE = {**ADDED, "arguments": '{"a": 1}', "status": "completed"}


def arguments(said: str, **place: Any) -> dict[str, Any]:
    """A delta of a call's arguments."""
    return ev("function_call_arguments.delta", delta=said, **place)


@pytest.mark.parametrize(
    "events",
    [
        [
            ev("output_item.added", item=ADDED, output_index=1),
            arguments('{"a"', output_index=1, item_id="function_call_1"),
            arguments(": 1}", output_index=1, item_id="another"),
            ev("function_call_arguments.done", arguments='{"a": 1}', output_index=1, item_id="a third"),
            ev("output_item.done", item=DONE, output_index=1),
        ],
        [
            ev("output_item.added", item=ADDED, output_index=1),
            ev("function_call_arguments.done", arguments='{"a": 1}', output_index=1, item_id="function_call_1"),
            ev("output_item.done", item=DONE, output_index=1),
        ],
        [ev("output_item.added", item=DONE, output_index=1), ev("output_item.done", item=DONE, output_index=1)],
        [ev("output_item.done", item=DONE, output_index=1)],
        [arguments('{"a": 1}', output_index=1), ev("output_item.done", item=DONE, output_index=1)],
        [
            ev("output_item.added", item=ADDED),
            arguments('{"a": 1}', item_id="function_call_1"),
            ev("output_item.done", item=DONE),
        ],
    ],
)
def test_function_call(events: list[dict[str, Any]]) -> None:
    """Whichever events tell it, and whatever they are numbered."""
    outcome = take(*events, output=[{**DONE, "id": "other"}])
    assert outcome.told_calls() == [("c1", "f", '{"a": 1}')]
    assert (outcome.finishes, outcome.natives) == ({0: ["tool_calls"]}, {0: "completed"})


def test_calls_side_by_side() -> None:
    """Arguments go to the call at their place in the output, interleaved as they may be."""
    second = {**ADDED, "id": "fc_2", "call_id": "c2", "name": "g"}
    outcome = take(
        ev("output_item.added", item=ADDED, output_index=1),
        ev("output_item.added", item=second, output_index=2),
        arguments("[2", output_index=2),
        arguments("[1", output_index=1),
        arguments("]", output_index=2),
        arguments("]", output_index=1),
    )
    assert outcome.told_calls() == [("c1", "f", "[1]"), ("c2", "g", "[2]")]


@pytest.mark.parametrize("name", ["shell", "inner"])
def test_custom_tool_call(name: str) -> None:
    """A call whose input is text and no JSON; what the provider says beside is kept with it."""
    call = item("custom_tool_call", call_id="c1", name=name, input="ls\n", namespace="n")
    outcome = take(
        ev("output_item.added", item={**call, "input": ""}, output_index=0),
        ev("custom_tool_call_input.delta", delta="ls", output_index=0),
        ev("custom_tool_call_input.delta", delta="\n", output_index=0),
        ev("custom_tool_call_input.done", input="ls\n", output_index=0),
        ev("output_item.done", item=call, output_index=0),
    )
    assert outcome.told_calls() == [("c1", name, "ls\n")]
    [told] = message(outcome).tool_calls or []
    assert (told.type, told["provider_specific_fields"]) == ("custom", {"namespace": "n"})


def test_custom_tool_call_of_a_hosted_tool() -> None:
    """xAI's own searches come as calls of custom tools, which the caller has not."""
    call = item("custom_tool_call", call_id="xs_1", name="x_keyword_search", input='{"query": "x"}')
    outcome = take(
        ev("output_item.added", item={**call, "input": ""}, output_index=0),
        ev("custom_tool_call_input.delta", delta='{"query": "x"}', output_index=0),
        ev("custom_tool_call_input.done", input='{"query": "x"}', output_index=0),
        ev("output_item.done", item=call, output_index=0),
        output=[call],
    )
    assert outcome.told_calls() == []
    assert outcome.finishes == {0: ["stop"]}
    assert (message(outcome).provider_specific_fields or {})["output"] == [call]


def test_items_that_share_a_place() -> None:
    """Servers that count messages and calls apart: the id tells them apart, or else what they are."""
    for named in (True, False):
        name = {"item_id": "message_1"} if named else {}
        outcome = take(
            ev("output_item.added", item=item("message", content=[]), output_index=0),
            ev("output_text.delta", delta="Hi", output_index=0, content_index=0, **name),
            ev("output_item.added", item=ADDED, output_index=0),
            arguments('{"a": 1}', output_index=0),
            ev("output_item.done", item=WHOLE, output_index=0),
            ev("output_item.done", item=DONE, output_index=0),
        )
        assert outcome.texts == {0: "Hi"}
        assert outcome.told_calls() == [("c1", "f", '{"a": 1}')]


def test_reasoning_whose_part_is_called_text() -> None:
    """vLLM opens a part of output_text in its reasoning items, and closes it with the reasoning."""
    part: dict[str, Any] = {"type": "output_text", "text": "Hm.", "annotations": []}
    outcome = take(
        ev("output_item.added", item=item("reasoning", id="msg_1"), output_index=0),
        ev("content_part.added", part={**part, "text": ""}, output_index=0, content_index=0, item_id="msg_1"),
        ev("reasoning_text.delta", delta="Hm.", output_index=0, content_index=0, item_id="msg_1"),
        ev("content_part.done", part=part, output_index=0, content_index=0, item_id="msg_1"),
        ev("output_item.done", item=item("reasoning", id="msg_1", content=[part]), output_index=0),
        text("Hi"),
    )
    assert (outcome.reasoning, outcome.texts) == ({0: "Hm."}, {0: "Hi"})


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call",
        "mcp_list_tools", "mcp_approval_request", "local_shell_call", "shell_call", "shell_call_output",
        "apply_patch_call", "computer_call", "compaction", "tool_search_call", "something_new",
    ],
)  # fmt: skip
def test_hosted_tools_are_kept_and_are_no_calls_of_the_caller(kind: str) -> None:
    """Whole and as they came, with marks for what stood before and after."""
    hosted = item(kind, status="completed", call_id="x", name="n", arguments="{}", action={"query": None})
    outcome = take(
        ev("output_item.done", item={**WHOLE, "id": "m1"}, output_index=0),
        ev("output_item.added", item={**hosted, "status": "in_progress"}, output_index=1),
        ev(f"{kind}.in_progress", output_index=1, item_id=hosted["id"]),
        ev(f"{kind}_code.delta", delta="print()", output_index=1, item_id=hosted["id"]),
        ev("output_item.done", item=hosted, output_index=1),
        ev("output_item.done", item=DONE, output_index=2),
    )
    assert outcome.texts == {0: "Hi"}
    assert outcome.told_calls() == [("c1", "f", '{"a": 1}')]
    kept = (message(outcome).provider_specific_fields or {})["output"]
    assert kept == [{"type": "message", "length": 2}, hosted, {"type": "function_call", "call_id": "c1"}]


def test_phases_of_messages() -> None:
    """Which text was commentary and which the answer is kept, since it has to be sent back."""
    outcome = take(
        ev("output_item.done", item={**WHOLE, "phase": "commentary"}, output_index=0),
        ev("output_item.done", item={**WHOLE, "phase": "final_answer"}, output_index=1),
    )
    assert outcome.texts == {0: "HiHi"}
    kept = (message(outcome).provider_specific_fields or {})["output"]
    assert kept == [
        {"type": "message", "length": 2, "phase": "commentary"},
        {"type": "message", "length": 2, "phase": "final_answer"},
    ]


def test_annotations() -> None:
    """A citation of a page is in the shape of chat completions, others as they came; none is given twice."""
    page = {"type": "url_citation", "url": "https://x.invalid", "title": "X", "start_index": 0, "end_index": 2}
    file = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 1}
    part = {"type": "output_text", "text": "Hi", "annotations": [page, file]}
    told = [{"type": "url_citation", "url_citation": {k: v for k, v in page.items() if k != "type"}}, file]
    place = {"output_index": 0, "content_index": 0}
    whole = [
        ev("content_part.done", part=part, **place),
        ev("output_item.done", item=item("message", content=[part]), output_index=0),
    ]
    added = [ev("output_text.annotation.added", annotation=annotation, **place) for annotation in (page, file)]
    assert message(take(text("Hi"), *added, *whole)).annotations == told
    assert message(take(text("Hi"), *whole)).annotations == told


def test_logprobs() -> None:
    """Those of the text, where a chat completion has them, once."""
    tokens = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
    whole = ev("output_text.done", text="Hi", logprobs=tokens, output_index=0, content_index=0)
    for events in ([text("Hi", logprobs=tokens), whole], [text("Hi"), whole]):
        builder = ResponseBuilder()
        for chunk in take(*events).chunks:
            builder.add(chunk)
        assert builder.response().choices[0].logprobs == {"content": tokens}


def test_audio_and_images_on_their_way() -> None:
    """Audio is where a chat completion has it; of images that are not whole, the last stays."""
    outcome = take(
        ev("audio.delta", delta="AAAA"),
        ev("audio.transcript.delta", delta="Hi"),
        ev("image_generation_call.partial_image", item_id="ig", partial_image_index=0, partial_image_b64="A"),
        ev("image_generation_call.partial_image", item_id="ig", partial_image_index=1, partial_image_b64="B"),
    )
    whole = message(outcome)
    assert whole.audio == {"data": "AAAA", "transcript": "Hi"}
    assert whole.provider_specific_fields == {
        "partial_image": {"item_id": "ig", "partial_image_index": 1, "partial_image_b64": "B"}
    }


@pytest.mark.parametrize(
    ("details", "finish", "native"),
    [
        ({"reason": "max_output_tokens"}, "length", "max_output_tokens"),
        ({"reason": "content_filter"}, "content_filter", None),
        ({"reason": "new"}, "length", "new"),
        (None, "length", "incomplete"),
    ],
)
def test_incomplete_response(details: Any, finish: str, native: str | None) -> None:
    """It ended where the provider says, and is told by its finish reason; calls in it are not to be run."""
    response = {"status": "incomplete", "incomplete_details": details, "usage": USAGE}
    outcome = read([body(ev("output_item.added", item=ADDED, output_index=0), ev("incomplete", response=response))])
    assert (outcome.complete, outcome.failure) == (True, None)
    assert (outcome.finishes, outcome.natives) == ({0: [finish]}, {0: native})
    assert outcome.usage is not None


def test_failed_response() -> None:
    """A typed error with the provider's words, after the text before it; its usage is not lost."""
    error = {"code": "rate_limit_exceeded", "message": "Slow down."}
    failed = ev("failed", response={"status": "failed", "error": error, "usage": USAGE})
    outcome = read([body(text("Hi"), failed)])
    assert outcome.texts == {0: "Hi"}
    assert isinstance(outcome.failure, RateLimitError)
    assert (str(outcome.failure), outcome.failure.code) == ("Slow down.", "rate_limit_exceeded")
    assert not outcome.complete
    assert outcome.usage is not None


def test_failed_response_with_its_error_beside() -> None:
    """Some servers send no response with it."""
    outcome = read([body(ev("failed", error={"code": "server_error", "message": "Down."}))])
    assert isinstance(outcome.failure, InternalServerError)
    assert str(outcome.failure) == "Down."


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_failed_response_without_words(status: str) -> None:
    """It says at least what became of the response."""
    outcome = read([body(text("Hi"), ev(status, response={"status": status, "error": None}))])
    assert isinstance(outcome.failure, InternalServerError)
    assert status in str(outcome.failure)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "sequence_number": 2, "code": "server_error", "message": "Down.", "param": None},
        {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "Down."}},
        {"error": {"code": "server_error", "message": "Down."}, "type": ""},
    ],
)
def test_error_event(event: dict[str, Any]) -> None:
    """Flat as documented, or nested as it is sent."""
    for named in (True, False):
        outcome = read([body(text("Hi"), event, named=named and bool(event["type"]))])
        assert isinstance(outcome.failure, InternalServerError)
        assert (str(outcome.failure), outcome.failure.code, outcome.texts) == ("Down.", "server_error", {0: "Hi"})


@pytest.mark.parametrize(
    "end",
    [
        ev("completed"),
        ev("completed", response={}),
        ev("completed", response={"status": "in_progress"}),
        ev("done", response={"status": "completed"}),
        ev("done", response={}),
        {**ev("completed"), "object": "response", "status": "completed", "output": []},
    ],
)
def test_ends_that_say_little(end: dict[str, Any]) -> None:
    """The event is the proof of the end, whatever the response in it says."""
    outcome = read([body(text("Hi"), end), b"data: [DONE]\n\n"])
    assert (outcome.complete, outcome.failure, outcome.finishes) == (True, None, {0: ["stop"]})


def test_comments_keepalives_and_unknown_events_are_no_part_of_the_answer() -> None:
    """They are passed over, and do not fail."""
    events = [ev("queued", response={"status": "queued"}), {"type": "keepalive", "sequence_number": 1}, ev("new.thing")]
    outcome = read([b": hello\n\n", body(*events, text("Hi"), ev("new", x=[1]), ev("completed", response={}))])
    assert (outcome.complete, outcome.failure, outcome.texts) == (True, None, {0: "Hi"})


def test_whole_response_that_failed_or_is_not_there_yet() -> None:
    """An error is the provider's; a response in the background is no answer."""
    failed: dict[str, Any] = {
        "object": "response",
        "status": "failed",
        "output": [],
        "error": {"code": "server_error", "message": "No."},
    }
    outcome = read([json.dumps(failed).encode()], {"content-type": "application/json"})
    assert isinstance(outcome.failure, InternalServerError)
    assert str(outcome.failure) == "No."
    queued: dict[str, Any] = {"object": "response", "status": "queued", "output": [], "error": None}
    outcome = read([json.dumps(queued).encode()], {"content-type": "application/json"})
    assert isinstance(outcome.failure, APIError)
    assert not outcome.complete
