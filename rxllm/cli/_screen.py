"""The terminal, where there is one and rich is installed."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["screen"]


def screen() -> "Console | None":
    """rich's console, where standard output is a terminal that can do more than print lines, and rich is installed.

    ``NO_COLOR``, ``FORCE_COLOR`` and ``TERM`` are heeded as rich heeds them.
    """
    if sys.stdout is None:
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(highlight=False, emoji=False, markup=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None
