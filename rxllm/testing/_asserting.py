"""What an operator makes of a stream, compared with what it should."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reactivex import Observable
from reactivex.notification import Notification, OnCompleted, OnError, OnNext

from rxllm.testing._drawing import Drawing, as_list
from rxllm.testing._expectations import Event, Expected, expectations, first_difference
from rxllm.testing._marbles import cold, hot, playing
from rxllm.testing._subscriptions import check_subscriptions, noting
from rxllm.testing._virtual_time import VirtualTime
from rxllm.types import ModelResponseStream

__all__ = ["assert_operator"]

# How many characters of time after the longest drawing something is still waited for.
_LATER = 1000


def assert_operator(
    operator: Callable[[Observable[Any]], Observable[Any]],
    source: str | Iterable[Any] | Observable[Any],
    expected: str | Iterable[Any],
    lookup: Mapping[str, Any] | None = None,
    *,
    error: Exception | None = None,
    subscription: str | Sequence[str] | None = None,
    texts: bool = False,
    timespan: float = 1.0,
) -> None:
    r"""Fails unless ``operator`` makes ``expected`` of ``source``, on virtual time.

    Both are drawings, as ``cold_chunks()`` reads them, or lists. In a drawing times count: each thing has to come at
    its character. In a list they do not; it stands for its items and a completion, or, where its last item is an
    exception, for that error. As a source it comes as ``-a-b-|`` does, its strings being texts; a drawing with ``^`` is
    hot, as for ``hot_chunks()``; and an Observable is taken as it is.

    A name that is not looked up stands for a chunk with this content and nothing else, for a string, or for the number
    that is written so; whatever else comes out wants one that is. An error is the expected one if its class and its
    message are.

    A failure shows the drawings, expected above actual, and the first difference. Operators that leave their work to
    threads are not for virtual time.

    Args:
        operator: what is tested.
        source: what goes in.
        expected: what comes out.
        lookup: what names stand for, in both.
        error: what ``#`` stands for, in both; by default an ``APIConnectionError``.
        subscription: when the source is subscribed to, ``^``, and left, ``!``, as ``"^----!"``, or ``"(^!)"`` where
            both are at once; several are several subscriptions, and with ``[]`` there is none. A source that ends is
            left then.
        texts: whether the source's texts are strings, for an operator on texts; by default they are chunks.
        timespan: how many seconds a character takes.

    Raises:
        AssertionError: something else came, or at another time, or the source was not subscribed to and left so.
        ValueError: a drawing is none.

    >>> from rxllm import operators as ops
    >>> assert_operator(ops.take_chunks(2), "-Hel-lo-you-|", "-Hel-(lo|)", subscription="^----!")
    >>> assert_operator(ops.accumulate_text(), "-Hel-lo-|", "-a---b--|", {"a": "Hel", "b": "Hello"})
    >>> assert_operator(ops.split_lines(), ["one\ntw", "o"], ["one\n", "two"], texts=True)
    >>> assert_operator(ops.text_deltas(), "-Hel-lo-|", "-Hel--lo-|")
    Traceback (most recent call last):
        ...
    AssertionError: something else came out of the operator:
      source    -Hel-lo-|
      expected  -Hel--lo-|
      actual    -Hel-lo-|
    first difference: 'lo' was expected at 6 s, and 'lo' came at 5 s
    """
    time = VirtualTime()
    make: Callable[[str], Any] = str if texts else ModelResponseStream.of
    wanted = list(expectations(expected, error, timespan))
    noted: list[list[float]] = []
    given = _source(source, time, lookup, error, timespan, make)
    watched = time.watch(noting(given, noted, lambda: float(time.clock)).pipe(operator))
    longest = max(len(it) if isinstance(it, str) else 0 for it in (source, expected))
    time.advance((longest + _LATER) * timespan)
    came = [Event(float(it.time), it.value) for it in watched.messages if isinstance(it.value, Notification)]
    subscriptions = [list(times) for times in noted]  # before this one leaves
    watched.leave()
    difference = first_difference(wanted, came, lookup or {}, timespan)
    if difference:
        raise AssertionError(_shown(source, expected, wanted, came, Drawing(lookup or {}, timespan), difference))
    if subscription is not None:
        check_subscriptions(subscription, subscriptions, timespan)


def _source(
    source: Any,
    time: VirtualTime,
    lookup: Mapping[str, Any] | None,
    error: Exception | None,
    timespan: float,
    make: Callable[[str], Any],
) -> Observable[Any]:
    if isinstance(source, Observable):
        return source  # pyright: ignore[reportUnknownVariableType]
    if isinstance(source, str):
        if "^" in source:
            return hot(source, time, lookup, error, timespan, make)
        return cold(source, lookup, error, timespan, make)
    items: list[Any] = list(source)
    end: Notification[Any] = OnCompleted()
    if items and isinstance(items[-1], Exception):
        end = OnError(items.pop())
    told = [*(OnNext(make(it) if isinstance(it, str) else it) for it in items), end]
    return playing(((2 * place + 1) * timespan, it) for place, it in enumerate(told))


def _shown(
    source: Any, expected: Any, wanted: list[Expected], came: list[Event], drawing: Drawing, difference: str
) -> str:
    lines = ["something else came out of the operator:"]
    if isinstance(source, str):
        lines.append(f"  source    {source.strip(' ')}")
    if isinstance(expected, str):
        lines += [f"  expected  {expected.strip(' ')}", f"  actual    {drawing.of(came)}"]
    else:
        lines += [f"  expected  {as_list(wanted)}", f"  actual    {as_list(came)}"]
    lines += [f"{name:>12} = {stands_for}" for name, stands_for in drawing.legend.items()]
    return "\n".join([*lines, f"first difference: {difference}"])
