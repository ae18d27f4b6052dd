"""A picture: what a notebook shows, and what can be written to a file."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

__all__ = ["Picture"]


class Picture:
    """An SVG that a notebook shows as the last line of a cell, ``str()`` gives, and ``save()`` writes.

    >>> picture = Picture("<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>", "a square")
    >>> picture
    <Picture: a square>
    >>> str(picture)[:4]
    '<svg'
    """

    def __init__(self, svg: str, title: str, others: Mapping[str, Callable[[], bytes]] | None = None) -> None:
        self._svg = svg
        self._title = title
        self._others = dict(others or {})

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the picture, in the format that the file's name ends in.

        Raises:
            OSError: the file cannot be written.
            ValueError: there is no such format of this picture.
        """
        target = Path(path)
        kind = target.suffix.lower()
        if kind == ".svg":
            target.write_text(self._svg, "utf-8")
        elif kind in self._others:
            target.write_bytes(self._others[kind]())
        else:
            known = ", ".join([".svg", *self._others])
            raise ValueError(f"{target.name} ends in no format that this picture has: {known}")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self._svg, "text/plain": repr(self)}

    def __str__(self) -> str:
        return self._svg

    def __repr__(self) -> str:
        return f"<Picture: {self._title}>"
