"""SIGTERM, which ends a command as Ctrl-C does."""

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

__all__ = ["Terminated", "sigterm_as_ctrl_c"]


class Terminated(KeyboardInterrupt):
    """What SIGTERM raises, for those who go on after Ctrl-C."""


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Generator[None, None, None]:
    """Within the block SIGTERM is what Ctrl-C is; once all is left in order, the process ends by it after all.

    So requests are cancelled, the terminal is as it was, and whoever sent the signal sees that it was obeyed.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    came = False

    def interrupt(_: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        ctrl_c = signal.getsignal(signal.SIGINT)
        # An event loop has a handler of its own. What a shell starts in the background has none.
        if callable(ctrl_c) and ctrl_c is not signal.default_int_handler:
            ctrl_c(signal.SIGINT, frame)
        else:
            raise Terminated

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if came:
            signal.raise_signal(signal.SIGTERM)
