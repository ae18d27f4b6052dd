"""``rxllm chat``: one answer, as it comes."""

import argparse
import os
from pathlib import Path
from typing import Final

from rxllm.cli._asking import AskingArguments, add_asking, asked, prompt_of
from rxllm.cli._output import note
from rxllm.cli._parser import teach
from rxllm.cli._timeline import add_timeline

__all__ = ["add_arguments", "run"]

_DEFAULT_MODEL: Final = "openai/gpt-4o-mini"
_EMBEDDED_MODEL: Final = "sim/story"


class _ChatArguments(AskingArguments):
    model: str | None
    json: bool
    record: Path | None
    timeline: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm chat`` takes."""
    teach(
        parser,
        "Streams a completion to standard output, and its figures to standard error.",
        "Standard output has the answer and nothing else, as it comes: the text, then a line for each tool call; with"
        " --json the chunks. Standard error has the figures, errors and, on a terminal, the model's reasoning.",
        'rxllm chat -m sim/story "Write a short story"',
        'echo "What is a tide?" | rxllm chat -m sim/reason --json | head -n 3',
        'rxllm chat -m sim/echo "One, two, three" --record a.jsonl --timeline a.svg',
    )
    parser.add_argument(
        "-m",
        "--model",
        help=f"by default {_DEFAULT_MODEL} where OPENAI_API_KEY is set, else the embedded {_EMBEDDED_MODEL}",
    )
    add_asking(parser)
    parser.add_argument("--json", action="store_true", help="print the chunks as JSON lines")
    parser.add_argument("--record", metavar="FILE", type=Path, help="record it in a new file, for rxllm replay")
    add_timeline(parser)


def run(arguments: _ChatArguments) -> int:
    """Prints the answer as it comes, and its figures in the end."""
    prompt = prompt_of(arguments)
    stream = asked(arguments, arguments.model or _default_model(arguments), prompt)
    from rxllm import operators as ops
    from rxllm.cli._showing import show

    if arguments.record is not None:
        stream = stream.pipe(ops.record(arguments.record))
    show(stream, as_json=arguments.json, timeline=arguments.timeline, refuse=arguments.refuse)
    return 0


def _default_model(arguments: _ChatArguments) -> str:
    if os.environ.get("OPENAI_API_KEY"):
        return _DEFAULT_MODEL
    if arguments.api_base:
        arguments.refuse("--api-base needs a model: -m MODEL")
    note(f"rxllm: OPENAI_API_KEY is not set, so the embedded model {_EMBEDDED_MODEL} answers; choose one with -m")
    return _EMBEDDED_MODEL
