"""How long a request may wait for what."""

from dataclasses import dataclass, fields
from typing import Any

__all__ = ["Timeouts", "timeouts_from"]


@dataclass(frozen=True)
class Timeouts:
    """How long a completion may wait for what, in seconds; ``None`` bounds nothing.

    Comments that keep a connection alive are not content, and move no bound. What the consumer does with a chunk counts
    for ``total`` alone: an idle time begins when somebody waits.

    Args:
        connect: for the connection to stand, TLS included; of each try. Looking the host's name up is a part of it.
        first: from sending the request to the first event of its answer; of each try. Ten minutes by default, as
            openai-python and LiteLLM document: a model may think for long before its first token.
        idle: from one event to the next.
        total: from the first try to the end of the answer, with all that lies between: retries, waits before them,
            and the consumer's own time.

    Raises:
        TypeError: a bound is no number.
        ValueError: a bound is not above zero.

    >>> Timeouts(idle=30, total=300)
    Timeouts(connect=10.0, first=600.0, idle=30.0, total=300.0)
    """

    connect: float | None = 10.0
    first: float | None = 600.0
    idle: float | None = 600.0
    total: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _seconds(field.name, value))


def timeouts_from(timeout: Any) -> Timeouts:
    """The bounds that ``completion(timeout=...)`` means.

    Args:
        timeout: a number of seconds for each wait by itself: connecting, the first event, the next event; ``Timeouts``;
            an ``httpx.Timeout``, whose ``read`` bounds the waits for events; ``None`` for the defaults.

    Raises:
        TypeError: it is none of these.
        ValueError: a bound is not above zero.

    >>> timeouts_from(10)
    Timeouts(connect=10.0, first=10.0, idle=10.0, total=None)
    """
    if timeout is None:
        return Timeouts()
    if isinstance(timeout, Timeouts):
        return timeout
    if hasattr(timeout, "connect") and hasattr(timeout, "read"):
        return Timeouts(timeout.connect, timeout.read, timeout.read)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(
            f"timeout is a number of seconds, rxllm.Timeouts or an httpx.Timeout, not {type(timeout).__name__}."
        )
    seconds = _seconds("timeout", timeout)
    return Timeouts(seconds, seconds, seconds)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds or None, not {type(value).__name__}.")
    if not value > 0:
        raise ValueError(f"{name} is a number of seconds above zero, not {value!r}.")
    return float(value)
