from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc

from rxllm.types import ModelResponseStream

__all__ = ["tag"]


def tag(source: str) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on with a label, so that it can be told where it came from after a merge.

    ::

        chunks  --"Hel"-----"lo"-----stop---|
                    tag("a")
        chunks  --a:"Hel"--a:"lo"--a:stop--|

    The label is the field ``source``: ``chunk["source"]``, which is dumped as well; ``build_response()`` puts it into
    the response. A label of before is replaced. Chunks are copied, not changed: the source may be shared. Those without
    choices are labelled too. An error passes; an empty stream completes empty. Holds nothing.

    Args:
        source: the label.

    Raises:
        TypeError: ``source`` is no text; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunk = rx.of(ModelResponseStream.of("Hello")).pipe(tag("a")).run()
    >>> chunk["source"], chunk.choices[0].delta.content
    ('a', 'Hello')
    """
    given: Any = source
    if not isinstance(given, str):
        raise TypeError(f"a label is a text, not {given!r}")
    label = {"source": source}

    def tagged(chunks: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next

            def on_next(chunk: ModelResponseStream) -> None:
                deliver(chunk.model_copy(update=label))

            return chunks.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return tagged
