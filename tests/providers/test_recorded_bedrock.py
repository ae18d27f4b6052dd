"""Recorded streams of Bedrock, by Converse and by InvokeModel, cut at random and read sans I/O; and its errors."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm.exceptions import (
    APIError,
    BadRequestError,
    ContextWindowExceededError,
    PermissionDeniedError,
)
from rxllm.providers import PROVIDERS
from rxllm.types import Request
from tests.providers.bedrock import asked, read
from tests.providers.reading import Outcome
from tests.recordings import WIRE, cases, load, needs_wire, random_pieces

pytestmark = needs_wire

# What their expected.json says is held to be wrong.
WITHOUT_PROOF = {"bedrock-invoke/058"}  # a blocked prompt's one chunk: no completion reason, no count of the tokens
TWO_CHOICES = {"bedrock-invoke/014"}  # two generations, whose texts expected.json joins: here they are two choices

CONVERSE = cases(["bedrock-converse"])
INVOKE = cases(["bedrock-invoke"], WITHOUT_PROOF | TWO_CHOICES)
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "FINISH": "stop",
    "COMPLETE": "stop",
    "stop": "stop",
    "tool_use": "tool_calls",
    "tool_calls": "tool_calls",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "LENGTH": "length",
    "length": "length",
    "guardrail_intervened": "content_filter",
}


def request(case: Path, **params: Any) -> Request:
    """The recorded request, as far as the reading depends on it."""
    way = "converse" if case.parent.name == "bedrock-converse" else "invoke"
    return asked(f"bedrock/{way}/recorded", **params)


def replay(case: Path, seed: int) -> Outcome:
    """The case, read in random pieces."""
    headers = {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}
    return read(random_pieces(case, seed), request(case), headers)


def server_calls(outcome: Outcome) -> list[dict[str, Any]]:
    """The calls of Bedrock's own tools, as the whole message has them."""
    fields = [choice.delta.provider_specific_fields or {} for chunk in outcome.chunks for choice in chunk.choices]
    return [call for each in fields for call in each.get("server_tool_calls", [])]


@pytest.mark.parametrize("case", [*CONVERSE, *INVOKE])
def test_recorded_stream(case: Path) -> None:
    """Text, reasoning, calls, finish and usage are those that the recording is known to come to, however it is cut."""
    expected = load(case, "expected.json")
    outcome = replay(case, seed=1)
    assert outcome.dumped == replay(case, seed=2).dumped
    assert (outcome.failure, outcome.complete) == (None, True)
    assert outcome.events == expected["n_events"]

    assert outcome.texts.get(0, "") == expected["text"]
    assert outcome.reasoning.get(0, "") == (expected["reasoning"] or "")
    assert outcome.told_calls() == [(call["id"], call["name"], call["arguments"]) for call in expected["tool_calls"]]
    assert server_calls(outcome) == expected.get("server_tool_calls", [])
    assert outcome.roles == {0: ["assistant"]}

    finish = FINISHES[expected["finish_reason_raw"]]
    told = "tool_calls" if expected["tool_calls"] and finish == "stop" else finish
    assert outcome.finishes == {0: [told]}
    native = expected["finish_reason_raw"]
    assert outcome.natives[0] == (None if told == native else native)

    check_usage(outcome, expected)
    assert all("p" not in (chunk.model_extra or {}) for chunk in outcome.chunks)


def check_usage(outcome: Outcome, expected: dict[str, Any]) -> None:
    """The provider's counts are kept as they came, and told in the OpenAI shape, the cache among the prompt."""
    raw: dict[str, Any] = {**(expected.get("invocation_metrics") or {}), **(expected["usage_raw"] or {})}
    if not raw:
        assert outcome.usage is None
        return
    assert outcome.usage is not None
    assert outcome.chunks[-1].reported_usage == outcome.usage
    told = outcome.usage.model_dump()
    assert {key: told[key] for key in expected["usage_raw"] or ()} == (expected["usage_raw"] or {})

    def count(*names: str) -> int:
        return next((int(raw[name]) for name in names if raw.get(name) is not None), 0)

    cached = count("cacheReadInputTokens", "cache_read_input_tokens", "cacheReadInputTokenCount")
    written = count("cacheWriteInputTokens", "cache_creation_input_tokens", "cacheWriteInputTokenCount")
    prompt = count("inputTokens", "input_tokens", "prompt_tokens", "inputTokenCount")
    completion = count("outputTokens", "output_tokens", "completion_tokens", "outputTokenCount")
    assert outcome.usage.prompt_tokens == prompt + cached + written
    assert outcome.usage.completion_tokens == completion
    assert outcome.usage.total_tokens == prompt + cached + written + completion


@pytest.mark.parametrize("case", [c for c in cases(["bedrock-invoke"]) if c.id in TWO_CHOICES])
def test_generations_are_choices(case: Path) -> None:
    """Two generations are two choices, and an end that names none ends both."""
    outcome = replay(case, seed=1)
    assert (outcome.failure, outcome.complete) == (None, True)
    assert outcome.texts[0] + outcome.texts[1] == load(case, "expected.json")["text"]
    assert outcome.finishes == {0: ["length"], 1: ["length"]}


@pytest.mark.parametrize("case", [c for c in cases(["bedrock-invoke"]) if c.id in WITHOUT_PROOF])
def test_without_a_proof_of_its_end(case: Path) -> None:
    """What came is given, and that it is whole is not claimed."""
    outcome = replay(case, seed=1)
    assert (outcome.failure, outcome.complete) == (None, False)
    assert outcome.texts[0] == load(case, "expected.json")["text"]
    assert outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (6, 3)


@pytest.mark.parametrize("case", [*CONVERSE, *INVOKE])
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops half-way is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    stop = body.find(b"messageStop")  # a long trace may come behind it
    half = len(body) // 2 if stop < 0 else min(len(body) // 2, stop)
    outcome = read([body[:half]], request(case), {})
    assert not outcome.complete
    assert outcome.failure is None


ERRORS = {
    "000": (ContextWindowExceededError, 400, "ValidationException"),
    "002": (BadRequestError, 400, "ValidationException"),
    "003": (BadRequestError, 400, "ValidationException"),
    "005": (BadRequestError, 400, None),
    "008": (PermissionDeniedError, 403, "UnrecognizedClientException"),
    "009": (PermissionDeniedError, 403, "InvalidSignatureException"),
    "010": (PermissionDeniedError, 403, "AccessDeniedException"),
}


@pytest.mark.parametrize("case", sorted(WIRE.glob("errors-bedrock/*")), ids=lambda case: case.name[:3])
def test_recorded_errors(case: Path) -> None:
    """The class that the status says, the provider's words, and the type that the header says."""
    told = load(case, "response.json")
    body = (case / "body.bin").read_bytes()
    headers = {key.lower(): value for key, value in told["headers"].items()}
    error: APIError = PROVIDERS["bedrock"].dialect.error(asked(), told["status"], headers, body)
    kind, status, type_ = ERRORS[case.name[:3]]
    assert (type(error), error.status_code, error.type) == (kind, status, type_)
    assert error.message == json.loads(body)["message"]
