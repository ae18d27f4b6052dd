"""Recorded streams of the providers that speak OpenAI's dialect, cut at random and read sans I/O."""

import re
from pathlib import Path
from typing import Any

import pytest

from rxllm.types import Request
from tests.providers.reading import Outcome, read
from tests.recordings import cases, load, needs_wire, random_pieces

FAMILIES = [
    "alibaba-chat",
    "anthropic-openai-compat-chat",
    "avian-chat",
    "azure-ai-chat",
    "azure-openai-chat",
    "cerebras-chat",
    "charm-hyper-chat",
    "cloudflare-chat",
    "crusoe-chat",
    "databricks-chat",
    "deepinfra-chat",
    "deepseek-chat",
    "gemini-openai-compat-chat",
    "gpustack-chat",
    "groq-chat",
    "huggingface-chat",
    "litellm-proxy-chat",
    "llamacpp-chat",
    "mistral-chat",
    "ollama-v1-chat",
    "openai-chat",
    "openrouter-chat",
    "perplexity-chat",
    "snowflake-chat",
    "together-chat",
    "vercel-gateway-chat",
    "vllm-local-chat",
    "writer-chat",
    "xai-chat",
    "zai-chat",
]
CASES = cases(FAMILIES)
pytestmark = needs_wire


def asked(case: Path, **more: Any) -> Request:
    """The recorded request, as far as the reading depends on it."""
    body: dict[str, Any] = load(case, "request.json").get("body") or {}
    params: dict[str, Any] = {key: body[key] for key in ("n", "tools") if key in body}
    return Request(model="openai/gpt-4", messages=[], params={**params, **more})


def replay(case: Path, seed: int, **more: Any) -> Outcome:
    """The case, read in random pieces."""
    headers = {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}
    return read(random_pieces(case, seed), asked(case, **more), headers)


@pytest.mark.parametrize("case", CASES)
def test_recorded_stream(case: Path) -> None:
    """Text, reasoning, calls, finish and usage are those that the recording is known to come to, however it is cut."""
    expected = load(case, "expected.json")
    outcome = replay(case, seed=1)
    assert outcome.dumped == replay(case, seed=2).dumped

    assert outcome.texts.get(0, "") == expected["text"]
    assert outcome.reasoning.get(0, "") == (expected["reasoning"] or "")
    assert outcome.told_calls() == [
        (call.get("id") or "", call["name"], call["arguments"]) for call in expected["tool_calls"]
    ]
    texts_by_choice: dict[str, str] = expected.get("texts_by_choice") or {}
    for choice, whole in texts_by_choice.items():
        assert outcome.texts[int(choice)] == whole
    assert all(roles == ["assistant"] for roles in outcome.roles.values())
    assert set(outcome.roles) == set(outcome.texts)

    finish = expected["finish_reason_raw"]
    assert all(len(reasons) == 1 for reasons in outcome.finishes.values())
    if finish is None:
        assert 0 not in outcome.finishes
    else:
        told = outcome.finishes[0][0]
        assert told in ("stop", "length", "tool_calls", "content_filter")
        if told == finish:
            # OpenRouter names its upstream's own reason beside; nobody else says more than the reason itself.
            assert outcome.natives[0] is None or case.parent.name == "openrouter-chat"
        else:
            assert told == "tool_calls" if expected["tool_calls"] else told == "stop"
            assert outcome.natives[0] == finish or case.parent.name == "openrouter-chat"

    usage: dict[str, Any] | None = expected["usage_raw"] or expected.get("usage_x_groq")
    if usage is None:
        assert outcome.usage is None
    else:
        assert outcome.usage is not None
        told_usage = outcome.usage.model_dump()
        assert {key: told_usage[key] for key, value in usage.items() if isinstance(value, int | float)} == {
            key: value for key, value in usage.items() if isinstance(value, int | float)
        }
        assert outcome.chunks[-1].reported_usage == outcome.usage
    assert all(chunk.usage is None for chunk in outcome.chunks)

    if "error" in expected:
        assert outcome.failure is not None
        assert expected["error"]["message"] in str(outcome.failure)
        assert outcome.failure.status_code == 200
    else:
        assert outcome.failure is None
        assert outcome.complete


@pytest.mark.parametrize("case", [case for case in CASES if str(case.id).startswith("openai-chat")])
def test_recorded_stream_with_public_usage(case: Path) -> None:
    """Asked for usage, the last chunk carries it publicly, without a choice, under the stream's own id."""
    outcome = replay(case, seed=3, stream_options={"include_usage": True})
    if outcome.usage is None:
        assert all(chunk.usage is None for chunk in outcome.chunks)
        return
    *before, last = outcome.chunks
    assert last.usage == outcome.usage
    assert len(last.choices) == 0
    assert last.choices[0].delta.content is None
    assert last.model_dump()["choices"] == []
    assert (last.id, last.model) == (before[-1].id, before[-1].model)
    assert all(chunk.usage is None for chunk in before)


@pytest.mark.parametrize("case", CASES[:: max(1, len(CASES) // 40)])
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops before any finish reason is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    said = re.search(rb'"finish_reason": ?"|"error": ?\{', body)
    outcome = read([body[: min(len(body) // 2, said.start() if said else len(body))]], asked(case))
    assert not outcome.complete
    assert outcome.failure is None
    assert load(case, "expected.json")["text"].startswith(outcome.texts.get(0, ""))
