"""``rxllm replay``: a recording, as it came."""

import argparse
from pathlib import Path

from rxllm.cli._output import Output, error_line, failure, note
from rxllm.cli._parser import Arguments, teach
from rxllm.cli._signals import sigterm_as_ctrl_c
from rxllm.cli._timeline import add_timeline

__all__ = ["add_arguments", "run"]


class _ReplayArguments(Arguments):
    file: Path
    speed: float
    json: bool
    timeline: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm replay`` takes."""
    teach(
        parser,
        "Shows a recording of a completion as rxllm chat showed it: at the same pace, with the same end. Recordings are"
        " made by rxllm chat --record and by ops.record().",
        "Standard output has the recorded answer and nothing else, with --json the chunks. Standard error has the"
        " figures, and the error that the completion ended with, if it did.",
        'rxllm chat -m sim/echo "Hello there" --record hello.jsonl',
        "rxllm replay hello.jsonl",
        "rxllm replay hello.jsonl --speed 0 --json",
        "rxllm replay hello.jsonl --speed 0.5 --timeline hello.svg",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the recording")
    parser.add_argument(
        "--speed", metavar="X", type=float, default=1.0, help="how many times as fast as recorded; with 0 at once"
    )
    parser.add_argument("--json", action="store_true", help="print the chunks as JSON lines")
    add_timeline(parser)


@sigterm_as_ctrl_c()
def run(arguments: _ReplayArguments) -> int:
    """Prints the recorded answer as it came, and its figures in the end."""
    from rxllm import operators as ops
    from rxllm.cli._showing import show

    try:
        stream = ops.replay(arguments.file, arguments.speed)
    except (OSError, ValueError) as error:
        arguments.refuse(str(error))
    try:
        show(stream, as_json=arguments.json, timeline=arguments.timeline, refuse=arguments.refuse)
    except (RuntimeError, ValueError) as error:  # the recorded one was none of this library's, or a line is broken
        note(f"rxllm: {failure(error)}")
        if arguments.json:
            Output().line(error_line(error))
        return 1
    return 0
