"""``rxllm compare``: the answers of several models, side by side."""

import argparse
import importlib
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rxllm import ModelResponseStream, Stream
from rxllm._accumulators._names import numbered
from rxllm.cli._asking import AskingArguments, add_asking, asked, prompt_of, question
from rxllm.cli._output import Output, call_line, failure, json_line, note
from rxllm.cli._parser import teach
from rxllm.cli._screen import screen
from rxllm.cli._signals import sigterm_as_ctrl_c
from rxllm.cli._timeline import add_timeline, timeline_of_all
from rxllm.exceptions import APIError

if TYPE_CHECKING:
    from rxllm.cli._watching import Watch

__all__ = ["add_arguments", "run"]


class _CompareArguments(AskingArguments):
    models: list[str]
    json: bool
    timeline: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm compare`` takes."""
    teach(
        parser,
        "Asks several models at once, and shows their answers: on a terminal in columns, as they come (pip install"
        " 'rxllm[rich]'), else each under its heading when it is whole, in the order given. One that fails does not end"
        " the others; the exit code is 1 where any has failed.",
        "Standard output has the headings and the answers; with --json the chunks of all as they come, each with its"
        ' model as "source". Standard error has the figures and the errors, where these are not in the columns.',
        'rxllm compare "Explain the tides" -m sim/story -m sim/reason',
        'rxllm compare "Tell me of the sea" -m sim/story -m sim/story --max-tokens 40',
        'rxllm compare "Hello there" -m sim/echo -m sim/story --json | head -n 5',
    )
    parser.add_argument(
        "-m", "--model", dest="models", metavar="MODEL", action="append", required=True, help="a model; again for each"
    )
    add_asking(parser)
    parser.add_argument("--json", action="store_true", help="print the chunks as JSON lines")
    add_timeline(parser)


@sigterm_as_ctrl_c()
def run(arguments: _CompareArguments) -> int:
    """Asks all at once, and shows what each says."""
    from rxllm import operators as ops
    from rxllm.cli._watching import Watch

    messages = question(arguments, prompt_of(arguments))
    streams = [asked(arguments, model, messages) for model in arguments.models]
    drawn = arguments.timeline is not None
    labels = zip(numbered(arguments.models), arguments.models, strict=True)
    watches = [Watch(label, model, drawn=drawn) for label, model in labels]
    watched = [watch.over(stream.pipe(ops.attach_usage())) for watch, stream in zip(watches, streams, strict=True)]
    importlib.import_module("rxllm._transport")  # so that loading it counts for none of them
    view = _view(watches, as_json=arguments.json)
    with timeline_of_all(arguments.timeline, watches, arguments.refuse):
        try:
            view.follow(ops.merge_models(*watched))
        except APIError:  # all have failed, and each tells of its own
            view.finish()
        except KeyboardInterrupt:
            for watch in watches:
                watch.leave()
            view.finish()
            raise
        else:
            view.finish()
    return 1 if any(watch.error is not None for watch in watches) else 0


class _View(Protocol):
    """A way to show answers."""

    def follow(self, chunks: Stream[ModelResponseStream]) -> None:
        """Shows what there is to show while the chunks of all come."""
        ...

    def finish(self) -> None:
        """Shows the rest, when no more will come."""
        ...


def _view(watches: Sequence["Watch"], *, as_json: bool) -> _View:
    if as_json:
        return _Lines(watches)
    console = screen()
    if console is None or not sys.stdout.isatty():  # FORCE_COLOR makes no terminal of a file
        return _Whole(watches)
    from rxllm.cli._columns import Columns

    return Columns(watches, console)


class _Lines:
    """The chunks, as lines of JSON."""

    def __init__(self, watches: Sequence["Watch"]) -> None:
        self._watches = watches
        self._output = Output()

    def follow(self, chunks: Stream[ModelResponseStream]) -> None:
        for chunk in chunks:
            self._output.line(json_line(chunk))

    def finish(self) -> None:
        for watch in self._watches:
            _tell(watch)


class _Whole:
    """Each answer under its heading, when it and those before it are whole."""

    def __init__(self, watches: Sequence["Watch"]) -> None:
        self._waiting = deque(watches)
        self._output = Output()
        self._any_shown = False
        for watch in watches:
            watch.on_end = self.finish

    def follow(self, chunks: Stream[ModelResponseStream]) -> None:
        for _ in chunks:
            pass

    def finish(self) -> None:
        while self._waiting and self._waiting[0].ended is not None:
            watch = self._waiting.popleft()
            if self._any_shown:
                self._output.line("")
            self._any_shown = True
            self._output.line(f"== {watch.label} ==")
            for said in watch.said:
                for part in filter(None, (said.text or said.refusal, *map(call_line, said.calls))):
                    self._output.line(part.removesuffix("\n"))
            _tell(watch)


def _tell(watch: "Watch") -> None:
    """Says on standard error what an answer comes to, or what it failed with."""
    if watch.error is None:
        note(f"{watch.label}: {watch.figures}")
    else:
        note(f"rxllm: {watch.label}: {failure(watch.error)}")
