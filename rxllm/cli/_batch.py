"""``rxllm batch``: all the prompts of a file, so many at a time, and a result for each."""

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rxllm import aclose, complete_all
from rxllm._batch_prompts import Prompt, PromptFile
from rxllm._batch_results import ResultsFile
from rxllm.cli._asking import AskingOptions, add_options, parameters, standard_input
from rxllm.cli._open_files import room_for_connections
from rxllm.cli._output import Output, failure, note
from rxllm.cli._parser import count, positive, teach
from rxllm.cli._progress import Progress, progress
from rxllm.cli._signals import sigterm_as_ctrl_c
from rxllm.cli._tally import Tally
from rxllm.exceptions import AuthenticationError

__all__ = ["add_arguments", "run"]

_STANDARD_INPUT: Final = Path("-")

_DESCRIPTION: Final = """\
Asks all the prompts of a file, so many at a time, and appends each result to
another file as it comes.

PROMPTS has a JSON value on each line:
  "A prompt"
  {"prompt": "A prompt", "temperature": 0, "id": "greeting"}
  {"messages": [{"role": "user", "content": "A prompt"}], "model": "gpt-4o"}
  {"custom_id": "a", "url": "/v1/chat/completions", "body": {"messages": ...}}
What else stands on a line are arguments of completion(); they come before the
options. Nothing is sent unless every line can be.

Stopped, be it by Ctrl-C or a crash, the same command goes on where it stopped:
what has a response is kept, and what failed is asked again. A file of results
is of one file of prompts: where a prompt, the model or an option has been
changed since, it is refused."""

_OUTPUT: Final = """\
OUTPUT has a line of JSON for each result, in the form of OpenAI's batches:
"custom_id" (by default line-N), "response" with "status_code" and "body", or
"error"; and beside these "line", "request" (a fingerprint of what was asked),
"attempts" and "seconds". Standard error has the progress, on a terminal, and
the summary. Standard output has the summary with --json, and else nothing."""


class _BatchArguments(AskingOptions):
    prompts: Path
    output: Path
    model: str | None
    concurrency: int
    retries: int
    limit: int | None
    max_failures: int | None
    json: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what ``rxllm batch`` takes."""
    teach(
        parser,
        _DESCRIPTION,
        _OUTPUT,
        """printf '"One"\\n{"prompt": "Two", "id": "second"}\\n' | tee prompts.jsonl""",
        "rxllm batch prompts.jsonl -o out.jsonl -m sim/echo && cat out.jsonl",
        "rxllm batch prompts.jsonl -o more.jsonl -m sim/story --concurrency 50 --json",
    )
    parser.add_argument("prompts", metavar="PROMPTS", type=Path, help='the file of prompts; "-" is standard input')
    parser.add_argument("-o", "--output", required=True, type=Path, help="the file of results, made if it is not there")
    parser.add_argument("-m", "--model", help="the model of those prompts that name none")
    add_options(parser)
    parser.add_argument(
        "--concurrency", metavar="N", type=positive, default=10, help="how many are asked at a time, by default 10"
    )
    parser.add_argument(
        "--retries", metavar="N", type=count, default=2, help="how often a prompt is asked again at once, by default 2"
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="ask only the first N prompts, to try it out")
    parser.add_argument("--max-failures", metavar="N", type=positive, help="stop once so many prompts have failed")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on standard output")


@sigterm_as_ctrl_c()
def run(arguments: _BatchArguments) -> int:
    """Asks what has no response yet, and says what it came to."""
    most = room_for_connections(arguments.concurrency)
    if most is not None:
        arguments.refuse(f"--concurrency may be {most} at most, for want of open files: raise `ulimit -n`")
    with ExitStack() as held:
        try:
            path, name = _readable_twice(arguments.prompts, held)
            prompts = PromptFile(path, _common(arguments), arguments.system, name=name)
            results = held.enter_context(closing(ResultsFile(arguments.output, prompts)))
            answered = results.settle()
        except (OSError, ValueError) as error:
            for line in str(error).splitlines():
                note(f"rxllm: {line}")
            return 2
        return _run(arguments, prompts, results, answered)


def _readable_twice(path: Path, held: ExitStack) -> tuple[Path, str]:
    """A file with the prompts, and what it is called: a pipe can be read once only, so what comes of it is kept."""
    if path != _STANDARD_INPUT and not path.is_fifo():
        return path, str(path)
    kept = Path(held.enter_context(TemporaryDirectory(prefix="rxllm-"))) / "prompts.jsonl"
    is_named = path != _STANDARD_INPUT
    if not is_named and sys.stdin is None:
        raise OSError("standard input is closed")
    with path.open("rb") if is_named else standard_input() as source, kept.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    return kept, str(path) if is_named else "standard input"


def _run(arguments: _BatchArguments, prompts: PromptFile, results: ResultsFile, answered: bytearray) -> int:
    total = min(len(prompts), arguments.limit or len(prompts))
    tally = Tally(total, kept=sum(answered[:total]))
    missing = (place for place in range(total) if not answered[place])
    reason = ""
    try:
        with progress(total, tally.kept) as shown:
            asyncio.run(_ask(arguments, prompts.read(missing), results, tally, shown))
        code = 0 if tally.complete else 1
    except KeyboardInterrupt:
        tally.interrupted = True
        code = 130
    except OSError as error:
        reason = str(error)
        code = 1
    except AuthenticationError as error:
        reason = failure(error)
        code = 1
    tally.stop()
    if reason:
        note(f"rxllm: {reason}")
    note(str(tally))
    if arguments.json:
        Output().line(json.dumps({**tally.figures(), "output": str(arguments.output)}))
    return code


async def _ask(
    arguments: _BatchArguments, prompts: Iterator[Prompt], results: ResultsFile, tally: Tally, shown: Progress
) -> None:
    under_way: dict[int, Prompt] = {}

    def requests() -> Iterator[dict[str, Any]]:
        for index, prompt in enumerate(prompts):
            under_way[index] = prompt
            yield prompt.arguments

    try:
        stream = complete_all(
            requests(),
            max_concurrent=arguments.concurrency,
            retries=arguments.retries,
        )
        async with aclosing(aiter(stream)) as ready:
            async for result in ready:
                if isinstance(result.error, AuthenticationError) and result.error.status_code is None:
                    raise result.error  # no key was found, nor would one be for those that follow
                results.add(under_way.pop(result.index), result)
                tally.add(result)
                shown.show(tally.done, tally.failed)
                if tally.failed == arguments.max_failures and tally.missing:
                    tally.interrupted = True
                    break
    finally:
        await aclose()


def _common(arguments: _BatchArguments) -> dict[str, Any]:
    """What all prompts are asked with."""
    return {
        "max_retries": arguments.retries,
        "model": arguments.model,
        **parameters(arguments),
    }
