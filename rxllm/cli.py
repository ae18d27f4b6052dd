"""The command line: ``rxllm chat PROMPT`` streams a completion to standard output.

The answer, and nothing else, goes to standard output; what is said about it goes to standard error. Exit codes: 0, 1
for an error, 2 for wrong arguments, 130 after Ctrl-C, 141 where the reader of the output has gone.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rxllm import ModelResponseStream, Stream, __version__
from rxllm._secrets import HIDDEN
from rxllm.types import ChatCompletionMessageToolCall, Usage

__all__ = ["main"]

DEFAULT_MODEL = "openai/gpt-4o-mini"
EMBEDDED_MODEL = "sim/story"

_PATIENCE = 1.0  # seconds without a word before we say what we are waiting for


def main(argv: list[str] | None = None) -> int:
    """Runs the command line with these arguments, by default the process's, and gives its exit code.

    >>> main(["chat", "--max-tokens", "many", "Hello"])
    2
    """
    try:
        arguments, unknown = _parser().parse_known_args(argv, _Arguments())
        if unknown:
            arguments.refuse(f"unrecognized arguments: {' '.join(_without_values(unknown))}")
        return _chat(arguments)
    except SystemExit as leaving:  # argparse's, after --help, --version and wrong arguments
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_output()
        return 141
    except OSError as error:
        _abandon_output()
        _note(f"rxllm: {error}")
        return 1


class _Arguments(argparse.Namespace):
    """What was asked for, and ``refuse``, which ends in exit code 2."""

    prompt: str | None
    model: str | None
    system: str | None
    max_tokens: int | None
    temperature: float | None
    tools: list[Any] | None
    json: bool
    api_base: str | None
    refuse: Callable[[str], NoReturn]


class _Parser(argparse.ArgumentParser):
    """argparse, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"rxllm: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rxllm", description="LLM completions as streams.")
    parser.add_argument("--version", action="version", version=f"rxllm {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    chat = commands.add_parser(
        "chat",
        help="stream a completion to standard output",
        description="Streams a completion to standard output, and its figures to standard error.",
    )
    chat.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help='the prompt; "-" or none reads standard input, and what is piped in is appended to a prompt',
    )
    chat.add_argument(
        "-m",
        "--model",
        help=f"by default {DEFAULT_MODEL} where OPENAI_API_KEY is set, else the embedded {EMBEDDED_MODEL}",
    )
    chat.add_argument("--system", metavar="TEXT", help="the system message")
    chat.add_argument("--max-tokens", metavar="N", type=_positive, help="how many tokens the answer may have")
    chat.add_argument("--temperature", metavar="X", type=float, help="the sampling temperature")
    chat.add_argument("--tools", metavar="FILE", type=_tools, help="a JSON list of tools; calls are printed, not made")
    chat.add_argument("--json", action="store_true", help="print the chunks as JSON lines")
    chat.add_argument("--api-base", metavar="URL", help="where the provider is")
    chat.set_defaults(refuse=chat.error)
    return parser


def _without_values(arguments: list[str]) -> Iterator[str]:
    """Arguments that we do not know, for people to read: what an option is given may be a key."""
    follows = False
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        is_option = name.startswith("-")
        yield HIDDEN if follows and not is_option else f"{name}={HIDDEN}" if is_option and has_value else argument
        follows = is_option and not has_value


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number


def _tools(path: str) -> Any:
    try:
        tools: Any = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
    else:
        if isinstance(tools, list):
            return tools  # pyright: ignore[reportUnknownVariableType]
        reason = "it holds no JSON list"
    raise argparse.ArgumentTypeError(f"{path} cannot be read: {reason}")


