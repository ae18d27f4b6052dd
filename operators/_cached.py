import logging
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import CurrentThreadScheduler

from rxllm._answer_store import AnswerStore, FolderStore, answer_from, answer_text, key_of
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream

__all__ = ["cached"]

_log = logging.getLogger("rxllm")


def cached(
    store: AnswerStore | str | PathLike[str], key: str | None = None
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Gives the answer that ``store`` has for the request, without sending it; else sends it and stores the answer.

    ::

        chunks   --"Hel"--"lo"--stop--|
                  cached(store)
        1st time --"Hel"--"lo"--stop--|
        2nd time "Hel","lo",stop|

    Answers are told apart by model, messages and parameters, not by the server that is asked. A stored answer comes at
    once, chunk by chunk, each with ``chunk.get("cached")`` true, and its usage as it was: nothing is paid for it again.
    Only whole answers are stored, when the stream completes: never one that failed or that its consumer left, and of
    one with a restart (``chunk.restart``) what stands. It stands right below the request, since operators between the
    two do not count for the key. Two who ask at once both ask; ``share_replay()`` is for that.

    A store that fails costs nobody an answer: that, and an entry that cannot be read, is logged as a warning on the
    logger ``rxllm``, and the request is sent. It is called where the stream is read, and is to be quick. An empty
    stream is stored too. Holds all chunks until the end.

    Args:
        store: a mapping from texts to texts or bytes, as a ``dict`` or a ``shelve``; or a folder, which is made where
            there is none, and which several processes may share.
        key: what to store the answer as, where the source has no request to make a key of, or that says too much.

    Raises:
        TypeError: an argument is of the wrong kind; raised when the operator is made. Raised when it is applied where a
            parameter of the request has no form in JSON.
        ValueError: the source has no request, and no key was given; raised when it is applied.

    >>> import rxllm
    >>> from rxllm import operators as ops
    >>> hi = [{"role": "user", "content": "Hi"}]
    >>> stream = rxllm.completion("sim/echo", hi, stream=True, extra_body={"delay": 0}).pipe(ops.cached({}))
    >>> [stream.pipe(ops.build_response()).run().get("cached") for _ in range(2)]
    [None, True]
    """
    answers = _store(store)
    checked: Any = key
    if not isinstance(checked, str | None):
        raise TypeError(f"key is a text, not {checked!r}")

    def cached_of(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        name = key
        if name is None:
            request = request_of(source)
            if request is None:
                raise ValueError('cached() has no request to make a key of: pass one, as cached(store, key="...")')
            name = key_of(request)
        entry = name

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            stored = _look_up(answers, entry)
            if stored is not None:
                return _give(iter(stored), observer, scheduler or CurrentThreadScheduler.singleton())
            chunks: list[ModelResponseStream] = []

            def on_next(chunk: ModelResponseStream) -> None:
                if not chunk.choices and chunk.restart is not None:
                    chunks.clear()
                else:
                    chunks.append(chunk)
                observer.on_next(chunk)

            def on_completed() -> None:
                try:
                    answers[entry] = answer_text(chunks)
                except Exception as error:  # noqa: BLE001  the store is the caller's
                    _log.warning("An answer could not be stored: %r", error)
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return cached_of


def _store(store: Any) -> AnswerStore:
    if isinstance(store, str | PathLike):
        return FolderStore(Path(store))  # pyright: ignore[reportUnknownArgumentType]
    if not hasattr(store, "__getitem__") or not hasattr(store, "__setitem__"):
        raise TypeError(f"store is a mapping or the path of a folder, not {store!r}")
    kept: AnswerStore = store
    return kept


def _look_up(store: AnswerStore, key: str) -> list[ModelResponseStream] | None:
    try:
        return [chunk.model_copy(update={"cached": True}) for chunk in answer_from(store[key])]
    except KeyError:
        return None
    except Exception as error:  # noqa: BLE001  the store is the caller's
        _log.warning("A stored answer could not be read: %r", error)
        return None


def _give(
    chunks: Iterator[ModelResponseStream],
    observer: abc.ObserverBase[ModelResponseStream],
    scheduler: abc.SchedulerBase,
) -> abc.DisposableBase:
    """One chunk a turn, so that a consumer can leave after any."""
    current = SerialDisposable()

    def turn(_: abc.SchedulerBase, __: Any = None) -> None:
        chunk = next(chunks, None)
        if chunk is None:
            observer.on_completed()
            return
        observer.on_next(chunk)
        go_on()

    def go_on() -> None:
        following = current.disposable = SingleAssignmentDisposable()
        following.disposable = scheduler.schedule(turn)

    go_on()
    return current
