"""What the operators' tests share: chunks, sources of them, and what comes out of a pipeline."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import reactivex as rx
from reactivex import Observable
from reactivex.disposable import Disposable
from reactivex.testing.recorded import Recorded

from rxllm.types import ModelResponseStream, Request, Usage

T = TypeVar("T")
U = TypeVar("U")
Operator = Callable[[Observable[ModelResponseStream]], Observable[T]]
of = ModelResponseStream.of


def call_piece(arguments: str | None = None, *, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """A tool call's delta, as on the wire."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": function}


def calling(*pieces: dict[str, Any], index: int = 0, finish_reason: str | None = None) -> ModelResponseStream:
    """A chunk with pieces of tool calls."""
    return of(tool_calls=list(pieces), index=index, finish_reason=finish_reason)


def reported(**usage: int) -> ModelResponseStream:
    """A usage chunk as the library makes it: nothing public on it."""
    chunk = ModelResponseStream()
    chunk.reported_usage = Usage.model_validate(usage)
    return chunk


def asked(source: Observable[T], **request: Any) -> Observable[T]:
    """The source with the request that it sends, as a Stream has it."""
    settings = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}], **request}
    source.request = Request(**settings)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    return source


def items(operator: Operator[T], *chunks: ModelResponseStream) -> list[T]:
    """Everything that comes out before the completion."""
    return collect(rx.of(*chunks).pipe(operator))


def collect(source: Observable[U]) -> list[U]:
    """All items of a source that completes."""
    seen: list[U] = []
    ends: list[str] = []
    source.subscribe(seen.append, _raise, lambda: ends.append("completed"))
    assert ends == ["completed"]
    return seen


def failure(source: Observable[T]) -> tuple[list[T], Exception]:
    """The items of a source that fails, and the error."""
    seen: list[T] = []
    errors: list[Exception] = []
    source.subscribe(seen.append, errors.append, lambda: errors.append(AssertionError("completed")))
    (error,) = errors
    return seen, error


def notifications(messages: Iterable[Recorded[Any]]) -> list[tuple[float, str, Any]]:
    """When, of which kind (N, E or C) and with what item each notification came."""
    seen: list[tuple[float, str, Any]] = []
    for message in messages:
        notification: Any = message.value
        seen.append((message.time, notification.kind, getattr(notification, "value", None)))
    return seen


def never_subscribed() -> Observable[Any]:
    """A source that must not be asked."""

    def subscribe(_observer: object, _scheduler: object = None) -> Disposable:
        raise AssertionError("the source was subscribed to")

    return Observable(subscribe)


def text_chunks(texts: Iterable[str]) -> list[ModelResponseStream]:
    """One content chunk for each text."""
    return [of(text) for text in texts]


def _raise(error: Exception) -> None:
    raise error
