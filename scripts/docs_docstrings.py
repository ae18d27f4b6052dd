"""Docstrings as the site's reference shows them: an extension of griffe (mkdocs.yml).

They are written for ``help()``, in what reStructuredText and Markdown have in common, but for a few things. These are
made Markdown here: examples and what stands behind ``::`` become blocks of code, roles plain code, and tables tables.
"""

import inspect
import re
from typing import Any, Final

import griffe

__all__ = ["DocstringsInMarkdown", "in_markdown"]

_ROLE: Final = re.compile(r":\w+:`~?([^`]*)`")
_RULE: Final = re.compile(r"=+( +=+)+")


class DocstringsInMarkdown(griffe.Extension):
    """Changes each docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe has read ``obj``, but has not parsed its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = in_markdown(inspect.cleandoc(obj.docstring.value))


def in_markdown(docstring: str) -> str:
    """The docstring in Markdown."""
    blocks = re.split(r"\n{2,}", docstring)
    written: list[str] = []
    while blocks:
        block = blocks.pop(0)
        if block.startswith(">>>"):
            while blocks and not (block.startswith(">>>") and re.match(r"[A-Z]\w*:\n", blocks[0])):
                block += "\n\n" + blocks.pop(0)
            written.append(_fenced("pycon", block))
        elif block.endswith("::") and blocks and blocks[0].startswith("    "):
            literal: list[str] = []
            while blocks and blocks[0].startswith("    "):
                literal.append(blocks.pop(0))
            if said := block.removesuffix("::").rstrip():
                written.append(f"{said}:")
            written.append(_fenced("text", inspect.cleandoc("\n" + "\n\n".join(literal))))
        elif _RULE.match(block):
            written.append(_table(block))
        else:
            written.append(_ROLE.sub(r"`\1`", block))
    return "\n\n".join(written)


def _fenced(language: str, text: str) -> str:
    """A block of code, whose fence is longer than any within it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _table(block: str) -> str:
    """A simple table, which has no heading."""
    rule, *rows, _ = block.split("\n")
    second = rule.index(" =") + 1
    cells = [(row[:second].strip(), row[second:].strip()) for row in rows]
    lines = [f"| {left} | {right} |".replace("``|``", "`\\|`").replace("b|)", "b\\|)") for left, right in cells]
    return "\n".join(["| | |", "|---|---|", *lines])
