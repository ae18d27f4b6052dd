"""LiteLLM as a client of the proxy, by both of the names that it has for such a server."""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.proxy.clients.serving import KEY, Upstream
from tests.proxy.serving import Process

QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

pytestmark = [
    pytest.mark.parametrize("prefix", ["openai", "litellm_proxy"]),
    # pydantic's, of types of LiteLLM's own, when it is imported.
    pytest.mark.filterwarnings(r"ignore:Items? .* using the .ReadOnly. qualifier:UserWarning"),
    # Likewise, in the middle of a stream.
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields' attribute:DeprecationWarning"),
    # It leaves connections, and an event loop, to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


class City(BaseModel):
    """What an answer has to be."""

    name: str
    population: int


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library; it looks up no prices over the network, and what it leaves open is closed before the next test."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    module: Any = pytest.importorskip("litellm", reason="litellm, of the extra clients, is not installed")
    yield module
    module.in_memory_llm_clients_cache.flush_cache()
    gc.collect()


@pytest.fixture
def ask(litellm: Any, proxy: Process, prefix: str) -> Any:
    """``litellm.completion()`` of a model of the proxy's."""

    def ask(model: str, **parameters: Any) -> Any:
        settings = {"messages": QUESTION, "api_base": proxy.url, "api_key": KEY, "max_retries": 0, **parameters}
        return litellm.completion(model=f"{prefix}/{model}", **settings)

    return ask


def test_a_stream(ask: Any) -> None:
    """In pieces, with the usage where it is asked for."""
    chunks = list(ask("sim/echo", stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(texts) == "What is the weather in Paris?"
    assert len(texts) > 1
    assert chunks[-1].usage.completion_tokens > 1


def test_a_whole_answer(ask: Any) -> None:
    """Likewise."""
    answer = ask("sim/echo")
    assert answer.choices[0].message.content == "What is the weather in Paris?"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 1


def test_in_a_task(litellm: Any, proxy: Process, prefix: str) -> None:
    """``acompletion()`` streams too."""

    async def main() -> str:
        asked = await litellm.acompletion(
            model=f"{prefix}/sim/echo", messages=QUESTION, api_base=proxy.url, api_key=KEY, stream=True
        )
        texts = [chunk.choices[0].delta.content or "" async for chunk in asked]
        await litellm.close_litellm_async_clients()
        return "".join(texts)

    assert asyncio.run(main()) == "What is the weather in Paris?"


def test_tools_over_two_rounds(litellm: Any, ask: Any) -> None:
    """What the chunks come to is a call, and the answer tells of its result."""
    chunks = list(ask("sim/story", tools=[WEATHER], stream=True))
    first = litellm.stream_chunk_builder(chunks, messages=QUESTION).choices[0]
    assert first.finish_reason == "tool_calls"
    [call] = first.message.tool_calls
    assert (call.function.name, list(json.loads(call.function.arguments))) == ("weather", ["city"])
    result = {"role": "tool", "tool_call_id": call.id, "content": "It rains cats and dogs."}
    second = ask("sim/story", tools=[WEATHER], messages=[*QUESTION, first.message.model_dump(), result])
    assert "cats and dogs" in second.choices[0].message.content


def test_structured_output(ask: Any) -> None:
    """A pydantic class."""
    City.model_validate_json(ask("sim/story", response_format=City).choices[0].message.content)


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_before_the_first_chunk(litellm: Any, ask: Any, upstream: Upstream, stream: bool) -> None:
    """It is LiteLLM's own class for the status, with the provider's words."""
    upstream.answer("Not so fast, please", status=429)
    with pytest.raises(litellm.RateLimitError, match="Not so fast, please"):
        ask(upstream.model, stream=stream)


def test_a_stream_that_breaks(litellm: Any, ask: Any, upstream: Upstream) -> None:
    """What had come is there; then the loop raises, with the proxy's words."""
    upstream.answer("Hel", "lo", fault="truncated")
    texts: list[str] = []
    with pytest.raises(litellm.exceptions.MidStreamFallbackError, match="broke in the middle of the answer"):
        for chunk in ask(upstream.model, stream=True):
            texts += [choice.delta.content or "" for choice in chunk.choices]
    assert "".join(texts) == "Hello"


def test_a_wrong_key(litellm: Any, ask: Any) -> None:
    """It is told so."""
    with pytest.raises(litellm.AuthenticationError):
        ask("sim/echo", api_key="sk-wrong")
