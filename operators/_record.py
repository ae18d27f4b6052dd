import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable, SingleAssignmentDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._recording import RecordingWriter
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream

__all__ = ["record"]

_log = logging.getLogger("rxllm")


def record(
    path: str | PathLike[str],
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and writes it to a file first, with its time; ``replay()`` gives the same stream again.

    ::

        chunks  --role--"Hel"--"lo"--stop--|
                  record("hello.jsonl")
        chunks  --role--"Hel"--"lo"--stop--|

    The file has a line of JSON for the request, one for each chunk, its usage too, and one for the end: completed, an
    error, or that the consumer has left. Each is handed to the operating system at once: a process that is killed has
    lost at most the line it was writing. The request is written with its messages and without keys; parameters that
    look like secrets are ``***``, and the response's headers are left out. What the model and the caller said stands
    there in plain text.

    Each subscription makes a file of its own, and never writes into one that is there: a second one to the same file
    fails with a ``FileExistsError``. Where ``path`` is a folder, each makes a new file in it, called after the time.
    A file that cannot be made is an ``OSError`` before anything is sent; one that cannot be written to, as on a full
    disk, cancels the request. An empty stream gives a file without chunks. Holds nothing.

    Args:
        path: the file, which is not there yet, or a folder, which is.

    Raises:
        TypeError: ``path`` is no path; raised when the operator is made.

    >>> import tempfile
    >>> from rxllm import as_stream, operators as ops
    >>> folder = tempfile.TemporaryDirectory()
    >>> chunks = as_stream([{"choices": [{"delta": {"content": "Hello"}}]}])
    >>> _ = chunks.pipe(ops.record(f"{folder.name}/hello.jsonl")).run()
    >>> ops.replay(f"{folder.name}/hello.jsonl").pipe(ops.accumulate_text()).run()
    'Hello'
    >>> folder.cleanup()
    """
    target = Path(path)

    def recorded(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            clock = scheduler or TimeoutScheduler.singleton()
            begun = clock.now
            upstream = SingleAssignmentDisposable()
            try:
                writer = RecordingWriter(target, request)
            except OSError as error:
                observer.on_error(error)
                return Disposable()

            def now() -> float:
                return (clock.now - begun).total_seconds()

            def on_next(chunk: ModelResponseStream) -> None:
                try:
                    writer.chunk(now(), chunk)
                except OSError as error:
                    upstream.dispose()
                    observer.on_error(error)
                    return
                deliver(chunk)

            def on_error(error: Exception) -> None:
                try:
                    writer.error(now(), error)
                except OSError as other:
                    _log.warning("The end of %s could not be written: %r", target, other)
                observer.on_error(error)

            def on_completed() -> None:
                try:
                    writer.end(now(), "completed")
                except OSError as error:
                    observer.on_error(error)
                    return
                observer.on_completed()

            def leave() -> None:
                try:
                    writer.end(now(), "left")
                except OSError as error:
                    _log.warning("The end of %s could not be written: %r", target, error)

            upstream.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
            return CompositeDisposable(upstream, Disposable(leave))

        return Observable(subscribe)

    return recorded
