"""Arguments of a function call that come as ``partialArgs``: values by their places, written out as JSON text."""

import json
import re
from typing import Any, Final

__all__ = ["PartialArguments"]

# `$.location`, `$.operations[0].action`, `$['a key']`
_STEP: Final = re.compile(r"""\.?([^.\[\]$'"]+)|\[(\d+)\]|\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]|\.""")

_Step = str | int


class PartialArguments:
    r"""Writes the text of a call's arguments as they come.

    The model writes its arguments from front to back, so that each value stands behind the one before it: what is left
    of the old place is closed, what leads to the new one is opened, and nothing is written twice.

    >>> arguments = PartialArguments()
    >>> arguments.add({"jsonPath": "$.to[0].city", "stringValue": "Bos", "willContinue": True})
    '{"to": [{"city": "Bos'
    >>> arguments.add({"jsonPath": "$.to[0].city", "stringValue": "ton"})
    'ton"'
    >>> arguments.add({"jsonPath": "$.days", "numberValue": 3}), arguments.close()
    ('}], "days": 3', '}')
    """

    __slots__ = ("_open", "_string", "begun")

    def __init__(self) -> None:
        self.begun = False
        """Some text has been given."""
        self._open: list[_Step] = []  # the member or element that is open in each container, the outermost first
        self._string: list[_Step] | None = None  # the place of a string that continues

    def add(self, part: dict[str, Any]) -> str:
        """The text that one of ``partialArgs`` adds."""
        path = _steps(str(part.get("jsonPath") or ""))
        value = _value(part)
        goes_on = isinstance(value, str) and bool(part.get("willContinue"))
        if self._string is not None:
            if path == self._string and (value is None or isinstance(value, str)):
                text = json.dumps(value)[1:-1] if value else ""
                if not part.get("willContinue"):
                    self._string = None
                    text += '"'
                return text
            text = '"'
            self._string = None
        else:
            text = ""
        if not path or (value is None and "nullValue" not in part):
            return text
        text += self._move(path)
        if goes_on:
            self._string = path
            return text + json.dumps(value)[:-1]
        return text + json.dumps(value)

    def close(self) -> str:
        """The text that ends the arguments; ``{}`` where there are none."""
        if not self.begun:
            self.begun = True
            return "{}"
        text = '"' if self._string is not None else ""
        text += "".join("]" if isinstance(step, int) else "}" for step in reversed(self._open))
        self._open.clear()
        self._string = None
        return text

    def _move(self, path: list[_Step]) -> str:
        """The text between the value that was written last and the one at ``path``."""
        text = ""
        common = 0
        while common < min(len(self._open), len(path)) and self._open[common] == path[common]:
            common += 1
        # A value at the old place or above it stands beside it.
        common = min(common, len(path) - 1, max(len(self._open) - 1, 0))
        for step in reversed(self._open[common + 1 :]):
            text += "]" if isinstance(step, int) else "}"
        if self.begun:
            if isinstance(self._open[common], int) != isinstance(path[common], int):
                # What was begun as an object stays one, and likewise an array.
                step = 0 if isinstance(self._open[common], int) else str(path[common])
                path = [*path[:common], step, *path[common + 1 :]]
            text += ", "
        else:
            text += _opening(path[0])
        self.begun = True
        text += _naming(path[common])
        for step in path[common + 1 :]:
            text += _opening(step) + _naming(step)
        self._open = path
        return text


def _steps(path: str) -> list[_Step]:
    steps: list[_Step] = []
    for match in _STEP.finditer(path.removeprefix("$")):
        name, index, single, double = match.groups()
        quoted = single if double is None else double
        if index is not None:
            steps.append(int(index[-9:]))  # no array is longer; int() refuses numbers of thousands of digits
        elif quoted is not None:
            steps.append(re.sub(r"\\(.)", r"\1", quoted))
        elif name is not None:
            steps.append(name)
    return steps


def _value(part: dict[str, Any]) -> Any:
    for name in ("stringValue", "numberValue", "boolValue"):
        if part.get(name) is not None:
            return part[name]
    return None


def _opening(step: _Step) -> str:
    return "[" if isinstance(step, int) else "{"


def _naming(step: _Step) -> str:
    return "" if isinstance(step, int) else f"{json.dumps(step)}: "
