"""How long to wait before a request is sent again."""

import math
import random
import time
from collections.abc import Mapping
from typing import Final

__all__ = ["retry_wait"]

_LONGEST: Final = 60.0


def retry_wait(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds to wait: as the server says, up to a minute, else growing from half a second to eight, with jitter."""
    asked = _retry_after(headers)
    if asked is not None and asked <= _LONGEST:
        return max(asked, 0.0)
    return min(0.5 * 2.0**attempt, 8.0) * random.uniform(0.75, 1.0)  # noqa: S311  jitter, no secret


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait, in any of the forms that ``Retry-After`` has; ``None`` for none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            seconds = float(said) * unit
        except ValueError:
            seconds = _seconds_until(said)
        if math.isfinite(seconds):
            return seconds
    return None


def _seconds_until(date: str) -> float:
    """How long it is to an HTTP date; not a number where it is none."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return math.nan
