"""What the parsers of all commands have in common."""

import argparse
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from rxllm._secrets import HIDDEN

__all__ = ["Arguments", "Parser", "count", "positive", "teach", "without_values"]

_EXIT_CODES: Final = (
    "Exit codes: 0; 1 for an error; 2 for wrong arguments; 130 after Ctrl-C; 141 where the reader of standard output"
    " has gone."
)
_WIDTH: Final = 79


class Arguments(argparse.Namespace):
    """What was asked for; ``run``, which does it and gives the exit code; and ``refuse``, which ends in exit code 2."""

    run: "Callable[[Arguments], int]"
    refuse: Callable[[str], NoReturn]


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one line, and whose texts keep their lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Ends in exit code 2."""
        self.exit(2, f"rxllm: {message} (see {self.prog} --help)\n")


def teach(parser: argparse.ArgumentParser, description: str, output: str, *examples: str) -> None:
    """What ``--help`` says beside the arguments: what the command does, where it writes what, and examples that run."""
    parser.description = _filled(description)
    parser.epilog = "\n".join([_filled(f"{output}\n\n{_EXIT_CODES}"), "\nExamples:", *(f"  {it}" for it in examples)])


def _filled(text: str) -> str:
    """``text`` with its paragraphs broken into lines, but for those that are already."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(it if "\n" in it else textwrap.fill(it, _WIDTH) for it in paragraphs)


def without_values(arguments: list[str]) -> Iterator[str]:
    """Arguments that we do not know, for people to read: what an option is given may be a key."""
    follows = False
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        is_option = name.startswith("-")
        yield HIDDEN if follows and not is_option else f"{name}={HIDDEN}" if is_option and has_value else argument
        follows = is_option and not has_value


def count(text: str) -> int:
    """The type of an argument that is a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1 on."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number
