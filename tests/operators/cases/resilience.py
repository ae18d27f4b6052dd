"""Resilience, sharing and watching."""

import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import reactivex as rx
from reactivex import Observable

from rxllm import Stream
from rxllm import operators as ops
from rxllm.stores import MemoryStore
from tests.operators.cases.case import Case
from tests.operators.sources import Operator

__all__ = ["CASES", "CREATIONS"]


def bare(stream: Any) -> Observable[Any]:
    """A Stream below the loop that it brings: on virtual time, or on the threads of its sources."""
    return Observable(stream._subscribe)  # noqa: SLF001


def of_one(make: Callable[[Observable[Any]], Stream[Any]]) -> Callable[[], Operator[Any]]:
    """What makes a Stream of several, as an operator on one."""
    return lambda: lambda source: bare(make(source))


_STORE = MemoryStore()
_numbers = count()


def publishing() -> Operator[Any]:
    """publish_to() with a key of its own for each subscription."""

    def published(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            made = ops.publish_to(_STORE, f"laws {next(_numbers)}")(source)
            return made.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    return published


# Each subscription makes a file of its own in it; it goes with the process.
_FOLDER = tempfile.TemporaryDirectory()

CASES = {
    "cached": Case(lambda: ops.cached(dict[str, str](), key="laws"), passes=True),
    "fallback_to": Case(partial(ops.fallback_to, rx.never()), passes=True),
    "hedge": Case(partial(ops.hedge, rx.never(), after=5000), passes=True),
    "merge_models": Case(of_one(ops.merge_models)),
    "race": Case(of_one(ops.race), passes=True),
    "publish_to": Case(publishing, passes=True),
    "record": Case(partial(ops.record, _FOLDER.name), passes=True),
    "retry_before_content": Case(partial(ops.retry_before_content, 2), passes=True),
    "share_replay": Case(ops.share_replay, passes=True, shares=True),
    "tag": Case(partial(ops.tag, "a")),
}

# What makes a Stream of something else than other streams: there is no source to hold it to the laws with.
CREATIONS = ("observe_from", "replay")
