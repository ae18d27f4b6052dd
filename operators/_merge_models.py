import threading
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SingleAssignmentDisposable

from rxllm._accumulators._names import numbered
from rxllm._failures import all_failed
from rxllm._plain import plain_error
from rxllm._stream import Stream
from rxllm.exceptions import APIError
from rxllm.operators._shared import request_of
from rxllm.operators._tag import tag
from rxllm.types import ModelResponseStream

__all__ = ["merge_models"]


def merge_models(*streams: Observable[ModelResponseStream]) -> Stream[ModelResponseStream]:
    """Asks all ``streams`` side by side, and gives the chunks of all as they come, each with the name of its model.

    ::

        gpt-4   --"Hel"----------"lo"--stop--|
        claude  -------"Good"--X
                merge_models(gpt-4, claude)
        chunks  --gpt-4:"Hel"--claude:"Good"--claude:X--gpt-4:"lo"--gpt-4:stop--|

    This makes a Stream. The name is the field ``source`` (``chunk["source"]``), as ``tag()`` sets it: the model of the
    stream's request; a second one of that model is ``"gpt-4 #2"``, and a stream without a request ``"stream 3"`` for
    its place. With ``reactivex.operators.group_by(lambda chunk: chunk["source"])`` each is a stream again, which the
    operators on one answer need.

    One that fails with an ``APIError`` does not end the others: a chunk without choices tells of it, whose field
    ``error`` is a dictionary with ``class``, ``message`` and what else the error holds, such as ``status_code``. Where
    all have failed, the Stream does, after those chunks, with the last error, whose notes tell of the others. Any other
    exception is a fault in a program, and ends it at once. It completes when all have ended; of empty ones comes
    nothing. Leaving cancels all. The Stream has no ``request``. Holds nothing.

    Args:
        streams: one or more Streams, or any Observables of chunks.

    Raises:
        TypeError: one of them is none, or there is none.

    >>> from rxllm import completion, operators as ops
    >>> def ask(text):
    ...     return completion("sim/echo", [{"role": "user", "content": text}], stream=True, extra_body={"delay": 0})
    >>> chunks = list(ops.merge_models(ask("Hi"), ask("Bye")))
    >>> sorted((chunk["source"], text) for chunk in chunks if (text := chunk.choices[0].delta.content))
    [('sim/echo', 'Hi'), ('sim/echo #2', 'Bye')]
    """
    given: Any = streams
    for stream in given:
        if not isinstance(stream, Observable):
            raise TypeError(f"merge_models() takes Streams or Observables, not {stream!r}")
    if not streams:
        raise TypeError("merge_models() takes one Stream or more")
    names = numbered(_name(place, stream) for place, stream in enumerate(streams, 1))

    def subscribe(
        observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        # Sources may have threads of their own: one delivers at a time. On a loop nobody ever waits for it.
        lock = threading.RLock()
        failures: list[Exception] = []
        running = len(streams)
        subscriptions = CompositeDisposable()

        def ended(name: str, error: Exception | None) -> None:
            nonlocal running
            with lock:
                if error is not None and not isinstance(error, APIError):
                    subscriptions.dispose()
                    observer.on_error(error)
                    return
                running -= 1
                if error is not None:
                    failures.append(error)
                    told = {"source": name, "error": plain_error(error)}
                    observer.on_next(ModelResponseStream.model_validate(told))
                if running:
                    return
                if len(failures) == len(streams):
                    observer.on_error(all_failed(failures))
                else:
                    observer.on_completed()

        def on_next(chunk: ModelResponseStream) -> None:
            with lock:
                observer.on_next(chunk)

        for name, stream in zip(names, streams, strict=True):
            subscription = SingleAssignmentDisposable()
            subscriptions.add(subscription)
            subscription.disposable = stream.pipe(tag(name)).subscribe(
                on_next, partial(ended, name), partial(ended, name, None), scheduler=scheduler
            )
        return subscriptions

    return Stream(subscribe)


def _name(place: int, stream: Observable[ModelResponseStream]) -> str:
    request = request_of(stream)
    return f"stream {place}" if request is None else request.model
