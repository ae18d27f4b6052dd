"""``rxllm models``: the registry, and what of it the environment has."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from rxllm.cli._entries import Entry, Extra, entries
from rxllm.cli._output import Output
from rxllm.cli._parser import Arguments, teach
from rxllm.cli._screen import screen

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["add_arguments", "run"]

_HEADINGS: Final = ("MODELS", "SPEAKS", "NEEDS")


class _ModelsArguments(Arguments):
    name: str | None
    set: bool
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm models`` takes."""
    teach(
        parser,
        "Lists what may stand before a model's name, what that speaks to, and what it needs. Of environment variables"
        " it tells which are set, never what they hold.\n\n"
        "A model is named PREFIX/NAME, where NAME is the provider's own: which there are, the provider says. gpt-...,"
        " claude-... and gemini-... do without the prefix.",
        "Standard output has a line for each prefix; with NAME all that is known of those that it fits; with --json an"
        " object in each line.",
        "rxllm models groq",
        "rxllm models claude-opus-4",
        "rxllm models --set --json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="only prefixes with this in them, or that of a model")
    parser.add_argument("--set", action="store_true", help="only those whose key or address is set, and the embedded")
    parser.add_argument("--json", action="store_true", help="print them as JSON lines")


def run(arguments: _ModelsArguments) -> int:
    """Prints the table, or what is known of those that were named."""
    output = Output()
    shown = [entry for entry in entries(arguments.name) if entry.is_set or not arguments.set]
    if arguments.json:
        for entry in shown:
            output.line(json.dumps(asdict(entry)))
        return 0
    console = screen()
    if arguments.name is not None:
        lines = [line for entry in shown for line in _told(entry)]
    elif console is not None:
        console.print(_table(shown))
        return 0
    else:
        lines = list(_aligned([_HEADINGS, *map(_row, shown)]))
    for line in lines:
        if console is not None:
            console.print(_coloured(line), soft_wrap=True)
        else:
            output.line(line)
    return 0


def _row(entry: Entry) -> tuple[str, str, str]:
    """What the table says of a prefix, under each of its headings."""
    if entry.models:
        return ", ".join(entry.models), entry.speaks, "nothing"
    needs = [_keys(entry)] if entry.key_required else []
    if entry.address is None or any(entry.address_variables.values()):
        needs.append(_alternatives(entry.address_variables))
    if entry.extra is not None:
        needs.append(_extra(entry.extra))
    return f"{entry.prefix}...", entry.speaks, ", ".join(needs) or "nothing"


def _told(entry: Entry) -> Iterator[str]:
    """All that is known of a prefix, in lines."""
    yield ", ".join(entry.models) or f"{entry.prefix}..."
    variants = [f"{entry.prefix}{prefix}... {name}" for prefix, name in entry.variants.items()]
    yield f"  speaks   {', '.join([entry.speaks, *variants])}"
    if entry.models:
        yield "  address  in the package"
        return
    yield f"  key      {_keys(entry)}{'' if entry.key_required else ', if it wants one'}"
    variables = _alternatives(entry.address_variables)
    yield f"  address  {entry.address + ', or what is in ' if entry.address else 'in '}{variables}"
    if entry.extra is not None:
        yield f"  extra    {_extra(entry.extra)}"


def _keys(entry: Entry) -> str:
    return " or ".join(filter(None, [_alternatives(entry.key_variables), entry.credentials]))


def _alternatives(variables: dict[str, bool]) -> str:
    return " or ".join(f"{name} (set)" if is_set else name for name, is_set in variables.items())


def _extra(extra: Extra) -> str:
    return f"rxllm[{extra.name}] ({'installed' if extra.installed else 'missing'})"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _table(shown: list[Entry]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for entry in shown:
        table.add_row(*map(_coloured, _row(entry)))
    return table


def _coloured(text: str) -> "Text":
    from rich.text import Text

    coloured = Text(text)
    coloured.highlight_regex(r"\S+ \((set|installed)\)", "green")
    coloured.highlight_regex(r"\S+ \(missing\)", "yellow")
    return coloured
