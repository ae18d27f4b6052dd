"""Runs the notebooks from top to bottom, and stores their outputs in them.

    python scripts/run_notebooks.py [NOTEBOOK ...]

Without names it runs all of ``notebooks/``. Each has a kernel and an empty working folder of its own. What is stored is
what a reader sees: no times of execution, nothing of this machine. Of a cell that says the same as before but for
figures of speed, the outputs stay as they were, so that a difference tells something; pictures are always new. A
notebook that fails stays as it was. It needs the extra ``test``.
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from traitlets.config import Config

__all__ = ["NOTEBOOKS", "executed", "main", "stored", "stored_at", "unmeasured"]

FOLDER: Final = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS: Final = sorted(FOLDER.glob("*.ipynb"))

_FORMAT: Final[Any] = nbformat  # it says nothing of its types

_METADATA: Final[dict[str, Any]] = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# What differs from run to run: "0.61s", "0.020 s", "48.3 tokens/s", and how many items there was time for.
_MEASURED: Final = re.compile(r"\d+(?:\.\d+)?(?= ?(?:s|ms|seconds|tokens/s|items)\b)")


def stored_at(path: Path) -> Any:
    """The notebook in the file at ``path``."""
    return _FORMAT.read(path, as_version=4)


def executed(path: Path, *, timeout: float = 60) -> Any:
    """The notebook at ``path`` with the outputs of a run of all its cells; the file stays as it is.

    Args:
        path: the notebook.
        timeout: how many seconds a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
        nbclient.exceptions.CellTimeoutError: a cell took too long.
    """
    notebook = stored_at(path)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        work = folder / "work"
        work.mkdir()
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=timeout,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(work)}},
            config=Config({"KernelManager": _private(folder)}),
        )
        # Whoever runs it may have a profile of IPython that does things to every kernel.
        client.execute(env=os.environ | {"IPYTHONDIR": str(folder / "ipython")})
    notebook.metadata = _FORMAT.from_dict(_METADATA)
    for cell in notebook.cells:
        cell.metadata = _FORMAT.from_dict({})
    return notebook


def unmeasured(text: str) -> str:
    """``text`` with a mark in the place of each figure of speed."""
    return _MEASURED.sub("#", text)


def _keep(before: Any, after: Any) -> None:
    """Puts into ``after`` the outputs of those cells of ``before`` that say the same."""
    old = {cell.id: cell for cell in before.cells if cell.cell_type == "code"}
    for cell in after.cells:
        if cell.id in old and (said := _said(old[cell.id])) is not None and said == _said(cell):
            cell.outputs = old[cell.id].outputs


def _said(cell: Any) -> str | None:
    """All that the outputs of a cell say, but for figures of speed; None where there is a picture among them."""
    # A picture is made of figures: which of them are a run's, and which the drawing's, cannot be told.
    if any("image/svg+xml" in output.get("data", ()) for output in cell.outputs):
        return None
    return unmeasured(json.dumps([cell.execution_count, cell.outputs], sort_keys=True))


def _private(folder: Path) -> dict[str, str]:
    """How the kernel is spoken to: where there are such sockets, by files that nobody else can open."""
    return {"transport": "ipc", "ip": str(folder / "kernel")} if os.name == "posix" else {}


def stored(notebook: Any) -> str:
    """The text of the file that holds ``notebook``.

    Raises:
        nbformat.ValidationError: it is no notebook.
    """
    _FORMAT.validate(notebook)
    return f"{_FORMAT.writes(notebook)}\n"


def main(paths: Sequence[Path] = NOTEBOOKS) -> int:
    """Runs the notebooks and stores their outputs; 1 where one failed."""
    failed = 0
    for path in paths:
        begun = time.perf_counter()
        try:
            notebook = executed(path)
        except (CellExecutionError, CellTimeoutError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            failed = 1
            continue
        _keep(stored_at(path), notebook)
        text = stored(notebook)
        path.write_text(text, "utf-8")
        print(f"{path.name}: run in {time.perf_counter() - begun:.1f} s, {len(text.encode()) / 1000:.0f} kB")
    return failed


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]] or NOTEBOOKS))
