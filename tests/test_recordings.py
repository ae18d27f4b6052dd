"""Recorded OpenAI-shaped streams, served over a real socket in random pieces and consumed in every way."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxops

import rxllm
from rxllm import ModelResponse, ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm.types import Usage
from tests.consume import by_async_for, by_for
from tests.recordings import cases, load, needs_wire, random_pieces
from tests.server import Answering, Server

FAMILIES = [
    "openai-chat",
    "azure-openai-chat",
    "vllm-local-chat",
    "llamacpp-chat",
    "ollama-v1-chat",
    "charm-hyper-chat",
    "avian-chat",
    "cloudflare-chat",
    "crusoe-chat",
    "gemini-openai-compat-chat",
    "anthropic-openai-compat-chat",
    "gpustack-chat",
    "litellm-proxy-chat",
    "snowflake-chat",
    "writer-chat",
]

Outcome = tuple[dict[int, str], dict[int, str], list[tuple[str, str, str]], dict[int, str | None], Usage | None]


def by_hand(chunks: list[ModelResponseStream]) -> Outcome:
    """What a plain loop puts together, by the documented fields alone; usage by its public chunk."""
    texts: dict[int, str] = {}
    reasoning: dict[int, str] = {}
    calls: dict[tuple[int, int], list[str]] = {}
    finishes: dict[int, str | None] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta
            texts[choice.index] = texts.get(choice.index, "") + (delta.content or "")
            reasoning[choice.index] = reasoning.get(choice.index, "") + (delta.reasoning_content or "")
            for call in delta.tool_calls or ():
                parts = calls.setdefault((choice.index, call.index), ["", "", ""])
                parts[0] = parts[0] or call.id or ""
                parts[1] = parts[1] or call.function.name or ""
                parts[2] += call.function.arguments or ""
            if choice.finish_reason:
                assert choice.index not in finishes, "finished twice"
                finishes[choice.index] = choice.finish_reason
    told = [(id_, name, arguments) for (choice, _), (id_, name, arguments) in sorted(calls.items()) if choice == 0]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    usage = chunks[-1].usage
    assert usage is not None, "asked for, and neither reported nor counted"
    return texts, reasoning, told, finishes, None if usage.estimated else usage


def by_loop(stream: Stream[ModelResponseStream]) -> Outcome:
    """A plain loop."""
    return by_hand(by_for(stream))


def by_async_loop(stream: Stream[ModelResponseStream]) -> Outcome:
    """The same on an event loop."""
    return by_hand(by_async_for(stream))


def by_pipeline(stream: Stream[ModelResponseStream]) -> Outcome:
    """Operators: the whole response, and the calls by themselves, over one shared request."""

    def both(chunks: Observable[ModelResponseStream]) -> Observable[Any]:
        return rx.zip(ops.build_response()(chunks), ops.assemble_tool_calls()(chunks).pipe(rxops.to_list()))

    response: ModelResponse
    response, calls = as_stream(stream.publish(both)).run()
    told = [
        (c.id, c.function.name, c.function.arguments) for c in sorted(calls, key=lambda c: c.index) if c.choice == 0
    ]
    assert response.usage is not None
    return (
        {choice.index: choice.message.content or "" for choice in response.choices},
        {choice.index: choice.message.reasoning_content or "" for choice in response.choices},
        told,
        {choice.index: choice.finish_reason for choice in response.choices if choice.finish_reason},
        None if response.usage.estimated else response.usage,
    )


@needs_wire
@pytest.mark.parametrize("consume", [by_loop, by_async_loop, by_pipeline])
@pytest.mark.parametrize("case", cases(FAMILIES))
def test_recorded_stream(case: Path, server: Server, consume: Callable[[Stream[Any]], Outcome]) -> None:
    """Text, reasoning, calls, finish and usage are those that the recording is known to come to."""
    expected = load(case, "expected.json")
    body: dict[str, Any] = load(case, "request.json").get("body") or {}
    response = load(case, "response.json")

    async def script(answering: Answering) -> None:
        await answering.start(response["status"], content_type=response["headers"]["content-type"])
        for number, piece in enumerate(random_pieces(case, seed=len(case.name))):
            await answering.send(piece)
            if number % 16 == 0:
                await asyncio.sleep(0)
        await answering.end()

    server.script = script
    stream = rxllm.completion(
        "hosted_vllm/recorded",
        [{"role": "user", "content": "Hello"}],
        stream=True,
        stream_options={"include_usage": True},
        api_base=server.url,
        **{name: body[name] for name in ("n", "tools") if name in body},
    )
    texts, reasoning, calls, finishes, usage = consume(stream)

    assert texts.get(0, "") == expected["text"]
    assert reasoning.get(0, "") == (expected["reasoning"] or "")
    assert calls == [(call["id"] or "", call["name"], call["arguments"]) for call in expected["tool_calls"]]
    texts_by_choice: dict[str, str] = expected.get("texts_by_choice") or {}
    for choice, text in texts_by_choice.items():
        assert texts[int(choice)] == text
    raw = expected["finish_reason_raw"]
    assert finishes.get(0) == ("tool_calls" if raw == "stop" and calls else raw)
    reported: dict[str, Any] | None = expected["usage_raw"]
    if reported is None:
        assert usage is None
    else:
        assert usage is not None
        numbers = {name: value for name, value in reported.items() if isinstance(value, int | float)}
        assert {name: usage[name] for name in numbers} == numbers
