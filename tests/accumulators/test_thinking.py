"""Thinking between tags, told apart from the answer."""

import re
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._thinking import ReasoningSplitter

TAGS = ("<think>", "</think>")


def split(*pieces: str, tags: tuple[str, str] = TAGS, inside: bool = False) -> dict[str, str]:
    """What becomes of a text that comes in these pieces."""
    splitter = ReasoningSplitter("content", tags, inside=inside)
    whole = {"reasoning_content": "", "content": ""}
    for field, text in [*(segment for piece in pieces for segment in splitter.feed(piece)), *splitter.flush()]:
        assert text
        whole[field] += text
    return whole


def plainly(text: str, *, inside: bool) -> dict[str, str]:
    """The same from the whole text, by a pattern."""
    if inside:
        text = "<think>" + text
    blocks = re.split(r"<think>(?:\s*<think>)*(.*?)(?:</think>|\Z)", text, flags=re.DOTALL)
    answers = blocks[::2]
    content = "".join(answers)
    if len(answers) > 1 and not answers[0].strip():
        content = content.lstrip()
    return {
        "reasoning_content": "\n".join(thought for block in blocks[1::2] if (thought := block.strip())),
        "content": content,
    }


texts = st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", "/", "a", "b ", " ", "\n"]), max_size=12)


@given(texts.map("".join), st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_any_cutting_gives_the_same(text: str, cuts: list[int], inside: bool) -> None:
    """As whole, and one character at a time."""
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[a:b] for a, b in pairwise(places)]
    expected = split(text, inside=inside)
    assert split(*pieces, inside=inside) == split(*text, inside=inside) == expected


@given(texts.map("".join), st.booleans())
def test_it_is_what_a_pattern_finds_in_the_whole_text(text: str, inside: bool) -> None:
    """Blocks by their tags, with a newline between them, without the white space around them."""
    got = split(text, inside=inside)
    # Of a block that is not closed, the white space at the end stays.
    assert {**got, "reasoning_content": got["reasoning_content"].rstrip()} == plainly(text, inside=inside)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\nGreet them.\n</think>\n\nHello, ", "Greet them.", "Hello, "),
        ("<think>\n\n</think>\n\nHello", "", "Hello"),
        ("\n<think>a</think>b", "a", "b"),
        ("One <think>a</think> two", "a", "One  two"),
        ("One\n\n<think>a</think>\n\n<think>b</think>\n\nTwo", "a\nb", "One\n\n\n\n\n\nTwo"),
        ("<think>a</think> <think>b</think> c", "a\nb", "c"),
        ("<think>never closed \n", "never closed \n", ""),
        ("  indented", "", "  indented"),
        ("a </think> b <thin", "", "a </think> b <thin"),
        ("<think>a <think> b</think>c", "a <think> b", "c"),
        ("<think><think>a</think>b", "a", "b"),
        ("a < b and b <t> c", "", "a < b and b <t> c"),
    ],
)
def test_blocks(text: str, reasoning: str, content: str) -> None:
    """What is thinking, what is not, and the white space around it."""
    assert split(*text) == {"reasoning_content": reasoning, "content": content}


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("Greet them.\n</think>\n\nHello", "Greet them.", "Hello"),
        ("\n<think>\nGreet them.</think>Hello", "Greet them.", "Hello"),
        ("a <think> b</think>c<think>d</think>", "a <think> b\nd", "c"),
        ("all of it", "all of it", ""),
    ],
)
def test_text_that_begins_inside(text: str, reasoning: str, content: str) -> None:
    """The prompt's template has opened the block; a model that opens it again says nothing by that."""
    assert split(*text, inside=True) == {"reasoning_content": reasoning, "content": content}


def test_tags_of_other_models() -> None:
    """Any two strings, also one and the same."""
    assert split(*"\u25c1think\u25b7a\u25c1/think\u25b7b", tags=("\u25c1think\u25b7", "\u25c1/think\u25b7")) == {
        "reasoning_content": "a",
        "content": "b",
    }
    assert split(*"a||b||c", tags=("||", "||")) == {"reasoning_content": "b", "content": "ac"}


def test_text_is_given_as_soon_as_no_tag_can_begin_in_it() -> None:
    """Neither more nor less is held back."""
    splitter = ReasoningSplitter("content", TAGS)
    given_so_far = ["".join(text for _, text in splitter.feed(piece)) for piece in ("a", " <", "t", "i", "n <", "th")]
    assert list(accumulate(given_so_far)) == ["a", "a ", "a ", "a <ti", "a <tin ", "a <tin "]
    assert splitter.flush() == [("content", "<th")]


def test_other_fields_are_left_alone() -> None:
    """Tags in what the provider told apart itself are text."""
    splitter = ReasoningSplitter("reasoning_content", TAGS)
    assert splitter.feed("<think> ") == [("reasoning_content", "<think> ")]
    assert splitter.flush() == []
