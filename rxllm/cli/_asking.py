"""The arguments of the commands that ask a model, and the Stream that they amount to."""

import argparse
import base64
import contextlib
import json
import mimetypes
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, Final

from rxllm import ModelResponseStream, Stream
from rxllm.cli._output import note
from rxllm.cli._parser import Arguments, positive

__all__ = [
    "AskingArguments",
    "AskingOptions",
    "add_asking",
    "add_options",
    "asked",
    "parameters",
    "prompt_of",
    "question",
    "standard_input",
]

_PATIENCE: Final = 1.0  # seconds without a word before we say what we are waiting for
# What a command says by other means.
_NO_PARAMETERS: Final = {
    "api_key": "a key on a command line can be seen by others: it is read from the environment",
    "messages": "the prompt is an argument of its own",
    "model": "the model is chosen with -m",
    "stream": "whether an answer is streamed is for the command to say",
}


class AskingOptions(Arguments):
    """How it is asked."""

    system: str | None
    max_tokens: int | None
    temperature: float | None
    tools: list[Any] | None
    params: list[tuple[str, Any]]
    api_base: str | None


class AskingArguments(AskingOptions):
    """What is asked, and how."""

    prompt: str | None
    images: list[str]


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Adds the prompt and the options of a request, but for the model."""
    parser.add_argument(
        "prompt",
        nargs="?",
        metavar="PROMPT",
        help='the prompt; "-" or none reads standard input, and what is piped in is appended to a prompt',
    )
    add_options(parser)
    parser.add_argument(
        "--image",
        dest="images",
        metavar="FILE",
        type=_image,
        action="append",
        default=[],
        help="an image to look at, a file or an address; again for each",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a request, but for the model."""
    parser.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    parser.add_argument("--max-tokens", metavar="N", type=positive, help="how many tokens the answer may have")
    parser.add_argument("--temperature", metavar="X", type=float, help="the sampling temperature")
    parser.add_argument("--tools", metavar="FILE", type=_tools, help="a JSON list of tools; calls are shown, not made")
    parser.add_argument(
        "-p",
        "--param",
        dest="params",
        metavar="NAME=VALUE",
        type=_parameter,
        action="append",
        default=[],
        help="any other argument of completion(), a text or JSON, as top_p=0.9; again for each",
    )
    parser.add_argument("--api-base", metavar="URL", help="where the provider is")


def parameters(arguments: AskingOptions) -> dict[str, Any]:
    """What ``completion()`` is given beside model and messages; what ``-p`` says comes first."""
    return {
        "tools": arguments.tools,
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "api_base": arguments.api_base,
        **dict(arguments.params),
    }


def question(arguments: AskingArguments, prompt: str) -> list[Any]:
    """The messages that ask it: the system's, if there is one, and the user's."""
    system = [{"role": "system", "content": arguments.system}] if arguments.system else []
    images = [{"type": "image_url", "image_url": {"url": url}} for url in arguments.images]
    content = [{"type": "text", "text": prompt}, *images] if images else prompt
    return [*system, {"role": "user", "content": content}]


def asked(arguments: AskingArguments, model: str, messages: list[Any]) -> Stream[ModelResponseStream]:
    """The answer of ``model``; nothing is sent yet."""
    from rxllm import completion

    given: dict[str, Any] = {"stream_options": {"include_usage": True}, **parameters(arguments)}
    try:
        chunks: Stream[ModelResponseStream] = completion(model=model, messages=messages, stream=True, **given)
    except (TypeError, ValueError) as error:
        arguments.refuse(str(error))
    return chunks


def prompt_of(arguments: AskingArguments) -> str:
    """The prompt as given, what is piped in, or the one followed by the other."""
    given = None if arguments.prompt == "-" else arguments.prompt
    is_read = sys.stdin is not None and (arguments.prompt == "-" or not sys.stdin.isatty())
    read = ""
    if is_read:
        with standard_input() as file:
            read = file.read().decode("utf-8", "replace").strip("\r\n")
    prompt = "\n\n".join(filter(None, (given, read)))
    if not prompt.strip():
        arguments.refuse("there is no prompt")
    return prompt


@contextlib.contextmanager
def standard_input() -> Generator[BinaryIO, None, None]:
    """Standard input, to be read to its end; where that takes a while, it is said what is waited for."""
    waiting = threading.Timer(_PATIENCE, note, ["rxllm: reading standard input to its end"])
    waiting.daemon = True
    waiting.start()
    try:
        yield sys.stdin.buffer
    finally:
        waiting.cancel()


def _image(text: str) -> str:
    """The address of an image: what is in a file becomes one that holds it."""
    if text.startswith(("http://", "https://", "data:")):
        return text
    kind, _ = mimetypes.guess_type(text, strict=False)  # where the system has no list of its own, .webp is not official
    if kind is None or not kind.startswith("image/"):
        raise argparse.ArgumentTypeError(f"{text} is no image: its name ends in .png, .jpeg, .webp or the like")
    try:
        data = Path(text).read_bytes()
    except OSError as error:
        reason = str(error)
    else:
        return f"data:{kind};base64,{base64.b64encode(data).decode()}"
    raise argparse.ArgumentTypeError(f"{text} cannot be read: {reason}")


def _parameter(text: str) -> tuple[str, Any]:
    name, is_given, value = text.partition("=")
    if not (is_given and name.isidentifier()):
        # Without what was given: it may be a key.
        raise argparse.ArgumentTypeError("it is given as NAME=VALUE")
    if name in _NO_PARAMETERS:
        raise argparse.ArgumentTypeError(_NO_PARAMETERS[name])
    try:
        return name, json.loads(value)
    except ValueError:  # a text
        return name, value


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
