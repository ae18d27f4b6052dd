import re
import threading
from collections.abc import Callable
from typing import Any, Literal

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._accumulators._pacing import Pace
from rxllm._accumulators._pieces import PieceCutter
from rxllm._accumulators._rewriting import ChunkRewriter, is_text
from rxllm.operators._shared import check_seconds
from rxllm.types import ModelResponseStream

__all__ = ["smooth_text"]


def smooth_text(
    interval: float = 0.02, by: Literal["word", "line", "char"] | re.Pattern[str] = "word", *, late: float = 0.5
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Gives text that comes in bursts at an even pace, a word at a time.

    ::

        chunks  --"Once upon a t"--------"ime, "--"t"--stop--|
                           smooth_text(0.02)
        chunks  --"Once "--"upon "--"a "--"time, "-----"t"--stop--|

    A piece is a word with the white space after it, and in scripts that write none (Chinese, Japanese, Thai, and the
    like) a character with its punctuation; a line; a character as people see them; or text up to where a match of a
    pattern ends. It is given once it is whole, which is when the next one has begun; longer than 32 characters without
    white space (for a pattern: 1,000 without a match) it is cut. The first piece after a pause comes at once, then one
    each ``interval``, and more at a time where some would come more than ``late`` seconds late: a model that writes
    faster than the pace is followed at its own.

    Only text waits: content, reasoning and refusals. Whatever else a chunk says (a role, a tool call, a finish reason,
    log probabilities, usage) comes at once, the text before it with it, all that waits; so do the end and an error. So
    nothing is late by this operator in the end. Pieces are chunks like the one that they were completed by. An empty
    stream completes empty. With ``n > 1`` the pieces of all choices share the pace. Where the answer begins anew
    (``chunk.restart``), text that waits is void, and not given any more. Held is the text that waits: what
    has come in the last ``late`` seconds, and of each choice a piece that is not whole.

    Timers run on the scheduler of the subscription; in a ``for`` they wait while its body runs.

    Args:
        interval: the seconds from one piece to the next; with 0 pieces are cut, and none waits.
        by: ``"word"``, ``"line"``, ``"char"``, or a compiled regular expression.
        late: how many seconds a whole piece waits at most, longer than ``interval``.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> from rxllm import as_stream
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = as_stream([ModelResponseStream.of("Once upon a t"), ModelResponseStream.of("ime")])
    >>> [chunk.choices[0].delta.content for chunk in chunks.pipe(smooth_text(0.001))]
    ['Once ', 'upon ', 'a ', 'time']
    """
    check_seconds("interval", interval)
    check_seconds("late", late)
    if late <= interval:
        raise ValueError(f"late is longer than interval, {interval} seconds, not {late}")
    given: Any = by
    if given not in ("word", "line", "char") and not isinstance(getattr(given, "pattern", None), str):
        raise TypeError(f"by is 'word', 'line', 'char' or a compiled regular expression of strings, not {given!r}")

    def smoothed(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            clock = scheduler or TimeoutScheduler.singleton()
            cutter = ChunkRewriter(lambda field: PieceCutter(field, by), joins=False)
            pace: Pace[ModelResponseStream] = Pace(late / interval if interval else 1.0)
            timer = SerialDisposable()
            ticking = False
            # Off a loop, timers run on threads of their own.
            mutex = threading.RLock()

            def take(chunks: list[ModelResponseStream]) -> None:
                for chunk in chunks:
                    if interval and is_text(chunk):
                        pace.add([chunk])
                        continue
                    if chunk.restart is not None:
                        pace.take_all()
                    for each in (*pace.take_all(), chunk):
                        deliver(each)
                if not ticking:
                    tick()

            def tick(_: abc.SchedulerBase | None = None, __: Any = None) -> None:
                nonlocal ticking
                with mutex:
                    chunks = pace.take()
                    ticking = bool(chunks)
                    if ticking:
                        timer.disposable = clock.schedule_relative(interval, tick)
                    for each in chunks:
                        deliver(each)

            def on_next(chunk: ModelResponseStream) -> None:
                with mutex:
                    take(cutter.feed(chunk))

            def flush() -> None:
                timer.dispose()
                for each in (*pace.take_all(), *cutter.flush()):
                    deliver(each)

            def on_error(error: Exception) -> None:
                with mutex:
                    flush()
                    observer.on_error(error)

            def on_completed() -> None:
                with mutex:
                    flush()
                    observer.on_completed()

            return CompositeDisposable(source.subscribe(on_next, on_error, on_completed, scheduler=scheduler), timer)

        return Observable(subscribe)

    return smoothed
