"""The file that ``record()`` writes and ``replay()`` reads: JSON lines, so that a crash costs the last one at most.

::

    {"rxllm_recording": 1, "request": {"model": "gpt-4", "messages": [...], "params": {...}, ...}}
    {"at": 0.412, "chunk": {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}}
    {"at": 0.98, "end": "completed"}        or "left", where the consumer has; or {"at": 0.98, "error": {...}}

``at`` is the time since the subscription, in seconds. Each line is written at once, in one piece.
"""

import json
import threading
import time
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast
from weakref import finalize

from rxllm._faults import reason_of
from rxllm._plain import chunk_from, error_from, json_line, plain_chunk, plain_error
from rxllm._secrets import hidden_parameters
from rxllm.exceptions import IncompleteStreamError
from rxllm.types import ModelResponseStream, Request

__all__ = ["Ending", "RecordingReader", "RecordingWriter", "request_in"]

_VERSION: Final = 1

Ending = Exception | None
"""How a recording ends: with an error, or whole."""


class RecordingWriter:
    """Writes one recording, to a file that is new; of any thread's calls after the end none does anything.

    Raises:
        OSError: the file cannot be made, or is there already.
    """

    def __init__(self, path: Path, request: Request | None) -> None:
        self._file = _new_file(path)
        # Where a consumer has raised, reactivex disposes of nothing, and the file goes with the subscription.
        finalize(self, self._file.close)
        self._lock = threading.Lock()
        asked = None
        if request is not None:
            asked = {member.name: getattr(request, member.name) for member in fields(request)}
            asked["params"] = hidden_parameters(request.params)
        self._write({"rxllm_recording": _VERSION, "request": asked})

    def chunk(self, at: float, chunk: ModelResponseStream) -> None:
        """A chunk, when it came."""
        self._write({"at": round(at, 6), "chunk": plain_chunk(chunk)})

    def end(self, at: float, how: Literal["completed", "left"]) -> None:
        """The stream is whole, or its consumer has left before; closes the file."""
        self._last({"at": round(at, 6), "end": how})

    def error(self, at: float, error: Exception) -> None:
        """The stream has failed; closes the file."""
        self._last({"at": round(at, 6), "error": plain_error(error)})

    def _write(self, entry: dict[str, Any]) -> None:
        line = json_line(entry)
        with self._lock:
            if not self._file.closed:
                self._file.write(line)

    def _last(self, entry: dict[str, Any]) -> None:
        try:
            self._write(entry)
        finally:
            with self._lock:
                self._file.close()


def _new_file(path: Path) -> BinaryIO:
    """The file, which is not there yet; in a folder, one that is called after the time."""
    if not path.is_dir():
        return path.open("xb", buffering=0)
    begun = time.strftime("%Y%m%dT%H%M%S")
    for number in count(1):
        try:
            return (path / f"{begun}-{number}.jsonl").open("xb", buffering=0)
        except FileExistsError:
            continue
    raise AssertionError


def request_in(path: Path) -> Request | None:
    """The request that a recording is of.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no recording.
    """
    reader = RecordingReader(path)
    reader.close()
    return reader.request


class RecordingReader:
    """Reads one recording, line by line.

    Attributes:
        request: what was asked for.
        left: whether the recording has ended because its consumer had left; one that breaks off does not say how the
            stream ended.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no recording.
    """

    def __init__(self, path: Path) -> None:
        self.left = False
        self._path = path
        self._file = path.open("rb")
        self._number = 0
        try:
            self.request = self._head()
        except BaseException:
            self.close()
            raise

    def next(self) -> tuple[float, ModelResponseStream | Ending]:
        """When the next chunk came, and the chunk; or when and how the recording ends.

        Raises:
            ValueError: a line is none of a recording.
        """
        line = self._line()
        if line is None:
            return 0.0, IncompleteStreamError(f"{self._path} breaks off after line {self._number}", code="abandoned")
        at: Any = line.get("at")
        if not isinstance(at, int | float):
            raise self._foreign('it has no time "at"')
        try:
            if "chunk" in line:
                return at, chunk_from(line["chunk"])
            if "error" in line:
                return at, error_from(line["error"])
        except (TypeError, ValueError) as error:
            reason = reason_of(error)
        else:
            if line.get("end") == "completed":
                return at, None
            if line.get("end") == "left":
                self.left = True
                return at, IncompleteStreamError(f"{self._path} ends where its consumer had left", code="left")
            reason = "it is neither a chunk nor an end"
        raise self._foreign(reason)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _head(self) -> Request | None:
        line = self._line()
        if line is None or "rxllm_recording" not in line:
            raise self._foreign("it is not the beginning of a recording by record()")
        if line["rxllm_recording"] != _VERSION:
            raise self._foreign(f"it is a recording of version {line['rxllm_recording']!r}, and this reads {_VERSION}")
        try:
            return Request(**line["request"]) if line.get("request") else None
        except TypeError as error:
            reason = str(error)
        raise self._foreign(reason)

    def _line(self) -> dict[str, Any] | None:
        """The next line; ``None`` where the file ends, be it in the middle of one."""
        text = self._file.readline()
        if not text.endswith(b"\n"):
            return None
        self._number += 1
        try:
            line: Any = json.loads(text)
        except ValueError as error:
            reason = str(error)
        else:
            if isinstance(line, dict):
                return cast("dict[str, Any]", line)
            reason = "it is no object"
        raise self._foreign(reason)

    def _foreign(self, reason: str) -> ValueError:
        return ValueError(f"{self._path}, line {max(self._number, 1)}: {reason}")
