"""What Streams show in a notebook as they come, one or several side by side; on a terminal, what they print."""

import contextlib
import inspect
import signal
import sys
import threading
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops

from rxllm._accumulators._names import numbered
from rxllm._display_html import body, formulas_in, rendered, side_by_side, wellformed
from rxllm._latest import latest_every, ticking
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
_RATE: Final = 1_000_000
"""Characters of HTML a second, at most, that a front end has to take in."""
_FORMULA: Final = 10_000
"""As many characters a formula counts for: a browser typesets it anew each time, in up to ten milliseconds."""
_TICK: Final = 1.0
"""Seconds between two drawings, at most, so that whoever waits sees for how long."""


def display_stream(stream: Observable[Any]) -> None:
    """Shows the last line of a cell; where an extra is missing, one line says so.

    Raises:
        NotImplementedError: it is a debugger that looks at a variable, which IPython then shows as ``repr`` does.
    """
    __tracebackhide__ = True  # by IPython: whoever interrupts, or has made a mistake, looks for lines of their own
    if _in_debugger():
        raise NotImplementedError
    try:
        _check()
    except ImportError as missing:
        # What is raised here, IPython prints with a traceback.
        print(f"rxllm: {missing}", file=sys.stderr)  # noqa: T201  there is nobody else to tell
        return
    display_streams([stream])


def display_streams(streams: Sequence[Observable[Any]], labels: Sequence[str] | None = None) -> None:
    """Subscribes to all ``streams`` at once and shows what comes, until all have ended.

    In a notebook it is drawn anew at most thirty times a second, and less often where that takes more than about a
    third of the time here, or more than a front end can take in; elsewhere, texts are printed. One that fails tells of
    it where it is shown, and the others go on. What is no ``APIError`` is raised in the end. KeyboardInterrupt cancels
    all, and is raised at once; what had come stays.

    Raises:
        ImportError: in a notebook, markdown-it-py, of the extra ``notebook``, is not installed.
    """
    __tracebackhide__ = True
    _check()
    requests = [getattr(stream, "request", None) for stream in streams]
    names = labels or numbered(it.model if it is not None else f"stream {n}" for n, it in enumerate(requests, 1))
    shown = [Shown(name, None if it is None else it.model) for name, it in zip(names, requests, strict=True)]
    alone = len(shown) == 1 and labels is None
    screen: _Notebook | _Printed = (
        _Notebook(shown, alone=alone) if _kernel() is not None else _Printed(shown, alone=alone)
    )
    watched = [each.over(stream) for each, stream in zip(shown, streams, strict=True)]

    # Within the operators, so that what a drawing took tells when the next is due.
    def draw(_: None) -> None:
        screen.draw()

    drawings = rx.merge(*watched).pipe(ticking(_TICK), latest_every(screen.interval), ops.do_action(draw))
    try:
        for _ in ThreadLoop().pull(drawings):
            pass
    except BaseException as error:
        for each in shown:
            each.end("failed" if isinstance(error, Exception) else "cancelled", error)
        screen.draw()
        screen.end()
        if isinstance(error, KeyboardInterrupt):
            error.__traceback__ = None  # where a loop of ours just waited says nothing
        raise
    screen.end()
    for each in shown:
        if each.error is not None and not isinstance(each.error, APIError):
            raise each.error


def _kernel() -> Any:
    """The kernel that runs this, or None: only its front end can show something anew."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None)


def _in_debugger() -> bool:
    """Whether a front end's list of variables asks what this one looks like, be it while a program is stopped."""
    parent: dict[str, Any] = getattr(_kernel(), "get_parent", dict[str, Any])()
    if parent.get("header", {}).get("msg_type") == "debug_request":
        return True
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") != "_pydevd_bundle.pydevd_vars":
        frame = frame.f_back
    return frame is not None


def _check() -> None:
    """Tells what is missing before anything is sent."""
    if _kernel() is not None:
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
        self._weight = 0

    def interval(self) -> float:
        """Seconds to the next drawing: a long answer takes its time, here and in the front end."""
        return max(_INTERVAL, _SHARE * self._cost, self._weight / _RATE)

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
        html = bundle["text/html"]
        self._weight = len(html) + _FORMULA * formulas_in(html)
        self._cost = time.perf_counter() - begun

    def end(self) -> None:
        """Nothing is left to be shown."""

    def _bundle(self) -> dict[str, str]:
        """In all its forms once it is over: the one that is looked at is enough of what is soon replaced."""
        shown, alone = self._shown, self._alone
        html = body(shown[0].html()) if alone else side_by_side([(each.label, each.html()) for each in shown])
        if not all(each.is_over for each in shown):
            return {"text/html": html, "text/plain": "\n".join(f"({each.figures})" for each in shown)}
        labels = ["" if alone else wellformed(each.label) for each in shown]
        pairs = list(zip(labels, shown, strict=True))
        return {
            "text/html": html,
            "text/markdown": "\n\n".join((label and f"**{label}**\n\n") + each.markdown() for label, each in pairs),
            "text/plain": "\n\n".join((label and f"{label}\n") + each.plain() for label, each in pairs),
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
            text = self._shown[0].said()
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
