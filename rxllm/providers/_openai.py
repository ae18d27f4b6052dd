"""OpenAI's chat completions, as OpenAI and the many servers that speak like it send them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from rxllm._decoders._sse import Event
from rxllm.exceptions import APIError, BadRequestError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._normalize import BrokenAnswer
from rxllm.providers._reading import StreamReading, objects
from rxllm.types import ModelResponseStream, Request

__all__ = ["OpenAIChat"]

# Straight from the bytes; what is no bytes, a named event, is refused like what is no chunk.
_validate_json: Final = cast(
    "Callable[[Event], ModelResponseStream]", ModelResponseStream.__pydantic_validator__.validate_json
)


class OpenAIChat:
    r"""The wire dialect of ``POST /chat/completions``.

    >>> reading = OpenAIChat().reading(Request(model="gpt-4", messages=[]), {"content-type": "text/event-stream"})
    >>> [chunk] = reading.feed(b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n')
    >>> chunk.choices[0].delta.content, chunk.choices[0].delta.role
    ('Hello', 'assistant')
    >>> reading.feed(b"data: [DONE]\n\n"), reading.complete
    ([], True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        ``extra_body`` among the parameters is merged into the body last. A pydantic class as ``response_format``
        becomes its strict JSON schema.

        Raises:
            BadRequestError: a parameter cannot be said in JSON.
        """
        from rxllm import __version__

        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            # A compressed stream comes late: the compressor waits for more.
            "accept-encoding": "identity",
            "user-agent": f"rxllm/{__version__}",
        }
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        try:
            body = json.dumps(_body(request, provider), default=_plain, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error)
        else:
            return HTTPRequest("POST", _endpoint(base_url), headers, body)
        raise BadRequestError(
            f"The request cannot be said in JSON: {reason}", llm_provider=request.provider, model=request.model
        )

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_Reading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class _Reading(StreamReading):
    """A reading whose usual events are validated straight from their bytes."""

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        add, halves = self._normalizer.add, self._halves
        for event in events:
            if not halves:
                try:
                    chunk = _validate_json(event)
                    extra = chunk.__pydantic_extra__
                    if not extra or (chunk.choices and "error" not in extra and "x_groq" not in extra):
                        add(chunk, out)
                        continue
                except ValidationError:
                    pass  # named, or not as it should be
                except BrokenAnswer as broken:
                    self._fail(self._stream_error(broken.said), out)
                    return
            self._take_event(event, out)
            if self._decode is None:
                return

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
            self._take_chunk(fields, out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        choices = objects(payload.get("choices"))
        if not choices:
            return False
        shared = {key: value for key, value in payload.items() if key != "choices"}
        whole = any("message" in choice for choice in choices)
        for position, choice in enumerate(choices):
            fields = {**shared, "object": "chat.completion.chunk", "choices": [_as_delta(choice)]}
            if position + 1 < len(choices):
                fields.pop("usage", None)
            self._take("", fields, out)
            if self.failure is not None:
                return True
        out += self._normalizer.close()
        self._stop(complete=whole or self._normalizer.finished)
        return True


def _has_content(fields: dict[str, Any]) -> bool:
    """Whether a choice adds anything to the answer."""
    deltas = (choice.get("delta") for choice in objects(fields.get("choices")))
    told = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal")
    return any(cast("dict[str, Any]", delta).get(name) for delta in deltas if isinstance(delta, dict) for name in told)


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a whole completion as one of a chunk."""
    if "message" not in choice:
        return choice
    return {**{key: value for key, value in choice.items() if key != "message"}, "delta": choice["message"]}


def _endpoint(base_url: str) -> str:
    """Where completions are asked for; a query stays behind the path."""
    address, mark, query = base_url.partition("?")
    address = address.rstrip("/")
    if not address.endswith("/chat/completions"):
        address += "/chat/completions"
    return address + mark + query


def _body(request: Request, provider: Provider) -> dict[str, Any]:
    params = dict(request.params)
    extra_body = params.pop("extra_body", None)
    options: dict[str, Any] = dict(params.pop("stream_options", None) or {})
    options.pop("include_usage", None)
    if provider.stream_usage:
        options["include_usage"] = True
    body: dict[str, Any] = {
        "model": request.wire_model or request.model,
        "messages": list(request.messages),
        **params,
        "stream": True,
    }
    if options:
        body["stream_options"] = options
    wanted = body.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        body["response_format"] = _response_format(wanted)
    return {**body, **(extra_body or {})}


def _plain(value: object) -> Any:
    """What json does not know: messages and tools may be models, mappings or other sequences."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return list(cast("Iterable[object]", value))
    raise TypeError(f"a {type(value).__name__} is among the arguments")


def _response_format(cls: type[BaseModel]) -> dict[str, Any]:
    schema = cls.model_json_schema()
    _make_strict(schema, schema.get("$defs", {}))
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", cls.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _make_strict(schema: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
    """What strict mode demands, in place: every property required, no others, and no keyword beside a ``$ref``."""
    schema.pop("default", None)
    if "$ref" in schema and len(schema) > 1:
        definition = definitions.get(schema["$ref"].rpartition("/")[2], {})
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema.clear()
        schema.update(json.loads(json.dumps(definition)) | beside)
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    properties: dict[str, Any] = schema.get("properties", {})
    if properties:
        schema["required"] = list(properties)
        schema["additionalProperties"] = False
    inner = [*properties.values(), *schema.get("$defs", {}).values(), schema.get("items")]
    for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
        inner += schema.get(name, [])
    for part in inner:
        if isinstance(part, dict):
            _make_strict(cast("dict[str, Any]", part), definitions)
