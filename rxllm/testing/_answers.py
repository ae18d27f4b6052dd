"""What a server of tests says: parts as a test gives them, in the form that the request wants."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from rxllm._assembly import ResponseBuilder
from rxllm.types import ModelResponse, ModelResponseStream, Usage

__all__ = ["Answer", "Fault", "Part"]

Part = str | bytes | Mapping[str, Any] | ModelResponseStream | ModelResponse
Fault = Literal["truncated", "reset", "stalled"]

_EVENT_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """See ``LLMServer.answer()``, whose arguments these are."""

    parts: tuple[Part, ...]
    status: int = 200
    finish: str | None = "stop"
    usage: Usage | Mapping[str, Any] | None = None
    content_type: str | None = None
    headers: Mapping[str, str]
    delay: float = 0.0
    pause: float = 0.0
    cut: int | None = None
    fault: Fault | None = None
    when: Callable[[Any], bool] | None = None

    def check(self) -> None:
        """Raises unless this can be sent."""
        for part in self.parts:
            given: Any = part
            if not isinstance(given, str | bytes | Mapping | ModelResponseStream | ModelResponse):
                raise TypeError(
                    f"a part of an answer is text, bytes, a dictionary, a chunk or a response, not {part!r}"
                )
        if not 200 <= self.status < 600:
            raise ValueError(f"status is an HTTP status from 200 on, not {self.status}")
        if self.cut is not None and self.cut < 1:
            raise ValueError(f"cut is 1 byte or more, not {self.cut}")
        if not (self.delay >= 0 and self.pause >= 0):
            raise ValueError("delay and pause are seconds, 0 or more")
        if self.fault not in {None, "truncated", "reset", "stalled"}:
            raise ValueError(f'fault is "truncated", "reset" or "stalled", not {self.fault!r}')
        # What cannot be written is noticed where it is given.
        self.content({"stream": True})

    def content(self, asked: Any) -> tuple[str, list[bytes]]:
        """The content type and the body, in the pieces that it is sent in, for a request with this JSON."""
        kind, pieces = self._content(asked if isinstance(asked, dict) else {})  # pyright: ignore[reportUnknownArgumentType]
        if self.cut is not None:
            body = b"".join(pieces)
            pieces = [body[at : at + self.cut] for at in range(0, len(body), self.cut)]
        return kind, [piece for piece in pieces if piece]

    def _content(self, asked: Mapping[str, Any]) -> tuple[str, list[bytes]]:
        if self.status >= 400:  # an HTTP status
            return self.content_type or _JSON, [self._refusal()]
        if not all(_is_openai(part) for part in self.parts):
            kind = self.content_type or _EVENT_STREAM
            return kind, [part if isinstance(part, bytes) else _framed(_plain(part), kind) for part in self.parts]
        model = str(asked.get("model", ""))
        common = {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": model}
        chunks = [{**common, **chunk} for chunk in self._chunks()]
        if not asked.get("stream") and self.content_type is None:
            body = json.dumps(_whole(chunks)).encode()
            return _JSON, [body[: len(body) // 2] if self.fault else body]
        kind = self.content_type or _EVENT_STREAM
        last = [] if self.fault else [b"data: [DONE]\n\n"]
        return kind, [*(_framed(chunk, kind) for chunk in chunks), *last]

    def _refusal(self) -> bytes:
        (part,) = self.parts or (f"The test's server answers with the status {self.status}",)
        if isinstance(part, bytes):
            return part
        body = part if isinstance(part, Mapping) else {"error": {"message": part, "type": "test", "code": None}}
        return json.dumps(body).encode()

    def _chunks(self) -> Iterator[dict[str, Any]]:
        finished = False
        for part in self.parts:
            for chunk in _as_chunks(part):
                finished = finished or any(choice.get("finish_reason") for choice in chunk["choices"])
                yield chunk
        if self.fault is not None:
            return
        if self.finish is not None and not finished:
            yield _chunk({}, self.finish)
        if self.usage is not None:
            yield {"choices": [], "usage": Usage.model_validate(self.usage).model_dump(exclude_unset=True)}


def _is_openai(part: Part) -> bool:
    return not isinstance(part, bytes) and (not isinstance(part, Mapping) or "choices" in part)


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def _as_chunks(part: Any) -> Iterable[dict[str, Any]]:
    if isinstance(part, str):
        return [_chunk({"content": part})]
    if isinstance(part, ModelResponseStream):
        plain = part.model_dump(exclude_unset=True)
        reported = part.reported_usage
        return [{"choices": [], **plain, **({"usage": reported.model_dump()} if reported else {})}]
    if isinstance(part, ModelResponse):
        return _chunks_of(part.model_dump(exclude_none=True))
    whole: Any = dict(part)
    return _chunks_of(whole) if any("message" in choice for choice in whole["choices"]) else [whole]


def _chunks_of(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a whole response: one for each choice, and one for the usage."""
    common = {name: response[name] for name in ("id", "created", "model") if response.get(name)}
    for choice in response["choices"]:
        delta = dict(choice["message"])
        calls: list[dict[str, Any]] = delta.get("tool_calls") or []
        if calls:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        yield {**common, **_chunk(delta, choice.get("finish_reason"), choice.get("index", 0))}
    if response.get("usage"):
        yield {**common, "choices": [], "usage": response["usage"]}


def _whole(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The chunks as one answer, for who asks for no stream."""
    builder = ResponseBuilder()
    for chunk in chunks:
        builder.add(ModelResponseStream.model_validate(chunk))
    return builder.response().model_dump(exclude_none=True)


def _plain(part: Any) -> Mapping[str, Any]:
    if isinstance(part, Mapping):
        return cast("Mapping[str, Any]", part)
    raise TypeError(f"beside bytes and events of another dialect there can be no {type(part).__name__}")


def _framed(event: Mapping[str, Any], content_type: str) -> bytes:
    """An event in the frame of its content type."""
    data = json.dumps(event)
    if content_type.startswith(_JSON):
        return data.encode()
    if not content_type.startswith(_EVENT_STREAM):
        return f"{data}\n".encode()
    # Who names the kind of an event within it, names it before it too: Anthropic, and OpenAI's Responses.
    kind = event.get("type")
    return f"{f'event: {kind}' + chr(10) if kind else ''}data: {data}\n\n".encode()
