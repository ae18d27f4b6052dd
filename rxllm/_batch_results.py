"""The output of ``rxllm batch``: a line of JSON for each result, in the form of OpenAI's batches, and a little more.

::

    {"custom_id": "line-7", "line": 7, "request": "5f1c...", "response": {"status_code": 200, "request_id": "req_1",
     "body": {...}}, "error": null, "attempts": 1, "seconds": 0.412}
    {"custom_id": "line-8", "line": 8, "request": "a07e...", "response": null, "error": {"class": "RateLimitError",
     "message": "Slow down", "status_code": 429, ...}, "attempts": 1, "seconds": 9.125}

``body`` is the response, its usage in it. ``request`` is the fingerprint of what was asked. Each line is written at
once, in one piece: whoever is killed leaves whole lines, and the beginning of one at most.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from rxllm._batch import BatchResult
from rxllm._batch_prompts import Prompt, PromptFile
from rxllm._plain import json_line, plain_error

try:
    import fcntl
except ImportError:  # Windows has none: two processes on one file are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["ResultsFile"]

# With what each line begins: what begins otherwise is not ours to cut off.
_BEGINNING: Final = b'{"custom_id":'


class ResultsFile:
    """The results of the prompts of one file, held by one process at a time.

    Making it changes nothing but that an empty file is there. ``settle()`` looks through the results of an earlier run.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no regular file, or another process holds it.
    """

    def __init__(self, path: Path, prompts: PromptFile) -> None:
        # What a link leads to is replaced, and not the link.
        self._path = path.resolve()
        self._shown = path
        self._prompts = prompts
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no regular file, which results have to be in: a second run goes on with it")
        if path.exists() and path.samefile(prompts.path):
            raise ValueError(f"{path} holds the prompts: the results need a file of their own")
        if not self._path.parent.is_dir():
            raise ValueError(f"{path} cannot be made: there is no folder {path.parent}")
        self._file = self._held()

    def settle(self) -> bytearray:
        """Which prompts have a response: a 1 at the place of each that has one, else a 0.

        The lines of these stay. Those of errors are dropped, as is the beginning of a line at the end: these prompts
        are to be asked again.

        Raises:
            OSError: the file cannot be read or written.
            ValueError: something in it is no result of these prompts; nothing has been changed then.
        """
        answered = bytearray(len(self._prompts))
        dropped: set[int] = set()
        whole = 0
        with self._path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    if text[: len(_BEGINNING)] != _BEGINNING[: len(text)]:
                        raise self._foreign(number)
                    break
                whole += len(text)
                place = self._answered_place(text, number)
                if place is None or answered[place]:
                    dropped.add(number)
                else:
                    answered[place] = 1
        if dropped:
            self._drop(dropped, whole)
        elif whole < self._file.seek(0, os.SEEK_END):
            self._file.truncate(whole)
        return answered

    def add(self, prompt: Prompt, result: BatchResult) -> None:
        """Appends a result.

        Raises:
            OSError: it cannot be written, or the file has been taken away.
        """
        if not self._is_in_place(self._file):
            raise OSError(f"{self._shown} has been taken away or replaced: what comes now would be lost")
        response = None
        if result.response is not None:
            body = result.response.model_dump()
            response = {"status_code": 200, "request_id": result.response.request_id, "body": body}
        line = json_line(
            {
                "custom_id": prompt.custom_id,
                "line": prompt.line,
                "request": self._prompts.fingerprint(prompt.place),
                "response": response,
                "error": None if result.error is None else plain_error(result.error),
                "attempts": result.attempts,
                "seconds": round(result.seconds, 3),
            }
        )
        rest = memoryview(line)
        try:
            while rest:  # once, unless the disk is nearly full
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._shown)) from None

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _answered_place(self, text: bytes, number: int) -> int | None:
        """Which prompt has this line's response; ``None`` where it has none."""
        try:
            line: Any = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise self._foreign(number)
        members = cast("dict[str, Any]", line)
        custom_id, response = members.get("custom_id"), members.get("response")
        if not isinstance(custom_id, str) or "request" not in members:
            raise self._foreign(number)
        place = self._prompts.place_of(custom_id)
        if place is None:
            raise ValueError(
                f"{self._shown}, line {number}: it is the result of {custom_id!r}, which {self._prompts.name} has not: "
                "results of other prompts need a file of their own"
            )
        if not response:
            # Of what failed, the prompt may have been mended.
            return None
        if members["request"] != self._prompts.fingerprint(place):
            raise ValueError(
                f"{self._shown}, line {number}: it is the result of {custom_id!r}, and that prompt "
                f"({self._prompts.name}, line {self._prompts.line_of(place)}), its model or an option has been changed "
                "since: another batch needs a file of its own"
            )
        return place

    def _foreign(self, number: int) -> ValueError:
        return ValueError(f"{self._shown}, line {number}: it is no result of rxllm batch: choose another file")

    def _held(self) -> BinaryIO:
        """The file, opened and locked."""
        while True:
            file = self._path.open("ab", buffering=0)
            try:
                self._lock(file)
            except BaseException:
                file.close()
                raise
            # Whoever held it before may have put another in its place meanwhile.
            if self._is_in_place(file):
                return file
            file.close()

    def _is_in_place(self, file: BinaryIO) -> bool:
        """Whether what is open is still what the path leads to."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _lock(self, file: BinaryIO) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        except OSError:
            # Some network file systems know no locks.
            held = False
        else:
            held = False
        if held:
            raise ValueError(f"{self._shown} is being written by another process")

    def _drop(self, dropped: set[int], whole: int) -> None:
        """Puts a file without these lines, and without what comes after the whole ones, in the place of this one."""
        beside = self._path.with_name(f"{self._path.name}.part")
        try:
            self._write_without(dropped, whole, beside)
        except OSError as error:  # as of a disk that is full
            beside.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self._shown)) from None
        shutil.copymode(self._path, beside)
        file = beside.open("ab", buffering=0)
        # Held before it is in its place, so that nobody else comes in between.
        self._lock(file)
        if fcntl is None:  # and where there are no locks, there is no replacing of what is open either
            file.close()
            self._file.close()
            beside.replace(self._path)
            self._file = self._path.open("ab", buffering=0)
            return
        beside.replace(self._path)
        self._file.close()
        self._file = file

    def _write_without(self, dropped: set[int], whole: int, path: Path) -> None:
        """Writes the whole lines, but for these, to another file."""
        with self._path.open("rb") as old, path.open("wb") as new:
            for number, text in enumerate(old, 1):
                if old.tell() > whole:
                    break
                if number not in dropped:
                    new.write(text)
            new.flush()
            os.fsync(new.fileno())
