"""openai-python, as people point it at the proxy."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.proxy.clients.serving import KEY, UPSTREAMS_KEY, Upstream
from tests.proxy.serving import Process

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    """What an answer has to be."""

    name: str
    population: int
    rivers: list[str]


@pytest.fixture
def client(proxy: Process) -> Iterator[openai.OpenAI]:
    """A client, which tries nothing twice."""
    with openai.OpenAI(api_key=KEY, base_url=proxy.url, max_retries=0) as made:
        yield made


def test_a_stream(client: openai.OpenAI) -> None:
    """The text comes in pieces, the end has a finish reason, and usage is nowhere, unless it was asked for."""
    chunks = list(client.chat.completions.create(model="sim/echo", messages=QUESTION, stream=True))
    text = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(text) == "What is the weather in Paris?"
    assert len([piece for piece in text if piece]) > 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_at_the_end_of_a_stream(client: openai.OpenAI) -> None:
    """On a chunk of its own, which has no choices; the same as that of the whole answer."""
    *others, last = client.chat.completions.create(
        model="sim/story", messages=QUESTION, max_tokens=30, stream=True, stream_options={"include_usage": True}
    )
    assert last.choices == []
    assert all(chunk.usage is None for chunk in others)
    whole = client.chat.completions.create(model="sim/story", messages=QUESTION, max_tokens=30)
    assert last.usage is not None
    assert whole.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (whole.usage.prompt_tokens, 30)
    assert last.usage.total_tokens == whole.usage.total_tokens
    assert whole.choices[0].finish_reason == "length"


def test_a_whole_answer(client: openai.OpenAI, upstream: Upstream) -> None:
    """What the provider said, and what it was asked: the client's parameters with the owner's key."""
    upstream.answer("Hel", "lo", usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    answer = client.chat.completions.create(model=upstream.model, messages=QUESTION, temperature=0.5, seed=7)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    [request] = upstream.requests
    assert request.headers["authorization"] == f"Bearer {UPSTREAMS_KEY}"
    assert (request.json["temperature"], request.json["seed"]) == (0.5, 7)
    assert request.json["messages"] == QUESTION


def test_several_choices(client: openai.OpenAI) -> None:
    """Each chunk says which it is of."""
    texts = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(model="sim/echo", messages=QUESTION, n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {"What is the weather in Paris?"}


def test_many_at_once(proxy: Process) -> None:
    """The asynchronous client: twenty streams at a time, each whole, and no other's text in it."""

    async def told(client: openai.AsyncOpenAI, number: int) -> str:
        asked = await client.chat.completions.create(
            model="sim/echo", messages=[{"role": "user", "content": f"This is question number {number}"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in asked])

    async def all_told() -> list[str]:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=proxy.url, max_retries=0) as client:
            return await asyncio.gather(*(told(client, number) for number in range(20)))

    assert asyncio.run(all_told()) == [f"This is question number {number}" for number in range(20)]


def test_tools_over_two_rounds(client: openai.OpenAI) -> None:
    """The helper for streams puts the arguments together, the result goes back, and the answer tells of it."""
    with client.chat.completions.stream(model="sim/story", messages=QUESTION, tools=[WEATHER]) as stream:
        first = stream.get_final_completion().choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls
    messages = [*QUESTION, first.message.model_dump(exclude_none=True, exclude={"parsed"})]
    for call in first.message.tool_calls:
        assert call.function.name == "weather"
        assert list(json.loads(call.function.arguments)) == ["city"]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "It rains cats and dogs."})
    second: Any = client.chat.completions.create(model="sim/story", messages=messages, tools=[WEATHER])  # type: ignore[arg-type]
    assert second.choices[0].finish_reason == "stop"
    assert "cats and dogs" in second.choices[0].message.content


