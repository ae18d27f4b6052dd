"""The Observable you can loop over."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping
from typing import Any, NoReturn, TypeVar, cast, overload

from pydantic import BaseModel
from reactivex import ConnectableObservable, Observable, abc
from reactivex.disposable import Disposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm._iterables import IterableSource
from rxllm._loop import Loop, Source, TaskLoop, ThreadLoop
from rxllm._pipe import Pipeable
from rxllm.types import ModelResponse, Request

__all__ = ["Stream", "as_stream"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

_Subscribe = Callable[[abc.ObserverBase[Any], abc.SchedulerBase | None], abc.DisposableBase]


class Stream(Pipeable[_T_co]):
    """A ``reactivex.Observable`` that can be looped over, awaited and run.

    It is cold: nothing is sent until somebody loops, subscribes, runs or awaits, and each of those sends a request of
    its own. Leaving early (``break``, an exception, ``dispose()`` from any thread, a cancelled task, Ctrl-C) closes the
    HTTP response at once.

    ::

        for item in stream: ...                    # in the calling thread
        async for item in stream: ...              # on the running event loop
        stream.subscribe(on_next, on_error)        # on a worker, at once
        stream.run()                               # the last item; blocks
        await stream                               # the last item

    ``request`` is what was asked for, without any key, or ``None`` where no single request stands behind the Stream, as
    after a merge.

    >>> import rxllm
    >>> stream = rxllm.completion("sim/echo", [{"role": "user", "content": "Hi"}], stream=True, extra_body={"delay": 0})
    >>> stream
    <Stream of sim/echo>
    >>> "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    'Hi'
    """

    request: Request | None
    # Of a root Stream, what it reads.
    source: Source | None = None

    def __init__(self, subscribe: _Subscribe | None = None, *, request: Request | None = None) -> None:
        super().__init__(subscribe)
        self.request = request
        self._counting = threading.RLock()

    @classmethod
    def from_source(cls, source: Source, request: Request | None = None) -> "Stream[Any]":
        """A root Stream: each subscription opens a reading of ``source`` on the loop it comes with."""

        def subscribe(observer: abc.ObserverBase[Any], loop: abc.SchedulerBase | None) -> abc.DisposableBase:
            return cast(Loop, loop).attach(source, observer)

        root = cls(subscribe, request=request)
        root.source = source
        return root

    # -- consuming

    def __iter__(self) -> Generator[_T_co, None, None]:
        """A fresh iterator, which sends a request of its own when its first item is asked for; it has ``close()``."""
        return ThreadLoop().pull(self)

    def __aiter__(self) -> AsyncGenerator[_T_co, None]:
        """A fresh asynchronous iterator, which sends a request of its own; it has ``aclose()``.

        Raises:
            RuntimeError: no asyncio event loop is running (trio has none).
        """
        return TaskLoop(_running_event_loop()).pull(self)

    def __next__(self) -> NoReturn:
        raise TypeError("A Stream is no iterator, since each loop sends a request of its own: use next(iter(stream)).")

    def __anext__(self) -> NoReturn:
        raise TypeError(
            "A Stream is no iterator, since each loop sends a request of its own: use anext(aiter(stream))."
        )

    def run(self, scheduler: abc.SchedulerBase | None = None) -> _T_co:
        """Blocks until the end and gives the last item.

        Args:
            scheduler: where to subscribe; by default in the calling thread, which Ctrl-C then ends cleanly.

        Raises:
            SequenceContainsNoElementsError: there was no item.
            Exception: whatever the Stream ended with.
        """
        if scheduler is not None:
            return super().run(scheduler)
        last: list[_T_co] = []
        for item in self:
            last[:] = (item,)
        return _only(last)

    def __await__(self) -> Generator[Any, None, _T_co]:
        """The last item.

        Raises:
            SequenceContainsNoElementsError: there was no item.
            Exception: whatever the Stream ended with.
        """
        return self._last().__await__()

    async def _last(self) -> _T_co:
        last: list[_T_co] = []
        async for item in self:
            last[:] = (item,)
        return _only(last)

    def _subscribe_core(
        self, observer: abc.ObserverBase[_T_co], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        if isinstance(scheduler, Loop) and scheduler.here():
            return self._subscribe_here(observer, scheduler)
        if isinstance(scheduler, AsyncIOScheduler):
            event_loop: asyncio.AbstractEventLoop = scheduler._loop  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            loop: Loop = TaskLoop(event_loop, pulled=False)
        else:
            loop = ThreadLoop(pulled=False)
        loop.begin(self._subscribe_here, observer)
        return Disposable(loop.unsubscribe)

    def _subscribe_here(self, observer: abc.ObserverBase[_T_co], scheduler: abc.SchedulerBase) -> abc.DisposableBase:
        # One at a time: subscriptions that were made one after the other come and go on workers of their own, and
        # reactivex's ref_count, which share() is made of, counts its subscribers without a lock.
        with self._counting:
            made: Any = super()._subscribe_core(observer, scheduler)
        dispose = getattr(made, "dispose", made)  # an Observable of somebody's own may give a function, or nothing

        def leave() -> None:
            with self._counting:
                dispose()

        return Disposable(leave if dispose else None)

    # -- composing

    def __getitem__(self, key: slice | int) -> "Stream[_T_co]":
        """``stream[1:3]``: reactivex's slicing."""
        return cast("Stream[_T_co]", self._carry(super().__getitem__(key)))

    def __add__(self, other: Observable[_T]) -> "Stream[_T_co | _T]":
        """Both Streams, one after the other."""
        return as_stream(cast("Observable[_T_co | _T]", super().__add__(cast("Observable[_T_co]", other))))

    __iadd__ = __add__

    def _carry(self, result: Any) -> Any:
        """``result`` as a Stream with this one's request, where it is an Observable without one."""
        given: Any = result
        if not isinstance(result, Observable) or isinstance(result, ConnectableObservable):
            return given
        if getattr(given, "request", None) is not None:
            return given
        # Its own subscribe function, and no Stream around it: a layer less for each item to go through.
        return Stream[Any](given._subscribe_core, request=self.request)  # noqa: SLF001

    def _ipython_display_(self) -> None:
        """Sends a request and shows the answer as it comes: what a notebook does with the last line of a cell.

        Nothing else that shows a Stream sends one. ``rxllm.notebook`` says more.
        """
        from rxllm._display import display_stream

        display_stream(self)

    def __repr__(self) -> str:
        return f"<Stream of {self.request.model}>" if self.request is not None else "<Stream>"


