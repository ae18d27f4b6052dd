"""OpenAI's chat completions, as OpenAI and the many servers that speak like it send them."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel, ValidationError

from rxllm._decoders._events import Event
from rxllm.exceptions import APIError
from rxllm.providers._alike import Alike, Likeness
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._normalize import BrokenAnswer, WholeMessage
from rxllm.providers._reading import StreamReading, mapping, objects
from rxllm.providers._requests import endpoint, json_request, json_schema, parameters
from rxllm.types import ModelResponseStream, Request

__all__ = ["OpenAIChat", "OpenAIChatReading"]

# A larger event is looked at before it is made a chunk: it may hold any number of choices.
_SMALL: Final = 1 << 16

_ONLY_IN_ANSWERS: Final = ("thinking_blocks", "provider_specific_fields", "annotations", "parsed")


class OpenAIChat:
    r"""The wire dialect of ``POST /chat/completions``.

    >>> reading = OpenAIChat().reading(Request(model="gpt-4", messages=[]), {"content-type": "text/event-stream"})
    >>> [chunk] = reading.feed(b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n')
    >>> chunk.choices[0].delta.content, chunk.choices[0].delta.role
    ('Hello', 'assistant')
    >>> reading.feed(b"data: [DONE]\n\n"), reading.complete
    ([], True)
    """

    def __init__(self, path: str = "/chat/completions", *, reasoning: str | None = "reasoning_content") -> None:
        """A dialect at ``path``; ``reasoning`` is the field that takes an assistant's reasoning back, if any does."""
        self._path = path
        self._reasoning = reasoning

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        ``extra_body`` among the parameters is merged into the body last. A pydantic class as ``response_format``
        becomes its strict JSON schema.

        Raises:
            BadRequestError: a parameter cannot be said in JSON.
            UnsupportedParamsError: the provider has not a parameter.
        """
        body = _body(request, provider, self._reasoning)
        return json_request(request, provider, self.url(request, base_url), body, api_key)

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        return endpoint(base_url, self._path)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "OpenAIChatReading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return OpenAIChatReading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class OpenAIChatReading(StreamReading):
    """A reading whose usual events are validated straight from their bytes.

    Attributes:
        alike: what takes the events that are like one another.
    """

    alike: ClassVar[type[Alike]] = Alike

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        # What is no bytes, a named event, it refuses like what is no chunk.
        self._validate_json = cast(
            "Callable[[Event], ModelResponseStream]", ModelResponseStream.__pydantic_validator__.validate_json
        )
        self._likeness = Likeness(self._read_again, self.alike)

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        validate, add, halves = self._validate_json, self._normalizer.add, self._halves
        likeness, append = self._likeness, out.append
        known, matched = likeness.known, False
        for event in events:
            if known is not None and not halves:
                alike = known.chunk(event)
                if alike is not None:
                    append(alike)
                    matched = True
                    continue
            if not halves and len(event) < _SMALL:
                try:
                    chunk = validate(event)
                    extra = chunk.__pydantic_extra__
                    if not extra or (chunk.choices and "error" not in extra and "x_groq" not in extra):
                        add(chunk, out)
                        if self._normalizer.is_told_nothing_by(chunk) and isinstance(event, bytes):
                            likeness.learn(event, chunk, matched=matched)
                        else:
                            likeness.forget()
                        known, matched = likeness.known, False
                        continue
                except (ValidationError, WholeMessage):
                    pass  # named, or not as it should be
                except BrokenAnswer as broken:
                    self._fail(self._stream_error(broken.said), out)
                    return
            likeness.forget()
            known = None
            self._take_event(event, out)
            if self._decode is None:
                return

    def _read_again(self, event: bytes) -> ModelResponseStream | None:
        """The chunk of an event like the one that has just been taken."""
        chunk = self._validate_json(event)
        if chunk.usage is None:
            self._normalizer.add(chunk, [])
            return chunk
        return None

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            said = dict(fields)
            fields = {key: value for key, value in fields.items() if key != "error"}
            if not _has_content(fields):
                fields["choices"] = []
            if fields.get("choices") or fields.get("usage"):
                self._take_chunk(fields, out)
            self._fail(self._stream_error(said), out)
            return
        groq = fields.get("x_groq")
        if isinstance(groq, dict) and not fields.get("usage"):
            fields["usage"] = cast("dict[str, Any]", groq).get("usage")
        if not name or fields.get("choices") or fields.get("usage"):
            for choice in objects(fields.get("choices")):
                _flatten(choice.get("delta", choice.get("message")))
            self._take_chunk(fields, out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        choices = objects(payload.get("choices"))
        if not choices:
            return False
        if self._has_too_many(payload, out):
            return True
        # What is said beside the choices goes on the first of them, and what is said on each chunk of a stream on all.
        beside = {key: value for key, value in payload.items() if key not in ("choices", "usage")}
        shared = {key: beside[key] for key in ModelResponseStream.model_fields if key in beside}
        whole = any("message" in choice for choice in choices)
        for position, choice in enumerate(choices):
            fields = {**shared, **beside, "object": "chat.completion.chunk", "choices": [_as_delta(choice)]}
            beside = {}
            if position + 1 == len(choices) and "usage" in payload:
                fields["usage"] = payload["usage"]
            self._take("", fields, out)
            if self.failure is not None:
                return True
        out += self._normalizer.close()
        self._stop(complete=whole or self._normalizer.finished)
        return True


def _flatten(delta: Any) -> None:
    """Content that comes as a list of parts: its text, its thinking, and what else there is, each in its own place."""
    if not isinstance(delta, dict):
        return
    fields = cast("dict[str, Any]", delta)
    if not isinstance(fields.get("content"), list):
        return
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[dict[str, Any]] = []
    for item in cast("list[object]", fields["content"]):
        part = {"text": item} if isinstance(item, str) else mapping(item)
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif "thinking" in part:
            thinking: Any = part["thinking"]
            pieces = objects(thinking)
            thoughts += [str(piece.get("text") or "") for piece in pieces] if pieces else [str(thinking or "")]
        elif part:
            others.append(part)
    fields["content"] = "".join(texts) if texts else None
    if thoughts:
        fields["reasoning_content"] = "".join(thoughts)
    if others:
        fields["provider_specific_fields"] = {**mapping(fields.get("provider_specific_fields")), "content": others}


def _has_content(fields: dict[str, Any]) -> bool:
    """Whether a choice adds anything to the answer."""
    deltas = (choice.get("delta", choice.get("message")) for choice in objects(fields.get("choices")))
    told = ("content", "tool_calls", "reasoning_content", "reasoning", "reasoning_text", "thinking", "refusal")
    return any(cast("dict[str, Any]", delta).get(name) for delta in deltas if isinstance(delta, dict) for name in told)


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a whole completion as one of a chunk."""
    if "message" not in choice:
        return choice
    return {**{key: value for key, value in choice.items() if key != "message"}, "delta": choice["message"]}


def _sent_back(message: object, reasoning: str | None) -> object:
    """A message as it is sent: of an assistant's, what only answers have is left out, which strict servers refuse."""
    if isinstance(message, BaseModel):
        message = message.model_dump(mode="json", exclude_none=True)
    if not isinstance(message, Mapping):
        return message
    fields = dict(cast("Mapping[str, Any]", message))
    if fields.get("role") != "assistant":
        return fields
    for name in _ONLY_IN_ANSWERS:
        fields.pop(name, None)
    if reasoning != "reasoning_content" and "reasoning_content" in fields:
        thought = fields.pop("reasoning_content")
        if reasoning is not None:
            fields.setdefault(reasoning, thought)
    audio = mapping(fields.get("audio"))
    if "id" in audio:
        fields["audio"] = {"id": audio["id"]}
    return fields


def _body(request: Request, provider: Provider, reasoning: str | None) -> dict[str, Any]:
    options: dict[str, Any] = dict(request.params.get("stream_options") or {})
    options.pop("include_usage", None)
    if provider.stream_usage:
        options["include_usage"] = True
    body: dict[str, Any] = {
        "model": request.wire_model or request.model,
        "messages": [_sent_back(message, reasoning) for message in request.messages],
        **parameters(request, provider),
        "stream": True,
    }
    if options:
        body["stream_options"] = options
    wanted = body.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        body["response_format"] = json_schema(wanted)
    return body
