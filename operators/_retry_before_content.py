import logging
from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler, TimeoutScheduler

from rxllm._accumulators._content import Opening
from rxllm._failures import may_pass
from rxllm._retry import retry_wait
from rxllm.exceptions import APIError
from rxllm.operators._shared import check_count, check_seconds
from rxllm.types import ModelResponseStream

__all__ = ["retry_before_content"]

_log = logging.getLogger("rxllm")


def retry_before_content(
    n: int = 2, *, wait: float | None = None, when: Callable[[Exception], bool] | None = None
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Sends the request again, up to ``n`` times, where it fails before any content has been given.

    ::

        1st try  --role--X
        2nd try             --role--"Hel"--"lo"--stop--|
                 retry_before_content(1)
        chunks   ---------------role,"Hel"--"lo"--stop--|

    Content is text, reasoning, a refusal, a tool call or audio, of any choice. Once some has been given an error
    passes: the text would come twice, and be paid for twice. Chunks before the content come together with it, so that
    none of a failed try is seen; where the last try fails, its own come before the error.

    ``completion(max_retries=)`` tries again by itself before the first chunk; this does so until the content, also
    after a wait for the first event that was too long, and for any source. The two multiply. An empty stream completes
    empty. Holds the chunks before the content.

    Args:
        n: how many times at most, besides the first.
        wait: how long to wait before each, in seconds; by default as long as the server says, in ``Retry-After``, up to
            a minute, else from half a second to eight, doubling, with jitter.
        when: which errors are worth another try: by default broken and timed-out connections, streams without an end,
            409, 429 unless the quota is used up, and 5xx. What it raises ends the stream.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.exceptions import APIConnectionError
    >>> from rxllm.types import ModelResponseStream
    >>> tries = iter([rx.throw(APIConnectionError("The line is down")), rx.of(ModelResponseStream.of("Hello"))])
    >>> source = rx.defer(lambda _: next(tries))
    >>> source.pipe(retry_before_content(1, wait=0)).run().choices[0].delta.content
    'Hello'
    """
    check_count("n", n)
    if wait is not None:
        check_seconds("wait", wait)
    if when is not None and not callable(when):
        raise TypeError(f"when is a function of an error, not {when!r}")
    worth_it = when or may_pass

    def retried(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            # The try that is under way, or the wait for the next.
            current = SerialDisposable()
            failed = 0
            opening = Opening()

            def on_next(chunk: ModelResponseStream) -> None:
                if opening.over:
                    deliver(chunk)
                    return
                for each in opening.add(chunk):
                    deliver(each)

            def on_error(error: Exception) -> None:
                nonlocal failed, opening
                again = False
                if not opening.over and failed < n:
                    try:
                        again = worth_it(error)
                    except Exception as raised:  # noqa: BLE001  the function is the caller's
                        observer.on_error(raised)
                        return
                if not again:
                    for each in opening.take():
                        deliver(each)
                    observer.on_error(error)
                    return
                opening = Opening()
                headers = error.headers if isinstance(error, APIError) else {}
                seconds = retry_wait(failed, headers) if wait is None else wait
                failed += 1
                _log.info("Trying again in %.2f s: %s: %s", seconds, type(error).__name__, error)
                following = current.disposable = SingleAssignmentDisposable()
                if seconds > 0:
                    clock = scheduler or TimeoutScheduler.singleton()
                    following.disposable = clock.schedule_relative(seconds, attempt)
                else:
                    following.disposable = (scheduler or CurrentThreadScheduler.singleton()).schedule(attempt)

            def on_completed() -> None:
                for each in opening.take():
                    deliver(each)
                observer.on_completed()

            def attempt(_: abc.SchedulerBase | None = None, __: Any = None) -> None:
                # Set first: the source may fail inside its subscribe, where the next try takes its place.
                upstream = current.disposable = SingleAssignmentDisposable()
                upstream.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

            attempt()
            return current

        return Observable(subscribe)

    return retried
