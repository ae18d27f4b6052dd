"""Drawings of what came."""

import itertools
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rxllm.testing._expectations import Event, Expected, own_name, same
from rxllm.testing._marbles import is_drawable

__all__ = ["Drawing", "as_list"]


def as_list(things: list[Expected] | list[Event]) -> str:
    """What is expected or came, where times do not count."""
    return " ".join("|" if str(it) == "the completion" else str(it) for it in things)


@dataclass
class Drawing:
    """Draws what came with the names of a test, and makes up others, which ``legend`` explains."""

    names: Mapping[str, Any]
    timespan: float
    legend: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, events: list[Event]) -> str:
        """The line. What has no room before the next thing gets a name of one letter; still, it may be too long."""
        columns: dict[int, list[Event]] = {}
        for event in events:
            columns.setdefault(round(event.at / self.timespan), []).append(event)
        line = ""
        for (column, at), following in zip(columns.items(), [*list(columns)[1:], None], strict=True):
            line += "-" * (column - len(line))
            whole = _grouped([self._named(event) for event in at])
            if following is not None and len(whole) > following - column:
                whole = _grouped([self._named(event, short=True) for event in at])
            line += whole
        return line

    def _named(self, event: Event, *, short: bool = False) -> str:
        if event.error is not None:
            self.legend["#"] = repr(event.error)
            return "#"
        if not event.is_item:
            return "|"
        for name, named in self.names.items():
            if same(named, event.value) and not (short and len(name) > 1):
                return name
        own = own_name(event.value)
        if own is not None and is_drawable(own) and not (short and len(own) > 1):
            return own
        return self._letter(str(event))

    def _letter(self, shown: str) -> str:
        for letter, stands_for in self.legend.items():
            if stands_for == shown:
                return letter
        letter = next(it for it in _letters() if it not in self.legend and it not in self.names)
        self.legend[letter] = shown
        return letter


def _letters() -> Iterator[str]:
    yield from string.ascii_uppercase
    yield from (f"A{number}" for number in itertools.count())


def _grouped(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({','.join(parts)})"
