import threading
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any

from pydantic import BaseModel
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxllm._accumulators._conversation import Conversation
from rxllm.exceptions import APIError
from rxllm.operators._shared import request_of
from rxllm.types import BlankChoices, ModelResponse, ModelResponseStream, Usage

__all__ = ["attach_usage"]


def attach_usage(
    model: str | None = None,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None = None,
    *,
    own_chunk: bool = False,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and the last one carries ``usage``: as reported, else counted and marked as ``estimated``.

    ::

        chunks  --"Hel"--"lo"--stop---------|
                   attach_usage()
        chunks  --"Hel"--"lo"--------stop+usage|

    From the chunk on with which the last choice finishes, chunks are held back by one, so that nothing is delayed while
    text streams. Where no held chunk is there to carry it, as without a finish reason, one more chunk comes, with no
    choices. An empty stream completes empty. Chunks are copied, not changed. What the provider reported, on whichever
    chunk, is taken as it is; else all choices are counted with their reasoning and tool calls, and the prompt where the
    messages are known, else as 0: with the model's encoding where that is packed, else with o200k_base. After a
    restart (``chunk.restart``) it is the usage of the answer that stands, which begins there. Held are the text of the
    answer, and the messages.

    Of several answers in one stream, as below ``run_tools()``, the last chunk carries the sum of what all have used,
    and its ``answers`` says how many these are. Put it into ``send`` as well to have that of each on its last chunk. Of
    answers side by side the texts cannot be told apart: put it before a merge.

    A stream that is cut short has usage too, of what came until then. Below ``take_chunks()`` one more chunk comes, as
    without any finish reason; above it, the chunk that it cuts at carries the usage. An error passes, after the chunk
    that was held, which carries the usage; an ``APIError`` has it as its ``usage`` as well, unless nothing had come at
    all. After a plain ``break`` nothing more is delivered, so there is nothing that could carry it.

    Args:
        model: the model to count with; by default the one of the request that the stream sends.
        messages: the prompt, dictionaries or messages; by default those of the request, with its tools.
        own_chunk: whether usage is to come on a chunk of its own, after all others and without choices, as documented
            for ``include_usage``. Nothing is held back then, and where such a chunk comes anyway, none is added; that
            of a further answer carries the sum of all until then.

    Raises:
        TypeError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hello"), ModelResponseStream.of(finish_reason="stop"))
    >>> prompt = [{"role": "user", "content": "Greet me"}]
    >>> last = chunks.pipe(attach_usage("gpt-4", prompt)).run()
    >>> last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.estimated
    (10, 1, True)
    """
    checked: Any = model
    if not isinstance(checked, str | None):
        raise TypeError(f"model is a model's name, not {checked!r}")
    checked = messages
    if isinstance(checked, (str, Mapping, BaseModel)) or not isinstance(checked, Iterable | None):
        raise TypeError(f"messages is a list of messages, not {checked!r}")
    checked = own_chunk
    if not isinstance(checked, bool):
        raise TypeError(f"own_chunk is True or False, not {checked!r}")
    # Two subscriptions count the same prompt.
    prompt = None if messages is None else list(messages)

    def with_usage(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        asked_model = model if model is not None or request is None else request.model
        asked_messages = prompt if prompt is not None or request is None else request.messages
        asked_tools = request.params.get("tools") if request is not None else None

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            conversation = Conversation(asked_model, asked_messages, asked_tools)
            # From the end of an answer on, its last chunk.
            held: ModelResponseStream | None = None
            any_came = public = False
            # The chunk that is being delivered, and by which thread.
            in_flight: ModelResponseStream | None = None
            thread = 0

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal held, any_came
                any_came = True
                conversation.add(chunk)
                # What came of a tool is there to be shown, and is followed by another answer.
                holds = conversation.ended and (bool(chunk.choices) or chunk.tool_result is None)
                before, held = held, chunk if holds else None
                if before is not None:
                    pass_on(before)
                if held is None:
                    pass_on(chunk)

            def pass_on(chunk: ModelResponseStream) -> None:
                nonlocal in_flight, thread
                outer = in_flight
                # Others may have the same chunk: only a copy can be given the usage while it is on its way.
                in_flight, thread = copy(chunk), threading.get_ident()
                try:
                    deliver(in_flight)
                finally:
                    in_flight = outer

            def on_error(error: Exception) -> None:
                nonlocal in_flight
                in_flight = None
                if any_came and (held is not None or isinstance(error, APIError)):
                    told = error.usage if isinstance(error, APIError) else None
                    usage = conversation.usage(None if told is None or told.estimated else told)
                    if held is not None:
                        deliver(_carrying(held, usage))
                    if isinstance(error, APIError):
                        error.usage = usage
                observer.on_error(error)

            def on_completed() -> None:
                nonlocal in_flight
                in_flight = None
                if any_came and not public:
                    response = conversation.response()
                    usage = response.usage or Usage()
                    deliver(_carrying(held, usage) if held is not None else _usage_chunk(response, usage))
                observer.on_completed()

            def watch(chunk: ModelResponseStream) -> None:
                nonlocal any_came, public
                any_came = True
                answers = conversation.answers
                conversation.add(chunk)
                public = chunk.usage is not None or (public and conversation.answers == answers)
                if not chunk.choices and chunk.restart is not None:
                    public = False
                several = chunk.usage is not None and conversation.answers > 1
                deliver(_carrying(chunk, conversation.usage()) if several else chunk)

            def leave() -> None:
                # First of all the request is cancelled.
                upstream.dispose()
                if in_flight is not None and thread == threading.get_ident():
                    # Cut off in the middle of this chunk, which is the last one then.
                    in_flight.usage = conversation.usage()

            upstream = source.subscribe(watch if own_chunk else on_next, on_error, on_completed, scheduler=scheduler)
            return Disposable(leave)

        return Observable(subscribe)

    return with_usage


def _carrying(chunk: ModelResponseStream, usage: Usage) -> ModelResponseStream:
    """A copy of the chunk that carries the usage."""
    # The documented loop reads choices[0] of the chunk with the usage too.
    return chunk.model_copy(update={"usage": usage, "choices": chunk.choices or BlankChoices()})


def _usage_chunk(response: ModelResponse, usage: Usage) -> ModelResponseStream:
    """One more chunk, for the usage alone."""
    return ModelResponseStream(
        id=response.id,
        created=response.created,
        model=response.model,
        system_fingerprint=response.system_fingerprint,
        usage=usage,
    )
