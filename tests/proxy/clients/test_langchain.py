"""LangChain's ChatOpenAI as a client of the proxy."""

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.proxy.clients.serving import KEY, Upstream
from tests.proxy.serving import Process

QUESTION = "What is the weather in Paris?"


class City(BaseModel):
    """A city, as an answer has to be."""

    name: str
    population: int


@pytest.fixture
def model(proxy: Process) -> Callable[..., Any]:
    """Makes a ``ChatOpenAI`` of a model of the proxy's."""
    module: Any = pytest.importorskip(
        "langchain_openai", reason="langchain-openai, of the extra clients, is not installed"
    )

    def make(name: str, **settings: Any) -> Any:
        return module.ChatOpenAI(**{"model": name, "base_url": proxy.url, "api_key": KEY, "max_retries": 0, **settings})

    return make


def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains cats and dogs, in {city} too."


def test_invoke(model: Callable[..., Any]) -> None:
    """A whole answer, with its usage."""
    answer = model("sim/echo").invoke(QUESTION)
    assert answer.content == QUESTION
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["output_tokens"] > 1


@pytest.mark.parametrize("usage", [True, False])
def test_stream(model: Callable[..., Any], usage: bool) -> None:
    """In pieces, which add up to a message; with usage where it is asked for."""
    chunks = list(model("sim/echo", stream_usage=usage).stream(QUESTION))
    assert len([chunk for chunk in chunks if chunk.content]) > 1
    message = chunks[0]
    for chunk in chunks[1:]:
        message += chunk
    assert message.content == QUESTION
    assert message.response_metadata["finish_reason"] == "stop"
    assert bool(message.usage_metadata) == usage


def test_astream(model: Callable[..., Any]) -> None:
    """In a task too."""

    async def main() -> str:
        async with openai.DefaultAsyncHttpxClient() as client:
            chat = model("sim/echo", http_async_client=client)
            return "".join([chunk.content async for chunk in chat.astream(QUESTION)])

    assert asyncio.run(main()) == QUESTION


@pytest.mark.parametrize("streamed", [True, False])
def test_bind_tools(model: Callable[..., Any], streamed: bool) -> None:
    """Over two rounds: the call, and the answer that tells of its result."""
    messages: Any = pytest.importorskip("langchain_core.messages")
    chat = model("sim/story").bind_tools([weather])
    if streamed:
        first, *others = chat.stream(QUESTION)
        for chunk in others:
            first += chunk
    else:
        first = chat.invoke(QUESTION)
    [call] = first.tool_calls
    assert (call["name"], list(call["args"])) == ("weather", ["city"])
    result = messages.ToolMessage(weather(**call["args"]), tool_call_id=call["id"])
    second = chat.invoke([messages.HumanMessage(QUESTION), first, result])
    assert second.tool_calls == []
    assert "cats and dogs" in second.content


# The openai library's type has no place for the object that LangChain's json_schema puts there.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_with_structured_output(model: Callable[..., Any], method: str) -> None:
    """A pydantic class, in each of the ways that the library has."""
    chat = model("sim/story").with_structured_output(City, method=method)
    assert isinstance(chat.invoke(QUESTION), City)
    assert isinstance(list(chat.stream(QUESTION))[-1], City)


def test_an_error_before_the_first_chunk(model: Callable[..., Any], upstream: Upstream) -> None:
    """It is that of the openai library, or LangChain's of it, with the provider's words."""
    upstream.answer("Not so fast, please", status=429, times=2)
    chat = model(upstream.model)
    with pytest.raises(openai.RateLimitError, match="Not so fast, please"):
        chat.invoke(QUESTION)
    with pytest.raises(openai.RateLimitError, match="Not so fast, please"):
        list(chat.stream(QUESTION))


def test_a_stream_that_breaks(model: Callable[..., Any], upstream: Upstream) -> None:
    """What had come is there; then the loop raises."""
    upstream.answer("Hel", "lo", fault="truncated")
    texts: list[str] = []
    with pytest.raises(openai.APIError):
        texts.extend(chunk.content for chunk in model(upstream.model).stream(QUESTION))
    assert "".join(texts) == "Hello"


def test_leaving_early(model: Callable[..., Any], upstream: Upstream) -> None:
    """The provider sees that nobody wants the rest."""
    upstream.answer("Hel", "lo", fault="stalled")
    chunks = model(upstream.model).stream(QUESTION)
    while not next(chunks).content:
        pass
    chunks.close()
    [request] = upstream.requests
    assert request.cancelled()
