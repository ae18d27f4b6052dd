"""One answer after the other, until one does not fail: what ``fallback_to()`` does for each subscription."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable, SingleAssignmentDisposable

from rxllm._accumulators._content import Opening
from rxllm._accumulators._conversation import Conversation
from rxllm._accumulators._partial_answer import PartialAnswer
from rxllm._accumulators._usage_sum import usage_of_parts
from rxllm._failures import all_failed
from rxllm.exceptions import APIError
from rxllm.types import ModelResponseStream, Request, Usage

__all__ = ["Chunks", "Fallback", "Make", "OnPartial"]

_log = logging.getLogger("rxllm")

Chunks = Observable[ModelResponseStream]
Make = Callable[[list[Mapping[str, Any]]], Chunks]
OnPartial = Literal["fail", "restart", "continue"]


class Fallback(abc.ObserverBase[ModelResponseStream]):
    """Follows one stream, and where it fails the next of ``waiting``. ``current`` is the subscription that is open."""

    def __init__(
        self,
        waiting: Sequence[Chunks | Make],
        on_partial: OnPartial,
        messages: Sequence[Mapping[str, Any]],
        worth_it: Callable[[Exception], bool],
        observer: abc.ObserverBase[ModelResponseStream],
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self._waiting = list(waiting)
        self._on_partial = on_partial
        self._messages = messages
        self._worth_it = worth_it
        self._observer = observer
        self._scheduler = scheduler
        self._failures: list[Exception] = []
        self._opening = Opening()
        # What has been given and is not void: whether there is any, and the text of it if somebody may go on from it.
        self._any_given = False
        self._partial = PartialAnswer()
        # What the answer has cost that is gone on from, and the part of it that the stream gives which is followed.
        self._spent: list[Usage] = []
        self._part = Conversation()
        self._part_given = False
        self.current = SerialDisposable()

    def follow(self, stream: Chunks, messages: Sequence[Mapping[str, Any]]) -> None:
        """Subscribes to ``stream``, which has been asked these."""
        asked: Any = getattr(stream, "request", None)
        if isinstance(asked, Request):
            self._part = Conversation(asked.model, asked.messages, asked.params.get("tools"))
        else:
            self._part = Conversation(messages=messages or None)
        self._part_given = False
        # Set first: a stream may fail inside its subscribe, where the next one takes its place.
        upstream = self.current.disposable = SingleAssignmentDisposable()
        upstream.disposable = stream.subscribe(
            self.on_next, self.on_error, self.on_completed, scheduler=self._scheduler
        )

    def on_next(self, value: ModelResponseStream) -> None:
        """A chunk."""
        if self._opening.over:
            self._give(value)
            return
        chunks = self._opening.add(value)
        self._any_given = self._any_given or self._opening.over
        for chunk in chunks:
            self._give(chunk)

    def on_error(self, error: Exception) -> None:
        """The stream failed: the next one's turn, or the end."""
        try:
            next_turn = self._may_go_over() and self._worth_it(error)
        except Exception as raised:  # noqa: BLE001  the function is the caller's
            self._observer.on_error(raised)
            return
        self._failures.append(error)
        if next_turn:
            self._go_over(error)
            return
        for chunk in self._opening.take():
            self._give(chunk)
        if self._spent and isinstance(error, APIError) and error.usage is not None:
            error.usage = self._with_spent(error.usage)
        self._observer.on_error(all_failed(self._failures))

    def on_completed(self) -> None:
        """The stream is whole."""
        for chunk in self._opening.take():
            self._give(chunk)
        if self._spent and not self._part.reported:
            # What it has cost in all nobody below could count: they do not know what each has been asked.
            response = self._part.response()
            end = ModelResponseStream(id=response.id, created=response.created, model=response.model)
            end.reported_usage = self._with_spent(response.usage)
            self._observer.on_next(end)
        self._observer.on_completed()

    def _give(self, chunk: ModelResponseStream) -> None:
        if self._on_partial == "continue":
            self._part.add(chunk)
            self._part_given = True
            if not chunk.choices and chunk.restart is not None:
                self._spent.clear()
            chunk = self._partial.new_in(chunk)
            self._partial.add(chunk)
            if self._spent and (chunk.usage or chunk.reported_usage):
                names = ("usage", "reported_usage")
                chunk = chunk.model_copy(update={name: self._with_spent(getattr(chunk, name)) for name in names})
        self._observer.on_next(chunk)

    def _with_spent(self, usage: Usage | None) -> Usage | None:
        """What a part has cost and what is gone on from, together."""
        return None if usage is None else usage_of_parts([*self._spent, usage])

    def _may_go_over(self) -> bool:
        return bool(self._waiting) and not (self._any_given and self._on_partial == "fail")

    def _go_over(self, error: Exception) -> None:
        _log.info("Falling back: %s: %s", type(error).__name__, error)
        self._opening = Opening()
        message = self._partial.message if self._any_given else None
        if message is not None:
            self._partial.begin_continuation()
            if self._part_given:
                told = error.usage if isinstance(error, APIError) else None
                self._spent.append(told or self._part.usage())
        elif self._any_given:
            self._partial, self._any_given = PartialAnswer(), False
            self._spent.clear()
            self._observer.on_next(ModelResponseStream.restarting(f"{type(error).__name__}: {error}"))
        if self.current.is_disposed:  # the consumer has left at that
            return
        messages = [*self._messages, message] if message else list(self._messages)
        try:
            stream = _stream_of(self._waiting.pop(0), messages)
        except Exception as raised:  # noqa: BLE001  the function is the caller's
            self.on_error(raised)
            return
        self.follow(stream, messages)


def _stream_of(given: Any, messages: list[Mapping[str, Any]]) -> Chunks:
    """A stream as it is, or what a function makes of the messages."""
    stream: Any = given if isinstance(given, Observable) else given(messages)  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(stream, Observable):
        raise TypeError(f"a function given to fallback_to() gives a Stream or an Observable, not {stream!r}")
    return cast("Chunks", stream)
