"""The command line in this process, and an installation without the extra ``rich``."""

import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from rxllm.cli import main
from tests.cli.running import ROOT, Inside


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs ``rxllm`` as ``running.run`` does, but in this process: where a process of its own would show no more."""

    def inside(*arguments: str, given: str = "", **extra: str) -> "CompletedProcess[str]":
        for name, value in extra.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(given.encode())))
        code = main(list(arguments))
        return CompletedProcess(arguments, code, *capsys.readouterr())

    return inside


@pytest.fixture
def without_rich(tmp_path: Path) -> str:
    """A PYTHONPATH on which rich cannot be imported, and rxllm can."""
    package = tmp_path / "shadow" / "rich"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('rich is not here')\n")
    return f"{package.parent}:{ROOT}"
