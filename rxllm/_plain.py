"""Chunks, requests and errors as JSON, and back: for what is kept on a disk or in a store."""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from rxllm import exceptions
from rxllm.exceptions import APIError
from rxllm.types import BlankChoices, ModelResponseStream, ToolResult, Usage

__all__ = ["canonical_json", "chunk_from", "error_from", "json_line", "plain_chunk", "plain_error"]

# Of an error's headers, what says when to come back and how much is left; others may hold cookies.
_KEPT_HEADERS: Final = ("retry-after", "x-ratelimit-", "anthropic-ratelimit-")


def json_line(value: Any) -> bytes:
    """One line of JSON, in ASCII, so that the half of a surrogate pair has a place in it; what has no form is told."""
    return json.dumps(value, default=_told, separators=(",", ":")).encode() + b"\n"


def canonical_json(value: Any) -> str:
    """JSON that is the same for the same value, in whatever order its members were given.

    Raises:
        TypeError: something in it has no form in JSON.

    >>> canonical_json({"b": 1, "a": (2,)})
    '{"a":[2],"b":1}'
    """
    return json.dumps(value, default=_formed, separators=(",", ":"), sort_keys=True)


def _formed(value: Any) -> Any:
    """What stands for a value that ``json`` does not know."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return {"title": value.__name__, "schema": value.model_json_schema()}
    try:
        return to_jsonable_python(value)
    except ValueError as error:
        reason = str(error)
    raise TypeError(reason)


def _told(value: Any) -> Any:
    try:
        return _formed(value)
    except TypeError:
        return repr(value)


def plain_chunk(chunk: ModelResponseStream) -> dict[str, Any]:
    """What was set of a chunk, and the usage that rides on it unseen.

    >>> plain_chunk(ModelResponseStream.of("Hel"))
    {'choices': [{'index': 0, 'delta': {'content': 'Hel'}, 'finish_reason': None}]}
    """
    plain = chunk.model_dump(exclude_unset=True)
    if chunk.reported_usage is not None:
        plain["reported_usage"] = chunk.reported_usage.model_dump(exclude_unset=True)
    return plain


def chunk_from(plain: Any) -> ModelResponseStream:
    """The chunk that was written so.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(plain, dict):
        raise TypeError("a chunk is an object")
    members = dict(cast("dict[str, Any]", plain))
    reported = members.pop("reported_usage", None)
    if "tool_result" in members:
        members["tool_result"] = ToolResult.model_validate(members["tool_result"])
    chunk = ModelResponseStream.model_validate(members)
    if "choices" in members and not chunk.choices:
        chunk.choices = BlankChoices()
    if reported is not None:
        chunk.reported_usage = Usage.model_validate(reported)
    return chunk


def plain_error(error: Exception) -> dict[str, Any]:
    """An error's class, message and what it holds, without the headers that may hold a secret.

    >>> plain_error(ValueError("no"))
    {'class': 'ValueError', 'message': 'no'}
    """
    plain: dict[str, Any] = {"class": type(error).__name__, "message": str(error)}
    if isinstance(error, APIError):
        held = {**error.__dict__, "headers": _kept(error.headers)}
        plain |= {
            name: value for name, value in held.items() if value is not None and name not in {"message", "__notes__"}
        }
    if notes := getattr(error, "__notes__", None):
        plain["notes"] = list(notes)
    return plain


def error_from(plain: Any) -> Exception:
    """The error that was written so; one that is none of this library's is a ``RuntimeError`` that tells of it.

    Raises:
        TypeError: it is none.

    >>> error_from({"class": "RateLimitError", "message": "Slow down", "status_code": 429})
    RateLimitError('Slow down')
    """
    if not isinstance(plain, dict):
        raise TypeError("an error is an object")
    members = dict(cast("dict[str, Any]", plain))
    name, message = members.pop("class", "Exception"), members.pop("message", "")
    notes = members.pop("notes", ())
    error: Exception
    if name in exceptions.__all__:
        error = getattr(exceptions, name)(message)
        usage = members.pop("usage", None)
        error.__dict__.update(members)
        if usage is not None:
            error.__dict__["usage"] = Usage.model_validate(usage)
    else:
        error = RuntimeError(f"{name}: {message}")
    for note in notes:
        error.add_note(note)
    return error


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(_KEPT_HEADERS)}
