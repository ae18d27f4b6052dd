"""README.md is true: its snippets run and print what it says, and its commands are the ones that CI runs."""

import contextlib
import io
import os
import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rxllm
from rxllm import completion, exceptions
from rxllm import operators as ops
from rxllm.providers import PROVIDERS, resolve
from tests.recordings import RANKS, RECIPES
from tests.server import PATIENCE, Answering, Server, chunk

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
WORDS = [f"word{number} " for number in range(12)]
VARIABLES = {name for provider in PROVIDERS.values() for name in provider.key_variables + provider.base_url_variables}
NEEDS_RANKS = "encoding_for_model"  # tiktoken itself looks for its rank files


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is marked as, what it holds, its first line, and the headings it stands under."""

    language: str
    text: str
    line: int
    section: str
    topic: str

    def __str__(self) -> str:
        return f"line {self.line}"


def fenced_blocks() -> list[Block]:
    """All fenced blocks, in order."""
    found: list[Block] = []
    section = topic = ""
    opened: tuple[str, int] | None = None
    lines = README.splitlines()
    for index, line in enumerate(lines):
        if opened is not None:
            if line == "```":
                language, start = opened
                found.append(Block(language, "\n".join([*lines[start:index], ""]), start + 1, section, topic))
                opened = None
        elif line.startswith("```"):
            opened = line[3:], index + 1
        elif line.startswith("## "):
            section, topic = line[3:], ""
        elif line.startswith("### "):
            topic = line[4:]
    assert opened is None, "a fenced block is not closed"
    return found


BLOCKS = fenced_blocks()
SNIPPETS = [block for block in BLOCKS if block.language == "python"]
RECIPE_TOPICS = list(dict.fromkeys(block.topic for block in SNIPPETS if block.topic))


def shown_output(snippet: Block) -> str:
    """What the README says that a snippet prints: the block of text that follows it with nothing in between."""
    end = snippet.line + snippet.text.count("\n")  # the line of the closing fence
    return next((block.text for block in BLOCKS if block.language == "text" and block.line == end + 3), "")


def documented(recipe: str) -> str:
    """A recipe of the documentation without the white space, which its copy has partly lost."""
    return re.sub(r"\s+", "", recipe)


async def answer(answering: Answering) -> None:
    """As OpenAI would: words, or a tool call in pieces; cut off at max_tokens; usage last."""
    asked = answering.json
    await answering.start()
    if asked.get("tools"):
        for piece in (
            {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"loca'}},
            {"index": 0, "function": {"arguments": 'tion": "Paris"}'}},
        ):
            event = chunk()
            event["choices"][0]["delta"] = {"tool_calls": [piece]}
            await answering.event(event)
        await answering.event(chunk(finish="tool_calls"))
    else:
        for word in WORDS:
            await answering.event(chunk(word))
        await answering.event(chunk(finish="length" if asked.get("max_tokens") else "stop"))
    await answering.event({**chunk(), "choices": [], "usage": USAGE}, "[DONE]")
    await answering.end()


def run(snippet: Block, names: dict[str, Any]) -> str:
    """What a snippet prints, and its subscriptions with it; a failure names the line in README.md."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (snippet.line - 1) + snippet.text, "README.md", "exec"), names)  # noqa: S102  it is ours
        for thread in threading.enumerate():
            if thread.name == "rxllm-worker":
                thread.join(PATIENCE)
    return out.getvalue()


@pytest.fixture(scope="module")
def printed() -> Iterator[dict[Block, str]]:
    """What each snippet printed, all run in order as one reader would; only the recipes have a server and a key."""
    with Server() as server, pytest.MonkeyPatch.context() as patch:
        server.script = answer
        for name in [*os.environ]:
            if name.lower().endswith("_proxy") or name in VARIABLES:
                patch.delenv(name)
        patch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))
        outputs: dict[Block, str] = {}
        names: dict[str, Any] = {"__name__": "__main__"}
        for snippet in SNIPPETS:
            if NEEDS_RANKS in snippet.text and not RANKS.is_dir():
                continue
            with patch.context() as environment:
                if snippet.topic:
                    environment.setenv("OPENAI_API_KEY", "sk-readme")
                    environment.setenv("OPENAI_BASE_URL", server.url)
                sent = len(server.requests)
                outputs[snippet] = run(snippet, names)
                assert (len(server.requests) > sent) == bool(snippet.topic), "only recipes send something, and they do"
        yield outputs
    rxllm.close()


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if not s.topic], ids=str)
def test_snippets_print_what_the_readme_says(snippet: Block, printed: dict[Block, str]) -> None:
    """Without a network and a key; what stands below a snippet, or nothing, is what it prints."""
    assert printed[snippet] == shown_output(snippet)


