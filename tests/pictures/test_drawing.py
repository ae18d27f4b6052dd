"""The drawings of docstrings become pictures."""

import inspect
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm import operators
from rxllm._pictures import drawing_picture
from tests.pictures.reading import SVG, marbles_in, texts_in, tips_in, tree


def drawings() -> Iterator[tuple[str, str]]:
    """Each operator's, as its docstring has it."""
    for name in operators.__all__:
        text = inspect.getdoc(getattr(operators, name)) or ""
        drawing = re.search(r"::\n\n((?: {4}[^\n]*\n|\n)+)", text)
        assert drawing is not None
        yield name, re.sub(r"^ {4}", "", drawing[1], flags=re.MULTILINE).rstrip()


DRAWINGS = dict(drawings())


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_operators_drawing_is_understood(name: str) -> None:
    """Its operator stands in a box, each lane's name beside it, and each item on a marble."""
    picture = drawing_picture(DRAWINGS[name])
    texts = texts_in(picture)
    assert any(text.startswith(f"{name}(") for text in texts)
    items = re.findall(r'"(?:role|stop)"|\b(?:role|stop)\b', DRAWINGS[name])
    assert sum(bool(re.search(r"\b(?:role|stop)\b", text)) and "(" not in text for text in texts) == len(items)


def test_parts_of_a_drawing_are_told_apart() -> None:
    """Texts lose their quotes, a tag stays, an error is red, and what was drawn is the tip."""
    picture = drawing_picture(DRAWINGS["merge_models"])
    texts = texts_in(picture)
    assert texts[:4] == ["gpt-4", "Hel", "lo", "stop"]
    assert "gpt-4:Hel" in texts
    assert "merge_models(gpt-4, claude)" in texts
    assert 'gpt-4:"Hel"' in tips_in(picture)
    assert marbles_in(picture, "error") == 1


def test_places_are_kept() -> None:
    """What stands in one column is in one place, and what comes later is to the right."""
    picture = drawing_picture('chunks  --"a"----"b"--|\n        f()\ntexts   --x------y-----|')
    at = {text: float(it.get("x", "")) for it in tree(picture).iter(f"{SVG}text") if (text := "".join(it.itertext()))}
    assert at["a"] == at["x"]
    assert at["b"] == at["y"]
    assert at["a"] < at["b"]


def test_remark_and_two_drawings() -> None:
    """A remark stands beside its operator; an empty line is no lane."""
    assert "print_text()prints Hello and a newline" in texts_in(drawing_picture(DRAWINGS["print_text"]))
    texts = texts_in(drawing_picture(DRAWINGS["assemble_tool_calls"]))
    assert [text for text in texts if text.startswith("assemble")] == [
        "assemble_tool_calls()",
        "assemble_tool_calls(partial=True)",
    ]


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        ("", "nothing"),
        ("\n  \n", "nothing"),
        ("hello", "tell where the lane begins"),
        ('chunks  --"Hel--|', "A quote is not closed"),
        ("chunks  --City(1--|", "A bracket is not closed"),
        ("chunks  --a--|\n        f(1", "A bracket is not closed"),
        ("chunks  --a--|\n        f(1) x", "two spaces and a remark"),
        ("chunks  --a--|--b", "something more"),
        ("chunks  --a  b--|", "no space"),
        ("chunks  --a--|\nlonger-name  --a--|", "does not"),
        ("chunks  --a--|\nb            \nchunks  --a--|", "Nothing is in the lane"),
    ],
)
def test_what_cannot_be_understood_is_told(drawing: str, reason: str) -> None:
    """A ``ValueError`` with the reason."""
    with pytest.raises(ValueError, match=reason):
        drawing_picture(drawing)


@given(st.text(st.characters(exclude_characters='"\\\n', exclude_categories=())))
def test_any_text_gives_well_formed_xml(text: str) -> None:
    """Control characters, halves of surrogate pairs, markup, scripts from right to left: all of it."""
    if len(f"|{text}|".splitlines()) == 1:
        tree(drawing_picture(f'chunks  --"{text}"--|'))


@given(st.text(alphabet="-|X,\"'()a \n\\<&", max_size=40))
def test_any_drawing_is_understood_or_refused(drawing: str) -> None:
    """Nothing else is raised, and it ends."""
    try:
        picture = drawing_picture(drawing)
    except ValueError:
        return
    tree(picture)


def test_picture_is_the_same_each_time() -> None:
    """So that a page that holds it changes only when the drawing does."""
    assert str(drawing_picture(DRAWINGS["hedge"])) == str(drawing_picture(DRAWINGS["hedge"]))
