"""OpenAI's legacy text completions, ``POST /completions``, as OpenAI and servers of open models still have them."""

from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading, mapping, objects
from rxllm.providers._requests import content_parts, endpoint, json_request, json_schema, parameters, unsupported
from rxllm.types import ModelResponseStream, Request

__all__ = ["CHAT_ONLY", "TextCompletions"]

# Parameters of a chat, which a text completion is not.
CHAT_ONLY: Final = frozenset(
    "tools tool_choice parallel_tool_calls functions function_call reasoning_effort thinking modalities audio"
    " prediction verbosity web_search_options".split()
)
_ROLES: Final = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


class TextCompletions:
    r"""The wire dialect of ``POST /completions``.

    A single user message is the prompt as it is. Several messages are one paragraph each, ``System: ...``,
    ``User: ...``, ``Assistant: ...`` and ``Tool: ...``, with an empty line between, and ``Assistant:`` after the last;
    if that is the assistant's, it is carried on. A ``prompt`` among the parameters wins over the messages.
    ``logprobs=True`` with ``top_logprobs`` asks for as many, and comes back in the shape of chats.

    >>> reading = TextCompletions().reading(Request(model="text-completion-openai/davinci-002", messages=[]), {})
    >>> [chunk] = reading.feed(b'data: {"choices": [{"index": 0, "text": "Hello"}]}\n\n')
    >>> chunk.choices[0].delta.content, chunk.choices[0].delta.role
    ('Hello', 'assistant')
    >>> reading.feed(b"data: [DONE]\n\n"), reading.complete
    ([], True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        Raises:
            BadRequestError: a parameter cannot be said in JSON.
            UnsupportedParamsError: the provider has not a parameter, or a message is more than text.
        """
        return json_request(request, provider, endpoint(base_url, "/completions"), _body(request, provider), api_key)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_Reading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class _Reading(StreamReading):
    """One answer being read: a choice has ``text`` where a chat's has a delta."""

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        choices = [_as_delta(choice) for choice in objects(fields.get("choices"))]
        chunk = {**fields, "object": "chat.completion.chunk", "choices": choices}
        if self._is_error(fields, name):
            chunk.pop("error", None)
            if fields.get("choices") or fields.get("usage"):
                self._take_chunk(chunk, out)
            if self.failure is None:
                self._fail(self._stream_error(fields), out)
        elif "choices" in fields or fields.get("usage"):
            self._take_chunk(chunk, out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if not objects(payload.get("choices")):
            return False
        self._take("", payload, out)
        if self.failure is None:
            out += self._normalizer.close()
            self._stop(complete=True)
        return True


def _as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice as one of a chat's chunk. Together has the same text in a delta beside, too."""
    told = {key: value for key, value in choice.items() if key not in ("text", "logprobs", "message")}
    if isinstance(choice.get("text"), str):
        told["delta"] = {"content": choice["text"]}
    elif not isinstance(told.get("delta"), dict):
        told["delta"] = mapping(choice.get("message"))
    logprobs = _logprobs(choice.get("logprobs"))
    if logprobs:
        told["logprobs"] = logprobs
    return told


def _logprobs(said: Any) -> dict[str, Any] | None:
    """Log probabilities, which stand in parallel lists here, as items of one list."""
    fields = mapping(said)
    tokens, numbers, tops, offsets = (
        _values(fields.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    )
    if not tokens:
        return fields or None
    items: list[dict[str, Any]] = []
    for position, token in enumerate(tokens):
        text = str(token)
        likely = mapping(tops[position]) if position < len(tops) else {}
        item: dict[str, Any] = {
            "token": text,
            "logprob": numbers[position] if position < len(numbers) else None,
            "bytes": list(text.encode("utf-8", "replace")),
            "top_logprobs": [
                {"token": other, "logprob": number, "bytes": list(other.encode("utf-8", "replace"))}
                for other, number in likely.items()
            ],
        }
        if position < len(offsets):
            item["text_offset"] = offsets[position]
        items.append(item)
    return {"content": items}


def _values(value: Any) -> list[Any]:
    return cast("Any", value) if isinstance(value, list) else []


# -- the request


def _body(request: Request, provider: Provider) -> dict[str, Any]:
    params = parameters(request, provider)
    prompt = params.pop("prompt", None)
    if "max_completion_tokens" in params:
        params["max_tokens"] = params.pop("max_completion_tokens")
    top = params.pop("top_logprobs", None)
    asked = params.pop("logprobs", None)
    if asked is True:
        params["logprobs"] = top or 1
    elif asked is not None and asked is not False:
        params["logprobs"] = asked
    wanted = params.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        params["response_format"] = json_schema(wanted)
    options: dict[str, Any] = dict(request.params.get("stream_options") or {})
    options.pop("include_usage", None)
    if provider.stream_usage:
        options["include_usage"] = True
    body: dict[str, Any] = {
        "model": request.wire_model or request.model,
        "prompt": _prompt(request) if prompt is None else prompt,
        **params,
        "stream": True,
    }
    return {**body, "stream_options": options} if options else body


def _prompt(request: Request) -> str:
    messages = request.messages
    if len(messages) == 1 and messages[0].get("role") == "user":
        return _words(request, messages[0])
    paragraphs: list[str] = []
    role = ""
    for message in messages:
        role = str(message.get("role"))
        paragraphs.append(f"{_ROLES.get(role, role.capitalize())}: {_words(request, message)}")
    if role != "assistant":
        paragraphs.append("Assistant:")
    return "\n\n".join(paragraphs)


def _words(request: Request, message: Mapping[str, Any]) -> str:
    """What a message says; whatever else it holds is refused, or left out."""
    drops = bool(request.params.get("drop_params"))
    if message.get("tool_calls") and not drops:
        raise unsupported(request, "tool_calls", " in messages")
    texts: list[str] = []
    for part in content_parts(message):
        kind = part.get("type")
        if kind in ("text", "refusal"):
            texts.append(str(part.get(kind) or ""))
        elif not drops:
            raise unsupported(request, f"content of type {kind}")
    return "\n".join(texts)
