"""A text cut into windows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._windows import WindowCutter


def windows(pieces: list[str], window: int | None) -> list[str]:
    """The windows of a text that comes in these pieces."""
    cutter = WindowCutter("content", window)
    return [text for _, text in [*(segment for piece in pieces for segment in cutter.feed(piece)), *cutter.flush()]]


@given(st.text("ab. \n", max_size=40), st.lists(st.integers(0, 40), max_size=6), st.none() | st.integers(1, 12))
def test_any_cutting_gives_the_same_windows(text: str, cuts: list[int], window: int | None) -> None:
    """Which are the text, whole, and none longer than it may be."""
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    whole = windows([text], window)
    assert windows([text[a:b] for a, b in pairwise(places)], window) == windows(list(text), window) == whole
    assert "".join(whole) == text
    assert window is None or all(0 < len(each) <= window for each in whole)


@pytest.mark.parametrize(
    ("text", "window", "expected"),
    [
        ("one two three", 8, ["one two ", "three"]),
        ("one two three", 7, ["one two", " three"]),
        ("one two three", 6, ["one ", "two ", "three"]),
        ("unbroken", 3, ["unb", "rok", "en"]),
        ("One. Two. Three", None, ["One. ", "Two. ", "Three"]),
    ],
)
def test_windows_end_behind_words(text: str, window: int | None, expected: list[str]) -> None:
    """Where there are any; or they are sentences."""
    assert windows([text], window) == expected
