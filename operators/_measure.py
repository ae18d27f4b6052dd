import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import VirtualTimeScheduler

from rxllm._accumulators._measurement import Measurement, Meter
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream

__all__ = ["measure"]

_log = logging.getLogger("rxllm")


def measure(
    on_record: Callable[[Measurement], object],
    *,
    on_progress: Callable[[Measurement], object] | None = None,
    interval: float = 0.1,
    stall: float = 2.0,
    model: str | None = None,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and tells in the end how fast they came: on completion, on an error, on leaving.

    ::

        chunks  --"Hel"--"lo"--stop--|
                 measure(print)             prints the record
        chunks  --"Hel"--"lo"--stop--|

    The record is a ``Measurement``: the time to the first token, the gaps between the chunks with tokens (median, 99th
    percentile, longest), stalls, tokens, tokens per second, how it ended. There is one for each subscription, told
    once, before what is downstream learns of the end; with an empty stream too. Times are those at which chunks pass
    here, by a monotonic clock, on virtual time by the scheduler's: a consumer that is slow to ask for the next chunk
    makes its gap long. With ``n > 1`` the chunks of all choices count together. After a restart, and over several
    answers, the measuring goes on. Tokens of answers side by side are exact where ``merge_models()`` or ``tag()`` names
    them; after a plain merge, whose texts run into one another, they are exact where reported, else an approximation.

    What ``on_record`` raises on completion, and ``on_progress`` at any time, ends the stream with ``on_error``; on an
    error and on leaving, where the end is another already, it is logged. Held are up to 256 gaps, then a histogram,
    whose percentiles are within one part in a hundred, and the last words of each text.

    Args:
        on_record: what is told, once.
        on_progress: what is told at chunks with the record so far, ``ended`` being None.
        interval: how many seconds at least lie between two calls of ``on_progress``; 0 for every chunk.
        stall: how many seconds a gap has to exceed to be a stall.
        model: the model to count tokens with; by default that of the request.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hello"), ModelResponseStream.of(" there"))
    >>> _ = chunks.pipe(measure(lambda record: print(record.ended, record.chunks, record.tokens))).subscribe()
    completed 2 2
    """
    _check(on_record, on_progress, interval, stall, model)

    def measured(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        counted_with = model if model is not None or request is None else request.model

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            now = _clock(scheduler)
            meter = Meter(counted_with, begun=0.0, stall=stall)
            meter.begin(now())  # only now: loading the encoding takes its time, once
            told = -math.inf
            # Leaving comes from any thread.
            mutex = threading.Lock()
            is_over = False

            def finish(ended: Literal["completed", "failed", "cancelled"], error: Exception | None = None) -> None:
                nonlocal is_over
                with mutex:
                    if is_over:
                        return
                    is_over = True
                on_record(meter.record(now(), ended, error))

            def finish_quietly(ended: Literal["failed", "cancelled"], error: Exception | None = None) -> None:
                try:
                    finish(ended, error)
                except Exception:  # noqa: BLE001  the function is the caller's
                    _log.exception("What measure() tells its record raised")

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal told
                at = now()
                meter.add(chunk, at)
                if on_progress is not None and at - told >= interval:
                    told = at
                    try:
                        on_progress(meter.record(at, None))
                    except Exception as error:  # noqa: BLE001  the function is the caller's
                        on_error(error)
                        return
                observer.on_next(chunk)

            def on_error(error: Exception) -> None:
                finish_quietly("failed", error)
                observer.on_error(error)

            def on_completed() -> None:
                try:
                    finish("completed")
                except Exception as error:  # noqa: BLE001  the function is the caller's
                    observer.on_error(error)
                    return
                observer.on_completed()

            upstream = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

            def leave() -> None:
                upstream.dispose()
                finish_quietly("cancelled")

            return Disposable(leave)

        return Observable(subscribe)

    return measured


def _clock(scheduler: abc.SchedulerBase | None) -> Callable[[], float]:
    """What tells the seconds: virtual ones, or those of a clock that nobody sets."""
    if isinstance(scheduler, VirtualTimeScheduler):
        return lambda: scheduler.to_seconds(scheduler.now)
    return time.monotonic


def _check(on_record: Any, on_progress: Any, interval: Any, stall: Any, model: Any) -> None:
    if not callable(on_record) or not (on_progress is None or callable(on_progress)):
        raise TypeError(f"measure() tells functions, not {on_record!r} and {on_progress!r}")
    for name, value in (("interval", interval), ("stall", stall)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} is a number of seconds, not {value!r}")
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is a number of seconds, 0 or more, not {value!r}")
    if not isinstance(model, str | None):
        raise TypeError(f"model is a model's name, not {model!r}")
