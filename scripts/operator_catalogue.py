"""Writes the catalogue of operators in OPERATORS.md, from their docstrings.

    python scripts/operator_catalogue.py

Of each it takes the signature, the first paragraph, which is the contract, the drawing, the prose behind it, which says
the edges and what is held, and the example. What stands around the catalogue is written by hand, and stays.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from rxllm import operators

__all__ = ["BEGIN", "END", "GROUPS", "PAGE", "Entry", "catalogue", "entry", "grouped", "page_with"]

PAGE: Final = Path(__file__).resolve().parents[1] / "OPERATORS.md"
BEGIN: Final = "<!-- This catalogue is written by scripts/operator_catalogue.py. -->"
END: Final = "<!-- Here the catalogue ends. -->"

# What each is for. One that is nowhere here comes last, and a test asks for it.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "Text": (
        *("text_deltas", "accumulate_text", "print_text", "split_lines", "split_sentences", "split_reasoning"),
        *("extract_code_blocks", "smooth_text", "stop_at"),
    ),
    "Structure": ("build_response", "parse_partial", "assemble_tool_calls", "run_tools", "by_choice", "finish_reason"),
    "Usage and cost": (
        *("count_tokens", "attach_usage", "attach_cost", "take_chunks", "take_until_budget", "measure"),
    ),
    "Resilience": ("require_finish", "retry_before_content", "fallback_to", "hedge", "race"),
    "Sharing": ("share_replay", "cached", "record", "replay", "publish_to", "observe_from"),
    "Watching": ("guard", "redact", "tag", "merge_models"),
}
_UNGROUPED: Final = "Others"


class Entry(NamedTuple):
    """What the catalogue says of an operator."""

    name: str
    signature: str
    contract: str
    drawing: str
    edges: str
    example: str


def entry(name: str) -> Entry:
    """What the operator's docstring says.

    Raises:
        ValueError: it lacks a part.
    """
    operator: Callable[..., Any] = getattr(operators, name)
    text = inspect.getdoc(operator) or ""
    contract = " ".join(text.partition("\n\n")[0].removesuffix("::").split())
    drawing = re.search(r"(?:^|\n)[^\n]*::\n\n((?: {4}[^\n]*\n|\n)+)", text)
    example = re.search(r"^>>> .*\Z", text, flags=re.MULTILINE | re.DOTALL)
    edges = (
        re.split(r"^(?:Args|Raises):$|^>>> ", text[drawing.end() :], maxsplit=1, flags=re.MULTILINE)[0]
        if drawing
        else ""
    )
    if not contract or drawing is None or not edges.strip() or example is None:
        raise ValueError(f"the docstring of {name} lacks its contract, its drawing, its edges or its example")
    drawn = inspect.cleandoc("\n" + drawing[1])
    return Entry(name, _signature(operator), contract, drawn, edges.strip(), example[0].rstrip())


def grouped() -> Iterator[tuple[str, list[str]]]:
    """The operators that there are, by what they are for."""
    placed: set[str] = set()
    for group, names in GROUPS.items():
        there = [name for name in names if name in operators.__all__]
        placed.update(there)
        yield group, there
    if others := [name for name in operators.__all__ if name not in placed]:
        yield _UNGROUPED, others


def catalogue() -> str:
    """The catalogue in Markdown."""
    groups = list(grouped())
    contents = "\n".join(f"- [{group}](#{_anchor(group)}): {_links(names)}" for group, names in groups)
    sections = "\n\n".join(
        f"## {group}\n\n" + "\n\n".join(_section(entry(name)) for name in names) for group, names in groups
    )
    return f"{contents}\n\n{sections}"


def page_with(page: str) -> str:
    """``page`` with what stands between its two marks replaced by the catalogue of now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{catalogue()}\n\n{END}{after}"


def _section(it: Entry) -> str:
    return (
        f"### {it.name}\n\n"
        f"[`{it.signature}`](operators/_{it.name}.py)\n\n"
        f"{_in_markdown(it.contract)}\n\n"
        f"{_fenced('text', it.drawing)}\n\n"
        f"{_in_markdown(it.edges)}\n\n"
        f"{_fenced('pycon', it.example)}"
    )


def _fenced(language: str, text: str) -> str:
    """A block of code, whose fence is longer than any within it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _signature(operator: Callable[..., Any]) -> str:
    """The names of the parameters and their defaults: the types stand in the code."""
    signature = inspect.signature(operator)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return operator.__name__ + str(inspect.Signature(bare)).replace("'", '"')


def _links(names: list[str]) -> str:
    return ", ".join(f"[{name}](#{_anchor(name)})" for name in names)


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _in_markdown(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8")), "utf-8")
    print(f"{PAGE.name}: {len(operators.__all__)} operators")
