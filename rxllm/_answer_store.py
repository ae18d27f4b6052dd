"""What ``cached()`` keeps its answers in: a folder of files, and what an answer looks like there."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from rxllm._plain import canonical_json, chunk_from, json_line, plain_chunk
from rxllm.types import ModelResponseStream, Request

__all__ = ["AnswerStore", "FolderStore", "answer_from", "answer_text", "key_of"]

_VERSION = 1


class AnswerStore(Protocol):
    """What of a ``MutableMapping`` is needed."""

    def __getitem__(self, key: str, /) -> str | bytes: ...

    def __setitem__(self, key: str, value: str, /) -> None: ...


class FolderStore:
    """A folder with a file for each key. Each is put in its place whole, so that several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, key: str, /) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            pass
        raise KeyError(key)

    def __setitem__(self, key: str, value: str, /) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(value)
            Path(temporary).replace(self._path(key))
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def _path(self, key: str) -> Path:
        # A key of the caller's own may be anything; one of ours is as good as any name.
        return self._folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.json"


def key_of(request: Request) -> str:
    """A key for what was asked for: the same for the same model, messages and parameters, whatever their order.

    Raises:
        TypeError: a parameter has no form in JSON.
    """
    asked = [request.provider, request.model, request.wire_model, request.messages, request.params]
    return hashlib.sha256(canonical_json(asked).encode()).hexdigest()


def answer_text(chunks: Sequence[ModelResponseStream]) -> str:
    """A whole answer as text."""
    return json_line({"rxllm_answer": _VERSION, "chunks": [plain_chunk(chunk) for chunk in chunks]}).decode()


def answer_from(text: str | bytes) -> list[ModelResponseStream]:
    """The chunks of an answer that was written so.

    Raises:
        TypeError, ValueError: it is none.
    """
    given: Any = json.loads(text)
    answer = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if answer.get("rxllm_answer") != _VERSION:
        raise ValueError("it is no answer that this version has stored")
    return [chunk_from(chunk) for chunk in answer["chunks"]]
