"""Lines of a text that comes in pieces."""

import re

from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._lines import LineSplitter


def lines(pieces: list[str]) -> list[str]:
    """The lines of a text that comes in these pieces."""
    splitter = LineSplitter()
    return [*(line for piece in pieces for line in splitter.feed(piece)), *splitter.flush()]


@given(st.lists(st.text("a\r\n\v\u2028\U0001f600", max_size=5), max_size=8))
def test_any_cutting_gives_the_same_lines(pieces: list[str]) -> None:
    """Those of the whole text, and nothing of it is lost."""
    text = "".join(pieces)
    expected = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
    assert lines(pieces) == lines(list(text)) == expected
    assert "".join(expected) == text


def test_a_line_is_given_as_soon_as_it_is_whole() -> None:
    """After a return one has to see whether a newline follows."""
    splitter = LineSplitter()
    assert [splitter.feed(piece) for piece in ("a\n", "b\r", "\n", "c\r", "d", "\r\n\n")] == [
        ["a\n"],
        [],
        ["b\r\n"],
        [],
        ["c\r"],
        ["d\r\n", "\n"],
    ]
    assert splitter.flush() == []
