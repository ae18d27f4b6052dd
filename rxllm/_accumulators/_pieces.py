"""A text cut into the pieces that are shown at a time: a pure accumulator."""

import re
from functools import cache
from typing import Any

from rxllm._accumulators._lines import LineSplitter
from rxllm._accumulators._rewriting import Segment, TextRewriter

__all__ = ["PieceCutter"]

# What is longer, is cut: a word that is none, and text in which a pattern of one's own does not match.
_LONGEST_WORD = 32
_LONGEST_PIECE = 1_000


@cache
def _word() -> Any:
    """A word with the white space after it; in scripts that write none, a character with its marks and punctuation."""
    import regex

    unspaced = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    return regex.compile(rf"\G\s*+(?:(?={unspaced})\X\p{{P}}*+|(?:(?!{unspaced})\S){{1,{_LONGEST_WORD}}}+)\s*+")


@cache
def _character() -> Any:
    import regex

    return regex.compile(r"\X")


class PieceCutter(TextRewriter):
    """Gives each piece on its own as soon as it is whole: what follows it has begun.

    >>> cutter = PieceCutter("content", "word")
    >>> cutter.feed("Hel"), cutter.feed("lo you t"), cutter.flush()
    ([], [('content', 'Hello '), ('content', 'you ')], [('content', 't')])
    """

    def __init__(self, field: str, by: "str | re.Pattern[str]") -> None:
        """``by``: ``"word"``, ``"line"``, ``"char"``, or a pattern: a piece ends where a match of it does."""
        super().__init__(field)
        self._lines = LineSplitter() if by == "line" else None
        self._pattern: Any = _word() if by == "word" else _character() if by == "char" else by
        self._text = ""

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives the pieces that are whole."""
        if self._lines is not None:
            return [(self.field, line) for line in self._lines.feed(text)]
        self._text += text
        pieces: list[Segment] = []
        start = 0

        def cut(end: int) -> int:
            end = min(end, start + _LONGEST_PIECE)
            pieces.append((self.field, self._text[start:end]))
            return end

        for match in self._pattern.finditer(self._text):
            if match.end() == len(self._text):
                break
            while start < match.end():
                start = cut(match.end())
        while len(self._text) - start > _LONGEST_PIECE:
            start = cut(start + _LONGEST_PIECE)
        self._text = self._text[start:]
        return pieces

    def flush(self) -> list[Segment]:
        """Gives what is left."""
        rest = "".join(self._lines.flush()) if self._lines is not None else self._text
        self._text = ""
        return [(self.field, rest)] if rest else []
