"""Times as people read them, and the round ones of an axis."""

import math
from collections.abc import Iterator

__all__ = ["round_times", "seconds"]


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


def round_times(duration: float, most: int) -> Iterator[float]:
    """From 0 to ``duration``, at most so many steps, each of 1, 2 or 5 times a power of ten.

    >>> list(round_times(1.7, 5))
    [0.0, 0.5, 1.0, 1.5]
    """
    if duration <= 0:
        yield 0.0
        return
    power = 10.0 ** math.floor(math.log10(duration / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if duration / (power * factor) <= most)
    for number in range(math.floor(duration / step + 1e-9) + 1):
        yield number * step
