"""Streams drawn with characters: marbles whose beads are chunks.

reactivex's own parser does not suffice: it drops spaces, refuses commas, and makes numbers of ``12`` and ``nan``.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.notification import Notification, OnCompleted, OnError, OnNext
from reactivex.scheduler import EventLoopScheduler, VirtualTimeScheduler
from reactivex.testing.hotobservable import HotObservable
from reactivex.testing.recorded import Recorded

from rxllm.exceptions import APIConnectionError
from rxllm.types import ModelResponseStream

__all__ = [
    "BEADS",
    "broken",
    "cold",
    "cold_chunks",
    "hot",
    "hot_chunks",
    "is_drawable",
    "marbles_of",
    "playing",
    "tool_call",
]

Make = Callable[[str], Any]
Lookup = Mapping[str, Any]

# Beads that are no text. A lookup may say otherwise.
BEADS: Final[Mapping[str, ModelResponseStream]] = {
    "<role>": ModelResponseStream.of(role="assistant"),
    **{f"<{reason}>": ModelResponseStream.of(finish_reason=reason) for reason in ("stop", "length")},
    **{f"<{reason}>": ModelResponseStream.of(finish_reason=reason) for reason in ("tool_calls", "content_filter")},
}

_TOKENS: Final = re.compile(r"(?P<time>-+)|\((?P<group>[^()]*)\)|(?P<sign>[|#^()])|(?P<bead>[^-|#^()]+)")


def cold_chunks(
    marbles: str, lookup: Lookup | None = None, *, error: Exception | None = None, timespan: float = 1.0
) -> Observable[ModelResponseStream]:
    """A stream of chunks as it is drawn, from the beginning for each subscriber.

    Each character is one ``timespan``, whatever it is, so that what stands below each other happens at the same time:

    ========== =======================================================================================
    ``-``      time passes
    ``Hel``    a chunk with this content, at the time of its first character
    ``<stop>`` a chunk with this finish reason: ``stop``, ``length``, ``tool_calls`` or ``content_filter``
    ``<role>`` a chunk with the role alone
    ``|``      completion
    ``#``      ``error``
    ``(a,b|)`` all at the time of ``(``; commas separate, and may be left out before ``|`` and ``#``
    ========== =======================================================================================

    Spaces within are text like any other character, and so are commas outside of groups; those at both ends are there
    to align the drawings, and mean nothing. Other chunks, and text with signs in it, have a name that is looked up.
    A drawing without an end stands for a stream that never ends. Holds the drawing.

    The times are those of the scheduler of the subscription: virtual with ``VirtualTime``, real in a loop over
    ``as_stream(cold_chunks(...))`` and where there is none. Operators take it as they take a Stream.

    Args:
        marbles: the drawing.
        lookup: what names stand for.
        error: what ``#`` stands for, by default an ``APIConnectionError``.
        timespan: how many seconds a character takes.

    Raises:
        ValueError: the drawing is none; the message shows where.

    >>> from rxllm import as_stream, operators as ops
    >>> as_stream(cold_chunks("-Hel-lo wor-ld-<stop>|", timespan=0)).pipe(ops.accumulate_text()).run()
    'Hello world'
    """
    return cold(marbles, lookup, error, timespan, ModelResponseStream.of)


def hot_chunks(
    marbles: str,
    scheduler: VirtualTimeScheduler,
    lookup: Lookup | None = None,
    *,
    error: Exception | None = None,
    timespan: float = 1.0,
) -> Observable[ModelResponseStream]:
    """A stream of chunks that is under way, whoever listens, drawn as for ``cold_chunks()``.

    ``^`` is now: what is drawn before it has gone by. It is no time that passes; where it is missing, now is the
    beginning.

    Args:
        marbles: the drawing.
        scheduler: a ``VirtualTime``, or another of reactivex's virtual schedulers.
        lookup: what names stand for.
        error: what ``#`` stands for, by default an ``APIConnectionError``.
        timespan: how many seconds a character takes.

    Raises:
        ValueError: the drawing is none; the message shows where.

    >>> from rxllm import operators as ops
    >>> from rxllm.testing import VirtualTime
    >>> time = VirtualTime()
    >>> words = hot_chunks("a-^b-c-|", time).pipe(ops.text_deltas())
    >>> first = time.watch(words)
    >>> time.advance(1)
    >>> late = time.watch(words)
    >>> time.advance(10)
    >>> first.items, late.items
    (['b', 'c'], ['c'])
    """
    return hot(marbles, scheduler, lookup, error, timespan, ModelResponseStream.of)


def tool_call(
    name: str | None = None,
    arguments: Any = None,
    *,
    id: str | None = "call_1",  # noqa: A002  the field's own name
    index: int = 0,
    choice: int = 0,
) -> ModelResponseStream:
    """A chunk with a tool call, or a piece of one, to be looked up.

    Args:
        name: the function's name; None in a piece that goes on with the arguments.
        arguments: a piece of the arguments, a string as the model writes it; or whole ones, anything else, as JSON.
        id: the call's id; None in a piece that goes on.
        index: which call of its choice it is.
        choice: which choice calls.

    >>> chunks = {"a": tool_call("add", '{"x":'), "b": tool_call(arguments="1}", id=None)}
    >>> from rxllm import as_stream, operators as ops
    >>> as_stream(cold_chunks("-a-b-<tool_calls>|", chunks, timespan=0)).pipe(ops.assemble_tool_calls()).run().parsed
    {'x': 1}
    """
    written = arguments if arguments is None or isinstance(arguments, str) else json.dumps(arguments)
    function = {key: value for key, value in (("name", name), ("arguments", written)) if value is not None}
    piece = {"index": index, **({"id": id, "type": "function"} if id is not None else {}), "function": function}
    return ModelResponseStream.of(tool_calls=[piece], index=choice)


def cold(marbles: str, lookup: Lookup | None, error: Exception | None, timespan: float, make: Make) -> Observable[Any]:
    """As ``cold_chunks()``, of whatever ``make`` makes of a text."""
    if "^" in marbles:
        raise ValueError(f"^ is for what is hot: {marbles!r}")
    return playing(_messages(marbles, lookup, error, timespan, make))


def playing(messages: Iterable[tuple[float, Notification[Any]]]) -> Observable[Any]:
    """What tells each subscriber these, each so many seconds after the subscription."""
    told = list(messages)

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        if isinstance(scheduler, VirtualTimeScheduler):
            # All now, so that of what is due at one time the source is first, as reactivex's own sources are.
            return CompositeDisposable([scheduler.schedule_relative(at, _telling(it, observer)) for at, it in told])
        timers = scheduler or EventLoopScheduler(exit_if_empty=True)
        current = SerialDisposable()

        # One after the other: timers may have a thread each, and two of them any order.
        def schedule(place: int) -> None:
            at, it = told[place]

            def tell(_scheduler: abc.SchedulerBase, _state: object = None) -> None:
                it.accept(observer)
                if place + 1 < len(told):
                    schedule(place + 1)

            current.disposable = timers.schedule_relative(at - told[place - 1][0] if place else at, tell)

        if told:
            schedule(0)
        return current

    return Observable(subscribe)


def hot(
    marbles: str,
    scheduler: VirtualTimeScheduler,
    lookup: Lookup | None,
    error: Exception | None,
    timespan: float,
    make: Make,
) -> HotObservable[Any]:
    """As ``hot_chunks()``, of whatever ``make`` makes of a text."""
    messages = _messages(marbles, lookup, error, timespan, make)
    now: Any = scheduler.clock
    return HotObservable(scheduler, [Recorded(now + at, it) for at, it in messages if at >= 0])


def broken() -> Exception:
    """What ``#`` stands for where nothing else is said."""
    return APIConnectionError("The connection broke")


def is_drawable(name: str) -> bool:
    """Whether a text stands for itself in a drawing, wherever it stands there."""
    return bool(name) and name == name.strip() and not any(sign in name for sign in "-|#^(),")


def marbles_of(drawing: str) -> Iterator[tuple[int, str]]:
    """At which column, from now on, stands what: ``|``, ``#``, or a bead's name.

    Raises:
        ValueError: it is no drawing.
    """
    # Where the drawing is padded in front, that is no time.
    found = list(_beads(drawing.strip(" "), drawing))
    now = [column for column, name in found if name == "^"]
    if len(now) > 1:
        raise ValueError(f"^ stands there twice: {drawing!r}")
    ended = False
    for column, name in found:
        if name == "^":
            continue
        if ended:
            raise ValueError(f"{name!r} stands behind the end: {drawing!r}")
        ended = name in {"|", "#"}
        # A ^ takes no time.
        yield (column - now[0] - (column > now[0]) if now else column), name


def _beads(drawing: str, whole: str) -> Iterator[tuple[int, str]]:
    for token in _TOKENS.finditer(drawing):
        if token["group"] is not None:
            names = re.findall(r"[|#]|[^,|#]+", token["group"])
            if not names or re.search(r"^,|,,|,$", token["group"]):
                raise ValueError(f"a group is empty, or something in it is: {whole!r}")
            yield from ((token.start(), name) for name in names)
        elif token["sign"] in {"(", ")"}:
            raise ValueError(f"a group begins or ends alone: {whole!r}")
        elif not token["time"]:
            yield token.start(), token[0]


def _messages(
    marbles: str, lookup: Lookup | None, error: Exception | None, timespan: float, make: Make
) -> list[tuple[float, Notification[Any]]]:
    names: Lookup = lookup or {}

    def notification(name: str) -> Notification[Any]:
        if name == "|":
            return OnCompleted()
        if name == "#":
            return OnError(error or broken())
        if name in names:
            return OnNext(names[name])
        return OnNext(BEADS[name].model_copy(deep=True) if name in BEADS and make is not str else make(name))

    return [(column * timespan, notification(name)) for column, name in marbles_of(marbles)]


def _telling(notification: Notification[Any], observer: abc.ObserverBase[Any]) -> abc.ScheduledAction[Any]:
    def tell(_scheduler: abc.SchedulerBase, _state: object = None) -> None:
        notification.accept(observer)

    return tell
