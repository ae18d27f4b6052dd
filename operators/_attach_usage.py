from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from reactivex import Observable, abc

from rxllm._assembly import ResponseBuilder
from rxllm._tokens import estimate_usage
from rxllm.operators._shared import request_of
from rxllm.types import BlankChoices, ModelResponse, ModelResponseStream, Usage

__all__ = ["attach_usage"]


def attach_usage(
    model: str | None = None, messages: Iterable[Mapping[str, Any] | BaseModel] | None = None
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and the last one carries ``usage``: as reported, else counted and marked as ``estimated``.

    ::

        chunks  --"Hel"--"lo"--stop---------|
                   attach_usage()
        chunks  --"Hel"--"lo"--------stop+usage|

    From the chunk on with which the last choice finishes, chunks are held back by one, so that nothing is delayed while
    text streams. Where no held chunk is there to carry it, as without a finish reason, one more chunk comes, with no
    choices. An empty stream completes empty. An error passes, after the chunk that was held. Chunks are copied, not
    changed. What the provider reported, on whichever chunk, is taken as it is; else all choices are counted, and the
    prompt where the messages are known, else as 0: with the model's encoding where that is packed, else with
    o200k_base. Held is the text so far.

    Args:
        model: the model to count with; by default the one of the request that the stream sends.
        messages: the prompt, dictionaries or messages; by default those of the request.

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
    # Two subscriptions count the same prompt.
    prompt = None if messages is None else list(messages)

    def with_usage(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        asked_model = model if model is not None or request is None else request.model
        asked_messages = prompt if prompt is not None or request is None else request.messages

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            builder = ResponseBuilder()
            # Which choices have come and not finished; from their finish on the last chunk is held.
            unfinished: set[int] = set()
            finished: set[int] = set()
            held: ModelResponseStream | None = None
            any_came = False

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal held, any_came
                any_came = True
                builder.add(chunk)
                for choice in chunk.choices:
                    if choice.finish_reason:
                        finished.add(choice.index)
                        unfinished.discard(choice.index)
                    elif choice.index not in finished:
                        unfinished.add(choice.index)
                before, held = held, chunk if finished and not unfinished else None
                if before is not None:
                    deliver(before)
                if held is None:
                    deliver(chunk)

            def on_error(error: Exception) -> None:
                if held is not None:
                    deliver(held)
                observer.on_error(error)

            def on_completed() -> None:
                if any_came:
                    deliver(_last(held, builder.response(), asked_model, asked_messages))
                observer.on_completed()

            return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return with_usage


def _last(
    held: ModelResponseStream | None,
    response: ModelResponse,
    model: str | None,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None,
) -> ModelResponseStream:
    """The last chunk with its usage: the one that was held, or one more."""
    usage: Usage = response.usage or estimate_usage(model, messages, response)
    if held is not None:
        # The documented loop reads choices[0] of the chunk with the usage too.
        return held.model_copy(update={"usage": usage, "choices": held.choices or BlankChoices()})
    return ModelResponseStream(
        id=response.id,
        created=response.created,
        model=response.model,
        system_fingerprint=response.system_fingerprint,
        usage=usage,
    )