def test_a_pydantic_class(client: openai.OpenAI) -> None:
    """``parse()`` gives an object of it."""
    answer = client.chat.completions.parse(model="sim/story", messages=QUESTION, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_a_pydantic_class_that_streams(client: openai.OpenAI) -> None:
    """``stream()`` gives what there is of it so far, and in the end an object of it."""
    with client.chat.completions.stream(model="sim/story", messages=QUESTION, response_format=City) as stream:
        so_far = [event.parsed for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(final, City)
    assert len(so_far) > 1
    assert so_far[-1] == final.model_dump()


def test_tools_of_pydantic_classes(client: openai.OpenAI) -> None:
    """Their arguments come as objects."""
    tool = openai.pydantic_function_tool(City)
    answer = client.chat.completions.parse(model="sim/story", messages=QUESTION, tools=[tool])
    assert answer.choices[0].message.tool_calls
    assert isinstance(answer.choices[0].message.tool_calls[0].function.parsed_arguments, City)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_error_before_the_first_chunk(
    client: openai.OpenAI, upstream: Upstream, status: int, kind: type[openai.APIStatusError], stream: bool
) -> None:
    """It is the client's own class for the status, with the provider's words; a stream is not even begun."""
    upstream.answer("Not so fast, please", status=status)
    with pytest.raises(kind, match="Not so fast, please") as caught:
        client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.request_id is not None


def test_when_to_come_again(proxy: Process, upstream: Upstream) -> None:
    """What the provider says of it is what the client waits, before it asks once more."""
    upstream.answer("Not so fast, please", status=429, retry_after=0)
    upstream.answer("Hello")
    with openai.OpenAI(api_key=KEY, base_url=proxy.url, max_retries=1) as client:
        raw = client.chat.completions.with_raw_response.create(model=upstream.model, messages=QUESTION)
    assert raw.parse().choices[0].message.content == "Hello"
    assert raw.retries_taken == 1
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("fault", ["truncated", "reset"])
def test_a_stream_that_breaks(client: openai.OpenAI, upstream: Upstream, fault: str) -> None:
    """What had come is there; then the loop raises: it never ends as if all were well."""
    upstream.answer("Hel", "lo", fault=fault)
    texts: list[str | None] = []
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=True):
            texts += [choice.delta.content for choice in chunk.choices]
    assert type(caught.value) is openai.APIError  # an error within the stream, none of the connection to the proxy
    assert "".join(text or "" for text in texts) == "Hello"


def test_an_error_within_a_stream(client: openai.OpenAI, upstream: Upstream) -> None:
    """The provider's own words for it reach the client."""
    upstream.answer(
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n',
        b'data: {"error":{"message":"The engine is on fire","type":"server_error","param":null,"code":"fire"}}\n\n',
    )
    with pytest.raises(openai.APIError, match="The engine is on fire") as caught:
        list(client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=True))
    assert (caught.value.type, caught.value.code) == ("server_error", "fire")


def test_leaving_early(client: openai.OpenAI, upstream: Upstream) -> None:
    """The provider sees that nobody wants the rest."""
    upstream.answer("Hel", "lo", fault="stalled")
    with client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=True) as stream:
        assert next(stream).choices[0].delta.content is not None
    [request] = upstream.requests
    assert request.cancelled()


def test_leaving_before_anything_has_come(proxy: Process, upstream: Upstream) -> None:
    """Who waits no longer is one that leaves, too."""
    upstream.answer(delay=60)

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=proxy.url, max_retries=0) as client:
            asked = client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=True)
            task = asyncio.ensure_future(asked)
            request = await asyncio.to_thread(upstream.next_request)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(request.cancelled)

    asyncio.run(main())


def test_cancelling_a_task(proxy: Process, upstream: Upstream) -> None:
    """It reaches the provider."""
    upstream.answer("Hel", "lo", fault="stalled")

    async def consume(begun: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=proxy.url, max_retries=0) as client:
            stream = await client.chat.completions.create(model=upstream.model, messages=QUESTION, stream=True)
            async for _ in stream:
                begun.set()

    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(consume(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    [request] = upstream.requests
    assert request.cancelled()


def test_the_models(client: openai.OpenAI) -> None:
    """As the owner lists them."""
    assert [model.id for model in client.models.list()] == ["sim/*", "upstream/*"]
    assert client.models.retrieve("sim/story").id == "sim/story"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-17")


def test_a_model_that_is_not_there(client: openai.OpenAI) -> None:
    """The client is told which argument is wrong."""
    with pytest.raises(openai.NotFoundError, match="gpt-17") as caught:
        client.chat.completions.create(model="gpt-17", messages=QUESTION)
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize("key", ["sk-wrong", KEY[:-1], KEY + "t"])
def test_a_wrong_key(proxy: Process, key: str) -> None:
    """Nobody is told anything, not even the models."""
    with openai.OpenAI(api_key=key, base_url=proxy.url, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="sim/echo", messages=QUESTION)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_a_key_that_the_provider_refuses(client: openai.OpenAI, upstream: Upstream) -> None:
    """Its words reach the client, but not the key in them."""
    upstream.answer(f"Incorrect API key provided: {UPSTREAMS_KEY}.", status=401)
    with pytest.raises(openai.APIStatusError, match="Incorrect API key provided") as caught:
        client.chat.completions.create(model=upstream.model, messages=QUESTION)
    assert UPSTREAMS_KEY not in str(caught.value) + caught.value.response.text


def test_what_only_the_owner_may_say(client: openai.OpenAI) -> None:
    """A client cannot send the owner's key elsewhere."""
    with pytest.raises(openai.BadRequestError, match="api_base") as caught:
        client.chat.completions.create(model="sim/echo", messages=QUESTION, extra_body={"api_base": "http://localhost"})
    assert caught.value.param == "api_base"
