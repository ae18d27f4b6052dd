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
from xml.etree import ElementTree as ET

import pytest
from jupyter_core.utils import ensure_event_loop

from scripts.run_notebooks import NOTEBOOKS, executed, main, stored, stored_at, unmeasured

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["01-recipes", "02-tools", "03-comparing", "04-timing", "05-structured"]
MOST_LINES = 15
MOST_BYTES = 600_000

# What is told there depends on which of several streams was quicker.
LIVE = {"budget"}

# A way to do an exercise, folded away: its code, and what that prints.
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)\n```\n(?:```text\n(.*?\n)```\n)?</details>", re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"
MARKS = {f"{SVG}{name}" for name in ("circle", "rect", "use")}
# A name is looked for where a path may begin, so that "and/or" is none; an object's address in memory is another's.
OF_A_MACHINE = re.compile(
    r"(?<![\w.])/(?:home|private|root|tmp|Users|usr|var|work)/|[A-Z]:\\\\|\bfile:/|\b0x[0-9a-f]{6,}\b"
)

anyone = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: Any) -> list[Any]:
    """Those that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any, name: str = "stdout") -> str:
    """What a cell printed, the figures of its speed left out."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == name)
    return unmeasured(text)


def shown(cell: Any) -> list[tuple[str, list[str], str, str]]:
    """What a cell shows besides: of each output its type, the types of its data, and its words, likewise."""
    outputs = [output for output in cell.outputs if output.output_type != "stream"]
    return [(output.output_type, sorted(output.get("data", ())), *words_of(cell, output)) for output in outputs]


def words_of(cell: Any, output: Any) -> tuple[str, str]:
    """As plain text, and as Markdown. HTML says the same in the words of the versions that are installed."""
    data: dict[str, str] = {} if cell.id in LIVE else output.get("data", {})
    return unmeasured(data.get("text/plain", "")), data.get("text/markdown", "")


def pictures(cell: Any) -> list[Any]:
    """The drawings that a cell shows, parsed."""
    data = [output.get("data", {}) for output in cell.outputs]
    return [ET.fromstring(it["image/svg+xml"]) for it in data if "image/svg+xml" in it]  # noqa: S314  our own


def with_solutions(path: Path, folder: Path) -> Path:
    """A copy of a notebook with a cell for each way to do an exercise, where the exercise stands."""
    notebook = stored_at(path)
    cells = [json.loads(json.dumps(cell)) for cell in notebook.cells]
    new: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    for cell in notebook.cells:
        for solution in SOLUTION.finditer(cell.source):
            at = next(place for place, it in enumerate(cells, 1) if it["id"] == cell.id)
            cells.insert(at, new | {"id": f"{cell.id}-solution", "source": solution[1]})
    copy = folder / path.name
    copy.write_text(json.dumps({**notebook, "cells": cells}), "utf-8")
    return copy


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No key, no way out, and nobody's own settings of Jupyter's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.endswith(("_API_KEY", "_proxy", "_PROXY")):
                patch.delenv(name)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        patch.setenv("no_proxy", "127.0.0.1")
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="module", autouse=True)
def fonts() -> None:
    """The first to use matplotlib on a machine looks for its fonts, which may take long, and is told so on stderr."""
    import matplotlib.font_manager

    assert matplotlib.font_manager.fontManager.ttflist


@pytest.fixture(scope="module")
def running(offline: None, fonts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Future[Any]]]:
    """All notebooks, which run side by side: for the most part they wait for what comes slowly on purpose."""
    folder = tmp_path_factory.mktemp("notebooks")
    with ThreadPoolExecutor(len(NOTEBOOKS)) as threads:
        yield {path: threads.submit(executed_in_a_thread, with_solutions(path, folder)) for path in NOTEBOOKS}


def executed_in_a_thread(path: Path) -> Any:
    """The notebook after its run; the event loop that Jupyter makes for each thread is closed."""
    try:
        return executed(path)
    finally:
        ensure_event_loop().close()


@pytest.mark.timeout(300)
@anyone
def test_it_runs_and_says_what_is_stored(path: Path, running: dict[Path, Future[Any]]) -> None:
    """From top to bottom, without a warning, and but for figures of speed as a reader finds it."""
    before = code_cells(stored_at(path))
    ran = {cell.id: cell for cell in code_cells(running[path].result())}
    after = [ran[cell.id] for cell in before]
    assert {cell.id: printed(cell, "stderr") for cell in ran.values() if printed(cell, "stderr")} == {}
    assert {cell.id: printed(cell) for cell in after} == {cell.id: printed(cell) for cell in before}
    assert {cell.id: shown(cell) for cell in after} == {cell.id: shown(cell) for cell in before}


@pytest.mark.timeout(300)
@anyone
def test_exercises_can_be_done(path: Path, running: dict[Path, Future[Any]]) -> None:
    """There are some, and what is folded away below one runs where it stands, and prints what it says."""
    cells = stored_at(path).cells
    told = {cell.id: it[2] or "" for cell in cells for it in SOLUTION.finditer(cell.source)}
    assert sorted(told) == sorted(cell.id for cell in cells if "**Try it.**" in cell.source) != []
    ran = {cell.id: cell for cell in code_cells(running[path].result())}
    assert {name: printed(ran[f"{name}-solution"]) for name in told} == told


@pytest.mark.timeout(300)
def test_pictures_show_something(running: dict[Path, Future[Any]]) -> None:
    """Those that are stored, and those of a run: they are as many, none is of nothing, and all stand by themselves."""
    for path, run in running.items():
        before = {cell.id: pictures(cell) for cell in code_cells(stored_at(path))}
        after = {cell.id: pictures(cell) for cell in code_cells(run.result())}
        assert {name: len(it) for name, it in before.items()} == {name: len(after[name]) for name in before}
        for picture in [picture for drawn in [*before.values(), *after.values()] for picture in drawn]:
            words = {"".join(text.itertext()).strip() for text in picture.iter(f"{SVG}text")}
            assert len(words) > 5
            assert not words & {"nothing", "no tokens"}
            assert sum(1 for it in picture.iter() if it.tag in MARKS) > 10
            assert {"width", "height", "viewBox"} <= set(picture.attrib)
            assert not list(picture.iter(f"{SVG}script"))


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
    """No output names a folder of the machine that it was run on, or a place in its memory."""
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
def test_the_script_stores_what_tells_something(scratch: Path) -> None:
    """Other figures of speed alone change nothing in a stored notebook; other words do, and a picture is always new."""
    picture = "from IPython.display import display\\ndisplay({'image/svg+xml': '<svg>0.25 s</svg>'}, raw=True)"
    text = scratch.read_text("utf-8").replace("import os", picture).replace("6 * 7", "'took 0.25 s, and 42 tokens'")
    scratch.write_text(text, "utf-8")
    assert main([scratch]) == 0
    first = stored_at(scratch)
    older = stored_at(scratch)
    older.cells[1].outputs[0].text = "took 31 s, and 42 tokens\n"
    scratch.write_text(stored(older), "utf-8")
    assert main([scratch]) == 0
    assert stored_at(scratch) == older
    older.cells[0].outputs[0].data["image/svg+xml"] = "<svg>31 s</svg>"
    older.cells[1].outputs[0].text = "took 31 s, and 43 tokens\n"
    scratch.write_text(stored(older), "utf-8")
    assert main([scratch]) == 0
    assert stored_at(scratch) == first


@pytest.mark.usefixtures("offline")
def test_the_script_leaves_what_fails(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook with a cell that raises stays as it was, and the error is told."""
    scratch.write_text(scratch.read_text("utf-8").replace("6 * 7", "6 / 0"), "utf-8")
    text = scratch.read_text("utf-8")
    assert main([scratch]) == 1
    assert scratch.read_text("utf-8") == text
    assert "ZeroDivisionError" in capsys.readouterr().err
