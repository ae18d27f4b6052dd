"""``rxllm`` run as its users run it: as a process, through pipes and files, by a shell, and on a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.processes import ended_with_the_test
from tests.server import PATIENCE

__all__ = [
    "CTRL_C",
    "CTRL_D",
    "FIGURES",
    "ROOT",
    "Inside",
    "assert_matches",
    "environment",
    "in_terminal",
    "run",
    "shell",
    "start",
    "start_reading",
    "without_escapes",
]

ROOT = Path(__file__).resolve().parents[2]
CTRL_C, CTRL_D = "\x03", "\x04"
FIGURES = r"\d+ chunks, (about )?\d+ tokens, first token after \d+\.\d\d s, \d+\.\d tokens/s, finish reason: "

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
"""The type of the fixture ``inside``."""

_COLOURING = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TERM", "TTY_", "COLUMNS", "LINES")


def environment(**extra: str) -> dict[str, str]:
    """The environment without keys and without what colours or measures output, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", *_COLOURING))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "TERM": "xterm", **extra}


def run(*arguments: str, given: str | bytes = "", **extra: str) -> "subprocess.CompletedProcess[str]":
    """Runs ``rxllm`` to its end, with ``given`` on a standard input that is a pipe."""
    ran = subprocess.run(
        [sys.executable, "-m", "rxllm", *arguments],
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        cwd=ROOT,
        env=environment(**extra),
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode())


def shell(command: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Runs a command line of the shell's, in which ``rxllm`` is this one."""
    return subprocess.run(
        ["/bin/sh", "-c", f'rxllm() {{ "{sys.executable}" -m rxllm "$@"; }}\n{command}'],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=60,
        check=False,
    )


def start(*arguments: str, program: Sequence[str] = ("-m", "rxllm"), **extra: str) -> "subprocess.Popen[bytes]":
    """Starts ``rxllm``, or a ``program`` around it, to be met while it runs; it ends with the test at the latest."""
    return _started((*program, *arguments), subprocess.DEVNULL, extra)


def start_reading(*arguments: str) -> "subprocess.Popen[bytes]":
    """The same with a pipe as its standard input."""
    return _started(("-m", "rxllm", *arguments), subprocess.PIPE, {})


def _started(arguments: tuple[str, ...], stdin: int, extra: dict[str, str]) -> "subprocess.Popen[bytes]":
    return ended_with_the_test(
        subprocess.Popen(
            [sys.executable, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(**extra),
        )
    )


def in_terminal(
    *arguments: str,
    columns: int = 80,
    lines: int = 24,
    typing: Sequence[tuple[str, str | signal.Signals]] = (),
    **extra: str,
) -> tuple[int, str]:
    """The exit code, and all that ``rxllm`` writes to a terminal, with its line breaks as a file has them.

    For each pair of ``typing``: once its first text has been written, after that of the last, the second is typed, or
    the signal sent.
    """
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        try:
            process = ended_with_the_test(
                subprocess.Popen(
                    [sys.executable, "-m", "rxllm", *arguments],
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    cwd=ROOT,
                    env=environment(**extra),
                    start_new_session=True,
                    # So that what is typed may be Ctrl-C. It takes no lock.
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
                )
            )
        finally:
            os.close(theirs)
        written = b""
        to_type = deque(typing)
        seen = 0
        deadline = time.monotonic() + PATIENCE
        while select.select([ours], [], [], max(deadline - time.monotonic(), 0))[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not data:
                break
            written += data
            while to_type and (at := written.find(to_type[0][0].encode(), seen)) >= 0:
                awaited, typed = to_type.popleft()
                seen = at + len(awaited.encode())
                if isinstance(typed, str):
                    os.write(ours, os.fsencode(typed))
                else:
                    process.send_signal(typed)
        code = process.wait(PATIENCE)
    finally:
        os.close(ours)
    return code, os.fsdecode(written).replace("\r\n", "\n")


def without_escapes(written: str) -> str:
    """What a terminal would show of it, but for where the cursor is."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)


def assert_matches(pattern: str, text: str) -> None:
    """The pattern matches the whole text."""
    assert re.fullmatch(pattern, text), text
