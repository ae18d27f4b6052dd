"""Recorded streams of Cohere, of Ollama's own API and of legacy completions, cut at random and read sans I/O."""

import json
from pathlib import Path
from typing import Any

import pytest

from rxllm._assembly import ResponseBuilder
from rxllm.providers._base import Dialect
from rxllm.providers._cohere import CohereChat
from rxllm.providers._completions import TextCompletions
from rxllm.providers._normalize import finish_reason
from rxllm.providers._ollama import OllamaChat
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import Outcome
from tests.recordings import WIRE, cases, load, needs_wire, random_pieces

COHERE = ["cohere-v1", "cohere-v2"]
OLLAMA = ["ollama-native", "ollama-native-generate"]
COMPLETIONS = ["openai-completions", "together-completions", "vllm-local-completions"]
DIALECTS: dict[str, Dialect] = {
    **dict.fromkeys(COHERE, CohereChat()),
    **dict.fromkeys(OLLAMA, OllamaChat()),
    **dict.fromkeys(COMPLETIONS, TextCompletions()),
}
CASES = cases(DIALECTS)
pytestmark = needs_wire


def replay(case: Path, seed: int) -> Outcome:
    """The case, read in random pieces."""
    body: dict[str, Any] = load(case, "request.json").get("body") or {}
    params = {"n": body["n"]} if "n" in body else {}
    request = Request(model=f"{case.parent.name}/model", messages=[], params=params, wire_model="model")
    headers = {key.lower(): value for key, value in load(case, "response.json")["headers"].items()}
    reading = DIALECTS[case.parent.name].reading(request, headers)
    chunks: list[ModelResponseStream] = []
    for piece in random_pieces(case, seed):
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


@pytest.mark.parametrize("case", CASES)
def test_recorded_stream(case: Path) -> None:
    """Text, reasoning, calls, finish and usage are those that the recording is known to come to, however it is cut."""
    expected = load(case, "expected.json")
    outcome = replay(case, seed=1)
    assert outcome.dumped == replay(case, seed=2).dumped

    assert outcome.texts[0] == expected["text"]
    assert outcome.reasoning[0] == (expected.get("reasoning") or "")
    assert all(roles == ["assistant"] for roles in outcome.roles.values())
    assert outcome.events - expected["n_events"] in (0, 1)  # the [DONE] of an event stream is an event here
    _compare_calls(outcome, expected)
    _compare_usage(outcome, expected)
    builder = ResponseBuilder()
    for chunk in outcome.chunks:
        builder.add(chunk)
    beside = builder.response().choices[0].message.provider_specific_fields or {}
    plan = beside.get("tool_plan")
    assert plan == expected.get("tool_plan")
    if plan:
        extras = [choice.delta.get("tool_plan") or "" for chunk in outcome.chunks for choice in chunk.choices]
        assert "".join(extras) == plan
    if "n_citations" in expected:
        assert len(beside["citations"]) == expected["n_citations"]

    raw = expected["finish_reason_raw"]
    if "error" in expected:
        assert outcome.failure is not None
        assert expected["error"] in str(outcome.failure)
        assert 0 not in outcome.finishes
        return
    assert outcome.failure is None
    assert outcome.complete
    assert outcome.finishes[0] == [finish_reason(raw, called=bool(expected["tool_calls"]))]
    assert outcome.natives[0] == (raw if raw != outcome.finishes[0][0] else None)


def _compare_calls(outcome: Outcome, expected: dict[str, Any]) -> None:
    told = outcome.told_calls()
    assert [name for _, name, _ in told] == [call["name"] for call in expected["tool_calls"]]
    assert len({call_id for call_id, _, _ in told}) == len(told)
    for (call_id, _, arguments), call in zip(told, expected["tool_calls"], strict=True):
        assert call_id if call.get("id") is None else call_id == call["id"]
        if call["arguments"]:
            assert json.loads(arguments) == json.loads(call["arguments"])
        else:
            assert not arguments


def _compare_usage(outcome: Outcome, expected: dict[str, Any]) -> None:
    raw = expected["usage_raw"]
    if not raw:
        assert outcome.usage is None
        return
    assert outcome.usage is not None
    tokens = raw.get("tokens") or raw
    prompt = ("input_tokens", "prompt_eval_count", "prompt_tokens")
    completion = ("output_tokens", "eval_count", "completion_tokens")
    counts = [next((tokens[name] for name in those if name in tokens), 0) for those in (prompt, completion)]
    assert [outcome.usage.prompt_tokens, outcome.usage.completion_tokens] == counts
    assert outcome.usage.total_tokens == sum(counts)
    if "cached_tokens" in raw:
        assert outcome.usage.prompt_tokens_details is not None
        assert outcome.usage.prompt_tokens_details.cached_tokens == raw["cached_tokens"]
    assert outcome.chunks[-1].reported_usage == outcome.usage


@pytest.mark.parametrize("case", CASES)
def test_recorded_stream_cut_short(case: Path) -> None:
    """A stream that stops half-way is no whole answer, and no error of the provider's either."""
    body = (case / "body.bin").read_bytes()
    dialect = DIALECTS[case.parent.name]
    reading = dialect.reading(Request(model="some/model", messages=[]), {})
    chunks = reading.feed(body[: len(body) // 4]) + reading.end()
    assert not reading.complete
    assert reading.failure is None
    told = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == 0)
    assert load(case, "expected.json")["text"].startswith(told)


@pytest.mark.parametrize(
    ("family", "case", "kind", "words"),
    [
        ("errors-cohere", "001", "AuthenticationError", "Incorrect API key provided"),
        ("errors-cohere", "002", "NotFoundError", "model 'command-r' was removed"),
        ("errors-ollama-v1", "000", "ContextWindowExceededError", "prompt too long"),
    ],
)
def test_recorded_error(family: str, case: str, kind: str, words: str) -> None:
    """An unsuccessful response is an error of the class that its status says, in the provider's words."""
    [folder] = WIRE.glob(f"{family}/{case}-*")
    response = load(folder, "response.json")
    dialect: Dialect = CohereChat() if family == "errors-cohere" else OllamaChat()
    request = Request(model="some/model", messages=[], provider="some")
    error = dialect.error(request, response["status"], response["headers"], (folder / "body.bin").read_bytes())
    assert type(error).__name__ == kind
    assert words in str(error)
    assert (error.status_code, error.llm_provider) == (response["status"], "some")
