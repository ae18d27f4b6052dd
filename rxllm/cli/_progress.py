"""How far a batch has come: a bar where rich is installed, else a line that counts; on a terminal alone."""

import sys
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "progress"]

_SHORTEST_WAIT: Final = 0.1  # seconds from one line to the next


class Progress:
    """Is told of each step, from ``with`` on until its end, when it is gone from the terminal; this one is silent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is there to be taken away."""

    def show(self, done: int, failed: int) -> None:
        """So many are done, and so many of them failed."""


def progress(total: int, done: int) -> Progress:
    """Shows on standard error, where that is a terminal, that ``done`` of ``total`` are done, and how it goes on."""
    if sys.stderr is None or not sys.stderr.isatty():
        return Progress()
    try:
        from rich.console import Console
    except ImportError:
        return _Line(total, done)
    console = Console(stderr=True)
    return _Line(total, done) if console.is_dumb_terminal else _Bar(console, total, done)


class _Line(Progress):
    def __init__(self, total: int, done: int) -> None:
        self._total = total
        self._done = done
        self._next = 0.0
        self._width = 0

    def __enter__(self) -> Self:
        self.show(self._done, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")
        self._write("")

    def show(self, done: int, failed: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SHORTEST_WAIT
            self._write(f"{done}/{self._total} done, {failed} failed")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)


class _Bar(Progress):
    def __init__(self, console: "Console", total: int, done: int) -> None:
        from rich import progress as bars

        self._bars = bars.Progress(
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[failed]}", style="red"),
            bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=total, completed=done, failed="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, done: int, failed: int) -> None:
        self._bars.update(self._task, completed=done, failed=f"{failed} failed" if failed else "")
