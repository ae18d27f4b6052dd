"""``completion()``, ``acompletion()`` and ``as_stream()``: what they give."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from typing import Any, assert_type

import httpx
import reactivex as rx
from pydantic import BaseModel
from reactivex import Observable
from reactivex.subject import Subject

import rxllm
from rxllm import ModelResponse, ModelResponseStream, Stream, acompletion, as_stream, completion
from rxllm.types import Choices, Delta, Message, Request, StreamingChoices, Usage

MESSAGES = [{"role": "user", "content": "Hello"}]


class City(BaseModel):
    """A shape to answer in."""

    name: str


def completions(flag: bool, maybe: bool | None, client: httpx.Client) -> None:
    """``stream`` decides; where it is not known, it may be either."""
    assert_type(completion("gpt-4", MESSAGES, stream=True), Stream[ModelResponseStream])
    assert_type(completion(model="gpt-4", messages=MESSAGES, stream=True), Stream[ModelResponseStream])
    assert_type(completion("gpt-4", MESSAGES), ModelResponse)
    assert_type(completion("gpt-4", MESSAGES, stream=False), ModelResponse)
    assert_type(completion("gpt-4", MESSAGES, stream=None), ModelResponse)
    assert_type(completion("gpt-4", MESSAGES, stream=flag), Stream[ModelResponseStream] | ModelResponse)
    assert_type(completion("gpt-4", MESSAGES, stream=maybe), Stream[ModelResponseStream] | ModelResponse)
    bounded = completion(
        "gpt-4",
        MESSAGES,
        stream=True,
        timeout=rxllm.Timeouts(first=60, idle=20.0, total=None),
        max_event_bytes=1 << 20,
        fallbacks=["gpt-4o", {"model": "claude-sonnet-4-5", "timeout": 5}],
    )
    assert_type(bounded, Stream[ModelResponseStream])
    whole = completion(
        "gpt-4",
        [*MESSAGES, Message(content="Hi"), {"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        stream_options={"include_usage": True},
        timeout=httpx.Timeout(10.0),
        max_tokens=5,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="auto",
        temperature=0.5,
        n=2,
        stop=["\n"],
        response_format=City,
        api_key="key",
        base_url="http://localhost/v1",
        custom_llm_provider="openai",
        num_retries=1,
        extra_headers={"x-team": "a"},
        extra_body={"seed": 1},
        http_client=client,
        top_p=0.9,
    )
    assert_type(whole, ModelResponse)


async def acompletions(flag: bool) -> None:
    """The same, awaited."""
    assert_type(await acompletion("gpt-4", MESSAGES, stream=True), Stream[ModelResponseStream])
    assert_type(await acompletion("gpt-4", MESSAGES), ModelResponse)
    assert_type(await acompletion("gpt-4", MESSAGES, stream=False), ModelResponse)
    assert_type(await acompletion("gpt-4", MESSAGES, stream=None), ModelResponse)
    assert_type(await acompletion("gpt-4", MESSAGES, stream=flag), Stream[ModelResponseStream] | ModelResponse)


def fields(chunk: ModelResponseStream, response: ModelResponse) -> None:
    """What stands in a chunk and in a response."""
    assert_type(chunk.choices, list[StreamingChoices])
    assert_type(chunk.choices[0].delta, Delta)
    assert_type(chunk.choices[0].delta.content, str | None)
    assert_type(chunk.choices[0].finish_reason, str | None)
    assert_type(chunk.usage, Usage | None)
    assert_type(chunk.request_id, str | None)
    assert_type(chunk["choices"], Any)
    assert_type(response.choices, list[Choices])
    assert_type(response.choices[0].message, Message)
    assert_type(response.choices[0].message.content, str | None)
    assert_type(response.rate_limits, dict[str, str])
    assert_type(ModelResponseStream.of("Hi", role="assistant"), ModelResponseStream)
    calls = response.choices[0].message.tool_calls or []
    assert_type(calls[0].function.arguments, str)
    assert_type(calls[0].parsed, Any)


def streams(
    chunks: Observable[ModelResponseStream],
    texts: list[str],
    numbers: Generator[int, None, None],
    later: AsyncGenerator[bytes, None],
    iterator: AsyncIterator[int],
    dictionaries: Sequence[dict[str, Any]],
    stream: Stream[str],
) -> None:
    """``as_stream()`` keeps the type of the items."""
    assert_type(as_stream(chunks), Stream[ModelResponseStream])
    assert_type(as_stream(stream), Stream[str])
    assert_type(as_stream(rx.of("a", "b")), Stream[str])
    assert_type(as_stream(Subject[int]()), Stream[int])
    assert_type(as_stream(texts), Stream[str])
    assert_type(as_stream(range(3)), Stream[int])
    assert_type(as_stream(numbers), Stream[int])
    assert_type(as_stream(later), Stream[bytes])
    assert_type(as_stream(iterator), Stream[int])
    # reactivex does not say what a merge gives, and dictionaries become chunks only where they are some.
    assert_type(as_stream(rx.merge(stream, stream)), Stream[Any])
    assert_type(as_stream(dictionaries), Stream[Any])
    merged: Stream[str] = as_stream(rx.merge(stream, stream))
    for text in merged:
        assert_type(text, str)


async def closing() -> None:
    """The shared connections are let go of."""
    rxllm.close()
    await rxllm.aclose()
    assert_type(rxllm.__version__, str)
    assert_type(rxllm.token_counter("gpt-4", text="Hello").estimated, bool)
    assert_type(rxllm.token_counter("gpt-4", messages=MESSAGES) + 1, int)


def requests(stream: Stream[Any]) -> None:
    """What was asked for, where a single request stands behind a Stream."""
    assert_type(stream.request, Request | None)


def batches(prompts: list[str]) -> None:
    """Many requests are a Stream of results."""
    results = rxllm.complete_all(prompts, model="sim/echo", max_concurrent=2)
    assert_type(results, Stream[rxllm.BatchResult])
    for result in results:
        assert_type(result.response, ModelResponse | None)
        assert_type(result.error, Exception | None)
