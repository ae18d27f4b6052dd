"""Recorded streams of Claude, at Anthropic, Azure and Google, cut at random and read sans I/O."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.exceptions import APIError, AuthenticationError, BadRequestError, ContextWindowExceededError, NotFoundError
from rxllm.providers._anthropic import AnthropicMessages
from rxllm.types import Request
from tests.providers.reading import Outcome
from tests.recordings import WIRE, cases, load, needs_wire, random_pieces

pytestmark = needs_wire

# 058 is marked ambiguous: two message_start in one stream, written by hand.
AMBIGUOUS = {"anthropic/058"}
CASES = cases(["anthropic", "azure-anthropic", "vertex-anthropic"], AMBIGUOUS)
FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
REQUEST = Request(model="anthropic/claude-sonnet-4-5", messages=[], provider="anthropic")


def replay(case: Path, pieces: Iterable[bytes]) -> Outcome:
    """The case, read from these pieces."""
    headers = {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}
    reading = AnthropicMessages().reading(REQUEST, headers)
    chunks = [chunk for piece in pieces for chunk in reading.feed(piece)]
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


@pytest.mark.parametrize("case", CASES)
def test_recorded_stream(case: Path) -> None:
    """Text, reasoning, calls, finish and usage are those that the recording is known to come to, however it is cut."""
    expected = load(case, "expected.json")
    outcome = replay(case, random_pieces(case, 1))
    assert outcome.dumped == replay(case, random_pieces(case, 2)).dumped

    assert outcome.failure is None
    assert outcome.complete is expected["message_stop"]
    assert outcome.events == expected["n_events"]
    assert outcome.texts[0] == expected["text"]
    assert outcome.reasoning[0] == (expected["reasoning"] or "")
    assert outcome.told_calls() == [(call["id"], call["name"], call["arguments"]) for call in expected["tool_calls"]]
    assert outcome.roles == {0: ["assistant"]}
    native = expected["finish_reason_raw"]
    assert outcome.finishes == {0: [FINISHES[native]]}
    assert outcome.natives == {0: native}

    raw: dict[str, Any] = expected["usage_raw"]
    usage = outcome.usage
    assert usage is not None
    assert usage.model_extra == raw
    prompt = sum(raw.get(f"{kind}input_tokens") or 0 for kind in ("", "cache_creation_", "cache_read_"))
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt, raw["output_tokens"])
    assert usage.total_tokens == prompt + raw["output_tokens"]
    assert outcome.chunks[-1].reported_usage == usage
    assert all(chunk.usage is None for chunk in outcome.chunks)


@pytest.mark.parametrize("case", CASES)
def test_recorded_blocks(case: Path) -> None:
    """The whole message has every block that came: thinking, and all in their order where there are others as well."""
    kinds: list[str] = load(case, "expected.json")["block_types"]
    builder = ResponseBuilder()
    for chunk in replay(case, random_pieces(case, 3)).chunks:
        builder.add(chunk)
    message = builder.response().choices[0].message
    thoughts = [block["type"] for block in message.thinking_blocks or ()]
    assert thoughts == [kind for kind in kinds if "thinking" in kind]
    kept: list[dict[str, Any]] | None = (message.provider_specific_fields or {}).get("content_blocks")
    ranks = [{"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}.get(kind, -1) for kind in kinds]
    if ranks != sorted(ranks) or -1 in ranks:
        assert kept is not None
        assert [block["type"] for block in kept] == kinds
    elif not message.annotations:
        assert kept is None


def test_recorded_signatures() -> None:
    """Thoughts come whole, with the signatures that have to be sent back, and redacted ones as they are."""
    [case] = WIRE.glob("anthropic/031-*")
    events = [json.loads(line[5:]) for line in (case / "body.bin").read_bytes().splitlines() if line[:5] == b"data:"]
    sent = [event["content_block"] for event in events if event["type"] == "content_block_start"][:2]
    outcome = replay(case, [(case / "body.bin").read_bytes()])
    assert [block for chunk in outcome.chunks for block in chunk.choices[0].delta.thinking_blocks or ()] == sent

    [case] = WIRE.glob("anthropic/021-*")
    [block] = [
        block
        for chunk in replay(case, random_pieces(case, 4)).chunks
        for block in chunk.choices[0].delta.thinking_blocks or ()
    ]
    assert block["thinking"] == load(case, "expected.json")["reasoning"]
    assert block["signature"].encode() in (case / "body.bin").read_bytes()


@pytest.mark.parametrize("case", CASES[::4])
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops before its message_delta is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    outcome = replay(case, [body[: body.index(b'"message_delta"') // 2]])
    assert not outcome.complete
    assert outcome.failure is None
    assert load(case, "expected.json")["text"].startswith(outcome.texts.get(0, ""))


def test_recorded_repeated_start() -> None:
    """A message that is started twice is one message."""
    [case] = WIRE.glob("anthropic/058-*")
    outcome = replay(case, random_pieces(case, 5))
    assert (outcome.texts, outcome.complete) == ({0: "Hello, World!"}, True)
    assert outcome.usage is not None
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (17, 227)


@pytest.mark.parametrize("case", sorted(WIRE.glob("anthropic-complete/*")), ids=lambda case: case.name[:3])
def test_recorded_completions(case: Path) -> None:
    """The legacy text completions come as text; the event with a stop reason is their end."""
    lines = (case / "body.bin").read_bytes().splitlines()
    events = [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
    outcome = replay(case, random_pieces(case, 1))
    assert outcome.texts == {0: "".join(event.get("completion", "") for event in events)}
    assert outcome.complete
    assert outcome.natives == {0: events[-1]["stop_reason"]}
    assert outcome.finishes == {0: ["stop"]}


@pytest.mark.parametrize("case", sorted(WIRE.glob("errors-anthropic/*")), ids=lambda case: case.name[:3])
def test_recorded_errors(case: Path) -> None:
    """Errors have the class that their status says, and the provider's words, type and request id."""
    response, body = load(case, "response.json"), (case / "body.bin").read_bytes()
    headers = {key.lower(): value for key, value in response["headers"].items()}
    error = AnthropicMessages().error(REQUEST, response["status"], headers, body)
    said = json.loads(body)
    kinds: dict[int, type[APIError]] = {400: BadRequestError, 401: AuthenticationError, 404: NotFoundError}
    assert isinstance(error, kinds[response["status"]])
    assert isinstance(error, ContextWindowExceededError) is ("prompt is too long" in said["error"]["message"])
    assert str(error) == said["error"]["message"]
    assert error.type == said["error"]["type"]
    assert error.request_id == (headers.get("request-id") or said.get("request_id"))
