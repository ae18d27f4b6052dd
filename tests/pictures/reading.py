"""Reading pictures as what they are: XML."""

import subprocess
import sys
from xml.etree import ElementTree as ET

from tests.server import PATIENCE

__all__ = ["SVG", "interrupted_in_ipython", "marbles_in", "texts_in", "tips_in", "tree"]

SVG = "{http://www.w3.org/2000/svg}"


def tree(picture: object) -> ET.Element:
    """The picture's SVG, parsed."""
    root = ET.fromstring(str(picture))  # noqa: S314  it is our own
    assert root.tag == f"{SVG}svg"
    return root


def texts_in(picture: object) -> list[str]:
    """What is written in it, in order."""
    return ["".join(text.itertext()) for text in tree(picture).iter(f"{SVG}text")]


def tips_in(picture: object) -> list[str]:
    """What it tells to who points at its parts."""
    root = tree(picture)
    return [title.text or "" for title in root.iter(f"{SVG}title") if title is not root.find(f"{SVG}title")]


def marbles_in(picture: object, kind: str) -> int:
    """How many marbles of a kind there are."""
    return sum(
        it.get("class") == f"rxllm-{kind}" and it.tag in {f"{SVG}rect", f"{SVG}circle"} for it in tree(picture).iter()
    )


def interrupted_in_ipython(cell: str) -> str:
    """What is printed where a cell that does something with ``stream`` is interrupted, after the first chunk."""
    code = f"""
import os, signal, threading
from rxllm import as_stream, operators as ops
from rxllm.notebook import marbles, timeline
from rxllm.types import ModelResponseStream

def chunks():
    yield ModelResponseStream.of("Hel")
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()

stream = as_stream(chunks())
{cell}
"""
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--quick", "--colors=NoColor", "-c", code],
        capture_output=True, text=True, check=False, timeout=6 * PATIENCE,
    )  # fmt: skip
    return ran.stdout + ran.stderr
