"""Standard output, which has the answer and nothing else, and standard error, which has the rest."""

import contextlib
import json
import os
import re
import sys
from io import TextIOWrapper
from typing import Final, TextIO

from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream

__all__ = [
    "Output",
    "Thoughts",
    "abandon_output",
    "call_line",
    "error_line",
    "failure",
    "forgive",
    "json_line",
    "note",
    "printable",
]

# What would move a terminal's cursor, or worse.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def note(text: str) -> None:
    """Says ``text`` on standard error, where that is still there."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{printable(text) if sys.stderr.isatty() else text}\n")
            sys.stderr.flush()


def printable(text: str) -> str:
    """``text`` for a terminal, to which a model, or a provider, has nothing to say but text."""
    return _CONTROLS.sub("", text)


def failure(error: Exception) -> str:
    """What is said of an error, in one line: its name, and what the provider said."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def abandon_output() -> None:
    """Nobody reads standard output any more: what is left in its buffer must not fail again at exit."""
    with contextlib.suppress(OSError, AttributeError):  # it is closed, or no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_line(chunk: ModelResponseStream) -> str:
    """A chunk as a line of JSON."""
    return json.dumps(chunk.model_dump(mode="json", exclude_none=True))


def error_line(error: Exception) -> str:
    """An error as a line of JSON: what the chunks end with, where they do not end well.

    >>> error_line(ValueError("no"))
    '{"error": {"class": "ValueError", "message": "no"}}'
    """
    from rxllm._plain import plain_error

    return json.dumps({"error": plain_error(error)}, default=repr)


def call_line(call: ChatCompletionMessageToolCall) -> str:
    """A call as ``name(arguments)``, in one line."""
    # A line break in JSON is white space: inside a string it would be escaped.
    arguments = re.sub(r"\s*\n\s*", " ", call.function.arguments)
    return f"{call.function.name}({arguments})"


def forgive(file: TextIO) -> None:
    """A locale without the answer's letters is no reason to stop, nor are typed bytes that are none."""
    if isinstance(file, TextIOWrapper):
        file.reconfigure(errors="replace")


class Output:
    """Standard output, which knows whether it stands at the beginning of a line; a terminal is given text alone.

    Raises:
        OSError: it is closed.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        self._file = sys.stdout
        forgive(self._file)
        self._is_terminal = self._file.isatty()
        self._in_line = False

    def write(self, text: str) -> None:
        """Writes ``text``."""
        shown = printable(text) if self._is_terminal else text
        if shown:
            # Before it is written: Ctrl-C may come in between.
            self._in_line = not shown.endswith("\n")
            self._file.write(shown)

    def flush(self) -> None:
        """Shows what was written."""
        self._file.flush()

    def line(self, text: str) -> None:
        """Writes ``text`` on a line of its own."""
        self.end_line()
        self.write(f"{text}\n")
        self.flush()

    def end_line(self) -> None:
        """Ends the line, if one has begun."""
        if self._in_line:
            self.write("\n")
            self.flush()


class Thoughts:
    """A model's reasoning, shown dimmed on a terminal's standard error, else not at all."""

    def __init__(self) -> None:
        self._shown = sys.stderr is not None and sys.stderr.isatty()
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._dim, self._plain = ("", "") if plain else ("\x1b[2m", "\x1b[0m")
        self._open = False

    def show(self, chunk: ModelResponseStream) -> None:
        """Shows what ``chunk`` adds to the reasoning; a blank line before what is none."""
        if not self._shown:
            return
        for choice in chunk.choices:
            delta = choice.delta
            if delta.reasoning_content:
                self._open = True
                self._write(f"{self._dim}{printable(delta.reasoning_content)}{self._plain}")
            elif self._open and (delta.content or delta.refusal or delta.tool_calls or choice.finish_reason):
                self._open = False
                self._write("\n\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
