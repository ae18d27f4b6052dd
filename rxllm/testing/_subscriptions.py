"""When a source is subscribed to and left: noted, drawn and compared."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from reactivex import Observable, abc
from reactivex import operators as rx_ops

__all__ = ["check_subscriptions", "noting"]


def noting(source: Observable[Any], noted: list[list[float]], clock: Callable[[], float]) -> Observable[Any]:
    """The source, with a list of its times for each subscription: when it began, and when it ended."""

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        times = [clock()]
        noted.append(times)
        left = rx_ops.finally_action(lambda: times.append(clock()))
        return source.pipe(left).subscribe(observer, scheduler=scheduler)

    return Observable(subscribe)


def check_subscriptions(expected: str | Sequence[str], noted: Sequence[Sequence[float]], timespan: float) -> None:
    """Raises unless the subscriptions are as they are drawn.

    Raises:
        AssertionError: they are others.
        ValueError: the drawing is none.
    """
    lines = [line.strip(" ") for line in ([expected] if isinstance(expected, str) else expected)]
    wanted = [_columns(line) for line in lines]
    came = [[round(at / timespan) for at in times] for times in noted]
    if came != wanted:
        raise AssertionError(
            "the source was subscribed to, or left, at other times:\n"
            f"  expected  {', '.join(lines) or 'never'}\n"
            f"  actual    {', '.join(map(_drawn, came)) or 'never'}"
        )


def _columns(line: str) -> list[int]:
    found = re.fullmatch(r"(-*)(?:\^(?:(-*)!)?|\(\^!\))-*", line)
    if found is None:
        raise ValueError(f"a subscription is drawn as '--^---!', or '--(^!)', not {line!r}")
    begun = len(found[1])
    if "(" in line:
        return [begun, begun]
    return [begun] if found[2] is None else [begun, begun + 1 + len(found[2])]


def _drawn(times: list[int]) -> str:
    begun, *ended = times
    if not ended:
        return "-" * begun + "^"
    return "-" * begun + ("(^!)" if ended == [begun] else "^" + "-" * (ended[0] - begun - 1) + "!")