@overload
def as_stream(source: Observable[_T]) -> Stream[_T]: ...
@overload
def as_stream(source: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]) -> Stream[Any]: ...
@overload
def as_stream(source: Iterable[_T]) -> Stream[_T]: ...
@overload
def as_stream(source: AsyncIterable[_T]) -> Stream[_T]: ...
def as_stream(source: Any) -> Stream[Any]:
    """A Stream of any Observable, and of any iterable or asynchronous iterable of chunks.

    So that loops, ``run()``, ``await`` and the operators serve a merge, a Subject, a list, a generator, and the
    responses of openai-python and LiteLLM too. Chunks of theirs, and dictionaries of that shape, become
    ``ModelResponseStream``; anything else passes as it is. What can be iterated only once, can be subscribed to only
    once. A blocking iterable that an event loop consumes is iterated in a thread.

    Args:
        source: an Observable, an iterable or an asynchronous iterable.

    Raises:
        TypeError: it is none of these.

    >>> from rxllm import operators as ops
    >>> as_stream([{"choices": [{"delta": {"content": "Hi"}}]}]).pipe(ops.accumulate_text()).run()
    'Hi'
    """
    given: object = source
    if isinstance(source, Stream):
        return source  # pyright: ignore[reportUnknownVariableType]
    if isinstance(source, Observable):
        subscribe = cast("Callable[..., abc.DisposableBase]", source.subscribe)  # pyright: ignore[reportUnknownMemberType]
        return Stream(lambda observer, scheduler: subscribe(observer, scheduler=scheduler))
    if hasattr(source, "__aiter__") or hasattr(source, "__iter__"):
        if isinstance(source, str | bytes | dict | BaseModel):
            whole = ": ask for it with stream=True" if isinstance(source, ModelResponse) else ""
            raise TypeError(f"as_stream() takes an iterable of chunks, and a {type(given).__name__} is none{whole}.")
        return Stream.from_source(IterableSource(source))
    raise TypeError(f"as_stream() takes an Observable or an iterable, not {type(given).__name__}.")


def _running_event_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise RuntimeError("A Stream can be awaited and looped over with `async for` on an asyncio event loop only.")


def _only(last: list[_T]) -> _T:
    if not last:
        raise SequenceContainsNoElementsError
    return last[0]
