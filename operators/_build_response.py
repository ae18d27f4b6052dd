from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from reactivex import Observable, abc

from rxllm._accumulators._conversation import Conversation
from rxllm._faults import reason_of
from rxllm.exceptions import APIResponseValidationError
from rxllm.operators._shared import request_of
from rxllm.types import Choices, ModelResponse, ModelResponseStream, Request

__all__ = ["build_response"]


def build_response() -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponse]]:
    """Reduces the chunks to the whole response, given once, when the stream completes.

    ::

        chunks    --"Hel"--"lo"--stop--|
                   build_response()
        response  ---------------------r|

    The response has every choice, ``n > 1`` or not, by index; text, reasoning, refusal, tool calls, audio and log
    probabilities as one; and always a usage: what the provider reported, else what is counted here, marked as
    ``estimated``. The prompt is counted, its tools too, where the source is a Stream that knows its request, else as 0.
    A stream without chunks gives a response without choices. An error passes, and nothing is given before it. Where the
    request's ``response_format`` is a pydantic class, ``message.parsed`` of each choice that finished with ``stop`` is
    an object of it; a text that does not fit is an ``APIResponseValidationError`` with the text as its ``body``. After
    a restart (``chunk.restart``) the response begins anew, its usage too. Held are the text and the calls, not the
    chunks, and the messages.

    Of several answers in one stream, as below ``run_tools()``, the response is the last one; its usage is the sum of
    what all have used, and says of how many ``answers``. Answers side by side are no response: put it before a merge,
    or below ``group_by``.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hel"), ModelResponseStream.of("lo", finish_reason="stop"))
    >>> response = chunks.pipe(build_response()).run()
    >>> response.choices[0].message.content, response.usage.completion_tokens, response.usage.estimated
    ('Hello', 1, True)
    """

    def response_of(source: Observable[ModelResponseStream]) -> Observable[ModelResponse]:
        request = request_of(source)
        shape = _response_class(request)

        def subscribe(
            observer: abc.ObserverBase[ModelResponse], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            conversation = (
                Conversation(request.model, request.messages, request.params.get("tools"))
                if request
                else Conversation()
            )

            def on_completed() -> None:
                response = conversation.response()
                if shape is not None:
                    try:
                        for choice in response.choices:
                            _parse(choice, shape, request)
                    except Exception as error:  # noqa: BLE001  validators are the caller's
                        observer.on_error(error)
                        return
                observer.on_next(response)
                observer.on_completed()

            return source.subscribe(conversation.add, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return response_of


def _response_class(request: Request | None) -> type[BaseModel] | None:
    shape: Any = request.params.get("response_format") if request else None
    return shape if isinstance(shape, type) and issubclass(shape, BaseModel) else None


def _parse(choice: Choices, shape: type[BaseModel], request: Request | None) -> None:
    """Sets ``message.parsed`` of a choice that is whole and no refusal."""
    message = choice.message
    if choice.finish_reason != "stop" or message.content is None:
        return
    try:
        message.parsed = shape.model_validate_json(message.content)
    except ValidationError as error:
        reason = reason_of(error)
    else:
        return
    raise APIResponseValidationError(
        f"The answer does not fit {shape.__name__}: {reason}",
        param="response_format",
        body=message.content,
        llm_provider=request.provider if request else None,
        model=request.model if request else None,
    )
