from collections.abc import Callable

from reactivex import Observable, abc

from rxllm.operators._shared import check_choice
from rxllm.types import ModelResponseStream

__all__ = ["finish_reason"]


def finish_reason(choice: int = 0) -> Callable[[Observable[ModelResponseStream]], Observable[str]]:
    """Gives why the choice finished, once, when the stream completes.

    ::

        chunks  --"Hel"--"lo"--stop--|
                 finish_reason()
        reason  ---------------------"stop"|

    It is ``stop``, ``length``, ``tool_calls`` or ``content_filter``: the last one that came, should there be several. A
    stream without one, an empty one too, completes empty, as does one that has no such choice. An error passes. After a
    restart (``chunk.restart``) only what follows counts. Holds one string.

    Args:
        choice: the index of the choice.

    Raises:
        TypeError, ValueError: ``choice`` is no index; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hello"), ModelResponseStream.of(finish_reason="stop"))
    >>> chunks.pipe(finish_reason()).run()
    'stop'
    """
    check_choice(choice)

    def finish_reason_of(source: Observable[ModelResponseStream]) -> Observable[str]:
        def subscribe(
            observer: abc.ObserverBase[str], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            reason: str | None = None

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal reason
                if not chunk.choices and chunk.restart is not None:
                    reason = None
                for entry in chunk.choices:
                    if entry.finish_reason and entry.index == choice:
                        reason = entry.finish_reason

            def on_completed() -> None:
                if reason is not None:
                    observer.on_next(reason)
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return finish_reason_of
