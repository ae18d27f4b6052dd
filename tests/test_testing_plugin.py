"""The fixture ``llm_server``, and what importing costs."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import rxllm
from rxllm.testing import LLMServer

TEST = """
import rxllm
from rxllm import operators as ops


def test_my_application(llm_server):
    llm_server.answer("Hel", "lo")
    stream = rxllm.completion(
        "gpt-4", [{"role": "user", "content": "Hi"}], stream=True, api_base=llm_server.url, api_key="test"
    )
    assert stream.pipe(ops.accumulate_text()).run() == "Hello"
    assert llm_server.requests[0].json["model"] == "gpt-4"
"""


def test_the_fixture_is_there(llm_server: LLMServer) -> None:
    """Here it comes from the installed package, as it does for others."""
    llm_server.answer("Hello")
    said = rxllm.completion("gpt-4", [{"role": "user", "content": "Hi"}], api_base=llm_server.url, api_key="test")
    assert said.choices[0].message.content == "Hello"
    (plugin,) = entry_points(group="pytest11", name="rxllm")
    assert plugin.value == "rxllm._pytest_plugin"
    rxllm.close()


def test_a_users_own_test(tmp_path: Path) -> None:
    """In a folder of theirs, with nothing to set up, and no warning."""
    (tmp_path / "test_mine.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        ("rxllm", ["pytest", "rxllm.testing"]),
        ("rxllm.testing", ["pytest"]),
        ("rxllm._pytest_plugin", ["rxllm.testing"]),
    ],
)
def test_what_importing_does_not_import(imported: str, unwanted: list[str]) -> None:
    """Neither the toolkit with the library, nor pytest with the toolkit, nor the toolkit with the plugin."""
    code = f"import sys, {imported}; sys.exit(str([name for name in {unwanted} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr.strip() == "[]"
