"""``rxllm chat``: one answer, as it comes."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from rxllm.cli._asking import AskingArguments, add_asking, asked, prompt_of, question
from rxllm.cli._output import note
from rxllm.cli._parser import teach
from rxllm.cli._signals import sigterm_as_ctrl_c
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
        "Streams a completion to standard output, and its figures to standard error. Without a prompt, on a terminal,"
        " it is a conversation: what is typed is asked together with what was said before, until Ctrl-D.",
        "Standard output has the answer and nothing else, as it comes: the text, then a line for each tool call; with"
        " --json the chunks. Standard error has the figures, errors and, on a terminal, the model's reasoning.",
        'rxllm chat -m sim/story "Write a short story"',
        'echo "What is a tide?" | rxllm chat -m sim/reason --json | head -n 3',
        'rxllm chat -m sim/echo "One, two, three" --record a.jsonl --timeline a.svg',
        'rxllm chat -m sim/story "Explain the tides" -s "Be brief" -p top_p=0.9',
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


@sigterm_as_ctrl_c()
def run(arguments: _ChatArguments) -> int:
    """Prints the answer as it comes, and its figures in the end; without a prompt, holds a conversation."""
    if _is_conversation(arguments):
        from rxllm.cli._conversation import converse

        return converse(arguments, arguments.model or _default_model(arguments))
    messages = question(arguments, prompt_of(arguments))
    stream = asked(arguments, arguments.model or _default_model(arguments), messages)
    from rxllm import operators as ops
    from rxllm.cli._showing import show

    if arguments.record is not None:
        stream = stream.pipe(ops.record(arguments.record))
    show(stream, as_json=arguments.json, timeline=arguments.timeline, refuse=arguments.refuse)
    return 0


def _is_conversation(arguments: _ChatArguments) -> bool:
    """Whether somebody is there to be asked for prompts, and nothing was asked for that is made of one answer."""
    one = arguments.prompt is not None or arguments.json or arguments.record or arguments.timeline
    return not one and all(file is not None and file.isatty() for file in (sys.stdin, sys.stdout))


def _default_model(arguments: _ChatArguments) -> str:
    if os.environ.get("OPENAI_API_KEY"):
        return _DEFAULT_MODEL
    if arguments.api_base:
        arguments.refuse("--api-base needs a model: -m MODEL")
    note(f"rxllm: OPENAI_API_KEY is not set, so the embedded model {_EMBEDDED_MODEL} answers; choose one with -m")
    return _EMBEDDED_MODEL
