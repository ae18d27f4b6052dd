from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SingleAssignmentDisposable
from reactivex.observer import Observer
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm._loop import Loop
from rxllm._stores._inline import InlinePublication
from rxllm._stores._protocol import StreamStore
from rxllm._stores._publishing import READY
from rxllm._stores._store import check_key, check_store
from rxllm._stores._writing import Publication
from rxllm._stream import Stream
from rxllm.types import ModelResponseStream

__all__ = ["publish_to"]


def publish_to(
    store: StreamStore, key: str
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes each chunk on once ``store`` has it, so that ``observe_from()`` gives the same stream elsewhere.

    ::

        chunks        --role--"Hel"--"lo"--stop--|
                      publish_to(store, "answer")
        chunks        --role--"Hel"--"lo"--stop--|
                      observe_from(store, "answer")
        another's        role,"Hel"--"lo"--stop--|

    Nothing is sent before the store has the key: where it is there already, this is a ``ConflictError``; so each
    subscription needs a key of its own. What comes together is stored together, and the order stays; the headers of the
    response are not stored. The end is stored as well: completed, the error, or that the consumer has left. While the
    stream runs, the store hears every half second that the publisher is alive; one that is killed leaves a stream that
    ends, for those who observe it, when the lease is over.

    ``store.stop(key)`` cancels the request within a second; since the answer is not whole, this ends in an
    ``IncompleteStreamError``, with ``code`` ``"stopped"``. So it does where the store gave the stream up, as after a
    partition (``"abandoned"``), has lost it (``"lost"``), or lets no stream grow larger (``"full"``). A store that
    fails for longer than its patience cancels the request, and is an ``APIConnectionError``.

    The store is waited for beside the loop: no event loop is blocked. On a bare Observable, without the loop that a
    Stream brings, it is waited for on the thread of the source. An empty stream is stored as such. Holds what came and
    is not stored yet: with a store that hangs, what comes within its patience.

    Args:
        store: a ``MemoryStore`` or a ``RedisStore`` of ``rxllm.stores``.
        key: what to publish the stream as.

    Raises:
        TypeError: ``store`` is no store, or ``key`` no text; raised when the operator is made.
        ValueError: ``key`` is empty; raised when the operator is made.

    >>> from rxllm import as_stream, operators as ops, stores
    >>> store = stores.MemoryStore()
    >>> chunks = as_stream([{"choices": [{"delta": {"content": "Hello"}}]}])
    >>> _ = chunks.pipe(ops.publish_to(store, "greeting")).run()
    >>> ops.observe_from(store, "greeting").pipe(ops.accumulate_text()).run()
    'Hello'
    """
    check_store(store)
    check_key(key)

    def published(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            if isinstance(scheduler, AsyncIOScheduler):
                # An event loop, and no loop of ours on it yet.
                return Stream[ModelResponseStream](subscribe).subscribe(observer, scheduler=scheduler)
            if not isinstance(scheduler, Loop):
                return InlinePublication(store, key, observer).subscribe(source, scheduler)
            publication = Publication(store, key)
            upstream = SingleAssignmentDisposable()

            def on_next(item: Any) -> None:
                if item is READY:
                    upstream.disposable = source.subscribe(
                        publication.add, publication.fail, publication.complete, scheduler=scheduler
                    )
                else:
                    observer.on_next(item)

            def on_error(error: Exception) -> None:
                upstream.dispose()
                observer.on_error(error)

            try:
                kept = scheduler.attach(publication, Observer(on_next, on_error, observer.on_completed))
            except RuntimeError:
                # The interpreter is shutting down and starts no thread any more: the loop's own waits.
                return InlinePublication(store, key, observer).subscribe(source, scheduler)
            return CompositeDisposable(upstream, kept)

        return Observable(subscribe)

    return published
