"""The operators over recorded streams of OpenAI-shaped providers: raw chunks, before anything normalizes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.operators.sources import items
from tests.recordings import cases, load, needs_wire

FAMILIES = [
    "alibaba-chat",
    "anthropic-openai-compat-chat",
    "azure-openai-chat",
    "charm-hyper-chat",
    "gemini-openai-compat-chat",
    "groq-chat",
    "mistral-chat",
    "ollama-v1-chat",
    "openai-chat",
    "openrouter-chat",
    "together-chat",
    "writer-chat",
    "zai-chat",
]
# Their content is a list of parts, their log probabilities a number: the providers' dialects see to that.
NEED_THEIR_DIALECT = {"mistral-chat/016", "mistral-chat/019", "mistral-chat/056", "openrouter-chat/031"}


def chunks_of(body: bytes) -> list[ModelResponseStream]:
    """The chunks of a body, its events simply split by line."""
    lines = (line.strip() for line in body.decode().splitlines())
    events = (line.removeprefix("data:").strip() for line in lines if line.startswith("data:"))
    return [ModelResponseStream.model_validate_json(event) for event in events if event != "[DONE]"]


def parsed(arguments: str) -> Any:
    """JSON to compare by what it says; a text that is none stays a text."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


@needs_wire
@pytest.mark.parametrize("case", cases(FAMILIES, without=NEED_THEIR_DIALECT))
def test_recorded_streams_come_to_what_they_should(case: Path) -> None:
    """Text and calls of the first choice, by the operators and in the whole response alike."""
    expected = load(case, "expected.json")
    chunks = chunks_of((case / "body.bin").read_bytes())
    text = items(ops.accumulate_text(), *chunks)[-1]
    calls = [call for call in items(ops.assemble_tool_calls(), *chunks) if call.choice == 0]
    (response,) = items(ops.build_response(), *chunks)
    wanted = [(call["id"] or "", call["name"], parsed(call["arguments"])) for call in expected["tool_calls"]]
    assert text == expected["text"]
    assert sorted((call.index, call.id, call.function.name) for call in calls) == [
        (index, id_, name) for index, (id_, name, _) in enumerate(wanted)
    ]
    assert {call.index: parsed(call.function.arguments) for call in calls} == {i: w[2] for i, w in enumerate(wanted)}
    message = response.choices[0].message if response.choices else None
    assert (message.content or "" if message else "") == expected["text"]
    assert sorted(calls, key=lambda call: call.index) == ((message.tool_calls if message else None) or [])
    assert response.usage is not None
    assert response.usage.estimated is (expected["usage_raw"] is None or not any(chunk.usage for chunk in chunks))
