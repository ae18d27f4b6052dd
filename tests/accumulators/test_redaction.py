"""Matches replaced in a text that comes in pieces."""

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._redaction import Redactor, Rule


def redact(pieces: list[str], *rules: Rule, window: int = 1_000) -> str:
    """What becomes of a text that comes in these pieces."""
    redactor = Redactor("content", rules, window)
    segments = [*(segment for piece in pieces for segment in redactor.feed(piece)), *redactor.flush()]
    return "".join(text for _, text in segments)


# Patterns of every kind: alternatives, repetitions greedy, lazy and possessive, looks ahead and behind, boundaries,
# anchors, groups and what refers back to them.
_ATOMS = st.sampled_from(["a", "b", "[ab]", ".", "[^a]", r"\n", r"\b", r"\B", "$", "^", r"\Z", r"\$", "[$]", "(?<=a)"])
_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "+?", "*+"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
        st.tuples(inner, inner).map(lambda two: f"{two[0]}(?={two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"{two[0]}(?!{two[1]})"),
        inner.map(lambda one: f"(?:({one})b\\1?)"),
        inner.map(lambda one: f"(?>{one})"),
    ),
    max_leaves=6,
)
_FLAGS = st.sampled_from([0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE])
_TEXTS = st.text("abc \n", max_size=14)


def compiled(source: str, flags: int) -> re.Pattern[str] | None:
    """The pattern, if it is one."""
    try:
        return re.compile(source, flags)
    except re.error:
        return None


@given(st.lists(st.builds(compiled, _PATTERNS, _FLAGS), min_size=1, max_size=2), _TEXTS, st.lists(st.integers(0, 14)))
def test_any_cutting_gives_the_same(patterns: list[re.Pattern[str] | None], text: str, cuts: list[int]) -> None:
    """What re.sub() makes of the whole text, where no match is empty; whatever the patterns, however it is cut."""
    rules = [Rule(pattern, f"<{at}>") for at, pattern in enumerate(patterns) if pattern is not None]
    if not rules:
        return
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    whole = redact([text], *rules)
    assert redact([text[a:b] for a, b in pairwise(places)], *rules) == whole
    assert redact(list(text), *rules) == whole
    if len(patterns) == 1 and patterns[0] is not None:
        assert whole == patterns[0].sub(lambda match: "<0>" if match[0] else "", text)


@given(st.text("ab1@. ", max_size=40), st.integers(6, 12))
def test_any_window_does_for_matches_that_fit_it(text: str, window: int) -> None:
    """What a match needs on both sides included."""
    rule = Rule(re.compile(r"\b[ab]{1,2}@[ab]{1,2}(?!\.)"), "#")
    assert redact(list(text), rule, window=window) == redact([text], rule)


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        (r"\d{3}-\d{4}", [("Call ", "Call "), ("5", ""), ("55 ", "555 "), ("555-1", ""), ("234", ""), (".", "#.")]),
        (r"\bsk-\w{4,}", [("as s", "as "), ("k", ""), ("-ab", ""), ("cdef", ""), ("gh ", "# ")]),
        (r"foo(?!bar)", [("foo", ""), ("b", ""), ("ad", "#bad"), ("foob", ""), ("ar", "foobar")]),
        (r"(?<=key: )\w+", [("key", "key"), (": ", ": "), ("abc", ""), (" ", "# ")]),
        (r"-\b\d", [("-", ""), ("1", ""), (" ", "# "), ("- ", "- ")]),
        (r"x$", [("x", ""), ("yz", "xyz"), ("x", ""), ("\n", "")]),
        (r"(?:ab)+", [("ab", ""), ("ab", ""), ("c", "#c")]),
    ],
)
def test_text_waits_while_it_may_match_and_no_longer(pattern: str, steps: list[tuple[str, str]]) -> None:
    """What is given with each piece."""
    redactor = Redactor("content", [Rule(re.compile(pattern), "#")], 100)
    for piece, expected in steps:
        assert "".join(text for _, text in redactor.feed(piece)) == expected


def test_what_waits_is_bounded() -> None:
    """A match that grows longer than the window is replaced as far as it has come; what might be one is let go."""
    redactor = Redactor("content", [Rule(re.compile("a+!"), "#")], 4)
    assert [redactor.feed("a") for _ in range(6)] == [[]] * 5 + [[("content", "aa")]]
    assert redactor.feed("!x") == [("content", "#x")]
    redactor = Redactor("content", [Rule(re.compile("b+"), "#")], 4)
    assert [redactor.feed("b") for _ in range(7)] == [[]] * 5 + [[("content", "#")], []]
    assert redactor.flush() == [("content", "#")]


def test_patterns_that_give_paths_up_wait_for_the_window() -> None:
    """Nobody can tell earlier what possessive quantifiers and atomic groups will match."""
    for pattern in ("a++", "(?>a|ab)", "[0-9]*+a"):
        redactor = Redactor("content", [Rule(re.compile(pattern), "#")], 4)
        assert redactor.feed("xyz-") == []
        assert redactor.feed("12") == [("content", "xy")]


def loudly(match: re.Match[str]) -> str:
    """In capitals."""
    return match[0].upper()


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r"(\w)\w*@(\w+)", r"\1***@\2", "a***@b c"),
        (r"(?P<user>\w+)@", r"\g<user> at ", "ann at b c"),
        (r"@", r"\\", r"ann\b c"),
        (r"\w+@", loudly, "ANN@b c"),
        (r"@", "", "annb c"),
        (r"(?i)ANN", "#", "#@b c"),
        (r"(?x) a n n  # a name with [ and $ in it", "#", "#@b c"),
    ],
)
def test_replacements(pattern: str, replacement: Any, expected: str) -> None:
    """Strings, templates of a match's groups, and functions."""
    assert redact(list("ann@b c"), Rule(re.compile(pattern), replacement)) == expected


def test_of_several_patterns_the_match_that_begins_first_counts() -> None:
    """And of two that begin together that of the pattern that comes first; what is replaced is not looked at again."""
    first, second = Rule(re.compile("bc|d"), "1"), Rule(re.compile("ab|d+|1"), "2")
    assert redact(list("abcdd bc1"), first, second) == "2c11 12"


def test_flush_begins_anew() -> None:
    """Before the text that follows there is nothing to look back at."""
    redactor = Redactor("content", [Rule(re.compile("^a|(?<=b)a"), "#")], 10)
    assert redactor.feed("b") + redactor.flush() + redactor.feed("a ") == [("content", "b"), ("content", "# ")]
