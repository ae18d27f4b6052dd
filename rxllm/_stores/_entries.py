"""What stands in a store: a chunk is a line of JSON, and so is how the stream has ended.

::

    {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    {"end": "completed"}        or "left", "stopped", "abandoned", "full"; or {"error": {...}}
"""

import json
from typing import Any, Final, Literal, cast

from rxllm._faults import reason_of
from rxllm._plain import chunk_from, error_from, json_line, plain_chunk, plain_error
from rxllm.exceptions import APIResponseValidationError, IncompleteStreamError
from rxllm.types import ModelResponseStream

__all__ = [
    "ABANDONED",
    "COMPLETED",
    "FULL",
    "LEFT",
    "STOPPED",
    "chunk_of",
    "ending_of",
    "entry_of",
    "incomplete",
    "outcome_of",
]

COMPLETED: Final = b'{"end":"completed"}\n'
LEFT: Final = b'{"end":"left"}\n'
STOPPED: Final = b'{"end":"stopped"}\n'
ABANDONED: Final = b'{"end":"abandoned"}\n'
FULL: Final = b'{"end":"full"}\n'

_Code = Literal["left", "stopped", "abandoned", "full", "lost"]

_TOLD: Final[dict[str, str]] = {
    "left": "its publisher's consumer has left before the end",
    "stopped": "it was stopped before its end",
    "abandoned": "its publisher was heard of no more, and has died or lost its connection to the store",
    "full": "it grew larger than its store lets one stream be",
    "lost": "the store has lost what it had of it",
}


def entry_of(chunk: ModelResponseStream) -> bytes:
    """A chunk, as it is kept."""
    return json_line(plain_chunk(chunk))


def chunk_of(number: str, entry: bytes) -> ModelResponseStream:
    """The chunk that was kept so; its ``stored_id`` is its id.

    Raises:
        APIResponseValidationError: it is none.

    >>> chunk_of("1", entry_of(ModelResponseStream.of("Hel"))).stored_id
    '1'
    """
    try:
        chunk = chunk_from(json.loads(entry))
    except (TypeError, ValueError) as error:
        reason = reason_of(error)
    else:
        vars(chunk)["stored_id"] = number
        return chunk
    raise APIResponseValidationError(f"Entry {number} of the store is no chunk: {reason}")


def ending_of(error: Exception | None) -> bytes:
    """How a stream has ended: whole, or with an error."""
    return COMPLETED if error is None else json_line({"error": plain_error(error)})


def outcome_of(key: str, ending: bytes) -> Exception | None:
    """The error that a stream has ended with, ``None`` where it is whole.

    >>> outcome_of("a", COMPLETED), outcome_of("a", LEFT).code
    (None, 'left')
    """
    try:
        given: Any = json.loads(ending)
        members = cast("dict[str, Any]", given)
        if "error" in members:
            return error_from(members["error"])
        how = members["end"]
        return None if how == "completed" else incomplete(key, how)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error)
    return APIResponseValidationError(f"How the stream {key!r} has ended cannot be read from its store: {reason}")


def incomplete(key: str, code: _Code) -> IncompleteStreamError:
    """The error of a stream that is not whole; its ``code`` says why."""
    return IncompleteStreamError(f"The stream {key!r} is not whole: {_TOLD[code]}", code=code)
