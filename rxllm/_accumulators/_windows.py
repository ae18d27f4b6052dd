"""A text cut into windows, each to be looked at by itself: a pure accumulator."""

import re

from rxllm._accumulators._rewriting import Segment, TextRewriter
from rxllm._accumulators._sentences import SentenceSplitter

__all__ = ["WindowCutter"]


class _Characters:
    """At most so many characters, cut behind white space where there is any."""

    _WORDS = re.compile(r".*\s", re.DOTALL)

    def __init__(self, most: int) -> None:
        self._most = most
        self._text = ""

    def feed(self, text: str) -> list[str]:
        self._text += text
        windows: list[str] = []
        start, most = 0, self._most
        # One character more shows whether the window ends with a word.
        while len(self._text) - start > most:
            words = self._WORDS.match(self._text, start, start + most)
            end = words.end() if words is not None and not self._text[start + most].isspace() else start + most
            windows.append(self._text[start:end])
            start = end
        self._text = self._text[start:]
        return windows

    def flush(self) -> list[str]:
        rest, self._text = self._text, ""
        return [rest] if rest else []


class WindowCutter(TextRewriter):
    """Gives the text in windows: its sentences, or at most ``window`` characters at a time, in whole words.

    >>> cutter = WindowCutter("content", 10)
    >>> cutter.feed("Hello there, "), cutter.feed("you"), cutter.flush()
    ([('content', 'Hello ')], [], [('content', 'there, you')])
    """

    def __init__(self, field: str, window: int | None) -> None:
        """``None`` for sentences."""
        super().__init__(field)
        self._cutter = SentenceSplitter() if window is None else _Characters(window)

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives the windows that are whole."""
        return [(self.field, window) for window in self._cutter.feed(text)]

    def flush(self) -> list[Segment]:
        """Gives what is left."""
        return [(self.field, window) for window in self._cutter.flush()]
