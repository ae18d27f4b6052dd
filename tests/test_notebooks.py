"""The notebooks run from top to bottom, print what is stored in them, and are fit to be read where they are stored."""

import ast
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from jupyter_core.utils import ensure_event_loop

from scripts.run_notebooks import NOTEBOOKS, executed, main, stored, stored_at

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["01-recipes", "02-tools", "03-comparing", "04-timing", "05-structured"]
MOST_LINES = 15
MOST_BYTES = 400_000

# What differs from run to run: "0.61s", "0.020 s", "48.3 tokens/s".
MEASURED = re.compile(r"\d+(?:\.\d+)?(?= ?(?:s|ms|seconds|tokens/s)\b)")
# A name is looked for where a path may begin, so that "and/or" is none.
OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:home|private|root|tmp|Users|usr|var|work)/|[A-Z]:\\\\|\bfile:/")

anyone = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: Any) -> list[Any]:
    """Those that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any, name: str = "stdout") -> str:
    """What a cell printed, the figures of its speed left out."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == name)
    return MEASURED.sub("#", text)


def kinds(cell: Any) -> list[tuple[str, list[str]]]:
    """What a cell shows besides what it printed: of each output its type and the types of its data."""
    shown = [output for output in cell.outputs if output.output_type != "stream"]
    return [(output.output_type, sorted(output.get("data", ()))) for output in shown]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No key, no way out, and nobody's own settings of Jupyter's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.endswith(("_API_KEY", "_proxy", "_PROXY")):
                patch.delenv(name)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    """The first to use matplotlib on a machine looks for its fonts, which may take long, and is told so on stderr."""
    import matplotlib.font_manager

    assert matplotlib.font_manager.fontManager.ttflist


@pytest.fixture(scope="module")
def running(offline: None, fonts: None) -> Iterator[dict[Path, Future[Any]]]:
    """All notebooks, which run side by side: for the most part they wait for what comes slowly on purpose."""
    with ThreadPoolExecutor(len(NOTEBOOKS)) as threads:
        yield {path: threads.submit(executed_in_a_thread, path) for path in NOTEBOOKS}


def executed_in_a_thread(path: Path) -> Any:
    """The notebook after its run; the event loop that Jupyter makes for each thread is closed."""
    try:
        return executed(path)
    finally:
        ensure_event_loop().close()


@pytest.mark.timeout(300)
@anyone
def test_it_runs_and_prints_what_is_stored(path: Path, running: dict[Path, Future[Any]]) -> None:
    """From top to bottom, without a warning, and but for figures of speed as a reader finds it."""
    before, after = code_cells(stored_at(path)), code_cells(running[path].result())
    assert {cell.id: printed(cell, "stderr") for cell in after if printed(cell, "stderr")} == {}
    assert {cell.id: printed(cell) for cell in after} == {cell.id: printed(cell) for cell in before}
    assert {cell.id: kinds(cell) for cell in after} == {cell.id: kinds(cell) for cell in before}


def test_there_are_five() -> None:
    """None is forgotten by the tests, and none is missing."""
    assert [path.stem for path in NOTEBOOKS] == NAMES


@anyone
def test_it_is_stored_as_the_script_stores_it(path: Path) -> None:
    """Valid, with the kernel's name, without what changes with every run: written again, the file stays as it is."""
    notebook = stored_at(path)
    assert path.read_text("utf-8") == stored(notebook)
    assert sorted(notebook.metadata) == ["kernelspec", "language_info"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert path.stat().st_size < MOST_BYTES


@anyone
def test_cells_are_short_and_introduced(path: Path) -> None:
    """Fifteen lines at most, and before each code cell the words that say what to notice."""
    ids = [cell["id"] for cell in json.loads(path.read_text("utf-8"))["cells"]]
    assert len(set(ids)) == len(ids)
    cells = stored_at(path).cells
    assert {cell.id for cell in cells if len(cell.source.splitlines()) > MOST_LINES} == set()
    bare = [cell.id for before, cell in pairwise(cells) if before.cell_type == cell.cell_type == "code"]
    assert bare == []
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert cells[-1].source.startswith("## Where to go on\n")


@anyone
def test_the_outputs_are_stored(path: Path) -> None:
    """All cells were run in order, none failed, and each that prints or shows something has it below."""
    cells = code_cells(stored_at(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    failed = [cell.id for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert failed == []
    assert [cell.id for cell in cells if shows_something(cell.source) and not cell.outputs] == []


def shows_something(source: str) -> bool:
    """Whether a cell prints by itself, or ends with an expression. What its functions print, others may never call."""
    module = compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.ExceptHandler):
            waiting.extend(ast.iter_child_nodes(node))
    return isinstance(module.body[-1], ast.Expr)


@anyone
def test_no_machine_shows(path: Path) -> None:
    """No output names a folder of the machine that it was run on."""
    found = {cell.id: OF_A_MACHINE.findall(json.dumps(cell.outputs)) for cell in code_cells(stored_at(path))}
    assert {name: paths for name, paths in found.items() if paths} == {}


@anyone
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a page or a notebook names a file that is there, and a heading in it."""
    words = "\n".join(cell.source for cell in stored_at(path).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https:)([^)#]+)(?:#([^)]+))?\)", words)
    assert links
    for link, heading in links:
        target = path.parent / link
        assert target.is_file(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), flags=re.MULTILINE)
        assert not heading or heading in [title.lower().replace(" ", "-") for title in headings], f"{link}#{heading}"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A notebook of two cells, the second of which prints."""
    new: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [new | {"id": "first", "source": "import os"}, new | {"id": "second", "source": "print(6 * 7)"}]
    path = tmp_path / "scratch.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
    return path


@pytest.mark.usefixtures("offline")
def test_the_script_stores_outputs(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In place, with ids as they were, and it says what it did; run again, nothing changes."""
    assert main([scratch]) == 0
    first, second = stored_at(scratch).cells
    assert (first.id, first.outputs, first.execution_count) == ("first", [], 1)
    assert (second.id, second.outputs[0].text, second.execution_count) == ("second", "42\n", 2)
    assert capsys.readouterr().out.startswith("scratch.ipynb: run in ")
    text = scratch.read_text("utf-8")
    assert main([scratch]) == 0
    assert scratch.read_text("utf-8") == text


@pytest.mark.usefixtures("offline")
def test_the_script_leaves_what_fails(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook with a cell that raises stays as it was, and the error is told."""
    scratch.write_text(scratch.read_text("utf-8").replace("6 * 7", "6 / 0"), "utf-8")
    text = scratch.read_text("utf-8")
    assert main([scratch]) == 1
    assert scratch.read_text("utf-8") == text
    assert "ZeroDivisionError" in capsys.readouterr().err
