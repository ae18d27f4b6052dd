from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._contest import Contest
from rxllm.operators._shared import check_seconds
from rxllm.types import ModelResponseStream

__all__ = ["hedge"]


def hedge(
    other: Observable[ModelResponseStream], after: float
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Asks ``other`` as well where no content has come within ``after`` seconds, and gives whichever has some first.

    ::

        chunks  --role-----------------"slow"--
        other          --role--"Hel"--"lo"--stop--|
                 hedge(other, after=5)
        chunks  ------------role,"Hel"--"lo"--stop--|

    ``other`` may be another model or the same again: most slow answers are slow by chance. Content is text, reasoning,
    a refusal, a tool call or audio, of any choice. Before the first content goes down, the other request is cancelled,
    its connection closed; what it has cost by then is not in any usage. Chunks before the content, as one with the
    role, come together with it, and only the winner's.

    Where the first fails with an ``APIError`` before its content, the other is asked at once; where the other fails,
    the first goes on. Where both have failed, so does the stream, with the error that came last; a note on it tells of
    the other one. After the first content an error passes, as does at any time one that is no ``APIError``. A stream
    that completes without content is taken where nothing else runs any more; so an empty one completes empty. Holds
    the chunks before the content.

    Args:
        other: what else to ask: a Stream, or any Observable of chunks. It may never be subscribed to.
        after: how long to wait for the first content, in seconds; with 0 both are asked at once.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> slow, fast = rx.never(), rx.of(ModelResponseStream.of("Hello"))
    >>> slow.pipe(hedge(fast, after=0.05)).run().choices[0].delta.content
    'Hello'
    """
    given: Any = other
    if not isinstance(given, Observable):
        raise TypeError(f"hedge() takes another Stream or Observable, not {given!r}")
    check_seconds("after", after)

    def hedged(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            contest = Contest((source, other), observer, scheduler)

            def is_late(_: abc.SchedulerBase, __: Any = None) -> None:
                contest.start()

            contest.start()
            clock = scheduler or TimeoutScheduler.singleton()
            contest.timer.disposable = clock.schedule_relative(after, is_late)
            return CompositeDisposable(contest, contest.timer)

        return Observable(subscribe)

    return hedged
