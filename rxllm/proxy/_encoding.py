"""Chunks as server-sent events, and whole responses as JSON, in OpenAI's form."""

import secrets
import time
from typing import Any, Final

from rxllm._plain import json_line
from rxllm.exceptions import APIResponseValidationError
from rxllm.types import ModelResponse, ModelResponseStream, Usage

__all__ = ["DONE", "ChunkEncoder", "whole_body"]

DONE: Final = b"data: [DONE]\n\n"
"""The end that clients look for."""

# Members that strict clients miss.
_ALWAYS: Final = ("id", "object", "created", "model", "choices")
_ALWAYS_OF_A_CHOICE: Final = ("index", "delta", "finish_reason")
_HIDDEN: Final = {"usage"}


class ChunkEncoder:
    r"""The chunks of one answer as events, and what the log is to know of them.

    What an OpenAI chunk always has, each has; of the rest what was set. Usage is seen where it was asked for, on a
    chunk of its own, and nowhere else. What operators say to one another (``tool_result``) is passed over.

    Args:
        model: what chunks are said to be of that do not say it themselves.
        include_usage: whether the client asked for it.

    Attributes:
        events: how many there were.
        usage: the tokens, once they are known.

    >>> encoder = ChunkEncoder("gpt-4")
    >>> chunk = ModelResponseStream.of("Hel")
    >>> chunk.id, chunk.created = "c1", 1
    >>> encoder.encode(chunk).decode().rstrip()  # doctest: +ELLIPSIS
    'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}],...}'
    >>> encoder.end()
    b'data: [DONE]\n\n'
    """

    def __init__(self, model: str, *, include_usage: bool = False) -> None:
        self.events = 0
        self.usage: Usage | None = None
        self._model = model
        self._include_usage = include_usage
        self._usage_due = False
        self._last: ModelResponseStream | None = None
        self._id = ""
        self._created = 0
        self._to_json = ModelResponseStream.__pydantic_serializer__.to_json

    def encode(self, chunk: ModelResponseStream) -> bytes:
        """The event of this chunk; nothing where it says nothing to a client.

        Raises:
            APIResponseValidationError: the answer began anew, which no client can be told that has its beginning.
        """
        choices = chunk.choices
        if not choices and self._is_marker(chunk):
            return b""
        chunk.__pydantic_fields_set__.update(_ALWAYS)
        if not (chunk.id and chunk.created and chunk.model):
            self._name(chunk)
        for choice in choices:
            choice.__pydantic_fields_set__.update(_ALWAYS_OF_A_CHOICE)
        usage = chunk.usage
        if usage is None:
            if chunk.reported_usage is not None:
                self.usage = chunk.reported_usage
        else:
            self.usage, self._last = usage, chunk
            if choices:
                self._usage_due = self._include_usage
            elif not self._include_usage:
                return b""
        self.events += 1
        try:
            data = self._to_json(chunk, exclude_unset=True, exclude=_HIDDEN if usage is not None and choices else None)
        except ValueError:  # half of a surrogate pair, which UTF-8 has no place for
            return b"data: " + json_line(chunk.model_dump(exclude_unset=True)) + b"\n"
        return b"data: %b\n\n" % data

    def end(self) -> bytes:
        """The end: what is still to be said of usage, and ``[DONE]``."""
        last = self._last
        if not self._usage_due or last is None:
            return DONE
        self._usage_due = False
        return self.encode(last.model_copy(update={"choices": []})) + DONE

    def _is_marker(self, chunk: ModelResponseStream) -> bool:
        if chunk.restart is not None and self.events:
            raise APIResponseValidationError(
                f"The answer began anew after a part of it had been sent ({chunk.restart}): ask again."
            )
        return chunk.restart is not None or chunk.tool_result is not None

    def _name(self, chunk: ModelResponseStream) -> None:
        """What operators make has no name of its own."""
        if not self._id:
            self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        named: dict[str, Any] = vars(chunk)
        named["id"] = chunk.id or self._id
        named["created"] = chunk.created or self._created
        named["model"] = chunk.model or self._model


def whole_body(response: ModelResponse, model: str) -> bytes:
    """A whole response as JSON, with what OpenAI's always has."""
    body = response.model_dump(exclude_none=True)
    body["id"] = response.id or f"chatcmpl-{secrets.token_hex(12)}"
    body["created"] = response.created or int(time.time())
    body["model"] = response.model or model
    for choice in body["choices"]:
        choice.setdefault("finish_reason", None)
        choice.setdefault("logprobs", None)
        choice["message"].setdefault("content", None)
        choice["message"].setdefault("refusal", None)
    return json_line(body)