def _chat(arguments: _Arguments) -> int:
    from rxllm.exceptions import APIError

    try:
        _show(_completion(arguments), as_json=arguments.json)
    except APIError as error:
        _note(f"rxllm: {type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


def _completion(arguments: _Arguments) -> Stream[ModelResponseStream]:
    from rxllm import completion

    prompt = _prompt(arguments)
    model = arguments.model or _default_model(arguments)
    system = [{"role": "system", "content": arguments.system}] if arguments.system else []
    try:
        return completion(
            model=model,
            messages=[*system, {"role": "user", "content": prompt}],
            stream=True,
            stream_options={"include_usage": True},
            tools=arguments.tools,
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            api_base=arguments.api_base,
        )
    except ValueError as error:
        arguments.refuse(str(error))


def _prompt(arguments: _Arguments) -> str:
    """The prompt as given, what is piped in, or the one followed by the other."""
    given = None if arguments.prompt == "-" else arguments.prompt
    piped = _standard_input() if sys.stdin is not None and not sys.stdin.isatty() else ""
    prompt = "\n\n".join(filter(None, (given, piped)))
    if not prompt.strip():
        arguments.refuse("there is no prompt")
    return prompt


def _standard_input() -> str:
    waiting = threading.Timer(_PATIENCE, _note, ["rxllm: reading standard input to its end"])
    waiting.daemon = True
    waiting.start()
    try:
        return sys.stdin.buffer.read().decode("utf-8", "replace").strip("\r\n")
    finally:
        waiting.cancel()


def _default_model(arguments: _Arguments) -> str:
    if os.environ.get("OPENAI_API_KEY"):
        return DEFAULT_MODEL
    if arguments.api_base:
        arguments.refuse("--api-base needs a model: -m MODEL")
    _note(f"rxllm: OPENAI_API_KEY is not set, so the embedded model {EMBEDDED_MODEL} answers; choose one with -m")
    return EMBEDDED_MODEL


def _show(stream: Stream[ModelResponseStream], *, as_json: bool) -> None:
    """Prints the stream as it comes, and its figures in the end."""
    from reactivex import operators as rx_ops

    from rxllm import operators as ops

    if sys.stdout is None:
        raise OSError("standard output is closed")
    output = _Output(sys.stdout)
    figures = _Figures()
    chunks = stream.pipe(ops.attach_usage(), rx_ops.do_action(figures.see))
    if as_json:
        lines = chunks.pipe(rx_ops.map(_json_line))
    else:
        lines = chunks.pipe(
            rx_ops.do_action(_Thoughts().show),
            ops.print_text(output, end=""),
            ops.assemble_tool_calls(),
            rx_ops.map(_call_line),
        )
    try:
        for line in lines:
            output.line(line)
    except KeyboardInterrupt:
        output.end_line()
        figures.finish_reason = "interrupted"
        _note(str(figures))
        raise
    except Exception:
        output.end_line()
        raise
    output.end_line()
    _note(str(figures))


def _json_line(chunk: ModelResponseStream) -> str:
    return json.dumps(chunk.model_dump(mode="json", exclude_none=True))


def _call_line(call: ChatCompletionMessageToolCall) -> str:
    # A line break in JSON is white space: inside a string it would be escaped.
    arguments = re.sub(r"\s*\n\s*", " ", call.function.arguments)
    return f"{call.function.name}({arguments})"


class _Output:
    """Standard output, which knows whether it stands at the beginning of a line."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._in_line = False
        if isinstance(file, TextIOWrapper):
            file.reconfigure(errors="replace")  # a locale without the answer's letters is no reason to stop

    def write(self, text: str) -> None:
        """Writes ``text``."""
        # Before it is written: Ctrl-C may come in between.
        self._in_line = not text.endswith("\n")
        self._file.write(text)

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


class _Thoughts:
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
                self._write(f"{self._dim}{delta.reasoning_content}{self._plain}")
            elif self._open and (delta.content or delta.tool_calls or choice.finish_reason):
                self._open = False
                self._write("\n\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class _Figures:
    """What a stream comes to: chunks, tokens, times and its end."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: float | None = None
        self._last = self._started
        self._chunks = 0
        self._usage: Usage | None = None
        self.finish_reason: str | None = None

    def see(self, chunk: ModelResponseStream) -> None:
        """Takes account of a chunk, as it comes."""
        self._chunks += 1
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            delta = choice.delta
            if delta.content or delta.reasoning_content or delta.tool_calls:
                self._last = time.monotonic()
                if self._first is None:
                    self._first = self._last

    def __str__(self) -> str:
        figures = [f"{self._chunks} chunks"]
        if self._usage is not None:
            figures.append(f"{'about ' if self._usage.estimated else ''}{self._usage.completion_tokens} tokens")
        if self._first is not None:
            figures.append(f"first token after {self._first - self._started:.2f} s")
            if self._usage is not None and self._last > self._first:
                # The first token's time is counted by itself: the rate is that of those after it.
                rate = (self._usage.completion_tokens - 1) / (self._last - self._first)
                figures.append(f"{rate:.1f} tokens/s")
        return ", ".join([*figures, f"finish reason: {self.finish_reason}"])


def _note(text: str) -> None:
    """Says ``text`` on standard error, where that is still there."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def _abandon_output() -> None:
    """Nobody reads standard output any more: what is left in its buffer must not fail again at exit."""
    with contextlib.suppress(OSError, AttributeError):  # it is closed, or no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
