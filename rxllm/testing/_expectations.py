"""What is to come out of an operator, what came, and the first difference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reactivex.notification import Notification, OnError, OnNext

from rxllm.testing._marbles import BEADS, broken, marbles_of
from rxllm.types import ModelResponseStream

__all__ = ["Event", "Expected", "expectations", "first_difference", "own_name", "same"]


@dataclass(frozen=True)
class Event:
    """What came, and at how many seconds."""

    at: float
    notification: Notification[Any]

    @property
    def error(self) -> Exception | None:
        """The error, where it is one."""
        it: Any = self.notification
        return it.exception if isinstance(it, OnError) else None

    @property
    def is_item(self) -> bool:
        """Whether it is an item, which is its ``value`` then."""
        return isinstance(self.notification, OnNext)

    @property
    def value(self) -> Any:
        """The item."""
        it: Any = self.notification
        return it.value

    def __str__(self) -> str:
        if self.error is not None:
            return repr(self.error)
        if not self.is_item:
            return "the completion"
        own = own_name(self.value)
        return repr(self.value if own is None else own)


@dataclass(frozen=True)
class Expected:
    """What is to come: a name of a drawing, or an item of a list; and at how many seconds, where that counts."""

    at: float | None
    name: str | None = None
    item: Any = None
    error: Exception | None = None
    ends: bool = False

    def __str__(self) -> str:
        if self.error is not None:
            return repr(self.error)
        if self.ends:
            return "the completion"
        return repr(self.item if self.name is None else self.name)

    def is_met_by(self, event: Event, names: Mapping[str, Any]) -> bool:
        """Whether this is what came."""
        if event.error is not None:
            return type(event.error) is type(self.error) and str(event.error) == str(self.error)
        if not event.is_item:
            return self.ends
        if self.ends or self.error is not None:
            return False
        if self.name is None:
            return same(self.item, event.value)
        return same(names[self.name], event.value) if self.name in names else _stands_for(self.name, event.value)


def expectations(expected: Any, error: Exception | None, timespan: float) -> Iterator[Expected]:
    """What a drawing or a list expects.

    Raises:
        ValueError: it is no drawing.
    """
    if isinstance(expected, str):
        for column, name in marbles_of(expected):
            at = column * timespan
            failed = (error or broken()) if name == "#" else None
            yield Expected(at, ends=True) if name == "|" else Expected(at, name, error=failed)
        return
    items = list(expected)
    failed = items.pop() if items and isinstance(items[-1], Exception) else None
    yield from (Expected(None, item=item) for item in items)
    yield Expected(None, error=failed, ends=failed is None)


def first_difference(
    wanted: list[Expected], came: list[Event], names: Mapping[str, Any], timespan: float
) -> str | None:
    """The first difference in words; None where there is none."""
    for want, event in zip(wanted, came, strict=False):
        on_time = want.at is None or abs(event.at - want.at) < timespan / 1000
        if not on_time or not want.is_met_by(event, names):
            when = "" if want.at is None else f" at {want.at:g} s"
            return f"{want} was expected{when}, and {event} came at {event.at:g} s"
    if len(wanted) > len(came):
        return f"{wanted[len(came)]} was expected, and nothing more came"
    if len(came) > len(wanted):
        event = came[len(wanted)]
        return f"nothing more was expected, and {event} came at {event.at:g} s"
    return None


def same(wanted: Any, value: Any) -> bool:
    """Whether ``value`` is what is wanted, or a chunk with nothing but the text that is."""
    if isinstance(wanted, str) and isinstance(value, ModelResponseStream):
        return _stands_for(wanted, value)
    return bool(wanted == value)


def own_name(value: Any) -> str | None:
    """The name that stands for the value without being looked up, where there is one."""
    if not isinstance(value, ModelResponseStream):
        return str(value) if isinstance(value, str | int | float) else None
    text = value.choices[0].delta.content if len(value.choices) == 1 else None
    return next((name for name in [*BEADS, *([text] if text else [])] if _stands_for(name, value)), None)


def _stands_for(name: str, value: Any) -> bool:
    if isinstance(value, ModelResponseStream):
        return value == (BEADS[name] if name in BEADS else ModelResponseStream.of(name))
    return isinstance(value, str | int | float) and str(value) == name
