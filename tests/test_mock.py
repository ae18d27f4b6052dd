"""`mock_response=`: an answer of the caller's own, on any model, sent nowhere."""

import asyncio
from typing import Any

import pytest

import rxllm
from rxllm import ModelResponse, ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import APIError, RateLimitError
from rxllm.types import (
    ChatCompletionMessageToolCall,
    Choices,
    CompletionTokensDetails,
    Delta,
    Function,
    Message,
    Usage,
)
from tests.consume import WAYS
from tests.server import Server

MESSAGES = [{"role": "user", "content": "Hello"}]
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def mocked(response: Any, model: str = "gpt-4", **parameters: Any) -> Stream[ModelResponseStream]:
    """The stream of a mocked answer."""
    made: Stream[ModelResponseStream] = rxllm.completion(
        model, MESSAGES, stream=True, mock_response=response, **parameters
    )
    return made


def answered(response: Any, **parameters: Any) -> ModelResponse:
    """The mocked answer, whole."""
    made: ModelResponse = rxllm.completion("gpt-4", MESSAGES, stream=False, mock_response=response, **parameters)
    return made


def call(name: str, arguments: str, *, place: int = 0, choice: int = 0) -> ChatCompletionMessageToolCall:
    """A whole tool call."""
    function = Function(name=name, arguments=arguments)
    return ChatCompletionMessageToolCall(id=f"call_{name}", function=function, index=place, choice=choice)


FULL = ModelResponse(
    id="resp-1",
    created=1_700_000_000,
    model="gpt-4-0613",
    system_fingerprint="fp_1",
    choices=[
        Choices(
            message=Message(
                content="Hello there",
                reasoning_content="They greet me.",
                thinking_blocks=[{"type": "thinking", "thinking": "They greet me.", "signature": "s"}],
                annotations=[{"type": "url_citation"}],
                provider_specific_fields={"citations": ["a", "b"]},
            ),
            finish_reason="stop",
            native_finish_reason="eos",
            logprobs={"content": [{"token": "Hello", "logprob": -0.1}]},
        ),
        Choices(
            index=1,
            message=Message(
                tool_calls=[
                    call("add", '{"a": 1, "b": 2}', choice=1),
                    call("now", "", place=1, choice=1),
                    call("add", '{"a": 1, "b": 2}', place=2, choice=1),
                ]
            ),
            finish_reason="tool_calls",
        ),
        Choices(index=2, message=Message(content="Once upon a"), finish_reason="length"),
        Choices(index=3, message=Message(refusal="No."), finish_reason="content_filter"),
    ],
    usage=Usage(
        prompt_tokens=8,
        completion_tokens=20,
        total_tokens=28,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=5),
    ),
)


@pytest.mark.parametrize("model", ["gpt-4", "hosted_vllm/any", "sim/story"])
@each_way
def test_a_text_is_streamed_on_any_model(model: str, way: Any) -> None:
    """The same chunks however consumed: the text under the role, and a stop."""
    chunks = way(mocked("Hello there", model))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hello there", None]
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "stop"]


@each_way
def test_a_list_is_a_chunk_each(way: Any) -> None:
    """Texts, dictionaries of a delta's shape and Delta objects, mixed."""
    pieces = [
        "Let me ",
        {"content": "think.", "reasoning_content": "Hm"},
        Delta(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a"'}}]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    chunks = way(mocked(pieces))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Let me ", "think.", None, None, None]
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None, None]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    (whole,) = rxllm.as_stream(chunks).pipe(ops.assemble_tool_calls())
    assert (whole.function.name, whole.parsed) == ("add", {"a": 1})


def test_an_empty_list_and_an_empty_text_are_empty_answers() -> None:
    """The role still comes, and the stop."""
    nothing: list[Any] = [[], ""]
    for response in nothing:
        message = answered(response).choices[0].message
        assert (message.role, message.content) == ("assistant", "")


def test_whole_from_text_and_list() -> None:
    """Without stream=True the same deltas are put together, and the usage is counted."""
    response = answered(["Hel", {"content": "lo"}])
    assert response.choices[0].message.content == "Hello"
    assert response.choices[0].finish_reason == "stop"
    assert response.usage is not None
    assert response.usage.estimated
    assert response.usage.completion_tokens == 1


def test_each_choice_gets_the_answer() -> None:
    """With n, each as often as asked for."""
    response = answered(["Hel", "lo"], n=3)
    assert [(choice.index, choice.message.content, choice.finish_reason) for choice in response.choices] == [
        (index, "Hello", "stop") for index in range(3)
    ]


def test_a_whole_response_comes_back_equal() -> None:
    """Text, reasoning, calls, finish reasons, log probabilities, usage and all choices."""
    assert answered(FULL) == FULL
    assert answered(FULL.model_dump()).model_dump() == FULL.model_dump()


def test_a_whole_response_comes_back_equal_asynchronously() -> None:
    """By acompletion too."""
    assert asyncio.run(rxllm.acompletion("gpt-4", MESSAGES, mock_response=FULL)) == FULL


@each_way
def test_a_whole_response_is_streamed(way: Any) -> None:
    """In chunks that come to it, by text and calls alike; the usage is not public unless asked for."""
    chunks = way(mocked(FULL))
    assert rxllm.as_stream(chunks).pipe(ops.build_response()).run() == FULL
    assert {chunk.id for chunk in chunks} == {"resp-1"}
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    calls = sorted(rxllm.as_stream(chunks).pipe(ops.assemble_tool_calls()), key=lambda call: call.index)
    assert calls == FULL.choices[1].message.tool_calls


def test_include_usage_gives_its_chunk() -> None:
    """The last one, without choices, as documented."""
    *others, last = mocked(FULL, stream_options={"include_usage": True})
    assert last.usage == FULL.usage
    assert (len(last.choices), last.choices[0].delta.content) == (0, None)
    assert all(chunk.usage is None for chunk in others)


