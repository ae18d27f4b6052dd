"""Times as people read them, and the round ones of an axis."""

import math
from collections.abc import Iterator

__all__ = ["axis_time", "round_step", "round_times", "seconds"]


def seconds(value: float) -> str:
    """A time in the unit that suits it.

    >>> seconds(0.0), seconds(0.0000042), seconds(0.0125), seconds(0.5), seconds(12.25)
    ('0', '4.2 µs', '12.5 ms', '0.5 s', '12.25 s')
    """
    size = abs(value)
    if size < 1e-9:
        return "0"
    if size < 9.995e-4:
        return f"{value * 1e6:.3g} µs"
    if size < 0.1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.2f}".rstrip("0").rstrip(".") + " s" if size < 100 else f"{value:,.0f} s"


def axis_time(value: float, step: float, duration: float) -> str:
    """A time on an axis: all in the unit that suits its ``duration``, told apart by ``step``.

    >>> axis_time(0.05, 0.05, 0.2), axis_time(0.1, 0.05, 0.2), axis_time(2.505, 0.005, 2.6), axis_time(1500, 500, 2000)
    ('50 ms', '100 ms', '2.505 s', '1,500 s')
    """
    if value == 0:
        return "0"
    factor, unit = next(((f, u) for f, u in ((1.0, "s"), (1e3, "ms")) if duration * f >= 1), (1e6, "µs"))
    decimals = max(0, -math.floor(math.log10(step * factor) + 1e-9))
    return f"{value * factor:,.{decimals}f} {unit}"


def round_step(duration: float, most: int) -> float:
    """1, 2 or 5 times a power of ten, at most so many of which are in ``duration``.

    >>> round_step(1.7, 5)
    0.5
    """
    power = 10.0 ** math.floor(math.log10(duration / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if duration / (power * factor) <= most)


def round_times(begin: float, end: float, step: float) -> Iterator[float]:
    """The multiples of ``step`` from ``begin`` to ``end``.

    >>> list(round_times(0.0, 1.7, 0.5)), list(round_times(0.6, 1.7, 0.5))
    ([0.0, 0.5, 1.0, 1.5], [1.0, 1.5])
    """
    for number in range(math.ceil(begin / step - 1e-9), math.floor(end / step + 1e-9) + 1):
        yield number * step
