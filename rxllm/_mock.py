"""``mock_response=``: an answer of the caller's own, in place of a provider's.

A call that has one sends nothing, as documented, and so its ``fallbacks`` send nothing: they share it like any other
argument, and after a mocked error fail with it too. One that has a ``mock_response`` of its own answers with that, and
one whose own is ``None`` really asks.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard
from uuid import uuid4

from rxllm._iterables import IterableSource
from rxllm.exceptions import APIError
from rxllm.types import (
    ChatCompletionDeltaToolCall,
    Choices,
    Delta,
    FunctionDelta,
    ModelResponse,
    ModelResponseStream,
    Request,
    StreamingChoices,
)

__all__ = ["mock_chunks"]

# What a delta and a message have in common, beside the text, the reasoning and the calls.
_SHARED_FIELDS = ("role", "refusal", "thinking_blocks", "annotations", "audio", "provider_specific_fields")


def mock_chunks(response: Any, request: Request) -> IterableSource:
    """A source that answers ``request`` with ``response``; it can be read any number of times.

    Args:
        response: a text; a list of deltas, a chunk each, as texts, ``Delta`` objects or dictionaries of their shape; an
            exception or a class of exceptions to fail with, which in a list may also stand after deltas; or a whole
            ``ModelResponse``, or a dictionary of its shape.
        request: what was asked for: it says the model, how many choices to give (of a text or a list, each the same),
            and whether the usage of a whole response is to be public.

    Raises:
        TypeError: it is nothing of that kind.
        ValueError: a dictionary has not the shape of a delta or of a response.
    """
    whole = _whole_response(response)
    if whole is not None:
        return IterableSource(_Chunks(partial(_replay, whole, request)))
    given: list[Any] = list(response) if _is_list(response) else [response]
    if isinstance(response, Mapping):
        raise TypeError("mock_response is a dictionary of a whole response, with choices; a delta stands in a list.")
    return IterableSource(_Chunks(partial(_from_deltas, [_delta_or_error(part, request) for part in given], request)))


class _Chunks:
    """Chunks that are made anew for each reading, of which neither kind blocks."""

    def __init__(self, make: Callable[[], Iterator[ModelResponseStream]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[ModelResponseStream]:
        return self._make()

    async def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        for chunk in self._make():
            yield chunk


def _from_deltas(deltas: list[Delta | Exception], request: Request) -> Iterator[ModelResponseStream]:
    """An answer made of deltas, each choice the same."""
    role: str | None = "assistant"
    reason = "stop"
    # Each reading is an answer of its own: what adds answers up tells them apart by it.
    response_id = f"chatcmpl-{uuid4().hex}"

    def chunk(choice: StreamingChoices) -> ModelResponseStream:
        return ModelResponseStream(id=response_id, model=request.wire_model, choices=[choice])

    for delta in deltas:
        if isinstance(delta, Exception):
            # As new: not with the tracebacks of earlier readings.
            raise delta.with_traceback(None)
        if delta.tool_calls:
            reason = "tool_calls"
        for index in range(request.n):
            given = delta.model_copy(deep=True)
            given.role = given.role or role
            yield chunk(StreamingChoices(index=index, delta=given))
        role = None
    for index in range(request.n):
        yield chunk(StreamingChoices(index=index, delta=Delta(role=role), finish_reason=reason))


def _replay(whole: ModelResponse, request: Request) -> Iterator[ModelResponseStream]:
    """A whole response as the chunks that come to it."""
    response = whole.model_copy(deep=True)

    def chunk() -> ModelResponseStream:
        return ModelResponseStream(
            id=response.id,
            created=response.created,
            model=response.model,
            system_fingerprint=response.system_fingerprint,
        )

    last = chunk()
    # What is said once, is said first.
    last.response_headers = response.response_headers
    for name, value in (response.model_extra or {}).items():
        setattr(last, name, value)
    indexes = [choice.index for choice in response.choices]
    if len(set(indexes)) < len(indexes):
        indexes = list(range(len(indexes)))
    for index, choice in zip(indexes, response.choices, strict=True):
        for part in _parts(choice, index):
            if last.choices:
                yield last
                last = chunk()
            last.choices = [part]
    last.reported_usage = response.usage
    yield last
    if response.usage is not None and request.include_usage:
        carrier = chunk()
        carrier.usage = carrier.reported_usage = response.usage
        yield carrier


def _parts(choice: Choices, index: int) -> Iterator[StreamingChoices]:
    """One choice in pieces: what stands beside the text, the reasoning, the text, each call, how it finished."""
    message = choice.message
    beside = {name: message[name] for name in _SHARED_FIELDS if message[name] is not None}
    yield StreamingChoices(index=index, delta=Delta(**beside, **(message.model_extra or {})))
    if message.reasoning_content:
        yield StreamingChoices(index=index, delta=Delta(reasoning_content=message.reasoning_content))
    if message.content:
        yield StreamingChoices(index=index, delta=Delta(content=message.content))
    for place, call in enumerate(message.tool_calls or ()):
        function = FunctionDelta(name=call.function.name, arguments=call.function.arguments)
        piece = ChatCompletionDeltaToolCall(
            index=place, id=call.id, type=call.type, function=function, **(call.model_extra or {})
        )
        yield StreamingChoices(index=index, delta=Delta(tool_calls=[piece]))
    yield StreamingChoices(
        index=index,
        finish_reason=choice.finish_reason,
        native_finish_reason=choice.native_finish_reason,
        logprobs=choice.logprobs,
    )


def _whole_response(response: Any) -> ModelResponse | None:
    """The whole response that this is: ours, another client's, or a dictionary; None where it is none."""
    if isinstance(response, ModelResponse):
        return response.model_copy(deep=True)
    if isinstance(response, Mapping):
        return ModelResponse.model_validate(response) if "choices" in response else None
    if hasattr(response, "choices") and hasattr(response, "model_dump"):
        return ModelResponse.model_validate(response.model_dump(exclude_none=True))
    return None


def _delta_or_error(part: Any, request: Request) -> Delta | Exception:
    """What one part of an answer is."""
    if isinstance(part, str):
        return Delta(content=part)
    if isinstance(part, Delta):
        return part.model_copy(deep=True)
    if isinstance(part, Exception):
        return part
    if isinstance(part, type) and issubclass(part, APIError):
        return part(f"Mocked {part.__name__}", llm_provider=request.provider, model=request.model)
    if isinstance(part, type) and issubclass(part, Exception):
        return part()
    if isinstance(part, Mapping) and "choices" not in part:
        return Delta.model_validate(part)
    raise TypeError(
        "mock_response is a text, an exception, a whole ModelResponse, or a list of deltas: texts, Delta objects or "
        f"dictionaries such as {{'content': 'Hello'}}. This is none of them: {part!r:.100}"
    )


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
