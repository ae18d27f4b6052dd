"""The arguments of the commands that ask a model, and the Stream that they amount to."""

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any, Final

from rxllm import ModelResponseStream, Stream
from rxllm.cli._output import note
from rxllm.cli._parser import Arguments, positive

__all__ = ["AskingArguments", "AskingOptions", "add_asking", "add_options", "asked", "prompt_of"]

_PATIENCE: Final = 1.0  # seconds without a word before we say what we are waiting for


class AskingOptions(Arguments):
    """How it is asked."""

    system: str | None
    max_tokens: int | None
    temperature: float | None
    tools: list[Any] | None
    api_base: str | None


class AskingArguments(AskingOptions):
    """What is asked, and how."""

    prompt: str | None


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Adds the prompt and the options of a request, but for the model."""
    parser.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help='the prompt; "-" or none reads standard input, and what is piped in is appended to a prompt',
    )
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a request, but for the model."""
    parser.add_argument("--system", metavar="TEXT", help="the system message")
    parser.add_argument("--max-tokens", metavar="N", type=positive, help="how many tokens the answer may have")
    parser.add_argument("--temperature", metavar="X", type=float, help="the sampling temperature")
    parser.add_argument("--tools", metavar="FILE", type=_tools, help="a JSON list of tools; calls are shown, not made")
    parser.add_argument("--api-base", metavar="URL", help="where the provider is")


def asked(arguments: AskingArguments, model: str, prompt: str) -> Stream[ModelResponseStream]:
    """The answer of ``model``; nothing is sent yet."""
    from rxllm import completion

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


def prompt_of(arguments: AskingArguments) -> str:
    """The prompt as given, what is piped in, or the one followed by the other."""
    given = None if arguments.prompt == "-" else arguments.prompt
    piped = _standard_input() if sys.stdin is not None and not sys.stdin.isatty() else ""
    prompt = "\n\n".join(filter(None, (given, piped)))
    if not prompt.strip():
        arguments.refuse("there is no prompt")
    return prompt


def _standard_input() -> str:
    waiting = threading.Timer(_PATIENCE, note, ["rxllm: reading standard input to its end"])
    waiting.daemon = True
    waiting.start()
    try:
        return sys.stdin.buffer.read().decode("utf-8", "replace").strip("\r\n")
    finally:
        waiting.cancel()


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
