"""The command line: ``rxllm chat PROMPT`` streams a completion to standard output.

What was asked for, and nothing else, goes to standard output; what is said about it goes to standard error. Exit codes:
0, 1 for an error, 2 for wrong arguments, 130 after Ctrl-C, 141 where the reader of the output has gone.

Each command is a module of its own, imported when it is asked for, with two functions: ``add_arguments(parser)`` and
``run(arguments)``, which gives the exit code.
"""

import argparse
import importlib
import sys
from typing import Final

from rxllm import __version__, _workers
from rxllm.cli._output import Output, abandon_output, error_line, failure, note
from rxllm.cli._parser import Arguments, Parser, without_values
from rxllm.exceptions import APIError

__all__ = ["main"]

# The commands, each with what it does: ``rxllm.cli._chat`` is the module of the first.
_COMMANDS: Final = {
    "batch": "ask all the prompts of a file, and go on where it stopped",
    "chat": "stream a completion to standard output",
    "compare": "ask several models at once, side by side",
    "models": "list the providers, and which keys are set",
    "replay": "show a recording of a completion as it came",
    "serve": "serve models over HTTP, in OpenAI's form",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line with these arguments, by default the process's, and gives its exit code.

    >>> main(["chat", "--max-tokens", "many", "Hello"])
    2
    """
    try:
        parser = _parser(sys.argv[1:] if argv is None else argv)
        arguments, unknown = parser.parse_known_args(argv, Arguments())
        if unknown:
            arguments.refuse(f"unrecognized arguments: {' '.join(without_values(unknown))}")
        code = _run(arguments)
    except SystemExit as leaving:  # argparse's, after --help, --version and wrong arguments
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        # It may have come between the setting of a timer and the keeping of what cancels it.
        _workers.stop()
        return 130
    except BrokenPipeError:
        abandon_output()
        return 141
    except OSError as error:
        abandon_output()
        note(f"rxllm: {error}")
        return 1
    return code


def _run(arguments: Arguments) -> int:
    try:
        code: int = arguments.run(arguments)
    except APIError as error:
        note(f"rxllm: {failure(error)}")
        if getattr(arguments, "json", False):
            Output().line(error_line(error))
        return 1
    return code


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    parser = Parser(prog="rxllm", description="LLM completions as streams.")
    parser.add_argument("--version", action="version", version=f"rxllm {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    asked = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, summary in _COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == asked:
            module = importlib.import_module(f"rxllm.cli._{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, refuse=command.error)
    return parser
