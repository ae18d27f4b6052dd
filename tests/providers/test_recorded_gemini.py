"""Recorded streams of Gemini and of Gemini on Vertex AI, cut at random and read sans I/O."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.providers._gemini import Gemini, VertexGemini
from rxllm.types import Request
from tests.providers.reading import Outcome
from tests.recordings import WIRE, cases, load, needs_wire, random_pieces

FAMILIES = ["gemini", "gemini-json-array", "vertex-gemini"]
CASES = cases(FAMILIES)
ERRORS = [
    pytest.param(case, id=f"{case.parent.name}/{case.name[:3]}")
    for family in ("errors-gemini", "errors-vertex-gemini")
    for case in sorted(WIRE.glob(f"{family}/*"))
]
CLASSES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}

pytestmark = needs_wire


def asked(case: Path) -> Request:
    """The recorded request, as far as the reading depends on it."""
    vertex = case.parent.name == "vertex-gemini"
    return Request(
        model="vertex_ai/g" if vertex else "gemini/g", messages=[], provider="vertex_ai" if vertex else "gemini"
    )


def headers(case: Path) -> dict[str, str]:
    """The response's headers, lower-cased."""
    return {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}


def read(case: Path, pieces: list[bytes]) -> Outcome:
    """The case, read to its end."""
    reading = Gemini().reading(asked(case), headers(case))
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)]
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


@pytest.mark.parametrize("case", CASES)
def test_recorded_stream(case: Path) -> None:
    """Text, thoughts, calls, finish and usage are those that the recording is known to come to, however it is cut."""
    expected = load(case, "expected.json")
    outcome = read(case, random_pieces(case, seed=1))
    assert outcome.dumped == read(case, random_pieces(case, seed=2)).dumped
    assert outcome.dumped == read(case, [(case / "body.bin").read_bytes()]).dumped
    assert outcome.events == expected["n_events"]
    assert outcome.complete and outcome.failure is None

    assert outcome.texts.get(0, "") == expected["text"]
    assert outcome.reasoning.get(0, "") == (expected["reasoning"] or "")
    told = outcome.told_calls()
    assert [(name, json.loads(arguments)) for _, name, arguments in told] == [
        (call["name"], json.loads(call["arguments"])) for call in expected["tool_calls"]
    ]
    assert all(
        call_id == call["id"] or not call["id"]
        for (call_id, _, _), call in zip(told, expected["tool_calls"], strict=True)
    )
    assert len({call_id for call_id, _, _ in told} - {""}) == len(told)
    assert all(roles == ["assistant"] for roles in outcome.roles.values())

    raw: str = {1: "STOP"}.get(expected["finish_reason_raw"]) or expected["finish_reason_raw"]
    mapped = {"STOP": "tool_calls" if told else "stop", "MAX_TOKENS": "length"}
    assert outcome.finishes == {0: [mapped[raw]]}
    assert outcome.natives == {0: raw}

    usage: dict[str, Any] = expected["usage_raw"]
    assert outcome.usage is not None
    assert outcome.usage.prompt_tokens == usage["promptTokenCount"]
    thoughts = usage.get("thoughtsTokenCount", 0)
    assert outcome.usage.completion_tokens == usage.get("candidatesTokenCount", 0) + thoughts
    assert outcome.usage.total_tokens == usage["totalTokenCount"]
    details = outcome.usage.completion_tokens_details
    assert (details.reasoning_tokens if details else None) == usage.get("thoughtsTokenCount")
    assert {name: outcome.usage.model_dump()[name] for name in usage} == usage
    assert outcome.chunks[-1].reported_usage == outcome.usage
    assert all(chunk.usage is None for chunk in outcome.chunks)


@pytest.mark.parametrize("case", CASES)
def test_recorded_signatures_survive_the_round_trip(case: Path) -> None:
    """Every thought signature of an answer is in the body of the request that sends the message back."""
    text = (case / "body.bin").read_text()
    signatures = {
        part["thoughtSignature"]
        for event in _payloads(text)
        for candidate in event.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
        if "thoughtSignature" in part
    }
    builder = ResponseBuilder()
    for chunk in read(case, random_pieces(case, seed=3)).chunks:
        builder.add(chunk)
    message = builder.response().choices[0].message.model_dump(exclude_none=True)
    from rxllm.providers import PROVIDERS

    request = Request(model="gemini/g", messages=[message], provider="gemini", wire_model="g")
    body = json.loads(Gemini().http_request(request, "https://g.invalid", "k", PROVIDERS["gemini"]).body)
    sent = {
        part["thoughtSignature"]
        for content in body["contents"]
        for part in content["parts"]
        if "thoughtSignature" in part
    }
    assert sent == signatures


def _payloads(text: str) -> list[dict[str, Any]]:
    if text.lstrip().startswith("["):
        array: list[dict[str, Any]] = json.loads(text)
        return array
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.mark.parametrize("case", CASES[::3])
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops before its finish reason is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    said = body.find(b'"finishReason"')
    outcome = read(case, [body[: random.Random(4).randrange(said)]])
    assert not outcome.complete
    assert outcome.failure is None
    assert load(case, "expected.json")["text"].startswith(outcome.texts.get(0, ""))


@pytest.mark.parametrize("case", ERRORS)
def test_recorded_error(case: Path) -> None:
    """An error is of the class that its status says, with the provider's words, and so it is within a stream."""
    status, body = load(case, "response.json")["status"], (case / "body.bin").read_bytes()
    said = json.loads(body)["error"]
    for dialect in (Gemini(), VertexGemini()):
        error = dialect.error(asked(case), status, headers(case), body)
        assert type(error).__name__ == CLASSES[status]
        assert str(error).startswith(said["message"].strip()[:200])
        assert (error.status_code, error.code) == (status, said["status"])
    for framed in (b"data: " + json.dumps(json.loads(body)).encode() + b"\r\n\r\n", b"[" + body + b"]", body):
        reading = Gemini().reading(asked(case), headers(case))
        assert reading.feed(framed) + reading.end() == []
        assert type(reading.failure).__name__ == CLASSES[status]
        assert not reading.complete
