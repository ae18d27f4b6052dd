"""Chunks that wait for a verdict on their text, and go on in their order."""

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SingleAssignmentDisposable

from rxllm._accumulators._rewriting import TEXT_FIELDS, ChunkRewriter, bare_chunk
from rxllm._calling import CallSource, is_coroutine_function
from rxllm._stream import Stream
from rxllm.exceptions import GuardrailError
from rxllm.types import BlankChoices, Delta, ModelResponseStream, StreamingChoices

__all__ = ["Guard"]


class _Waiting:
    """A chunk of one choice or none, how many verdicts on it are still to come, and the first that was not good."""

    __slots__ = ("chunk", "failure", "open")

    def __init__(self, chunk: ModelResponseStream) -> None:
        self.chunk = chunk
        # Its text is still to be asked about.
        self.open = 1
        self.failure: Exception | None = None


class Guard(abc.ObserverBase[ModelResponseStream]):
    """One subscription to a source whose text is checked before it is delivered.

    Off a loop, verdicts that have to be waited for come on threads of their own: a lock keeps the order.
    """

    def __init__(
        self,
        check: Callable[[str], Any],
        windows: ChunkRewriter,
        refusal: Callable[[], GuardrailError],
        replacement: str | None,
        observer: abc.ObserverBase[ModelResponseStream],
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        """``windows`` gives each window of text on a chunk of its own; ``refusal`` makes the error."""
        self._check = check
        self._windows = windows
        self._refusal = refusal
        self._replacement = replacement
        self._observer = observer
        self._scheduler = scheduler
        self._upstream = SingleAssignmentDisposable()
        self._checks = CompositeDisposable()
        self._waiting: deque[_Waiting] = deque()
        # How it ends once nothing waits any more.
        self._end: Callable[[], None] | None = None
        self._over = False
        self._mutex = threading.RLock()

    def subscribe(self, source: Observable[ModelResponseStream]) -> abc.DisposableBase:
        """Begins."""
        self._upstream.disposable = source.subscribe(self, scheduler=self._scheduler)
        return CompositeDisposable(self._upstream, self._checks)

    def on_next(self, value: ModelResponseStream) -> None:
        """Cuts the chunk's text into windows, and has those that are whole checked."""
        with self._mutex:
            if self._upstream.is_disposed:
                # The source emits inside its subscribe, where it cannot be stopped yet.
                return
            if not value.choices and value.restart is not None:
                self._waiting.clear()
                self._checks.clear()
            self._take(self._windows.feed(value))

    def on_error(self, error: Exception) -> None:
        """What is left is checked and delivered before."""
        self._come_to(partial(self._observer.on_error, error))

    def on_completed(self) -> None:
        """What is left is checked and delivered before."""
        self._come_to(self._observer.on_completed)

    def _come_to(self, end: Callable[[], None]) -> None:
        with self._mutex:
            if not self._upstream.is_disposed:
                self._end = end
                self._take(self._windows.flush())

    def _take(self, chunks: Iterable[ModelResponseStream]) -> None:
        # All are in their place before the first is delivered: whoever takes it may make the source go on.
        taken = [_Waiting(part) for chunk in chunks for part in _parts(chunk)]
        self._waiting += taken
        for waiting in taken:
            for choice in waiting.chunk.choices:
                for field in TEXT_FIELDS:
                    if choice.delta[field]:
                        self._ask(waiting, choice.index, choice.delta[field])
            waiting.open -= 1
            self._deliver()
        self._deliver()

    def _ask(self, waiting: _Waiting, index: int, text: str) -> None:
        if self._over or waiting.failure is not None:
            return
        function = partial(self._check, text)
        if not is_coroutine_function(self._check):
            try:
                verdict = function()
            except Exception as error:  # noqa: BLE001  the check is the user's
                waiting.failure = error
                return
            if not inspect.isawaitable(verdict):
                waiting.failure = self._failure(verdict, index, text)
                return
            function = partial(_given, verdict)
        waiting.open += 1
        subscription = SingleAssignmentDisposable()
        self._checks.add(subscription)

        def settle(failure: Exception | None) -> None:
            with self._mutex:
                self._checks.remove(subscription)
                waiting.open -= 1
                waiting.failure = waiting.failure or failure
                self._deliver()

        def on_next(verdict: Any) -> None:
            settle(self._failure(verdict, index, text))

        def on_completed() -> None:
            # With a verdict, the subscription is gone before the end.
            settle(RuntimeError("The check was cancelled"))

        # The loop reads what it brings as it does any other Stream, and wakes for it.
        outcome: Stream[Any] = Stream.from_source(CallSource(function))
        subscription.disposable = outcome.subscribe(on_next, settle, on_completed, scheduler=self._scheduler)

    def _failure(self, verdict: Any, index: int, text: str) -> Exception | None:
        if verdict is True:
            return None
        if verdict is not False and not isinstance(verdict, str):
            return TypeError(f"a check gives True, False or the reason for which it refuses, not {verdict!r}")
        error = self._refusal()
        error.text, error.choice = text, index
        if verdict:
            error.reason = verdict
            error.message = f"{error.message}: {verdict}"
            error.args = (error.message,)
        return error

    def _deliver(self) -> None:
        """Lets go what has all its verdicts, from the first on."""
        while self._waiting and not self._waiting[0].open and not self._over:
            waiting = self._waiting.popleft()
            if waiting.failure is None:
                self._observer.on_next(waiting.chunk)
            elif self._replacement is not None and isinstance(waiting.failure, GuardrailError):
                self._replace(waiting.chunk, waiting.failure.choice, self._replacement)
            else:
                self._stop()
                self._observer.on_error(waiting.failure)
        if self._end is not None and not self._waiting and not self._over:
            self._over = True
            self._end()

    def _replace(self, chunk: ModelResponseStream, index: int, replacement: str) -> None:
        """The choice ends with the replacement, and the others go on."""
        self._windows.end(index)
        for waiting in tuple(self._waiting):
            if [choice.index for choice in waiting.chunk.choices] == [index]:
                # Of a choice that has ended only the usage is left.
                waiting.chunk = waiting.chunk.model_copy(update={"choices": BlankChoices()})
                waiting.failure = None
                if waiting.chunk.usage is None and waiting.chunk.reported_usage is None:
                    self._waiting.remove(waiting)
        if self._windows.over:
            self._upstream.dispose()
            self._end = self._end or self._observer.on_completed
        delta = Delta(content=replacement or None)
        last = StreamingChoices(
            index=index, delta=delta, finish_reason="content_filter", native_finish_reason="guardrail"
        )
        self._observer.on_next(bare_chunk(chunk, last))

    def _stop(self) -> None:
        self._over = True
        self._waiting.clear()
        self._upstream.dispose()
        self._checks.dispose()


def _parts(chunk: ModelResponseStream) -> list[ModelResponseStream]:
    """The chunk as chunks of one choice each; what it says of the whole answer is on the last."""
    if len(chunk.choices) < 2:
        return [chunk]
    *before, last = chunk.choices
    return [*(bare_chunk(chunk, choice) for choice in before), chunk.model_copy(update={"choices": [last]})]


def _given(verdict: Any) -> Any:
    return verdict
