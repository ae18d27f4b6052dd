"""OPERATORS.md is true: it is what the docstrings say, it has every operator, and its examples run."""

import doctest
import re
from pathlib import Path

import pytest

from rxllm import Stream, operators
from scripts.operator_catalogue import BEGIN, END, GROUPS, PAGE, entry, grouped, page_with

ROOT = Path(__file__).resolve().parents[2]
TEXT = PAGE.read_text("utf-8")
CATALOGUE = TEXT.partition(BEGIN)[2].partition(END)[0]
SECTIONS = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=\n\n##|\Z)", CATALOGUE, re.MULTILINE | re.DOTALL))


def test_the_catalogue_is_that_of_the_docstrings() -> None:
    """Written again, OPERATORS.md stays as it is; where it does not: python scripts/operator_catalogue.py."""
    assert page_with(TEXT) == TEXT
    assert (TEXT.count(BEGIN), TEXT.count(END)) == (1, 1)


def test_a_stale_catalogue_is_noticed() -> None:
    """An operator that is missing, or says something else, is written anew, and what stands around it stays."""
    stale = TEXT.replace(SECTIONS["take_chunks"], "").replace("choice=0", "choice=1")
    assert stale != TEXT
    assert page_with(stale) == TEXT
    assert page_with(TEXT.replace("# The operators", "# Other words", 1)).startswith("# Other words")


def test_every_operator_has_its_place() -> None:
    """One section each, in one of the groups, and every name of a group is an operator's."""
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == operators.__all__
    assert list(SECTIONS) == [name for _, names in grouped() for name in names] == named
    assert [group for group, _ in grouped()] == list(GROUPS)


def test_an_operator_without_a_place_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes last, under a heading of its own."""
    monkeypatch.setitem(GROUPS, "Text", GROUPS["Text"][1:])
    assert list(grouped())[-1] == ("Others", ["text_deltas"])


@pytest.mark.parametrize("name", operators.__all__)
def test_what_a_section_says(name: str) -> None:
    """A signature that can be called so, a sentence, a drawing that names the operator, and an example."""
    section, it = SECTIONS[name], entry(name)
    assert it.signature.startswith(f"{name}(")
    assert f"[`{it.signature}`](operators/_{name}.py)" in section
    assert it.contract.endswith(".")
    assert "``" not in it.contract.replace("``", "`")
    assert f"\n{name}(" in f"\n{it.drawing}".replace(" ", "")
    assert re.search(r"-.*[|X-]", it.drawing)
    assert it.example.count(">>>") >= 2
    assert it.drawing in section
    assert it.example in section


@pytest.mark.parametrize("name", operators.__all__)
def test_the_examples_run_as_they_stand(name: str) -> None:
    """Below ``from rxllm.operators import *``, and nothing else."""
    names = {each: getattr(operators, each) for each in operators.__all__}
    ((_, example),) = re.findall(r"^(`{3,})pycon\n(.*?\n)\1$", SECTIONS[name], flags=re.DOTALL | re.MULTILINE)
    found = doctest.DocTestParser().get_doctest(example, names, name, PAGE.name, 0)
    outcome = doctest.DocTestRunner().run(found)
    assert outcome.attempted
    assert not outcome.failed


def test_a_docstring_without_its_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name."""

    def tag() -> None:
        """Does nothing."""

    monkeypatch.setattr(operators, "tag", tag)
    with pytest.raises(ValueError, match="tag lacks"):
        entry("tag")


def test_links_lead_somewhere() -> None:
    """To a heading of the page, or to a file."""
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
    assert all((ROOT / path).is_file() for path in re.findall(r"\]\(([^#)][^)]*)\)", TEXT))


def test_the_introductions_example_runs() -> None:
    """It makes a stream, and sends nothing yet."""
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, PAGE.name, "exec"), names)  # noqa: S102  it is ours
    assert isinstance(names["sentences"], Stream)
