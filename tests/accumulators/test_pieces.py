"""A text cut into the pieces that are shown at a time."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._pieces import PieceCutter


def pieces(texts: list[str], by: Any) -> list[str]:
    """The pieces of a text that comes in these."""
    cutter = PieceCutter("content", by)
    return [text for _, text in [*(segment for text in texts for segment in cutter.feed(text)), *cutter.flush()]]


@given(
    st.text(st.sampled_from("ab. \n\r\u4f60\u3002\u0e01\u0e34e\u0301\U0001f468\u200d\U0001f469"), max_size=60),
    st.lists(st.integers(0, 60), max_size=8),
    st.sampled_from(["word", "line", "char", re.compile(r"[.\u3002]\s*")]),
)
def test_any_cutting_gives_the_same_pieces(text: str, cuts: list[int], by: Any) -> None:
    """Which are the text, whole."""
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    whole = pieces([text], by)
    assert pieces([text[a:b] for a, b in pairwise(places)], by) == pieces(list(text), by) == whole
    assert "".join(whole) == text
    assert all(whole)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("word", ["Hello ", "there, ", "you.\n\n", "- ", "item"]),
        ("word", ["  It ", "is"]),
        ("word", ["\u4f60", "\u597d\uff0c", "\u4e16", "\u754c\u3002 ", "Hello\u3002", "\u4f60"]),
        ("word", ["\u30c6", "\u30b9", "\u30c8\u3002"]),
        ("word", ["\u0e01\u0e34", "\u0e19"]),
        ("word", ["\uc548\ub155 ", "\uc138\uacc4"]),
        ("word", ["a" * 32, "a" * 32, "a ", "b"]),
        ("word", ["\U0001f600 ", "x"]),
        ("line", ["one\n", "\n", "two\r\n", "three"]),
        ("char", ["H", "e\u0301", "\U0001f468\u200d\U0001f469", "\r\n", " "]),
        (re.compile("[,.] *"), ["one, ", "two.", "three"]),
        (re.compile("x"), ["a" * 1000, "a" * 1000, "ax", "a"]),
        (re.compile("x*"), ["ax", "bxx", "c"]),
    ],
)
def test_pieces(by: Any, expected: list[str]) -> None:
    """In scripts with spaces and without, and of text that goes on and on."""
    assert pieces(["".join(expected)], by) == expected
    assert pieces(list("".join(expected)), by) == expected


def test_a_piece_is_given_as_soon_as_it_is_whole() -> None:
    """When the next has begun."""
    cutter = PieceCutter("content", "word")
    assert [cutter.feed(text) for text in ("He", "llo", " ", " ", "y")] == [[], [], [], [], [("content", "Hello  ")]]
    assert cutter.feed("\u4f60\u597d") == [("content", "y"), ("content", "\u4f60")]


@pytest.mark.parametrize("by", ["word", "char", re.compile("x")])
@pytest.mark.parametrize("text", ["a", " ", "\u0301", "\u3002"])
def test_what_is_looked_at_again_is_bounded(by: Any, text: str) -> None:
    """However long it goes on without an end of a piece."""
    cutter = PieceCutter("content", by)
    for _ in range(3_000):
        cutter.feed(text)
        assert len(cutter._text) <= 1_000  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
