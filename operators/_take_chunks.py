from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxllm.types import ModelResponseStream

__all__ = ["take_chunks"]


def take_chunks(n: int) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Gives everything up to the ``n``-th chunk that carries content, then cancels the request and completes.

    ::

        chunks  --role--"a"--"b"--"c"--stop--|
                      take_chunks(2)
        chunks  --role--"a"--"b"|

    Content is text, of any choice: with ``n > 1`` choices the chunks of all of them count together. A stream with less
    content passes whole, and an error passes. The request is cancelled before the last chunk is delivered, so nothing
    more is paid for, however long that takes. After a restart (``chunk.restart``), which makes void what came, the
    count begins anew. With 0 the source is not subscribed to: no request is sent. Holds nothing.

    Args:
        n: how many chunks with content.

    Raises:
        TypeError: ``n`` is no int; raised, as the other, when the operator is made.
        ValueError: ``n`` is negative.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("Once ", "upon ", "a ", "time")))
    >>> _ = chunks.pipe(take_chunks(2)).subscribe(lambda chunk: print(repr(chunk.choices[0].delta.content)))
    'Once '
    'upon '
    """
    given: Any = n
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"take_chunks() takes a number of chunks, an int, not {given!r}")
    if n < 0:
        raise ValueError(f"take_chunks() takes 0 chunks or more, not {n}")

    def chunks_of(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            if n == 0:
                observer.on_completed()
                return Disposable()
            deliver = observer.on_next
            upstream = SingleAssignmentDisposable()
            remaining = n

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal remaining
                if not remaining:
                    # The source emits inside its subscribe, where it cannot be stopped yet.
                    return
                if not chunk.choices and chunk.restart is not None:
                    remaining = n
                for choice in chunk.choices:
                    if choice.delta.content:
                        remaining -= 1
                        break
                if remaining:
                    deliver(chunk)
                else:
                    upstream.dispose()
                    deliver(chunk)
                    observer.on_completed()

            upstream.disposable = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return upstream

        return Observable(subscribe)

    return chunks_of
