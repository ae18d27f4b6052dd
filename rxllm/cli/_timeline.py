"""``--timeline FILE``: a picture of when the chunks came."""

import argparse
import contextlib
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from rxllm._extras import missing_extra

if TYPE_CHECKING:
    from rxllm.cli._watching import Watch

__all__ = ["add_timeline", "timeline_of_all"]

_KINDS: Final = (".svg", ".png", ".pdf")


def add_timeline(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument(
        "--timeline", metavar="FILE", type=_picture, help=f"draw when the chunks came: {', '.join(_KINDS)}"
    )


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in _KINDS:
        raise argparse.ArgumentTypeError(f"{text} is no picture: its name ends in {', '.join(_KINDS)}")
    return path


@contextlib.contextmanager
def timeline_of_all(
    path: Path | None, watches: Sequence["Watch"], refuse: Callable[[str], NoReturn]
) -> Generator[None, None, None]:
    """Draws what has come, when the block is left and however it is left.

    What would keep the picture from being drawn is refused before the block: nothing has been sent then.
    """
    if path is None:
        yield
        return
    try:
        import_module("matplotlib")
    except ImportError:
        refuse(str(missing_extra("--timeline", "notebook")))
    is_new = not path.exists()
    try:
        path.open("ab").close()
        if is_new:
            path.unlink()  # what is killed leaves no empty file
    except OSError as error:
        refuse(f"--timeline: {error}")
    try:
        yield
    finally:
        from rxllm._pictures import timeline_of

        timeline_of([watch.arrivals for watch in watches if watch.arrivals is not None]).save(path)
