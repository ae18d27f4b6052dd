"""A whole response, put together from its chunks: a pure accumulator."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

from rxllm._tool_calls import ObjectInPieces, ToolCalls, join_text
from rxllm.types import Choices, Delta, Message, ModelResponse, ModelResponseStream, StreamingChoices, Usage

__all__ = ["ResponseBuilder"]

# Random padding against the guessing of token lengths, new on each chunk.
_PADDING = frozenset({"obfuscation", "p"})
_TEXT_ALONE = {"content"}


class _Message:
    """One choice being put together."""

    __slots__ = (
        "annotations", "audio", "audio_data", "content", "extra", "finish_reason", "function_call", "logprobs",
        "native_finish_reason", "provider_specific_fields", "reasoning", "refusal", "role", "thinking_blocks",
        "tool_calls", "transcript",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self.role = ""
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tool_calls = ToolCalls(index)
        self.function_call: ObjectInPieces | None = None
        self.thinking_blocks: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.audio: dict[str, Any] = {}
        self.audio_data: list[str] = []
        self.transcript: list[str] = []
        self.provider_specific_fields: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.logprobs: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None

    def add(self, choice: StreamingChoices) -> None:
        delta = choice.delta
        if delta.content:
            self.content.append(delta.content)
        if delta.reasoning_content:
            self.reasoning.append(delta.reasoning_content)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self.tool_calls.add(call)
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
            self.native_finish_reason = choice.native_finish_reason
        if choice.logprobs:
            _merge(self.logprobs, choice.logprobs)
        if delta.model_fields_set != _TEXT_ALONE:
            self._add_rest(delta)

    def _add_rest(self, delta: Delta) -> None:
        """What most chunks do not have."""
        if delta.role and not self.role:
            self.role = delta.role
        if delta.refusal:
            self.refusal.append(delta.refusal)
        if delta.thinking_blocks:
            self.thinking_blocks += delta.thinking_blocks
        if delta.annotations:
            self.annotations += delta.annotations
        if delta.audio:
            audio = dict(delta.audio)
            self.audio_data.append(audio.pop("data", None) or "")
            self.transcript.append(audio.pop("transcript", None) or "")
            self.audio.update((key, value) for key, value in audio.items() if value is not None)
        if delta.provider_specific_fields:
            _merge(self.provider_specific_fields, delta.provider_specific_fields)
        if delta.model_extra:
            # Lists and objects, as the reasoning details that have to be sent back; not the padding and the counters.
            extra: dict[str, Any] = {k: v for k, v in delta.model_extra.items() if isinstance(v, (list, dict))}
            call: Any = extra.pop("function_call", None)
            if isinstance(call, dict):
                self.function_call = self.function_call or ObjectInPieces("arguments")
                self.function_call.add(cast("dict[str, Any]", call))
            _merge(self.extra, extra)

    def whole(self, index: int) -> Choices:
        calls = self.tool_calls.all() or None
        refusal = join_text(self.refusal) or None
        audio = self._whole_audio()
        called = {} if self.function_call is None else {"function_call": self.function_call.whole()}
        # Beside something else than text, no text is null, as in an answer that was not streamed.
        blank = None if calls or called or refusal or audio else ""
        message = Message(
            role=self.role or "assistant",
            content=join_text(self.content) or blank,
            tool_calls=calls,
            reasoning_content=join_text(self.reasoning) or None,
            refusal=refusal,
            thinking_blocks=self.thinking_blocks or None,
            annotations=self.annotations or None,
            audio=audio,
            provider_specific_fields=self.provider_specific_fields or None,
            **self.extra,
            **called,
        )
        return Choices(
            index=index,
            message=message,
            finish_reason=self.finish_reason,
            native_finish_reason=self.native_finish_reason,
            logprobs=self.logprobs or None,
        )

    def _whole_audio(self) -> dict[str, Any] | None:
        if not self.audio_data:
            return None
        return {**self.audio, "data": _join_base64(self.audio_data), "transcript": join_text(self.transcript)}


class ResponseBuilder:
    """Puts the chunks of one completion together.

    Text is kept in pieces and joined once, so that time and memory follow what came; no chunk is kept.

    >>> builder = ResponseBuilder()
    >>> for piece in ("Hel", "lo"):
    ...     builder.add(ModelResponseStream.of(piece))
    >>> builder.add(ModelResponseStream.of(finish_reason="stop"))
    >>> choice = builder.response().choices[0]
    >>> choice.message.content, choice.finish_reason
    ('Hello', 'stop')
    """

    __slots__ = ("_created", "_extra", "_fingerprint", "_headers", "_id", "_messages", "_model", "usage")

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Begins anew, as after a marker that says that all before it is void."""
        self._id = ""
        self._model = ""
        self._created = 0
        self._fingerprint: str | None = None
        self._headers: dict[str, str] | None = None
        self._extra: dict[str, Any] = {}
        self._messages: dict[int, _Message] = {}
        self.usage: Usage | None = None
        """What was reported last, publicly or not."""

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk in."""
        if not chunk.choices:
            if chunk.restart is not None:
                self._forget()
                return
            if chunk.tool_result is not None:
                return
        for choice in chunk.choices:
            message = self._messages.get(choice.index)
            if message is None:
                message = self._messages[choice.index] = _Message(choice.index)
            message.add(choice)
        usage = chunk.usage or chunk.reported_usage
        if usage is not None:
            self.usage = usage
        if not (self._id and self._model and self._created):
            self._id = self._id or chunk.id
            self._model = self._model or chunk.model
            self._created = self._created or chunk.created
        if chunk.system_fingerprint and not self._fingerprint:
            self._fingerprint = chunk.system_fingerprint
        if chunk.response_headers and self._headers is None:
            self._headers = chunk.response_headers
        if chunk.model_extra:
            self._extra.update(
                (key, value) for key, value in chunk.model_extra.items() if value is not None and key not in _PADDING
            )

    def response(self) -> ModelResponse:
        """The response as far as it has come; more chunks may follow."""
        response = ModelResponse(
            id=self._id,
            choices=[self._messages[index].whole(index) for index in sorted(self._messages)],
            created=self._created,
            model=self._model,
            system_fingerprint=self._fingerprint,
            usage=self.usage,
            **{key: value for key, value in self._extra.items() if key not in ModelResponse.model_fields},
        )
        response.response_headers = self._headers
        return response


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Adds ``new``: lists are appended to, objects merged, anything else but null replaces what was there."""
    for key, value in new.items():
        if isinstance(value, list):
            if not isinstance(into.get(key), list):
                into[key] = []
            into[key].extend(new[key])  # noqa: PLR1733  `value` is a list of unknown type here
        elif isinstance(value, dict):
            if not isinstance(into.get(key), dict):
                into[key] = {}
            _merge(into[key], new[key])  # noqa: PLR1733  likewise
        elif value is not None or key not in into:
            into[key] = value


def _join_base64(pieces: list[str]) -> str:
    """Base64 in pieces as one; pieces that were padded on their own are decoded first."""
    if not any(piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except binascii.Error:
        return "".join(pieces)
