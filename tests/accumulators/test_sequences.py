"""Sequences found in a text that comes in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._sequences import Sequences, SequenceSearch

words = st.lists(st.text("ab\U0001f600", min_size=1, max_size=4), min_size=1, max_size=4)


def plainly(text: str, sequences: list[str]) -> tuple[str, str | None, str]:
    """What the search is to find: the least end, and there the longest."""
    for end in range(1, len(text) + 1):
        found = max((each for each in sequences if text[:end].endswith(each)), key=len, default=None)
        if found is not None:
            return text[: end - len(found)], found, text[end:]
    return text, None, ""


@given(words, st.lists(st.text("abc\U0001f600", max_size=5), max_size=6))
def test_any_cutting_finds_the_same(sequences: list[str], pieces: list[str]) -> None:
    """The first that is complete, the longest of several, and all text before it."""
    search = SequenceSearch(Sequences(sequences))
    clear = ""
    for at, piece in enumerate(pieces):
        before, found, rest = search.feed(piece)
        clear += before
        so_far = "".join(pieces[: at + 1])
        if found is not None:
            assert (clear, found, rest + "".join(pieces[at + 1 :])) == plainly("".join(pieces), sequences)
            return
        # Held is the longest end of the text that a sequence begins with, and no more.
        held = so_far[len(clear) :]
        assert so_far == clear + held
        assert held == max(
            (each[:n] for each in sequences for n in range(len(each)) if so_far.endswith(each[:n])), key=len
        )
    assert plainly("".join(pieces), sequences) == (clear + search.flush(), None, "")


def test_flush_begins_anew() -> None:
    """What was held back is given, and is no beginning any more."""
    search = SequenceSearch(Sequences(["END"]))
    assert search.feed("the EN") == ("the ", None, "")
    assert search.flush() == "EN"
    assert search.feed("D") == ("D", None, "")
    assert search.flush() == ""


def test_sequences_with_special_characters() -> None:
    """They stand for themselves."""
    for sequence in ("]", "^a", "\\d", "[", "-", "a]-"):
        assert SequenceSearch(Sequences([sequence])).feed(f"x{sequence}y") == ("x", sequence, "y")
        assert SequenceSearch(Sequences([sequence, "^", "a-z"])).feed("bcd")[1] is None
