"""Every recorded stream and error, through completion() and a real socket, in random pieces, sync and async.

What each recording should come to, its ``expected.json`` says; here the text, the reasoning and the calls are held
against it, and all of the chunks against the same dialect's reading of the body in one piece, which the tests of each
dialect hold against the rest of it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rxllm
from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIError, IncompleteStreamError
from rxllm.providers import resolve
from rxllm.types import Message, Request
from tests.consume import by_async_for, by_for
from tests.recordings import WIRE, load, needs_wire, random_pieces
from tests.server import Answering, Server

# The model to ask for, by family; the OpenAI-shaped ones that are not here are asked as openai.
MODELS = {
    "alibaba-chat": "dashscope/x",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "anthropic-complete": "anthropic/claude-2",
    "azure-ai-chat": "azure_ai/x",
    "azure-anthropic": "azure_ai/claude-sonnet-4-5",
    "azure-openai-chat": "azure/x",
    "azure-openai-responses": "azure/responses/x",
    "bedrock-converse": "bedrock/converse/amazon.nova-lite-v1:0",
    "bedrock-invoke": "bedrock/invoke/{model}",
    "bedrock-mantle-responses": "openai/responses/x",
    "cerebras-chat": "cerebras/x",
    "cohere-v1": "cohere/x",
    "cohere-v2": "cohere_chat/x",
    "databricks-chat": "databricks/x",
    "deepseek-chat": "deepseek/x",
    "deepseek-responses": "deepseek/responses/x",
    "errors-anthropic": "anthropic/claude-sonnet-4-5",
    "errors-azure-ai": "azure_ai/x",
    "errors-azure-openai": "azure/x",
    "errors-bedrock": "bedrock/amazon.nova-lite-v1:0",
    "errors-cohere": "cohere/x",
    "errors-gemini": "gemini/x",
    "errors-vertex-gemini": "vertex_ai/x",
    "gemini": "gemini/x",
    "gemini-json-array": "vertex_ai/x",
    "groq-chat": "groq/x",
    "lmstudio-responses": "lm_studio/responses/x",
    "mistral-chat": "mistral/x",
    "ollama-native": "ollama_chat/x",
    "ollama-native-generate": "ollama/x",
    "openai-completions": "text-completion-openai/x",
    "openai-responses": "openai/responses/x",
    "openrouter-chat": "openrouter/x",
    "openrouter-responses": "openrouter/responses/x",
    "together-completions": "text-completion-together_ai/x",
    "vertex-anthropic": "vertex_ai/claude-sonnet-4-5",
    "vertex-gemini": "vertex_ai/x",
    "vllm-local-completions": "text-completion-hosted_vllm/x",
    "xai-chat": "xai/x",
    "xai-responses": "xai/responses/x",
    "zai-chat": "zai/x",
}
# Ambiguous, or held to be wrong, as the tests of their dialects say.
NOT_HELD = {"anthropic/058", "bedrock-invoke/014", "bedrock-invoke/058"}
NO_EXPECTATION = {"gemini-interactions"}


def recordings() -> Iterator[Any]:
    """Each recording that has a response."""
    for case in sorted(WIRE.glob("*/*")):
        if (case / "response.json").is_file() and case.parent.name not in NO_EXPECTATION:
            yield pytest.param(case, id=f"{case.parent.name}/{case.name[:3]}")


def model_of(case: Path) -> str:
    """The model to ask for; Bedrock's own models stand in the recorded address."""
    url: str = load(case, "request.json").get("url") or ""
    wire_model = url.partition("/model/")[2].partition("/")[0].replace("%3A", ":") or "anthropic.claude-3-5-sonnet"
    family = case.parent.name
    return MODELS.get(family, "openai/x").format(model=wire_model)


def asked(case: Path) -> dict[str, Any]:
    """What the reading depends on: how many choices, and whether tools were there."""
    body: dict[str, Any] = load(case, "request.json").get("body") or {}
    return {"n": body["n"]} if isinstance(body.get("n"), int) else {}


def read(case: Path, headers: dict[str, str]) -> tuple[list[ModelResponseStream], APIError | None]:
    """The chunks and the error of the case, read in one piece."""
    model = model_of(case)
    provider, wire_model = resolve(model)
    request = Request(model=model, messages=[], params=asked(case), provider=provider.name, wire_model=wire_model)
    body, status = (case / "body.bin").read_bytes(), load(case, "response.json")["status"]
    if not 200 <= status < 300:
        return [], provider.dialect.error(request, status, headers, body)
    reading = provider.dialect.reading(request, headers)
    chunks = reading.feed(body)
    chunks += reading.end()
    failure = reading.failure
    return chunks, failure if failure or reading.complete else IncompleteStreamError("")


def dumped(chunks: list[ModelResponseStream]) -> list[Any]:
    """The chunks with what dumping leaves out, but the headers and what is stamped with the time of reading."""
    return [({**chunk.model_dump(), "created": 0}, chunk.reported_usage) for chunk in chunks]


@needs_wire
@pytest.mark.parametrize("consume", [by_for, by_async_for], ids=["sync", "async"])
@pytest.mark.parametrize("case", list(recordings()))
def test_a_recording_over_a_socket(
    case: Path, consume: Any, server: Server, held: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunks, the text, the calls, the error: however the network cuts the body."""
    if case.parent.name.startswith(("bedrock-con", "bedrock-inv", "errors-bedrock")):
        pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("VERTEXAI_PROJECT", "p")
    response = load(case, "response.json")
    headers = {name.lower().replace("-", "_"): str(value) for name, value in response["headers"].items()}

    async def script(answering: Answering) -> None:
        await answering.start(response["status"], **{"content_type": "", **headers})
        for number, piece in enumerate(random_pieces(case, seed=len(case.name))):
            await answering.send(piece)
            if number % 16 == 0:
                await asyncio.sleep(0)
        await answering.end()

    server.script = script
    stream: Stream[ModelResponseStream] = rxllm.completion(
        model_of(case),
        [{"role": "user", "content": "Hello"}],
        stream=True,
        api_base=server.url.removesuffix("/v1"),
        api_key="sk-recorded",
        max_retries=0,
        **asked(case),
    )
    chunks: list[ModelResponseStream] = []
    error: APIError | None = None
    try:
        consume(stream.do_action(chunks.append))
    except APIError as raised:
        error = raised
    wanted, failure = read(case, {name.replace("_", "-"): value for name, value in headers.items()})
    assert dumped(chunks) == dumped(wanted)
    assert type(error) is type(failure)
    if failure is not None and not isinstance(failure, IncompleteStreamError):
        assert str(error) == str(failure)
    name = f"{case.parent.name}/{case.name[:3]}"
    if (case / "expected.json").is_file() and name not in NOT_HELD and response["status"] == 200:
        hold(chunks, load(case, "expected.json"))
    held[case.parent.name] += 1


def hold(chunks: list[ModelResponseStream], expected: dict[str, Any]) -> None:
    """Text, reasoning and calls of the first choice."""
    (whole,) = as_stream(chunks).pipe(ops.build_response())
    message = next((choice.message for choice in whole.choices if choice.index == 0), Message())
    assert (message.content or "") == expected["text"]
    assert (message.reasoning_content or "") == (expected["reasoning"] or "")
    assert [(call.function.name, parsed(call.function.arguments)) for call in message.tool_calls or ()] == [
        (call["name"], parsed(call["arguments"])) for call in expected["tool_calls"]
    ]


def parsed(arguments: str) -> Any:
    """JSON to compare by what it says; no arguments at all are an empty object, a text that is no JSON stays one."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments
