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
_TURNING: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SIGNS: Final = str.maketrans({"\n": "↵", "\r": "↵", "\t": "⇥"} | dict.fromkeys(_TURNING, ""))
# How wide the characters of DejaVu Sans are, which is a wide one, in parts of its size and rounded up.
_PARTS: Final = {
    character: part
    for part, characters in (
        (0.34, "'ijlIJ ,./:;\\|·"),
        (0.41, "ft-()[]!r"),
        (0.55, '"*_`szcL?'),
        (0.72, "ABCKRUVXZ"),
        (0.79, "DGHNOQ&"),
        (0.86, "#+<=>^~wM×↵⇥"),
        (1.0, "%mW@…"),
    )
    for character in characters
}
_USUAL: Final = 0.64


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
    text = text.translate(_SIGNS)
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
    if character in _PARTS:
        return _PARTS[character]
    if character.isascii():
        return _USUAL
    if _is_wide(character):
        return 1.1
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0.0  # drawn over what stands before it, or not at all
    return 0.85 if character.isupper() else _USUAL


def _is_wide(character: str) -> bool:
    return character >= "\u1100" and unicodedata.east_asian_width(character) in "WF"
