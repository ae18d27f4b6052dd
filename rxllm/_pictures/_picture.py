"""A picture: what a notebook shows, and what can be written to a file."""

import base64
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

from rxllm._pictures._text import without_unfit

__all__ = ["Picture", "image_html", "shown_if_interrupted"]


class Picture:
    """An SVG that a notebook shows as the last line of a cell, ``str()`` gives, and ``save()`` writes.

    >>> picture = Picture("<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>", "a square")
    >>> picture
    <Picture: a square>
    >>> str(picture)[:4]
    '<svg'
    """

    def __init__(
        self,
        svg: str,
        title: str,
        others: Mapping[str, Callable[[], bytes]] | None = None,
        html: Callable[[], str] | None = None,
    ) -> None:
        self._svg = svg
        self._title = title
        self._others = dict(others or {})
        self._html = html

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the picture, in the format that the file's name ends in: the whole file, or nothing.

        Raises:
            OSError: the file cannot be written.
            ValueError: there is no such format of this picture.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind == ".svg":
            _write(target, self._svg.encode())
        elif kind in self._others:
            _write(target, self._others[kind]())
        else:
            known = ", ".join([".svg", *self._others])
            raise ValueError(f"{target.name} ends in no format that this picture has: {known}")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        html = {} if self._html is None else {"text/html": self._html()}
        return {**html, "image/svg+xml": self._svg, "text/plain": repr(self)}

    def __str__(self) -> str:
        return self._svg

    def __repr__(self) -> str:
        return f"<Picture: {self._title}>"


def image_html(svg: str, title: str, over: str = "") -> str:
    """The picture as an image in HTML, with something laid ``over`` it.

    It is no wider than the page. And where HTML is not trusted, SVGs are taken out of it, while images stay.
    """
    data = base64.b64encode(svg.encode()).decode()
    image = (
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(without_unfit(title))}" '
        'style="display:block;max-width:100%"/>'
    )
    return f'<div style="position:relative;display:inline-block;max-width:100%">{image}{over}</div>'


def _write(target: Path, data: bytes) -> None:
    """Writes a whole file in the place of the one before it, or none at all."""
    if target.exists():
        target.open("ab").close()  # what may not be written to may not be replaced either
        if not target.is_file():
            target.write_bytes(data)
            return
    real = target.resolve()  # a link stays one
    new = real.with_name(f".{uuid4().hex}.tmp")
    try:
        new.write_bytes(data)
        if real.exists():
            shutil.copymode(real, new)
        new.replace(real)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


@contextmanager
def shown_if_interrupted(draw: Callable[[], Picture]) -> Generator[None]:
    """In a notebook, Ctrl-C shows the picture of what had come by then, and is raised."""
    try:
        yield
    except KeyboardInterrupt:
        ipython: Any = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            ipython.display.display(draw())
        raise
