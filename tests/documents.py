"""Pages of Markdown, read and run: the blocks of code that they have, and what comes of them.

What becomes of a block is decided by its language and its place, so that none can be left out:

- ``python`` is run, all of a page in order in one namespace, as one reader would; what it prints is the ``text`` that
  directly follows, where there is some. Where it has a title it is a file.
- ``pycon`` is run as doctest runs it.
- ``console`` is run by bash, a command on each line; what standard output has is the ``text`` that directly follows.
  Commands that install are compared with those that CI runs instead.
- ``json``, ``jsonl``, ``toml`` and ``yaml`` are parsed; where they have a title they are files, too.
- ``text`` is what a block before it prints, or is claimed by a test of its own.
"""

import contextlib
import doctest
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

import rxllm
from rxllm.providers import PROVIDERS
from tests.recordings import RANKS
from tests.server import PATIENCE, Answering, Server, chunk

__all__ = ["ROOT", "Block", "Page", "Reader", "differences", "documented", "loop_and_pipeline", "reader", "same"]

ROOT = Path(__file__).resolve().parents[1]
NEEDS_RANKS = "encoding_for_model"  # tiktoken itself looks for its rank files
VARIABLES = {name for provider in PROVIDERS.values() for name in provider.key_variables + provider.base_url_variables}
DATA = {"json", "jsonl", "toml", "yaml"}
RUN = {"python", "pycon", "console"}
_HIDDEN = re.compile(r"\s*(>.*(`{3}|~{3})|> {5}|<(pre|code)\b)")
ANSWERS = {
    "Count from 1 to 10": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    "Explain AI": "AI is software that does what takes people thought.",
    "Explain quantum physics": "Quantum physics is about things so small that",
    "Explain machine learning": "A program is shown examples until it does well on others.",
    "Write a poem": "The lamp is lit, the sea is grey, and nobody goes out today.",
    "Write a very long story": "Once upon a time there was a lighthouse at the end of a long pier",
    "Tell me a joke": "A stream walks into a bar, and keeps on walking.",
}
USAGE = {"prompt_tokens": 10, "completion_tokens": 12, "total_tokens": 22}


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is marked as, what it holds, its first line, and the headings that it stands under."""

    page: str
    language: str
    title: str
    text: str
    line: int
    end: int
    section: str = ""
    topic: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def installs(self) -> bool:
        """Whether these commands make an environment, which needs a registry: a test compares them with others."""
        return self.language == "console" and "pip install" in self.text


class Page:
    """A page of Markdown."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / name).read_text("utf-8")

    def __str__(self) -> str:
        return self.name

    @cached_property
    def blocks(self) -> list[Block]:
        """All fenced blocks, in order."""
        found: list[Block] = []
        section = topic = ""
        opened: tuple[str, str, int] | None = None
        lines = self.text.splitlines()
        for index, line in enumerate(lines):
            fence = re.match(r"(\s*)(`{3,}|~{3,})(.*)", line)
            if opened is not None:
                marks, info, start = opened
                if line == marks:
                    language, _, rest = info.partition(" ")
                    title = re.fullmatch(r'(?:title="([\w./-]+)")?', rest)
                    assert title is not None, f"{self.name}:{start}: {rest!r} behind a language"
                    text = "\n".join([*lines[start:index], ""])
                    found.append(Block(self.name, language, title[1] or "", text, start + 1, index + 1, section, topic))
                    opened = None
            elif fence is not None:
                assert not fence[1], f"{self.name}:{index + 1}: a block that is indented would not be run"
                opened = fence[2], fence[3], index + 1
            elif _HIDDEN.match(line) or (line.startswith("    ") and not lines[index - 1].strip()):
                raise AssertionError(f"{self.name}:{index + 1}: code that is in no block of its own would not be run")
            elif line.startswith("## "):
                section, topic = line[3:], ""
            elif line.startswith("### "):
                topic = line[4:]
        assert opened is None, f"{self.name}: a fenced block is not closed"
        return found

    def shown(self, block: Block) -> Block | None:
        """What the page says that a block prints: the text that follows it with nothing in between."""
        return next((it for it in self.blocks if it.language == "text" and it.line == block.end + 3), None)

    def unexplained(self) -> list[Block]:
        """The blocks that no kind of use here fits."""
        outputs = {self.shown(block) for block in self.blocks if block.language in RUN and not block.title}
        return [it for it in self.blocks if it.language not in RUN | DATA and it not in outputs]

    @property
    def prose(self) -> str:
        """What stands outside of the blocks."""
        return re.sub(r"^(`{3,}).*?^\1$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def links(self) -> list[str]:
        """Where its links into the repository lead, without those of other places and within the page."""
        return re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", self.prose)


class Reader:
    """Somebody who runs what a page has, block for block, in a folder of their own; without keys and proxies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, block: Block) -> str:
        """What comes of a block; a failure names the line of the page."""
        if block.title:
            (self.folder / block.title).write_text(block.text, "utf-8")
        if block.language == "console":
            return self._console(block)
        if block.language in DATA:
            parse(block)
            return ""
        if block.title:
            return ""
        with contextlib.chdir(self.folder):
            return self._doctest(block) if block.language == "pycon" else self._python(block)

    def _python(self, block: Block) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), self._names)  # noqa: S102  it is ours
            for thread in threading.enumerate():
                if thread.name == "rxllm-worker":
                    thread.join(PATIENCE)
        return out.getvalue()

    def _doctest(self, block: Block) -> str:
        examples = doctest.DocTestParser().get_doctest(block.text, self._names, str(block), block.page, block.line - 1)
        told: list[str] = []
        flags = doctest.ELLIPSIS | doctest.REPORT_NDIFF
        results = doctest.DocTestRunner(optionflags=flags).run(examples, out=told.append, clear_globs=False)
        assert results.attempted, f"{block} has no example"
        assert not results.failed, "".join(told)
        return ""

    def _console(self, block: Block) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "80"}
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", block.text],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def reader(folder: Path, *, asks: bool) -> Generator[tuple[Reader, Server]]:
    """A reader, and the server on loopback that is OpenAI to who ``asks``; others have neither key nor address."""
    with Server() as server, pytest.MonkeyPatch.context() as patch, _the_log_stays():
        server.script = provider
        for name in [*os.environ]:
            if name.lower().endswith("_proxy") or name == "PYTEST_ADDOPTS" or name in VARIABLES:
                patch.delenv(name)
        if RANKS.is_dir():
            patch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))
        if asks:
            patch.setenv("OPENAI_API_KEY", "sk-reader")
            patch.setenv("OPENAI_BASE_URL", server.url)
        yield Reader(folder), server
    rxllm.close()


@contextlib.contextmanager
def _the_log_stays() -> Generator[None]:
    """What a page does with the logger is undone."""
    log = logging.getLogger("rxllm")
    level, handlers = log.level, log.handlers[:]
    try:
        yield
    finally:
        log.setLevel(level)
        log.handlers[:] = handlers


async def provider(answering: Answering) -> None:
    """As OpenAI would: words, or a tool call in pieces; cut off at max_tokens; usage last."""
    asked = answering.json
    said = ANSWERS.get(asked["messages"][-1]["content"], "Hello! What can I do for you today, or on any other day?")
    await answering.start()
    await answering.event(chunk(""))
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
        for word in re.findall(r"\s*\S+", said):
            await answering.event(chunk(word))
        await answering.event(chunk(finish="length" if asked.get("max_tokens") else "stop"))
    await answering.last({**chunk(), "choices": [], "usage": USAGE}, "[DONE]")


def differences(page: Page, reader: Reader) -> dict[Block, str]:
    """Where a page does not print what it says, all its blocks run in order."""
    found: dict[Block, str] = {}
    for block in page.blocks:
        if block.language == "text" or block.installs or (NEEDS_RANKS in block.text and not RANKS.is_dir()):
            continue
        shown = page.shown(block)
        if difference := unlike(shown.text if shown is not None else "", reader.run(block)):
            found[block] = difference
    return found


def parse(block: Block) -> Any:
    """The data that a block holds."""
    if block.language == "toml":
        return tomllib.loads(block.text)
    if block.language == "yaml":
        return yaml.safe_load(block.text)
    return [json.loads(line) for line in ([block.text] if block.language == "json" else block.text.splitlines())]


def loop_and_pipeline(page: Page) -> tuple[Block, Block]:
    """The documented loop of a page, and the pipeline that replaces it."""
    code = [block for block in page.blocks if block.language == "python"]
    (loop,) = (block for block in code if block.section == "The documented loop")
    (pipeline,) = (block for block in code if block.section == "The pipeline")
    return loop, pipeline


def documented(recipe: str) -> str:
    """A recipe of the documentation without the white space, which its copy has partly lost."""
    return re.sub(r"\s+", "", recipe)


def same(one: str, other: str) -> bool:
    """Whether two outputs are the same but for seconds, and blank lines at the end."""
    return _timeless(one) == _timeless(other)


def unlike(shown: str, printed: str) -> str:
    """How a page differs from what is printed, "" where it does not; in a page, ``...`` is anything, as for doctest."""
    checker = doctest.OutputChecker()
    want, got = _timeless(shown), _timeless(printed)
    if checker.check_output(want, got, doctest.ELLIPSIS):
        return ""
    return checker.output_difference(doctest.Example("", want), got, doctest.ELLIPSIS | doctest.REPORT_NDIFF)


def _timeless(text: str) -> str:
    return re.sub(r"\d+\.\d+ ?s\b", "0.0s", text.rstrip()) + "\n"
