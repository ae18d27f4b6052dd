"""Processes that a test meets while they run: whatever becomes of the test, they end with it."""

import contextlib
import subprocess
from typing import Any, AnyStr

__all__ = ["end_processes", "ended_with_the_test"]

_started: "list[subprocess.Popen[Any]]" = []


def ended_with_the_test(process: "subprocess.Popen[AnyStr]") -> "subprocess.Popen[AnyStr]":
    """The process, which a fixture of ``tests/conftest.py`` kills after the test where it still runs.

    Its pipes are closed then too. One that a failing test leaves behind would else fail another test, with the warning
    that comes when it is collected.
    """
    _started.append(process)
    return process


def end_processes() -> None:
    """Ends all of them."""
    while _started:
        with contextlib.suppress(OSError), _started.pop() as process:  # what was not written yet has no reader now
            process.kill()
