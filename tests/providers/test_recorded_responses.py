"""Recorded streams of the Responses API, cut at random and read sans I/O, and their round trip into a request."""

import json
from pathlib import Path
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.providers import PROVIDERS
from rxllm.providers._responses import OpenAIResponses
from rxllm.providers._responses_request import responses_body
from rxllm.types import Request
from tests.providers.reading import Outcome
from tests.recordings import cases, load, needs_wire, random_pieces

FAMILIES = [
    "azure-ai-responses",
    "azure-openai-responses",
    "bedrock-mantle-responses",
    "deepseek-responses",
    "github-copilot-responses",
    "lmstudio-responses",
    "openai-responses",
    "openrouter-responses",
    "xai-responses",
]
REQUEST = Request(model="openai/responses/gpt-5", messages=[], wire_model="gpt-5")
FINISHES = {"max_output_tokens": "length", "content_filter": "content_filter"}
pytestmark = needs_wire


def read_pieces(pieces: list[bytes], headers: dict[str, str], request: Request = REQUEST) -> Outcome:
    """What a body comes to."""
    reading = OpenAIResponses().reading(request, headers)
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)]
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def replay(case: Path, seed: int) -> Outcome:
    """The case, read in random pieces."""
    headers = {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}
    return read_pieces(random_pieces(case, seed), headers)


@pytest.mark.parametrize("case", cases(FAMILIES))
def test_recorded_stream(case: Path) -> None:
    """Text, reasoning, calls, finish reason and usage are those of the recording."""
    expected = load(case, "expected.json")
    outcome = replay(case, seed=4)
    assert outcome.dumped == replay(case, seed=5).dumped
    if "error" in expected:
        assert outcome.failure is not None
        assert (outcome.failure.code, str(outcome.failure)) == (expected["error"]["code"], expected["error"]["message"])
        return
    assert outcome.failure is None
    assert outcome.complete
    assert outcome.texts.get(0, "") == expected["text"]
    assert outcome.reasoning.get(0, "") == expected["reasoning"]
    assert outcome.roles == {0: ["assistant"]}
    told = [(call["id"], call["name"], call["arguments"]) for call in expected["tool_calls"]]
    assert outcome.told_calls() == told
    done = (case / "body.bin").read_bytes().count(b"[DONE]")  # counted where it is in the last piece that was read
    assert expected["n_events"] <= outcome.events <= expected["n_events"] + done
    if expected["finish_reason_raw"] == "incomplete":
        reason = expected["incomplete_reason"]
        assert outcome.finishes == {0: [FINISHES[reason]]}
        assert outcome.natives == {0: reason if FINISHES[reason] != reason else None}
    else:
        assert expected["finish_reason_raw"] == "completed"
        assert outcome.finishes == {0: ["tool_calls" if told else "stop"]}
        assert outcome.natives == {0: "completed"}
    usage = expected["usage_raw"]
    assert outcome.usage is not None
    assert outcome.chunks[-1].reported_usage == outcome.usage
    assert outcome.usage.prompt_tokens == usage["input_tokens"]
    assert outcome.usage.completion_tokens == usage["output_tokens"]
    assert outcome.usage.total_tokens == usage["total_tokens"]
    assert outcome.usage.prompt_tokens_details is not None
    assert outcome.usage.prompt_tokens_details.cached_tokens == usage["input_tokens_details"]["cached_tokens"]
    assert outcome.usage.completion_tokens_details is not None
    details = outcome.usage.completion_tokens_details
    assert details.reasoning_tokens == usage["output_tokens_details"]["reasoning_tokens"]
    dumped = outcome.usage.model_dump()
    assert {key: dumped[key] for key in usage} == usage


def final_response(case: Path) -> dict[str, Any] | None:
    """The response as the recording's last event has it."""
    for line in reversed((case / "body.bin").read_bytes().splitlines()):
        if line.startswith(b"data: {"):
            event: dict[str, Any] = json.loads(line[6:])
            if event["type"] in ("response.completed", "response.incomplete"):
                response: dict[str, Any] = event["response"]
                return response
    return None


@pytest.mark.parametrize("case", cases(FAMILIES))
def test_recorded_response_that_is_not_streamed(case: Path) -> None:
    """The whole response as one JSON object comes to what its stream came to."""
    response = final_response(case)
    if response is None or not response["output"]:
        pytest.skip("the recording's last event has no output")
    body = json.dumps(response).encode()
    whole = read_pieces([body[:100], body[100:]], {"content-type": "application/json"})
    streamed = replay(case, seed=6)
    assert (whole.complete, whole.failure) == (True, None)
    assert whole.texts == streamed.texts
    assert whole.refusals == streamed.refusals
    assert whole.told_calls() == streamed.told_calls()
    assert (whole.finishes, whole.natives) == (streamed.finishes, streamed.natives)
    assert whole.usage == streamed.usage


@pytest.mark.parametrize("case", cases(FAMILIES))
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops before the response's end is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    end = max(body.find(b'"response.completed"'), body.find(b'"response.incomplete"'), body.find(b'"response.failed"'))
    error = body.find(b'"type":"error"')
    before = body[: body.rfind(b"data:", 0, min(place for place in (end, error) if place >= 0))]
    outcome = read_pieces([before], {"content-type": "text/event-stream"})
    assert (outcome.complete, outcome.failure) == (False, None)
    assert outcome.finishes == {}


@pytest.mark.parametrize("case", cases(FAMILIES))
def test_recorded_answer_sent_back(case: Path) -> None:
    """The message that the chunks build is, as input, the output that it came as, in its order."""
    outcome = replay(case, seed=7)
    response = final_response(case)
    if outcome.failure is not None or response is None:
        pytest.skip("the recording is an error")
    builder = ResponseBuilder()
    for chunk in outcome.chunks:
        builder.add(chunk)
    message = builder.response().choices[0].message.model_dump(exclude_none=True)
    request = Request(model="gpt-5", messages=[message], wire_model="gpt-5")
    sent = responses_body(request, PROVIDERS["openai"])
    done = [
        json.loads(line[5:])["item"]
        for line in (case / "body.bin").read_bytes().splitlines()
        if line.startswith(b"data:") and b'"response.output_item.done"' in line
    ]
    # Reasoning that is but a name goes back only to a provider that has kept it, and so do items that depend on it.
    bare = any(
        item["type"] == "reasoning" and not (item.get("encrypted_content") or item.get("content")) for item in done
    )
    forgotten = bare and response.get("store") is not True
    wanted = [
        item["type"]
        for item in done
        if (item["type"] != "message" or any(part.get("text") or part.get("refusal") for part in item["content"]))
        and not (forgotten and item["type"] not in ("message", "function_call", "compaction"))
    ]
    assert [item.get("type", "message") for item in sent["input"]] == wanted