@pytest.mark.parametrize("topic", RECIPE_TOPICS)
def test_recipes_and_their_pipelines_print_the_same(topic: str, printed: dict[Block, str]) -> None:
    """A documented loop, and the pipeline below it, over the same answers."""
    loop, pipeline = (snippet for snippet in SNIPPETS if snippet.topic == topic)
    assert len(printed[pipeline]) > len(WORDS[0])
    if loop not in printed:
        pytest.skip("tiktoken's own rank files are not at ../shared/tiktoken")
    seconds = re.compile(r"\d+\.\d+s")
    assert seconds.sub("0.00s", printed[loop]) == seconds.sub("0.00s", printed[pipeline])


@pytest.mark.skipif(not RECIPES.is_dir(), reason="the documentation is not at ../shared/recipes")
@pytest.mark.parametrize("topic", RECIPE_TOPICS)
def test_recipes_are_the_documented_ones(topic: str) -> None:
    """Each loop stands in the documentation, to the letter but for white space and the call that opens it."""
    loop = next(snippet.text for snippet in SNIPPETS if snippet.topic == topic)
    if not loop.startswith("try:"):
        loop = re.sub(r"^response = completion\((.|\n)*?\)$", "", loop, flags=re.MULTILINE)
        loop = re.sub(r"^(import .*|encoding = .*|tools = \[(.|\n)*?^\}\])$", "", loop, flags=re.MULTILINE)
    page = "".join(path.read_text("utf-8") for path in sorted(RECIPES.glob("*.txt")))
    assert documented(loop)
    assert documented(loop) in documented(page)


def test_the_story_needs_no_key() -> None:
    """The first snippet prints the beginning of the story that the command tells."""
    prompt = re.search(r'rxllm chat "(.*)"', README)
    assert prompt is not None
    messages = [{"role": "user", "content": prompt[1]}]
    story = completion("sim/story", messages, extra_body={"delay": 0}).choices[0].message.content
    assert story is not None
    assert story.startswith(shown_output(SNIPPETS[0]).splitlines()[-1])
    assert prompt[1] in SNIPPETS[0].text


def test_the_two_commands() -> None:
    """Two lines, each of which makes its own environment; the second is the very line that CI runs."""
    chat, tests = (block.text.rstrip("\n") for block in BLOCKS if block.language == "console")
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
    cells = re.findall(r"^\|[^|]*\|( `\w+\([^|]*)\|", README, flags=re.MULTILINE)
    assert sorted(name for cell in cells for name in re.findall(r"`(\w+)\(", cell)) == ops.__all__


def test_every_error_is_named() -> None:
    """The tree of errors leaves none out."""
    (tree,) = (block.text for block in BLOCKS if block.text.startswith("APIError\n"))
    assert sorted(set(re.findall(r"\b[A-Z]\w+(?:Error|Timeout)\b|\bTimeout\b", tree))) == exceptions.__all__


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
    """What the README tells to install can be installed."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = set(re.findall(r"pip install '(?:-e )?rxllm\[(\w+)\]'", README))
    assert extras == {"bedrock", "vertex"}
    assert all(f"\n{extra} = [" in project for extra in extras)


def test_links_lead_somewhere() -> None:
    """Every link into the repository names a file that is there."""
    links = re.findall(r"\]\((?!https:)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_first_screen() -> None:
    """What it is, the commands, and a pipeline with its output come within the first fifty lines."""
    assert SNIPPETS[0].line + len((SNIPPETS[0].text + shown_output(SNIPPETS[0])).splitlines()) < 50
