"""Lines of a text that comes in pieces: a pure accumulator."""

import re

__all__ = ["LineSplitter"]

# Of a return at the end of what has come, nobody knows yet whether a newline belongs to it.
_LINE = re.compile(r"[^\r\n]*(?:\n|\r\n|\r(?!\Z))")


class LineSplitter:
    r"""Gives each line with its end, ``\n``, ``\r\n`` or ``\r``, as soon as that has come; the last may have none.

    >>> splitter = LineSplitter()
    >>> splitter.feed("one\ntw"), splitter.feed("o\r"), splitter.feed("\nthree"), splitter.flush()
    (['one\n'], [], ['two\r\n'], ['three'])
    """

    over = False

    def __init__(self) -> None:
        # What has come of a line, in pieces: a line without end costs what comes.
        self._begun: list[str] = []

    def feed(self, text: str) -> list[str]:
        """Takes more text, and gives the lines that are whole."""
        if self._begun and self._begun[-1].endswith("\r"):
            text = self._begun.pop() + text
        lines: list[str] = []
        rest = 0
        for line in _LINE.finditer(text):
            lines.append("".join((*self._begun, line[0])))
            self._begun.clear()
            rest = line.end()
        if rest < len(text):
            self._begun.append(text[rest:])
        return lines

    def flush(self) -> list[str]:
        """Gives the line that has no end."""
        line = "".join(self._begun)
        self._begun.clear()
        return [line] if line else []
