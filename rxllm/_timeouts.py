"""How long a request may wait for what."""

from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT_TIMEOUT", "Timeouts", "timeouts_from"]

# Ten minutes, as openai-python and LiteLLM document: long enough for a model that thinks before its first token.
DEFAULT_TIMEOUT = 600.0


@dataclass(frozen=True)
class Timeouts:
    """Bounds in seconds, ``None`` for none: on connecting, on the first event, and on each gap between events."""

    connect: float | None
    first: float | None
    idle: float | None


def timeouts_from(timeout: Any) -> Timeouts:
    """The bounds that ``completion(timeout=...)`` means: a number bounds each wait, an ``httpx.Timeout`` its own.

    Raises:
        TypeError: it is neither.
        ValueError: it is not above zero.

    >>> timeouts_from(10.0)
    Timeouts(connect=10.0, first=10.0, idle=10.0)
    """
    if timeout is None:
        timeout = DEFAULT_TIMEOUT
    if hasattr(timeout, "connect") and hasattr(timeout, "read"):
        return Timeouts(timeout.connect, timeout.read, timeout.read)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds or an httpx.Timeout, not {type(timeout).__name__}")
    if not timeout > 0:
        raise ValueError(f"timeout is a number of seconds above zero, not {timeout!r}")
    return Timeouts(float(timeout), float(timeout), float(timeout))
