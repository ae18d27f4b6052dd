"""What Streams show in a notebook as they come, one or several side by side; on a terminal, what they print."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import reactivex as rx
from reactivex import Observable

from rxllm._accumulators._names import numbered
from rxllm._display_html import body, rendered, side_by_side, wellformed
from rxllm._latest import latest_every
from rxllm._loop import ThreadLoop
from rxllm._shown import Shown
from rxllm.exceptions import APIError

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

__all__ = ["display_stream", "display_streams"]

_INTERVAL: Final = 1 / 30
"""Seconds between two drawings, at least."""
_SHARE: Final = 4.0
"""How many times as long as it takes to draw is between two drawings, at least."""


def display_stream(stream: Observable[Any]) -> None:
    """Shows the last line of a cell; where an extra is missing, one line says so."""
    try:
        _check()
    except ImportError as missing:
        # What is raised here, IPython prints with a traceback.
        print(f"rxllm: {missing}", file=sys.stderr)  # noqa: T201  there is nobody else to tell
        return
    display_streams([stream])


def display_streams(streams: Sequence[Observable[Any]], labels: Sequence[str] | None = None) -> None:
    """Subscribes to all ``streams`` at once and shows what comes, until all have ended.

    In a notebook it is drawn anew at most thirty times a second, and takes no more than about a third of the time;
    elsewhere, texts are printed. One that fails tells of it where it is shown, and the others go on. What is no
    ``APIError`` is raised in the end. KeyboardInterrupt cancels all, and is raised at once; what had come stays.

    Raises:
        ImportError: in a notebook, markdown-it-py, of the extra ``notebook``, is not installed.
    """
    _check()
    requests = [getattr(stream, "request", None) for stream in streams]
    names = labels or numbered(it.model if it is not None else f"stream {n}" for n, it in enumerate(requests, 1))
    shown = [Shown(name, None if it is None else it.model) for name, it in zip(names, requests, strict=True)]
    alone = len(shown) == 1 and labels is None
    screen: _Notebook | _Printed = _Notebook(shown, alone=alone) if _in_notebook() else _Printed(shown, alone=alone)
    watched = [each.over(stream) for each, stream in zip(shown, streams, strict=True)]
    ticks = watched[0] if len(watched) == 1 else rx.merge(*watched)
    try:
        for _ in ThreadLoop().pull(ticks.pipe(latest_every(screen.interval))):
            screen.draw()
    except BaseException as error:
        for each in shown:
            each.end("failed" if isinstance(error, Exception) else "cancelled", error)
        screen.draw()
        screen.end()
        raise
    screen.end()
    for each in shown:
        if each.error is not None and not isinstance(each.error, APIError):
            raise each.error


def _in_notebook() -> bool:
    """Whether a kernel runs this: only its front end can show something anew."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


def _check() -> None:
    """Tells what is missing before anything is sent."""
    if _in_notebook():
        rendered("")


@contextlib.contextmanager
def _uninterrupted() -> Generator[None]:
    """What is inside goes on to its end: Ctrl-C, which the main thread gets, comes after it."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if held:
        usual(*held[0])


class _Notebook:
    """The output of a cell, drawn anew."""

    def __init__(self, shown: Sequence[Shown], *, alone: bool) -> None:
        self._shown = shown
        self._alone = alone
        self._handle: DisplayHandle | None = None
        self._cost = 0.0

    def interval(self) -> float:
        """Seconds to the next drawing: drawing a long answer takes its time."""
        return max(_INTERVAL, _SHARE * self._cost)

    def draw(self) -> None:
        """Shows what there is now."""
        from IPython.display import display  # pyright: ignore[reportUnknownVariableType]

        begun = time.perf_counter()
        with _uninterrupted():  # whoever shows something for the first time has to know that it is there
            bundle = self._bundle()
            if self._handle is None:
                self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            else:
                self._handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]  # pyright: ignore[reportUnknownMemberType]
        self._cost = time.perf_counter() - begun

    def end(self) -> None:
        """Nothing is left to be shown."""

    def _bundle(self) -> dict[str, str]:
        if self._alone:
            (only,) = self._shown
            return {"text/html": body(only.html()), "text/markdown": only.markdown(), "text/plain": only.plain()}
        return {
            "text/html": side_by_side([(each.label, each.html()) for each in self._shown]),
            "text/markdown": "\n\n".join(f"**{wellformed(each.label)}**\n\n{each.markdown()}" for each in self._shown),
            "text/plain": "\n\n".join(f"{wellformed(each.label)}\n{each.plain()}" for each in self._shown),
        }


class _Printed:
    """Standard output: the text of one stream as it comes; streams with headings when all have ended."""

    def __init__(self, shown: Sequence[Shown], *, alone: bool) -> None:
        self._shown = shown
        self._alone = alone
        self._printed = ""

    def interval(self) -> float:
        """Seconds to the next drawing."""
        return _INTERVAL

    def draw(self) -> None:
        """Prints what is new, of one stream alone."""
        if self._alone:
            text = self._shown[0].markdown()
            if text.startswith(self._printed):
                print(text[len(self._printed) :], end="", flush=True)  # noqa: T201  it is what it is for
                self._printed = text

    def end(self) -> None:
        """Prints the rest."""
        if self._alone:
            rest = self._shown[0].plain().removeprefix(self._printed).lstrip("\n")
            print(f"\n{rest}" if self._printed else rest)  # noqa: T201  likewise
            return
        for each in self._shown:
            print(f"{each.label}\n{each.plain()}\n")  # noqa: T201  likewise
