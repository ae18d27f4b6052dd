"""Docstrings as the site's reference shows them: an extension of griffe (mkdocs.yml).

They are written for ``help()``, in what reStructuredText and Markdown have in common, but for a few things. These are
made Markdown here: examples and what stands behind ``::`` become blocks of code, roles plain code, and tables tables.
Names of what is public become links. In signatures the private names of types become what they stand for.
"""

import ast
import inspect
import re
from typing import Any, Final

import griffe

import rxllm
from rxllm import exceptions, operators, testing, types

__all__ = ["DocstringsInMarkdown", "in_markdown"]

_ROLE: Final = re.compile(r":\w+:`~?([^`]*)`")
_RULE: Final = re.compile(r"=+( +=+)+")
_NAME: Final = re.compile(r"(?<!`)(`{1,2})(\w+(?:\(\))?)\1(?!`)")
_PUBLIC: Final = {
    **{name: f"rxllm.{name}" for name in rxllm.__all__ if name[0].isupper()},
    **{f"{name}()": f"rxllm.{name}" for name in rxllm.__all__ if name[0].islower()},
    **{f"{name}()": f"rxllm.operators.{name}" for name in operators.__all__},
    **{
        name: f"{module.__name__}.{name}"
        for module in (exceptions, testing, types)
        for name in module.__all__
        if name[0].isupper()
    },
}


class DocstringsInMarkdown(griffe.Extension):
    """Changes each docstring as it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe has read ``obj``, but has not parsed its docstring."""
        if obj.docstring is not None:
            obj.docstring.value = in_markdown(inspect.cleandoc(obj.docstring.value))

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Griffe has read the whole package."""
        _spell_out(pkg)


def _spell_out(module: griffe.Module) -> None:
    """Replaces the private aliases of a module in the signatures of its functions, and in those of its submodules."""
    aliases = {
        name: str(member.value)
        for name, member in module.attributes.items()
        if re.fullmatch(r"_[A-Z]\w*", name) and not str(member.value).startswith("TypeVar(")
    }

    def spelt(annotation: str | griffe.Expr | None) -> str | griffe.Expr | None:
        text = str(annotation)
        if (out := re.sub(r"\b_[A-Z]\w*", lambda it: aliases.get(it[0], it[0]), text)) == text:
            return annotation
        return griffe.safe_get_annotation(ast.parse(out, mode="eval").body, parent=module)

    for function in module.functions.values():
        for form in (function, *(function.overloads or ())):
            form.returns = spelt(form.returns)
            for parameter in form.parameters:
                parameter.annotation = spelt(parameter.annotation)
    for submodule in module.modules.values():
        if not submodule.is_alias:
            _spell_out(submodule)


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
            written.append(_NAME.sub(_linked, _ROLE.sub(r"`\1`", block)))
    return "\n\n".join(written)


def _linked(name: re.Match[str]) -> str:
    """A name in code, with a link where it is public."""
    return f"[`{name[2]}`][{_PUBLIC[name[2]]}]" if name[2] in _PUBLIC else name[0]


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
