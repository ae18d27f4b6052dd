"""Answers side by side on a terminal, by rich: the ends of them while they come, and all of them in the end."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rxllm import ModelResponseStream, Stream
from rxllm._latest import latest_every
from rxllm.cli._output import call_line, failure, printable
from rxllm.cli._watching import Watch

__all__ = ["Columns"]

_REDRAW: Final = 0.05
"""How many seconds lie between two pictures of the answers."""
_NARROWEST: Final = 28
"""How many cells a column has at least, where several stand side by side."""
_BETWEEN: Final = 3  # a line, and a space on either side of it
_HEAD: Final = 2  # the heading, and the line under it
_FOOT: Final = 1  # the line above the figures


class Columns:
    """Answers in columns: while they come as much of their ends as the screen has room for, then whole."""

    def __init__(self, watches: Sequence[Watch], console: Console) -> None:
        self._watches = watches
        self._console = console

    def follow(self, chunks: Stream[ModelResponseStream]) -> None:
        """Draws the answers while the chunks of all come.

        On a screen of their own, as a pager has one: where the window is resized, nothing of them stays behind.
        """
        with Live(console=self._console, auto_refresh=False, screen=True) as live:
            live.update(self.drawn(whole=False), refresh=True)
            for _ in chunks.pipe(latest_every(_REDRAW)):
                live.update(self.drawn(whole=False), refresh=True)

    def finish(self) -> None:
        """Prints the answers."""
        self._console.print(self.drawn(whole=True))

    def drawn(self, *, whole: bool) -> Group:
        """The answers as they are now: whole, or as much of their ends as the screen has room for."""
        console, watches = self._console, self._watches
        most = max((console.width + _BETWEEN) // (_NARROWEST + _BETWEEN), 1)
        count = ceil(len(watches) / most)
        abreast = ceil(len(watches) / count)
        width = max((console.width - _BETWEEN * (abreast - 1)) // abreast, 1)
        # A line stays for the cursor, and one between two rows.
        height = None if whole else (console.height - count) // count
        rows = [_row(watches[at : at + abreast], console, width, height) for at in range(0, len(watches), abreast)]
        return Group(*[part for row in rows for part in ("", row)][1:])


def _row(watches: Sequence[Watch], console: Console, width: int, height: int | None) -> Table:
    table = Table(box=box.MINIMAL, show_edge=False, show_footer=True, pad_edge=False, footer_style="dim")
    figures = [Text(watch.figures).wrap(console, width) for watch in watches]
    for watch, lines in zip(watches, figures, strict=True):
        heading = Text(watch.label, style="bold", overflow="ellipsis", no_wrap=True)
        table.add_column(heading, Text("\n").join(lines), width=width)
    room = None if height is None else max(height - _HEAD - _FOOT - max(map(len, figures)), 1)
    table.add_row(*(_body(watch, console, width, room) for watch in watches))
    return table


def _body(watch: Watch, console: Console, width: int, room: int | None) -> Text:
    """What an answer says, or as many lines of its end as there is room for."""
    parts = list(_parts(watch))
    if room is None:
        return Text("\n").join(Text(printable(text), style) for text, style in parts)
    lines: list[Text] = []
    for text, style in reversed(parts):
        if len(lines) < room:
            lines[:0] = Text(printable(_end(text, room * width)), style).wrap(console, width)
    return Text("\n").join(lines[-room:])


def _parts(watch: Watch) -> Iterator[tuple[str, str]]:
    """What an answer consists of, each part with its style."""
    for said in watch.said:
        if said.reasoning:
            yield f"{said.reasoning}\n", "dim"
        if said.text or said.refusal:
            yield said.text or said.refusal, ""
        for call in said.calls:
            yield call_line(call), "cyan"
    if watch.error is not None:
        yield failure(watch.error), "red"


def _end(text: str, screenful: int) -> str:
    """A bounded end of ``text``, of a screenful at least, which is broken into lines as the whole would be.

    Between two line breaks the beginning moves on by whole screenfuls, so that lines do not flow from chunk to chunk.
    """
    start = max(len(text) // screenful - 1, 0) * screenful
    return text[text.rfind("\n", max(start - screenful, 0), start) + 1 or start :]
