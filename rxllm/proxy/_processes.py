"""Several processes that serve one socket, and their end."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Final, cast

__all__ = ["run_processes"]

# A process that ends sooner than this many seconds after its start, is not started again: it never will do better.
_TOO_SOON: Final = 2.0


def run_processes(count: int, target: Callable[..., None], *arguments: Any) -> None:
    """Runs ``target(*arguments)`` in so many processes until a signal ends them; one that dies is replaced.

    SIGTERM and SIGINT are handed on to them, each time that they come. Where this process is killed, they end too,
    as if by SIGTERM.

    Raises:
        RuntimeError: a process ended as soon as it had started.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[int, tuple[BaseProcess, float]] = {}
    stopping = failed = False

    def start() -> None:
        process = context.Process(target=_run, args=(target, *arguments))
        process.start()
        running[process.sentinel] = (process, time.monotonic())

    def hand_on(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for process, _begun in running.values():
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGTERM)

    before = {kind: signal.signal(kind, hand_on) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        for _ in range(count):
            start()
        while running:
            for sentinel in wait(list(running), timeout=1.0):
                process, begun = running.pop(cast("int", sentinel))
                process.join()
                if not stopping and time.monotonic() - begun < _TOO_SOON:
                    failed = True
                    hand_on(0, None)
                elif not stopping:
                    start()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if failed:
        raise RuntimeError("A process of the server ended as soon as it had started.")


def _run(target: Callable[..., None], *arguments: Any) -> None:
    """What each process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(*arguments)


def _end_with_parent() -> None:
    """Nobody could end a process whose parent is gone, and it would keep the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
