"""Texts in an SVG: whatever they hold, and how wide they are."""

import re
import unicodedata
from html import escape
from typing import Final

__all__ = ["CODE", "SANS", "code_width", "legible", "shortened", "width_of", "without_unfit", "xml_text"]

SANS: Final = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,'DejaVu Sans',sans-serif"
CODE: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

# What XML has no place for, and what would turn the writing of the texts beside it.
_UNFIT: Final = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_TURNING: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SIGNS: Final = {"\n": "↵", "\r": "↵", "\t": "⇥"}
# Of a sans-serif font that is rather wide, in parts of its size.
_NARROW: Final = frozenset("iljtfrI.,:;'|!()[]/\\ ·`")
_BROAD: Final = frozenset("mwMW@%&…→␣")


def xml_text(text: str) -> str:
    r"""``text`` as it stands between two tags: escaped, and without what XML has no place for.

    >>> xml_text("a < b & c\x00")
    'a &lt; b &amp; c\ufffd'
    """
    return escape(without_unfit(text), quote=False)


def without_unfit(text: str) -> str:
    """``text`` without what XML has no place for: most control characters, halves of surrogate pairs."""
    return _UNFIT.sub("\ufffd", text)


def legible(text: str) -> str:
    r"""A text for one line: ends of lines and tabs are signs, and so are the spaces at its edges.

    >>> legible(" and\n")
    '␣and↵'
    """
    text = _TURNING.sub("", "".join(_SIGNS.get(character, character) for character in text))
    inner = text.strip(" ")
    if not inner:
        return "␣" * len(text)
    leading = len(text) - len(text.lstrip(" "))
    trailing = len(text) - len(text.rstrip(" "))
    return "␣" * leading + inner + "␣" * trailing


def shortened(text: str, most: int) -> str:
    """``text`` with at most so many characters.

    >>> shortened("Hello there", 6)
    'Hello…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def width_of(text: str, size: float = 12) -> float:
    """About how wide ``text`` is in a sans-serif font of this size, in pixels."""
    return sum(_part(character) for character in text) * size


def code_width(text: str, size: float = 12) -> float:
    """About how wide ``text`` is in a font for code."""
    return sum(1.22 if _is_wide(character) else 0.61 for character in text) * size


def _part(character: str) -> float:
    if character in _NARROW:
        return 0.36
    if character in _BROAD:
        return 0.9
    if _is_wide(character):
        return 1.1
    return 0.7 if character.isupper() else 0.6


def _is_wide(character: str) -> bool:
    return character >= "\u1100" and unicodedata.east_asian_width(character) in "WF"
