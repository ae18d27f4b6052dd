"""Sentences of a text that comes in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._sentences import SentenceSplitter


def sentences(pieces: list[str]) -> list[str]:
    """The sentences of a text that comes in these pieces."""
    splitter = SentenceSplitter()
    return [*(sentence for piece in pieces for sentence in splitter.feed(piece)), *splitter.flush()]


parts = st.sampled_from(
    ["Mr", "Dr. ", "e.g.", "No. ", "5", "3.14", "J", "U.S", "Hello", "went", "I", "1", "a", "iv", ".", "!", "?", "...",
     "\u2026", " ", "  ", "\n", "\r\n", "\t", '"', ")", "(", "*", "\u00ab", " \u00bb", "\u3002", "\uff01", "\u300d",
     "\u4f60\u597d", "\u061f", "\u0645", "\uff0e", "\U0001f600", "- ", " " * 255, "." * 15, '"' * 9, "(" * 7]
)  # fmt: skip


@given(st.lists(parts, max_size=20).map("".join), st.lists(st.integers(0, 400), max_size=10))
def test_any_cutting_gives_the_same_sentences(text: str, cuts: list[int]) -> None:
    """However the text is cut, and none of it is lost."""
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    whole = sentences([text])
    assert sentences([text[a:b] for a, b in pairwise(places)]) == whole
    assert sentences(list(text)) == whole
    assert "".join(whole) == text
    if text.strip() and len(text) < 200:
        assert all(sentence.strip() for sentence in whole)


@given(st.text(st.characters(), max_size=80))
def test_nothing_of_any_text_is_lost(text: str) -> None:
    """Whatever it is made of, in one piece and in characters."""
    whole = sentences([text])
    assert sentences(list(text)) == whole
    assert "".join(whole) == text


@pytest.mark.parametrize(
    "expected",
    [
        ["Hello there. ", "How are you? ", "Fine!"],
        ["Mr. Smith and Prof. Lee met Mrs. J. K. Rowling. ", "He left at 5 p.m. ", "The end."],
        ["Pi is 3.14. ", "See e.g. Fig. 3, No. 5 and p. 7. ", "No. ", "Really."],
        ["It was I. ", "Nobody else."],
        ["approx. five cf. that, etc. and so on. ", "Yes."],
        ["1. First item. ", "More of it.\n", "2. Second\n", "- a dash\n\n", "## Heading\n\n", "  a. Text.\n", "End"],
        ["In 2019. ", "The year of it."],
        ['"Stop!" he said. ', '"Go." ', "She went."],
        ["(It was so.) ", 'Then "that." ', "And [more.] ", "Done"],
        ["Wait... what? ", "Really... ", "No way?! ", "Hm\u2026 so it is. ", "\u201cYes.\u201d ", "\u201cNo.\u201d"],
        ["Node.js is at https://a.b/c?d=e. ", "Use v1.2.3!"],
        ["**Bold.** ", "_Next._ ", "`Code.` ", "On."],
        ["Il dit \u00ab Bonjour. \u00bb ", "Puis il part."],
        ["\u00bfQu\u00e9 tal? ", "\u00a1Bien! ", "\u00bfY t\u00fa?"],
        ["z.B. das, d.h. es. ", "Gut."],
        ["\u4ed6\u6765\u4e86\u3002", "\u5979\u8d70\u4e86\uff01", "\u771f\u7684\u5417\uff1f",
         "\u201c\u662f\u7684\u3002\u201d", "\u597d"],
        ["\u4f60\u597d!", "\u6211\u662f\u5c0f\u660e. ", "\u6211\u2026\u2026\u4e0d\u77e5\u9053\u3002\n", "\u597d"],
        ["\uff13\uff0e\uff11\uff14\u3067\u3059\uff0e", "\u306f\u3044\u3002"],
        ["\u092f\u0939 \u0939\u0948\u0964 ", "\u0935\u0939 \u0939\u0948\u0964"],
        ["\u0646\u0639\u0645\u061f ", "\u0644\u0627. ", "\u062d\u0633\u0646\u0627."],
        ["\u0414\u0430. ", "\u041d\u0435\u0442, \u0432 1990 \u0433. \u0431\u044b\u043b\u043e. ", "\u0414\u0430?"],
        ["\n\n Hello.\n", "  World  \n"],
        ["x.\r\n\r\n", "y\u2029", "z"],
        ["def f():\n", "    return 1\n", "\tpass"],
        ["..."],
        [" \n "],
        ["X\n", ". ", "Fine"],
        ["\u597d\u3002", "Mr. Smith"],
    ],
)  # fmt: skip
def test_sentences(expected: list[str]) -> None:
    """In several scripts, with what looks like a stop and is none, and with closing marks behind it."""
    assert sentences(["".join(expected)]) == expected


def test_a_sentence_is_given_as_soon_as_it_is_known_to_be_over() -> None:
    """With the first letter of the next one; without spaces as soon as nothing closes it."""
    splitter = SentenceSplitter()
    assert [splitter.feed(piece) for piece in ("It is.", " ", '"', "N", "ow.", '" ', "\n", "x")] == [
        [], [], [], ["It is. "], [], [], [], ['"Now." \n']
    ]  # fmt: skip
    splitter = SentenceSplitter()
    assert [splitter.feed(piece) for piece in "\u597d\u3002\u300d\u6211"] == [[], [], [], ["\u597d\u3002\u300d"]]


@pytest.mark.parametrize("text", ["a", "a ", ".", " ", "\n", '."', "( ", "Dr. ", "\u3002 ", "a.\n "])
def test_what_is_looked_at_again_is_bounded(text: str) -> None:
    """However long it goes on without an end that is certain."""
    splitter = SentenceSplitter()
    for _ in range(2_000):
        splitter.feed(text)
        assert len(splitter._text) < 400  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