def test_attach_usage_takes_what_the_response_says() -> None:
    """As it does what a provider reports."""
    assert mocked(FULL).pipe(ops.attach_usage()).run().usage == FULL.usage


def test_unknown_fields_of_a_response_are_kept() -> None:
    """Of the response itself, and objects and lists of its message."""
    given: dict[str, Any] = FULL.model_dump() | {"citations": ["https://example.com"], "service_tier": "default"}
    given["choices"][0]["message"]["reasoning_details"] = [{"type": "reasoning.text", "text": "They"}]
    assert answered(given).model_dump() == ModelResponse.model_validate(given).model_dump()


def test_choices_without_indexes_are_numbered() -> None:
    """Several that all say 0 are several all the same."""
    given = ModelResponse(choices=[Choices(message=Message(content=text)) for text in ("a", "b")])
    assert [(choice.index, choice.message.content) for choice in answered(given).choices] == [(0, "a"), (1, "b")]


def test_responses_of_other_clients_are_taken() -> None:
    """Whatever has choices and can be dumped, as openai-python's and LiteLLM's have."""

    class Theirs:
        choices = FULL.choices

        def model_dump(self, **options: Any) -> dict[str, Any]:
            return FULL.model_dump(**options)

    assert answered(Theirs()).model_dump() == FULL.model_dump()


@each_way
def test_an_exception_is_raised(way: Any) -> None:
    """The very one, each time anew, however consumed."""
    error = RateLimitError("Too many requests", status_code=429)
    stream = mocked(error)
    depths: list[int] = []
    for _ in range(3):
        with pytest.raises(RateLimitError) as raised:
            way(stream)
        assert raised.value is error
        depths.append(len(raised.traceback))
    assert depths[0] == depths[1] == depths[2]


def test_a_class_of_exceptions_is_raised() -> None:
    """An APIError then says which model it was; any other class is made without arguments."""
    with pytest.raises(RateLimitError) as raised:
        answered(RateLimitError)
    assert (raised.value.model, raised.value.llm_provider) == ("gpt-4", "openai")
    with pytest.raises(TimeoutError):
        answered(TimeoutError)
    with pytest.raises(RateLimitError):
        asyncio.run(rxllm.acompletion("gpt-4", MESSAGES, mock_response=RateLimitError))


@each_way
def test_an_exception_after_deltas_breaks_the_answer_off(way: Any) -> None:
    """What stands before it comes."""
    seen: list[ModelResponseStream] = []
    with pytest.raises(APIError, match="Mocked RateLimitError"):
        way(mocked(["Hel", "lo", RateLimitError]).do_action(seen.append))
    assert [chunk.choices[0].delta.content for chunk in seen] == ["Hel", "lo"]


def test_two_readings_share_no_chunk() -> None:
    """Whoever changes one of a reading's chunks, changes none of another's."""
    for response in ("Hello", [Delta(content="Hello")], [{"content": "Hello"}], FULL):
        stream = mocked(response)
        first = list(stream)
        before = [chunk.model_dump(exclude={"id"}) for chunk in first]
        for chunk in first:
            for choice in chunk.choices:
                choice.delta.content = "changed"
                choice.delta.thinking_blocks = None
        assert [chunk.model_dump(exclude={"id"}) for chunk in stream] == before


def test_two_readings_are_two_answers() -> None:
    """Each has an id of its own, that of all its chunks, so that what adds answers up tells them apart."""
    stream = mocked(["Hel", "lo"])
    ids = [{chunk.id for chunk in stream} for _ in range(2)]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_what_was_given_stays_as_it_was() -> None:
    """Neither the deltas nor the response are changed, and changing them later changes nothing."""
    delta, response = Delta(content="Hello"), FULL.model_copy(deep=True)
    streams = mocked([delta]), mocked(response)
    for stream in streams:
        list(stream)
    assert (delta, response) == (Delta(content="Hello"), FULL)
    delta.content = response.choices[0].message.content = "changed"
    assert [stream.pipe(ops.accumulate_text()).run() for stream in streams] == ["Hello", "Hello there"]


@pytest.mark.parametrize(
    "response",
    [5, b"Hello", [5], [["Hello"]], {"content": "Hello"}, [FULL], KeyboardInterrupt, [KeyboardInterrupt()], object()],
)
def test_anything_else_is_refused_at_once(response: Any) -> None:
    """Before anything is consumed."""
    with pytest.raises(TypeError, match="mock_response"):
        mocked(response)


@pytest.mark.parametrize("response", [{"choices": 5}, [{"content": ["no", "text"]}]])
def test_a_wrong_shape_is_refused_at_once(response: Any) -> None:
    """By what is wrong with it."""
    with pytest.raises(ValueError, match=r"choices|content"):
        mocked(response)


def test_fallbacks_of_a_mocked_call_send_nothing(server: Server) -> None:
    """They fail as the call does, unless they have an answer of their own; only one that says so really asks."""
    there: Any = {"api_base": server.url, "api_key": "sk-secret-key"}
    busy = RateLimitError("busy")
    with pytest.raises(RateLimitError, match="busy"):
        answered(busy, fallbacks=["o3", {"model": "gpt-4o", **there}], **there)
    own = {"model": "gpt-4o", "mock_response": "Mine"}
    assert answered(busy, fallbacks=["o3", own], **there).choices[0].message.content == "Mine"
    assert server.requests == []
    real = {"model": "gpt-4o", "mock_response": None}
    assert answered(busy, fallbacks=["o3", real], **there).choices[0].message.content == "Hello world"
    assert [request.json["model"] for request in server.requests] == ["gpt-4o"]
