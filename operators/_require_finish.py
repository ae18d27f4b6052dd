from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc

from rxllm.exceptions import APIResponseValidationError
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream

__all__ = ["require_finish"]


def require_finish(
    *reasons: str,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and fails in the end unless each choice finished for one of ``reasons``.

    ::

        chunks  --"Hel"--"lo"--length--|
                 require_finish()
        chunks  --"Hel"--"lo"--length--X

    So an answer that was cut off by ``max_tokens`` or by a content filter does not pass for a whole one. The error is
    an ``APIResponseValidationError``: the stream came to its proper end, unlike with ``IncompleteStreamError``, but
    what came is not what was required. Its ``param`` is ``"finish_reason"`` and its ``code`` the reason that came, None
    where none did. Every choice that appeared has to comply, the first that does not is named; an empty stream passes.
    An error of the source passes. After a restart (``chunk.restart``) only what follows counts. Holds one string a
    choice.

    Args:
        reasons: the finish reasons that are wanted, ``"stop"`` and ``"tool_calls"`` where none is given.

    Raises:
        TypeError: a reason is no string; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Once upon"), ModelResponseStream.of(finish_reason="length"))
    >>> _ = chunks.pipe(require_finish()).subscribe(on_error=print)
    Choice 0 finished with 'length', not with 'stop' or 'tool_calls'
    """
    given: Any = reasons
    for reason in given:
        if not isinstance(reason, str):
            raise TypeError(f"a finish reason is a string, not {reason!r}")
    wanted = reasons or ("stop", "tool_calls")

    def required(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            finished: dict[int, str | None] = {}

            def on_next(chunk: ModelResponseStream) -> None:
                if not chunk.choices and chunk.restart is not None:
                    finished.clear()
                for choice in chunk.choices:
                    if choice.finish_reason or choice.index not in finished:
                        finished[choice.index] = choice.finish_reason
                deliver(chunk)

            def on_completed() -> None:
                for index in sorted(finished):
                    reason = finished[index]
                    if reason not in wanted:
                        observer.on_error(
                            APIResponseValidationError(
                                _message(index, reason, wanted),
                                code=reason,
                                param="finish_reason",
                                llm_provider=request.provider if request else None,
                                model=request.model if request else None,
                            )
                        )
                        return
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return required


def _message(index: int, reason: str | None, wanted: tuple[str, ...]) -> str:
    came = f"finished with {reason!r}" if reason else "came without a finish reason"
    return f"Choice {index} {came}, not with {' or '.join(map(repr, wanted))}"
