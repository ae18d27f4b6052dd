import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm._loop import Loop, TaskLoop
from rxllm._shared_replay import SharedReplay
from rxllm._stream import Stream
from rxllm.exceptions import IncompleteStreamError

__all__ = ["share_replay"]

_T = TypeVar("_T")


def share_replay() -> Callable[[Observable[_T]], Observable[_T]]:
    """Sends one request for all subscribers, each of whom gets everything from the beginning, at its own pace.

    ::

        chunks          --role--"Hel"--"lo"--stop--|
                       share_replay()
        first, at once  --role--"Hel"--"lo"--stop--|
        late                     role,"Hel"--"lo"--stop--|
        after the end                                role,"Hel","lo",stop|

    So one paid answer goes to the screen, a log and a moderator. The first subscriber sends the request; whoever comes
    later, also after the end, gets the same items. The last one to leave before the end cancels it, and the next
    subscriber then sends another; so does one who comes after an error, which those who were there have got. Share one
    Stream, made once: each ``pipe(share_replay())`` is a request of its own.

    Subscribers may be anywhere: loops in threads, ``async for``, ``subscribe()``; no one waits for another, since the
    request is read by a worker, or on the first one's event loop if that is where it is. Should that event loop end
    before the stream, the others get an ``IncompleteStreamError``. On a bare Observable, without the loop that a Stream
    brings, all are called on the thread of the source. What is read waits for nobody: all items are held, as long as
    the Stream is.

    >>> import rxllm
    >>> from rxllm import operators as ops
    >>> hi = [{"role": "user", "content": "Hi"}]
    >>> shared = rxllm.completion("sim/echo", hi, stream=True, extra_body={"delay": 0}).pipe(ops.share_replay())
    >>> ids = [{chunk.id for chunk in shared} for _ in range(2)]
    >>> ids[0] == ids[1]
    True
    """

    def shared_of(source: Observable[_T]) -> Observable[_T]:
        lock = threading.Lock()
        current: SharedReplay[_T] | None = None

        def subscribe(observer: abc.ObserverBase[_T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            nonlocal current
            with lock:
                shared = current
                first = shared is None or not shared.join()
                if shared is None or first:
                    shared = current = SharedReplay[_T]()
                    shared.join()
            following = scheduler.attach(shared, observer) if isinstance(scheduler, Loop) else shared.tell(observer)
            if first:
                shared.upstream.disposable = _connect(source, shared, scheduler)
            return CompositeDisposable(following, Disposable(shared.leave))

        return Observable(subscribe)

    return shared_of


def _connect(
    source: Observable[_T], shared: SharedReplay[_T], scheduler: abc.SchedulerBase | None
) -> abc.DisposableBase:
    """Subscribes ``shared``: on a loop of its own, which nobody's slowness holds up, of the kind that the first has."""
    if not isinstance(scheduler, Loop):
        return source.subscribe(shared.add, shared.end, shared.end, scheduler=scheduler)

    def subscribe(observer: abc.ObserverBase[_T], loop: abc.SchedulerBase | None) -> abc.DisposableBase:
        reading = source.subscribe(observer, scheduler=loop)
        return CompositeDisposable(reading, Disposable(gone))

    def gone() -> None:
        # After the end, or when all have left, nobody hears it.
        shared.end(IncompleteStreamError("The event loop on which a shared Stream was read has ended before it"))

    where = AsyncIOScheduler(asyncio.get_running_loop()) if isinstance(scheduler, TaskLoop) else None
    return Stream[_T](subscribe).subscribe(shared.add, shared.end, shared.end, scheduler=where)
