"""The figures as tables, for a terminal or as Markdown."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from benchmarks.aims import COLUMNS, aims
from benchmarks.figures import Case, Figure, Figures
from benchmarks.subjects import SUBJECTS

__all__ = ["Table", "as_markdown", "as_text", "details", "of_aims", "where"]


class Table(NamedTuple):
    """A table of texts; the first of each row says what it is of."""

    title: str
    head: list[str]
    rows: list[list[str]]


def as_text(table: Table) -> str:
    """For a terminal."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    texts = [
        "  ".join(
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([f"# {table.title}", texts[0], "-" * (sum(widths) + 2 * len(widths) - 2), *texts[1:], ""])


def as_markdown(table: Table) -> str:
    """For a page: its title is a paragraph of its own."""
    rule = ["---", *["---:"] * (len(table.head) - 1)]
    lines = ["| " + " | ".join(line) + " |" for line in (table.head, rule, *table.rows)]
    return "\n".join([f"{table.title}:", "", *lines, ""])


def where(machine: dict[str, Any]) -> str:
    """The date and the machine, in a sentence."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['taken'][:10]}, {machine['cores']} cores of {machine['processor']}, {machine['python']}; {packages}."
    )


def of_aims(figures: Figures) -> Table:
    """The ratios that there are aims for."""
    rows: list[list[str]] = []
    for name, judgements in aims(figures):
        cells = ["" if judgement is None else str(judgement) for judgement in judgements]
        rows.append([name, *cells, *[""] * (len(COLUMNS) - len(cells))])
    return Table("rxllm's ratios", ["", *(f"against {name}" for name in COLUMNS)], rows)


def details(figures: Figures) -> list[Table]:
    """All that was measured."""
    tables = [
        _costs(figures, "cpu", "CPU microseconds per chunk (and the ratio to httpx with json.loads)"),
        _costs(figures, "wall", "Microseconds per chunk by the clock (and the ratio)"),
        _moments(figures),
        _memory(figures),
        _imports(figures),
    ]
    return [table for table in tables if table.rows]


def _base(name: str) -> str:
    """What a subject is compared with: httpx and json.loads, in the same wire format and the same way."""
    ending = next((ending for ending in (", async", ", vLLM", ", Anthropic", ", Gemini") if name.endswith(ending)), "")
    return "httpx + json.loads" + ending


def _costs(figures: Figures, measure: str, title: str) -> Table:
    found = figures.of(measure)
    cases = list(dict.fromkeys(figure.case for figure in found))
    rows: list[list[str]] = []
    for subject in _in_order(found):
        row = [subject]
        for case in cases:
            figure, ratio = figures.get(measure, subject, case), figures.ratio(measure, subject, _base(subject), case)
            said = "" if ratio is None else f" ({ratio:.2f})"
            row.append("" if figure is None else f"{figure.median * 1e6:,.1f}{said}")
        rows.append(row)
    return Table(title, ["", *map(_name, cases)], rows)


def _name(case: Case) -> str:
    return (
        f"{case.chunks:,}"
        + (f" by {case.a_packet}" if case.a_packet > 1 else "")
        + (f", {case.streams:,} at once" if case.streams > 1 else "")
        + (f", {case.pause} ms apart" if case.pause else "")
    )


def _moments(figures: Figures) -> Table:
    head = ["", "first chunk ms", "added to a raw socket's", "leaving ms, median", "p99"]
    rows: list[list[str]] = []
    for name in _in_order([*figures.of("first"), *figures.of("leave")]):
        first, left = figures.get("first", name), figures.get("leave", name)
        added = figures.added("first", name, "raw socket, async" if name.endswith(", async") else "raw socket")
        rows.append(
            [
                name,
                _milliseconds(first, lambda figure: figure.median),
                "" if added is None else f"{added * 1e3:.2f}",
                _milliseconds(left, lambda figure: figure.median),
                _milliseconds(left, _p99),
            ]
        )
    return Table("The time to the first chunk, and from leaving a loop until the server sees it", head, rows)


def _p99(figure: Figure) -> float:
    return sorted(figure.rounds)[math.ceil(len(figure.rounds) * 0.99) - 1]


def _milliseconds(figure: Figure | None, of: Callable[[Figure], float]) -> str:
    if figure is None:
        return ""
    value = of(figure)
    return f"{value * 1e3:.2f}" if math.isfinite(value) else "not in 2 s"


def _memory(figures: Figures) -> Table:
    head = ["", "chunks", "after a first stream", "above that, at most"]
    rows: list[list[str]] = []
    for above in figures.of("memory"):
        before = figures.get("resident", above.subject, above.case)
        resident = "" if before is None else f"{before.median / 2**20:.0f}"
        rows.append([above.subject, f"{above.case.chunks:,}", resident, f"{above.median / 2**20:.1f}"])
    return Table("MiB resident, for a stream of which nothing is kept", head, rows)


def _imports(figures: Figures) -> Table:
    rows: list[list[str]] = []
    for figure in figures.of("import"):
        first = figures.get("import and first", figure.subject)
        rows.append([figure.subject, *(f"{each.median:.3f}" if each else "" for each in (figure, first))])
    return Table("Seconds in a fresh interpreter", ["", "import", "until its first chunk"], rows)


def _in_order(figures: Iterable[Figure]) -> list[str]:
    found = {figure.subject for figure in figures}
    return [name for name in SUBJECTS if name in found]
