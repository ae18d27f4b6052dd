"""What all commands share: help that teaches, examples that run, a start that is quick, no key in what is shown."""

import contextlib
import doctest
import importlib
import io
import json
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

import pytest

import rxllm.cli
from rxllm.cli import main
from tests.cli.running import ROOT, environment, run, shell

ASKING = "--model --system --max-tokens --temperature --tools --param --api-base".split()
OPTIONS = {
    "batch": [*ASKING, *"--output --concurrency --retries --limit --max-failures --json".split()],
    "chat": [*ASKING, *"--image --json --record --timeline".split()],
    "compare": [*ASKING, *"--image --json --timeline".split()],
    "models": "--set --json".split(),
    "replay": "--speed --json --timeline".split(),
}

# Starts the command line, and tells which modules that took.
TELLING = """
import json, sys
from rxllm.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def help_of(command: str) -> str:
    """What ``--help`` prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([command, "--help"]) == 0
    assert err.getvalue() == ""
    return out.getvalue()


def examples(text: str) -> list[str]:
    """The examples that a command's help ends with."""
    return [line.strip() for line in text.partition("\nExamples:\n")[2].splitlines()]


def test_version_is_the_projects() -> None:
    """``--version`` prints the version that pyproject.toml has."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ran = run("--version")
    assert (ran.returncode, ran.stdout) == (0, f"rxllm {version}\n")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``rxllm --help`` has a line for each command."""
    assert main(["--help"]) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert set(OPTIONS) <= set(named)


def test_help_loads_no_command_and_nothing_heavy() -> None:
    """``rxllm --help`` takes neither the commands nor what they are made of, but for what ``import rxllm`` takes."""
    told = subprocess.run(
        [sys.executable, "-c", TELLING, "--help"],
        capture_output=True,
        cwd=ROOT,
        env=environment(),
        timeout=60,
        check=True,
    )
    code, modules = json.loads(told.stderr)
    assert code == 0
    assert {name for name in modules if name.startswith("rxllm.cli.")} == {"rxllm.cli._output", "rxllm.cli._parser"}
    assert not {"httpx", "rich", "tiktoken", "matplotlib", "rxllm.operators", "rxllm.providers._registry"} & {*modules}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_teaches(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names every option, the two streams and the exit codes, ends with examples, and fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(command)
    for wanted in (*OPTIONS[command], "Standard output", "Exit codes: 0; 1 for an error; 2 for wrong arguments"):
        assert wanted in text
    assert len(examples(text)) >= 2
    assert max(map(len, text.splitlines())) <= 80


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Future["CompletedProcess[str]"]]]]:
    """What becomes of the examples of each command: they take their time, and run side by side.

    Only those that go on from one another run one after the other.
    """
    with contextlib.ExitStack() as stack:
        found: dict[str, list[Future[CompletedProcess[str]]]] = {}
        for command in OPTIONS:
            given = examples(help_of(command))
            at_once = len(given) if command in {"chat", "compare"} else 1
            pool = stack.enter_context(ThreadPoolExecutor(at_once))
            folder = tmp_path_factory.mktemp(command)
            found[command] = [pool.submit(shell, example, folder) for example in given]
        yield found


@pytest.mark.parametrize("command", OPTIONS)
def test_examples_run_as_they_stand(command: str, running: dict[str, list[Future["CompletedProcess[str]"]]]) -> None:
    """Each example of the help does something, with no network and no key."""
    for example, done in zip(examples(help_of(command)), running[command], strict=True):
        ran = done.result()
        assert (ran.returncode, bool(ran.stdout), "rxllm: " in ran.stderr) == (0, True, False), (example, ran.stderr)


def test_unknown_option_shows_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    """What an option that is not there was given may be a key, and is not shown."""
    for given in (["--api-key", "sk-secret-key"], ["--api-key=sk-secret-key"], ["--key", "sk-secret-key", "--loud"]):
        assert main(["chat", "Hi", *given]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "unrecognized arguments: --" in err
        assert "sk-secret-key" not in err


@pytest.mark.parametrize("module", [name for _, name, _ in pkgutil.walk_packages(rxllm.cli.__path__, "rxllm.cli.")])
def test_examples_in_docstrings_run(module: str) -> None:
    """Each example in the docstrings prints what it says."""
    assert not doctest.testmod(importlib.import_module(module)).failed


def test_example_of_the_entry_point_runs() -> None:
    """So does that of ``main``."""
    outcome = doctest.testmod(rxllm.cli)
    assert outcome.attempted
    assert not outcome.failed
