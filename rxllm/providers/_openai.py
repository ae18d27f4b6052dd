"""OpenAI's chat completions, as OpenAI and the many servers that speak like it send them."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from rxllm._decoders._sse import Event, NamedEvent, SSEDecoder
from rxllm.exceptions import APIError, APIResponseValidationError, BadRequestError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import excerpt, response_error, stream_error
from rxllm.providers._normalize import BrokenAnswer, Normalizer
from rxllm.types import ModelResponseStream, Request

__all__ = ["OpenAIChat"]

_LARGEST_BODY: Final = 32 << 20
_SSE_STARTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
# Straight from the bytes; what is no bytes, a named event, is refused like what is no chunk.
_validate_json: Final = cast(
    "Callable[[Event], ModelResponseStream]", ModelResponseStream.__pydantic_validator__.validate_json
)
_validate_python: Final = cast(
    "Callable[[object], ModelResponseStream]", ModelResponseStream.__pydantic_validator__.validate_python
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


class _Reading:
    """One response body being read. What it is, an event stream or a whole JSON object, its first bytes say."""

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        self.events = 0
        self.complete = False
        self.failure: APIError | None = None
        self._request = request
        self._headers = headers
        self._normalizer = Normalizer(request)
        self._decoder: SSEDecoder | None = None
        self._decode: Callable[[bytes], list[Event]] | None = None  # while there is an event stream to be read
        self._body = bytearray()  # what came before it was known for an event stream
        self._halves: dict[tuple[str, ...], str] = {}  # high surrogates whose low half has not come yet
        self._ending = False

    def feed(self, data: bytes) -> list[ModelResponseStream]:
        """The chunks that ``data`` completes. After an error the chunks before it are given, and ``failure`` is set."""
        out: list[ModelResponseStream] = []
        decode = self._decode
        if decode is None:
            decode = self._look(data)
            if decode is None:
                return out
            data = bytes(self._body)
            self._body.clear()
        try:
            events = decode(data)
        except APIResponseValidationError as error:
            self._fail(self._invalid(error.message, ""), out)
            return out
        self.events += len(events)
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
                    break
            self._take_unusual(event, out)
            if self._decode is None:
                break
        return out

    def end(self) -> list[ModelResponseStream]:
        """The body has ended, or broken off: what was held back. ``complete`` tells whether the end was proven."""
        out: list[ModelResponseStream] = []
        if self.complete or self.failure is not None:
            return out
        self._ending = True
        decoder = self._decoder
        if decoder is None:
            self._take_whole(out)
        else:
            self._decode = lambda _: decoder.flush()
            out += self.feed(b"")
        if not self.complete and self.failure is None:
            out += self._normalizer.close()
            self._stop(complete=self._normalizer.finished)
        return out

    def _take_unusual(self, event: Event, out: list[ModelResponseStream]) -> None:
        """Anything but a chunk that is as it should be: named events, ``[DONE]``, errors, what needs repair."""
        name, data = event if isinstance(event, NamedEvent) else ("", event)
        text = data.decode("utf-8", "replace").strip()
        if text == "[DONE]":
            self._done(out)
        elif text:
            try:
                payload: Any = json.loads(text)
            except (ValueError, RecursionError) as error:
                self._take_garbage(name, text, str(error), out)
            else:
                self._take(name, payload, out)

    def _take_garbage(self, name: str, text: str, reason: str, out: list[ModelResponseStream]) -> None:
        if self._ending:
            return  # the body broke off within this event: that is for `complete` to tell
        if name == "error":
            self._fail(self._stream_error(text), out)
        elif not name:
            self._fail(self._invalid(f"The provider sent an event that is not JSON ({reason})", text), out)

    def _take(self, name: str, payload: Any, out: list[ModelResponseStream]) -> None:
        """The JSON of an event."""
        if not isinstance(payload, dict):
            if name == "error" or _is_error_list(payload):
                self._fail(self._stream_error(payload), out)
            elif not name:
                self._fail(self._invalid("The provider sent an event that is no JSON object", excerpt(payload)), out)
            return
        fields = cast("dict[str, Any]", payload)
        is_error = _is_error(fields, name)
        if is_error:
            said = dict(fields)
            fields = {key: value for key, value in fields.items() if key != "error"}
            if not _has_content(fields):
                fields["choices"] = []
            if fields.get("choices") or fields.get("usage"):
                self._take_chunk(fields, out)
            self._fail(self._stream_error(said), out)
        elif not name or fields.get("choices") or fields.get("usage"):
            self._take_chunk(fields, out)

    def _take_chunk(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A chunk that may need repair."""
        groq = fields.get("x_groq")
        if isinstance(groq, dict) and not fields.get("usage"):
            fields["usage"] = cast("dict[str, Any]", groq).get("usage")
        self._join_halves(fields)
        chunk = self._repaired(fields, out)
        if chunk is not None:
            try:
                self._normalizer.add(chunk, out)
            except BrokenAnswer as broken:
                self._fail(self._stream_error(broken.said), out)

    def _repaired(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> ModelResponseStream | None:
        """The chunk, with repairs where the model refuses a value; a failure where there is none."""
        reason = ""
        for _ in range(4):
            try:
                return _validate_python(fields)
            except ValidationError as error:
                wrong = [
                    (problem["loc"], problem["msg"])
                    for problem in error.errors(include_url=False, include_context=False, include_input=False)
                ]
            # From the back, so that what is taken out of a list moves nothing that is still to be repaired.
            refused = [message for place, message in reversed(wrong) if not _repair(fields, place)]
            if refused:
                places = ", ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in wrong[:3])
                reason = f" ({places})"
                break
        self._fail(self._invalid(f"The provider sent an event that is no chunk{reason}", excerpt(fields)), out)
        return None

    def _join_halves(self, fields: dict[str, Any]) -> None:
        """Joins the halves of surrogate pairs that came in two deltas. One that stays alone becomes U+FFFD."""
        for choice in _objects(fields.get("choices")):
            index = str(choice.get("index") or 0)
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            texts = cast("dict[str, Any]", delta)
            finished = bool(choice.get("finish_reason"))
            for name in ("content", "reasoning_content", "reasoning", "refusal"):
                self._join(texts, name, (index, name), finished=finished)
            for call in _objects(texts.get("tool_calls")):
                function = call.get("function")
                if isinstance(function, dict):
                    key = (index, "arguments", str(call.get("index")))
                    self._join(cast("dict[str, Any]", function), "arguments", key, finished=finished)

    def _join(self, texts: dict[str, Any], name: str, key: tuple[str, ...], *, finished: bool) -> None:
        text = texts.get(name)
        if not isinstance(text, str):
            text = ""
            if key not in self._halves or texts.get(name) is not None or not finished:
                return
        elif not text and not finished:
            return
        text = self._halves.pop(key, "") + text
        if "\ud800" <= text[-1:] <= "\udbff" and not finished:
            self._halves[key] = text[-1]
            text = text[:-1]
        texts[name] = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _done(self, out: list[ModelResponseStream]) -> None:
        """``[DONE]``: the provider's own end. Before any choice it ends nothing."""
        if not self._normalizer.answered:
            self._fail(self._invalid("The provider ended the stream without a single choice", "[DONE]"), out)
            return
        out += self._normalizer.close()
        self._stop(complete=True)

    def _stop(self, *, complete: bool = False, failure: APIError | None = None) -> None:
        """Nothing is read any more."""
        self.complete = complete
        self.failure = failure
        self._decode = None

    def _look(self, data: bytes) -> Callable[[bytes], list[Event]] | None:
        """What the body is, by its beginning: for an event stream, how to decode it."""
        if self.complete or self.failure is not None or self._ending:
            return None
        body = self._body
        body += data
        start = bytes(body[:4096]).removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start:
            return None
        if not start.startswith((b"{", b"[", b"<")):
            if "event-stream" in self._headers.get("content-type", "") or start.startswith(_SSE_STARTS):
                self._decoder = SSEDecoder()
                self._decode = self._decoder.feed
                return self._decode
            if any(begin.startswith(start) for begin in _SSE_STARTS):
                return None
        self.events += 1  # of such a body each piece is progress
        if len(body) > _LARGEST_BODY:
            self._stop(failure=self._invalid(f"The provider sent more than {_LARGEST_BODY:,} bytes of no stream", ""))
            body.clear()
        return None

    def _take_whole(self, out: list[ModelResponseStream]) -> None:
        """A body that is no event stream: a whole completion, an error with status 200, or something else."""
        text = self._body.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        if not text:
            return
        try:
            payload: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            if str(error).startswith("Extra data") or not _is_cut_off(text):
                self._fail(self._no_stream(text), out)
            return
        if _is_error_list(payload) or (isinstance(payload, dict) and _is_error(cast("dict[str, Any]", payload), "")):
            self._fail(self._stream_error(payload), out)
            return
        choices = _objects(cast("dict[str, Any]", payload).get("choices")) if isinstance(payload, dict) else []
        if not choices:
            self._fail(self._no_stream(text), out)
            return
        shared = {key: value for key, value in cast("dict[str, Any]", payload).items() if key != "choices"}
        whole = any("message" in choice for choice in choices)
        for position, choice in enumerate(choices):
            fields = {**shared, "object": "chat.completion.chunk", "choices": [_as_delta(choice)]}
            if position + 1 < len(choices):
                fields.pop("usage", None)
            self._take_chunk(fields, out)
            if self.failure is not None:
                return
        out += self._normalizer.close()
        self._stop(complete=whole or self._normalizer.finished)

    def _fail(self, error: APIError, out: list[ModelResponseStream]) -> None:
        """What was held back is given before the error."""
        out += self._normalizer.close()
        self._stop(failure=error)

    def _stream_error(self, payload: Any) -> APIError:
        return stream_error(self._request, 200, self._headers, payload)

    def _no_stream(self, text: str) -> APIError:
        kind = self._headers.get("content-type") or "no content-type"
        return self._invalid(f"The provider sent neither an event stream nor a chat completion, but {kind}", text)

    def _invalid(self, message: str, text: str) -> APIError:
        request, headers = self._request, self._headers
        return APIResponseValidationError(
            f"{message}: {text[:200]}" if text else message,
            status_code=200,
            llm_provider=request.provider,
            model=request.model,
            body=text[:4000] or None,
            request_id=headers.get("x-request-id") or headers.get("request-id"),
            headers=headers,
        )


# Fields that say something about the answer and are no part of it: unreadable, they are left out.
_BESIDE_THE_ANSWER: Final = frozenset(
    {"usage", "logprobs", "annotations", "audio", "thinking_blocks", "provider_specific_fields", "system_fingerprint"}
)
_NAMES: Final = frozenset({"id", "model", "object", "type", "name", "role", "finish_reason", "native_finish_reason"})


def _repair(fields: dict[str, Any], place: tuple[int | str, ...]) -> bool:
    """Puts the value at ``place`` right, where it can only mean one thing; false where it cannot be read."""
    holder: Any = fields
    for step in place[:-1]:
        holder = holder[step]
    key: Any = place[-1]
    value: Any = holder[key]
    if value is None or value in ([], {}, "") or _BESIDE_THE_ANSWER.intersection(map(str, place)):
        del holder[key]
    elif key == "arguments":
        holder[key] = json.dumps(value)
    elif key == "tool_calls" and isinstance(value, dict):
        holder[key] = [value]
    elif key in _NAMES and isinstance(value, int | float):
        holder[key] = str(value)
    elif key in ("created", "index") and isinstance(value, float) and math.isfinite(value):
        holder[key] = int(value)
    elif key == "created":
        del holder[key]
    else:
        return False
    return True


def _is_error(fields: dict[str, Any], name: str) -> bool:
    """Whether an object says that something went wrong."""
    if fields.get("error") or name == "error" or "error" in (fields.get("object"), fields.get("type")):
        return True
    if name or "choices" in fields or "usage" in fields:
        return False
    return any(fields.get(words) for words in ("message", "detail", "msg", "errors"))


def _is_error_list(payload: Any) -> bool:
    """Gemini wraps an error in a list."""
    return any(item.get("error") for item in _objects(payload))


def _has_content(fields: dict[str, Any]) -> bool:
    """Whether a choice adds anything to the answer."""
    deltas = (choice.get("delta") for choice in _objects(fields.get("choices")))
    told = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal")
    return any(cast("dict[str, Any]", delta).get(name) for delta in deltas if isinstance(delta, dict) for name in told)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects in a list; none where it is no list."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice of a whole completion as one of a chunk."""
    if "message" not in choice:
        return choice
    return {**{key: value for key, value in choice.items() if key != "message"}, "delta": choice["message"]}


def _is_cut_off(text: str) -> bool:
    """Whether a text is the beginning of a JSON object, and no more."""
    if not text.startswith("{"):
        return False
    try:
        from_json(text.encode(), allow_partial=True)
    except ValueError:
        return False
    return True


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
