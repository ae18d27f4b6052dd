"""README.md is true: its snippets run and print what it says, and its commands are the ones that CI runs."""

import asyncio
import contextlib
import io
import re
import shlex
from codeop import compile_command
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rx_ops

from rxllm import Stream, completion, exceptions
from rxllm import operators as ops
from rxllm.cli import main
from rxllm.providers import resolve
from rxllm.types import Usage
from tests.documents import ROOT, Page, differences, reader

PAGE = Page("README.md")
README = PAGE.text
SNIPPETS = [block for block in PAGE.blocks if block.language == "python"]
# The table of recipes: the page that has both in full, and the pipeline.
RECIPES = re.findall(r"^\| \[[^\]]*\]\((docs/how-to/[\w-]+\.md)\) \|[^|]*\| `([^`]*)` \|$", README, flags=re.MULTILINE)


def test_it_prints_what_it_says(tmp_path: Path) -> None:
    """All its snippets, in order, as one reader would; none of them needs a network or a key."""
    with reader(tmp_path, asks=False) as (someone, _):
        assert differences(PAGE, someone) == {}


def test_it_can_be_pasted() -> None:
    """Its snippets are taken by any prompt of Python, also by those where a blank line ends what is indented."""
    for block in SNIPPETS:
        typed: list[str] = []
        for line in [*block.text.splitlines(), ""]:
            typed.append(line)
            if compile_command("\n".join(typed), str(block)) is not None:
                typed.clear()
        assert typed == [], block


@pytest.mark.parametrize(("page", "pipeline"), RECIPES, ids=[Path(page).stem for page, _ in RECIPES])
def test_the_pipelines_of_the_recipes(page: str, pipeline: str, tmp_path: Path) -> None:
    """Each runs as it stands in the table, sends one request, and comes to what is to be had of the answer."""
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    asked: dict[str, Any] = {"tools": tools} if "tool_calls" in pipeline else {}
    with reader(tmp_path, asks=True) as (_, server):
        response = completion("gpt-4", [{"role": "user", "content": "Count from 1 to 10"}], stream=True, **asked)
        names = {"response": response, "ops": ops, "rx": rx, "rx_ops": rx_ops}
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            if pipeline.startswith("await "):
                value = asyncio.run(_awaited(eval(pipeline.removeprefix("await "), names)))  # noqa: S307  it is ours
            else:
                value = eval(pipeline, names)  # noqa: S307  likewise
            if hasattr(value, "subscribe"):
                value = "".join(value)
        assert len(server.requests) == 1
    whole = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"
    values = {
        "usage": Usage(prompt_tokens=10, completion_tokens=12, total_tokens=22),
        "complete-response": whole,
        "finish-reasons": "stop",
        "function-calls": {"location": "Paris"},
        "errors": whole,
        "tokens": 28,
        "asynchronous": whole,
    }
    prints = {"printing": f"{whole}\n", "processing": "Measurement(ended='completed'", "stopping": f"{whole}\n"}
    name = Path(page).stem
    assert (name in prints) != (name in values)
    if name in values:
        assert value == values[name]
    assert out.getvalue().startswith(prints.get(name, ""))
    assert bool(out.getvalue()) == (name in prints)


async def _awaited(stream: Stream[Any]) -> Any:
    return await stream


def test_each_recipe_has_its_page() -> None:
    """The table leads to all pages that begin with a documented loop, once."""
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "\n## The documented loop\n" in path.read_text("utf-8")]
    assert sorted(page for page, _ in RECIPES) == sorted(str(path.relative_to(ROOT)) for path in pages)


def test_the_story_needs_no_key() -> None:
    """The first snippet prints the beginning of the story that the command tells."""
    prompt = re.search(r'rxllm chat "(.*)"', README)
    shown = PAGE.shown(SNIPPETS[0])
    assert prompt is not None
    assert shown is not None
    messages = [{"role": "user", "content": prompt[1]}]
    story = completion("sim/story", messages, extra_body={"delay": 0}).choices[0].message.content
    assert story is not None
    assert story.startswith(shown.text.splitlines()[-1])
    assert prompt[1] in SNIPPETS[0].text


def test_the_two_commands() -> None:
    """Two lines, each of which makes its own environment; the second is the very line that CI runs."""
    chat, tests = (block.text.rstrip("\n") for block in PAGE.blocks if block.language == "console")
    assert tests in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    for command in (chat, tests):
        assert "\n" not in command
        make, install, use = (shlex.split(part) for part in command.split(" && "))
        assert make == ["python3", "-m", "venv", ".venv"]
        assert install[:2] == [".venv/bin/pip", "install"]
        assert use[0].startswith(".venv/bin/")
    assert shlex.split(chat)[-3:] == [".venv/bin/rxllm", "chat", "Write a short story"]


def test_every_operator_is_listed_once() -> None:
    """The table of operators has all of them, and nothing else."""
    table = README.partition("\n| to | operator | gives |\n")[2].partition("\n\n")[0]
    cells = re.findall(r"^\|[^|]*\|([^|]*)\|", table, flags=re.MULTILINE)
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)\(", cell)) == ops.__all__


def test_every_error_is_named() -> None:
    """The tree of errors leaves none out."""
    (tree,) = (block.text for block in PAGE.blocks if block.text.startswith("APIError\n"))
    assert sorted(set(re.findall(r"\b[A-Z]\w+(?:Error|Timeout)\b|\bTimeout\b", tree))) == exceptions.__all__


def test_the_commands_are_those_that_there_are() -> None:
    """The table of the command line has each, and nothing else."""
    named = set(re.findall(r"^\| `rxllm (\w+)", README, flags=re.MULTILINE))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["--help"]) == 0
    assert named == set(re.findall(r"^    (\w+)  +\w", out.getvalue(), flags=re.MULTILINE))
    assert "all but `serve` have `--json`" in README
    for command in named:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([command, "--help"]) == 0
        assert ("--json" in out.getvalue()) == (command != "serve")


def test_the_providers_are_those_that_are_known() -> None:
    """The overview names models, prefixes and key variables as the registry has them."""
    _, _, rest = README.partition("\n| model | speaks to | key |\n")
    rows = [line.split(" | ") for line in rest.partition("\n\n")[0].splitlines()[1:]]
    assert len(rows) > 8
    for models, _, keys in rows:
        names = [name for name in re.findall(r"`([^`]*)`", models) if "=" not in name]
        providers = [resolve(name.replace("...", "model"))[0] for name in names]
        known = {variable for provider in providers for variable in provider.key_variables}
        assert set(re.findall(r"`(\w+_KEY)`", keys)) <= known


def test_the_extras_are_there() -> None:
    """What the README tells to install can be installed, and its table of extras has none that is not there."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = set(re.findall(r"pip install (?:-e )?'(?:rxllm|\.)\[(\w+)\]'", README))
    assert extras >= {"bedrock", "vertex", "notebook", "docs"}
    table = README.partition("\n| extra | for |\n")[2].partition("\n\n")[0]
    listed = {
        name for cell in re.findall(r"^\|([^|]*)\|", table, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    assert listed >= {"bedrock", "vertex", "notebook", "rich", "proxy", "redis", "jsonschema"}
    extras |= listed
    assert [extra for extra in extras if f"\n{extra} = [" not in project] == []


def test_the_first_screen() -> None:
    """What it is, the commands, and a pipeline with its output come within the first fifty lines."""
    shown = PAGE.shown(SNIPPETS[0])
    assert shown is not None
    assert shown.end < 50
