"""Where the log of ``rxllm serve`` goes, which no request waits for."""

import contextlib
import logging
import os
import queue
import threading
from typing import Final

__all__ = ["LogWriter"]

# Some four megabytes of lines that nobody has read yet.
_MOST_LINES: Final = 10_000

# What a line waits, in seconds, where its process ends and nobody reads.
_LAST_WORDS: Final = 1.0


class LogWriter(logging.Handler):
    """Writes each record as a line, on a thread of its own: a log that nobody reads fills a pipe, and holds up nobody.

    So many lines wait until they are read; of those that come then, their number is all that is kept, and a line tells
    it where they would have stood. A descriptor that has been closed at its other end is written to no more.

    Args:
        descriptor: of the file to write to.
        most: how many lines may wait.
    """

    def __init__(self, descriptor: int, most: int = _MOST_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._lost = 0
        self._closed = False
        # Where it stands still in a write at the end, it is left there.
        self._thread = threading.Thread(target=self._write, name="rxllm-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Has the record written."""
        try:
            self._put(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # noqa: BLE001  as logging's own handlers do: no request fails of its log
            self.handleError(record)

    def close(self) -> None:
        """Waits until all has been written, but not for long."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(queue.Full):
                self._put(None, _LAST_WORDS)
                self._thread.join(_LAST_WORDS)
        super().close()

    def _put(self, line: str | None, seconds: float | None = None) -> None:
        if self._lost:
            self._lines.put(f'{{"lost_lines": {self._lost}}}', block=seconds is not None, timeout=seconds)
            self._lost = 0
        self._lines.put(line, block=seconds is not None, timeout=seconds)

    def _write(self) -> None:
        reader = True
        while (line := self._lines.get()) is not None:
            data = f"{line}\n".encode(errors="backslashreplace")
            while reader and data:
                try:
                    # Of several processes that write to one pipe, each writes a line at once, so that it stays whole.
                    data = data[os.write(self._descriptor, data) :]
                except OSError:
                    reader = False
