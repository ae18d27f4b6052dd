"""Ollama's own API: ``POST /api/chat``, answered in newline-delimited JSON."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, cast
from urllib.parse import urlsplit

from pydantic import BaseModel

from rxllm.exceptions import APIError, BadRequestError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading, mapping, objects, whole_number
from rxllm.providers._requests import content_parts, endpoint, json_request, json_schema, parameters, unsupported
from rxllm.types import ModelResponseStream, Request

__all__ = ["OLLAMA_HAS_NOT", "OllamaChat"]

OLLAMA_HAS_NOT: Final = frozenset(
    "audio function_call functions logit_bias metadata modalities prediction prompt_cache_key safety_identifier"
    " service_tier store user verbosity web_search_options".split()
)

_PORT: Final = 11434

# What Ollama takes in `options`, as its Options type and its Modelfile reference have it.
_OPTIONS: Final = frozenset(
    "numa num_ctx num_batch num_gpu main_gpu low_vram f16_kv logits_all vocab_only use_mmap use_mlock num_thread"
    " num_keep seed num_predict top_k top_p min_p tfs_z typical_p repeat_last_n temperature repeat_penalty"
    " presence_penalty frequency_penalty mirostat mirostat_tau mirostat_eta penalize_newline stop"
    " draft_num_predict".split()
)
_THINKING_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}

# Fields of a message that are OpenAI's alone, or become others here.
_OPENAI_FIELDS: Final = frozenset(
    "content reasoning_content tool_calls function_call name refusal annotations audio thinking_blocks"
    " provider_specific_fields".split()
)
_LINE_FIELDS: Final = frozenset(
    "model created_at message response thinking done done_reason logprobs context image error total_duration"
    " load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration".split()
)
_MESSAGE_FIELDS: Final = frozenset({"role", "content", "thinking", "tool_calls"})
_COUNTS: Final = ("prompt_eval_count", "eval_count")
_DURATIONS: Final = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


class OllamaChat:
    r"""The wire dialect of Ollama's ``/api/chat``. Answers of ``/api/generate`` can be read as well.

    Max tokens, ``stop``, ``seed`` and the sampling parameters go into ``options``, beside what the caller's own
    ``options`` say; ``response_format`` becomes ``format``, and ``reasoning_effort`` or ``thinking`` ``think``, a level
    for gpt-oss and a switch for all others. ``OLLAMA_HOST`` may be a host, ``host:port`` or a URL, as everywhere.

    >>> reading = OllamaChat().reading(Request(model="ollama/qwen3", messages=[]), {})
    >>> [chunk] = reading.feed(b'{"message": {"role": "assistant", "content": "Hello"}, "done": false}\n')
    >>> chunk.choices[0].delta.content
    'Hello'
    >>> [last] = reading.feed(b'{"done": true, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 1}\n')
    >>> last.choices[0].finish_reason, last.reported_usage.total_tokens, reading.complete
    ('stop', 4, True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        Raises:
            BadRequestError: a parameter cannot be said in JSON, or the arguments of a tool call are no JSON object.
            UnsupportedParamsError: Ollama has not a parameter, or a kind of content.
        """
        url = endpoint(_address(base_url).removesuffix("/api"), "/api/chat")
        body = _body(request, provider)
        return json_request(request, provider, url, body, api_key, accept="application/x-ndjson")

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_Reading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class _Reading(StreamReading):
    """One answer of Ollama being read: a JSON object a line, until one is ``done``."""

    json_lines: ClassVar[bool] = True

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._calls = 0
        self._created = 0

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            self._fail(self._stream_error(fields), out)
            return
        done = fields.get("done") is True
        if not done and not _answers(fields):
            return
        self._created = self._created or _seconds(fields.get("created_at"))
        choice: dict[str, Any] = {"index": 0, "delta": self._delta(fields)}
        logprobs = objects(fields.get("logprobs"))
        if logprobs:
            choice["logprobs"] = {"content": logprobs}
        if done:
            choice["finish_reason"] = fields.get("done_reason") or "stop"
        chunk = {
            **{key: value for key, value in fields.items() if key not in _LINE_FIELDS},
            "id": "",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": fields.get("model") or "",
            "choices": [choice],
            "usage": _usage(fields),
        }
        self._take_chunk(chunk, out)
        if done and self.failure is None:
            self._finish(out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if not _answers(payload):
            return False
        self._take("", payload, out)
        return True

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        if fields.get("error") or name == "error":
            return True
        # An answer's message is an object; that of a gateway in between, a text.
        return not _answers(fields) and any(fields.get(words) for words in ("message", "detail", "msg", "errors"))

    def _delta(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What a line adds to the answer; that of ``/api/generate`` has the text beside, not in a message."""
        message = mapping(fields.get("message"))
        content = message.get("content") or fields.get("response")
        thinking = message.get("thinking") or fields.get("thinking")
        beside = {key: value for key, value in message.items() if key not in _MESSAGE_FIELDS and value}
        beside |= {key: value for key in ("context", "image") if (value := fields.get(key))}
        delta: dict[str, Any] = {}
        if content:
            delta["content"] = content
        if thinking:
            delta["reasoning_content"] = thinking
        created = str(fields.get("created_at"))[:200]
        calls = [self._call(call, created) for call in objects(message.get("tool_calls"))]
        if calls:
            delta["tool_calls"] = calls
        if beside:
            delta["provider_specific_fields"] = beside
        return delta

    def _call(self, call: dict[str, Any], created: str) -> dict[str, Any]:
        """A tool call, which always comes whole. Older servers give it no id: it gets one that stays the same."""
        function = mapping(call.get("function"))
        name, said = function.get("name") or "", function.get("arguments")
        arguments = said if isinstance(said, str) else json.dumps(said or {}, ensure_ascii=False, separators=(",", ":"))
        position, self._calls = self._calls, self._calls + 1
        told = f"{created} {position} {name} {arguments}".encode("utf-8", "replace")
        call_id = call.get("id") or f"call_{hashlib.sha256(told).hexdigest()[:24]}"
        function = {"name": name, "arguments": arguments}
        return {"index": position, "id": call_id, "type": "function", "function": function}


def _answers(fields: dict[str, Any]) -> bool:
    """Whether it is a line of an answer."""
    return isinstance(fields.get("message"), dict) or any(
        isinstance(fields.get(name), str) for name in ("response", "thinking", "image")
    )


def _usage(fields: dict[str, Any]) -> dict[str, Any] | None:
    """The counts of the last line; a prompt that was cached whole is not counted by older servers."""
    if not any(name in fields for name in _COUNTS):
        return None
    prompt, completion = (whole_number(fields.get(name)) for name in _COUNTS)
    return {
        **{name: fields[name] for name in _COUNTS + _DURATIONS if name in fields},
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _seconds(created_at: Any) -> int:
    """An ISO time, with up to nine digits after the second, as a Unix time; 0 where it is none."""
    try:
        return max(0, int(datetime.fromisoformat(created_at).timestamp()))
    except (TypeError, ValueError, OverflowError, OSError):
        return 0


# -- the request


def _address(base_url: str) -> str:
    """The URL that ``OLLAMA_HOST`` means: a port alone, a host, ``host:port`` or a URL, with or without a path.

    >>> _address("gpu-box"), _address(":8080"), _address("https://ollama.com")
    ('http://gpu-box:11434', 'http://127.0.0.1:8080', 'https://ollama.com')
    >>> _address("0.0.0.0")  # where a server listens; a client cannot go there
    'http://127.0.0.1:11434'
    """
    given = base_url.strip().strip("\"'").strip()
    bare = "://" not in given
    parts = urlsplit(f"http://{given}" if bare else given)
    user, _, place = parts.netloc.rpartition("@")
    host, port = (place, "") if place.endswith("]") or ":" not in place else place.rsplit(":", 1)
    if given.count(":") > 1 and bare and "[" not in given:
        host, port = f"[{given}]", ""  # an IPv6 address without its brackets
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  not to bind to it
    if not port and bare:
        port = str(_PORT)
    path = "" if host.startswith(f"[{given}") else parts.path.rstrip("/")
    return f"{parts.scheme}://{user + '@' if user else ''}{host}{':' + port if port else ''}{path}"


def _body(request: Request, provider: Provider) -> dict[str, Any]:
    params = parameters(request, provider)
    drops = bool(request.params.get("drop_params"))
    options: dict[str, Any] = {}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params:
            options["num_predict"] = params.pop(name)
    options |= {name: params.pop(name) for name in list(params) if name in _OPTIONS}
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    options |= params.pop("options", None) or {}

    body: dict[str, Any] = {
        "model": request.wire_model or request.model,
        "messages": _messages(request),
        "stream": True,
    }
    if options:
        body["options"] = options
    if "response_format" in params:
        wanted = _format(params.pop("response_format"))
        if wanted is not None:
            body["format"] = wanted
    thinks = _think(request, params.pop("reasoning_effort", None), params.pop("thinking", None))
    if thinks is not None:
        body["think"] = thinks

    refused = ""
    choice = params.pop("tool_choice", "auto")
    if choice == "none":
        params.pop("tools", None)
    elif choice != "auto":
        refused = "tool_choice"
    if params.pop("parallel_tool_calls", True) is False:
        refused = "parallel_tool_calls"
    if params.pop("n", 1) != 1:
        refused = "n"
    if refused and not drops:
        raise unsupported(request, refused, " of that value" if refused != "n" else " above 1")
    return {**body, **params}


def _format(wanted: Any) -> Any:
    """``response_format`` as Ollama's ``format``: ``json``, or a schema; ``None`` for plain text."""
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        wanted = json_schema(wanted)
    if not isinstance(wanted, Mapping):
        return cast("Any", wanted)
    said = cast("Mapping[str, Any]", wanted)
    if said.get("type") == "json_schema":
        return mapping(said.get("json_schema")).get("schema") or "json"
    return "json" if said.get("type") == "json_object" else None


def _think(request: Request, effort: Any, thinking: Any) -> Any:
    if thinking is not None:
        return mapping(thinking).get("type") != "disabled" if isinstance(thinking, dict) else thinking
    if effort is None or effort == "none":
        return None if effort is None else False
    # Levels are gpt-oss's; other models refuse them.
    return _THINKING_LEVELS.get(effort, effort) if "gpt-oss" in request.model else True


def _messages(request: Request) -> list[dict[str, Any]]:
    names: dict[str, str] = {}  # of the tools, by the ids of the calls
    return [_message(request, message, names) for message in request.messages]


def _message(request: Request, message: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    role = message.get("role")
    told: dict[str, Any] = {key: value for key, value in message.items() if key not in _OPENAI_FIELDS}
    told["role"] = "system" if role == "developer" else role
    texts: list[str] = []
    images: list[Any] = list(told.get("images") or ())
    for part in content_parts(message):
        kind = part.get("type")
        if kind in ("text", "refusal"):
            texts.append(str(part.get(kind) or ""))
        elif kind == "image_url":
            images += _image(request, part.get("image_url"))
        elif not request.params.get("drop_params"):
            raise unsupported(request, f"content of type {kind}")
    told["content"] = "\n".join(texts)
    if images:
        told["images"] = images
    if message.get("reasoning_content"):
        told["thinking"] = message["reasoning_content"]
    calls = objects(message.get("tool_calls"))
    if calls:
        told["tool_calls"] = [_call_sent(request, call) for call in calls]
        names.update((call.get("id") or "", mapping(call.get("function")).get("name") or "") for call in calls)
    if role == "tool":
        name = message.get("name") or names.get(message.get("tool_call_id") or "")
        if name and "tool_name" not in told:
            told["tool_name"] = name
    return told


def _call_sent(request: Request, call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call sent back: its arguments are an object here, not a text."""
    function = mapping(call.get("function"))
    arguments: Any = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments.strip() or "{}")
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        raise BadRequestError(
            f"The arguments of the tool call {function.get('name')!r} are no JSON object, which Ollama demands.",
            llm_provider=request.provider,
            model=request.model,
        )
    sent: dict[str, Any] = {"function": {"name": function.get("name") or "", "arguments": mapping(arguments)}}
    return {"id": call["id"], **sent} if call.get("id") else sent


def _image(request: Request, said: Any) -> list[str]:
    """The image as base64, without what a data URL says before it. Ollama fetches nothing."""
    url = str(mapping(said).get("url") or "") if isinstance(said, Mapping) else str(said)
    if url.startswith("data:"):
        return [url.partition(",")[2]]
    if "://" not in url:
        return [url]  # base64 already
    if request.params.get("drop_params"):
        return []
    raise unsupported(request, "image_url", " by address: it takes data:image/...;base64,... alone")
