"""Requests in the OpenAI shape as bodies of Anthropic's Messages API."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import unquote

from pydantic import BaseModel

from rxllm.exceptions import BadRequestError
from rxllm.providers._base import Provider
from rxllm.providers._requests import content_parts, json_schema, mapping, parameters, signed_thoughts, unsupported
from rxllm.types import Request

__all__ = ["UNSUPPORTED", "messages_body"]

UNSUPPORTED: Final = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs modalities prediction presence_penalty"
    " prompt_cache_key safety_identifier seed store top_logprobs verbosity web_search_options".split()
)
"""Parameters in the OpenAI shape that Claude has not, wherever it is served."""

# What reasoning effort comes to for models that are given a budget of tokens for it; the least is 1024.
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_LEAST_BUDGET: Final = 1024
_ADAPTIVE: Final = (4, 6)  # the first version that decides by itself how much it thinks, given an effort


def messages_body(request: Request, provider: Provider) -> dict[str, Any]:
    """The body that asks for ``request``, as far as it does not depend on who serves Claude.

    ``model``, ``stream`` and ``anthropic_version`` are the dialect's to add, where its body has them. System and
    developer messages, wherever they stand, become the system prompt. Claude demands ``max_tokens``: where it is not
    given it is what all models of the version allow. ``reasoning_effort`` becomes adaptive thinking with that effort,
    or, for models before 4.6, a budget that leaves room for the answer; where ``max_tokens`` has no room for the least
    budget there is no thinking. What is unknown here is passed on untouched.

    Raises:
        UnsupportedParamsError: Claude has not a parameter, or a kind of content.
        BadRequestError: a message cannot be said to Claude.

    >>> from rxllm.providers import resolve
    >>> messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    >>> provider, model = resolve("anthropic/claude-sonnet-4-5")
    >>> request = Request("anthropic/claude-sonnet-4-5", messages, {"stop": "END"}, provider.name, model)
    >>> messages_body(request, provider)["messages"]
    [{'role': 'user', 'content': 'Hello'}]
    >>> {name: value for name, value in messages_body(request, provider).items() if name != "messages"}
    {'stop_sequences': ['END'], 'max_tokens': 32000, 'system': 'Be brief.'}
    """
    given = parameters(request, replace(provider, unsupported=provider.unsupported | UNSUPPORTED))
    drop = bool(request.params.get("drop_params"))
    version = _version(request.wire_model or request.model)
    if given.get("n") in (1, None) or drop:
        given.pop("n", None)
    else:
        raise unsupported(request, "n", " above 1")
    body: dict[str, Any] = {}
    stop, user = given.pop("stop", None), given.pop("user", None)
    if stop is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if user is not None:
        given["metadata"] = {**(given.get("metadata") or {}), "user_id": user}
    whole = given.pop("max_completion_tokens", None)
    limit = given.pop("max_tokens", None)
    limit = body["max_tokens"] = next((one for one in (limit, whole) if one is not None), _most_tokens(version))
    effort, wanted = given.pop("reasoning_effort", None), given.pop("response_format", None)
    config: dict[str, Any] = {}
    if effort is not None:
        _think(request, effort, version, limit, body, config)
    if wanted is not None:
        config.update(_output(request, wanted, drop=drop))
    config.update(given.pop("output_config", None) or {})
    if config:
        body["output_config"] = config
    tools, choice = given.pop("tools", None), given.pop("tool_choice", None)
    parallel = given.pop("parallel_tool_calls", None)
    if tools:
        body["tools"] = [_tool(mapping(tool)) for tool in tools]
        chosen = _tool_choice(request, choice, drop=drop)
        if parallel is False and chosen.get("type", "auto") != "none":
            chosen = {"type": "auto", **chosen, "disable_parallel_tool_use": True}
        if chosen:
            body["tool_choice"] = chosen
    body.update(given)
    talk = _Conversation(request, drop=drop)
    if talk.system:
        body["system"] = talk.system
    return {**body, "messages": talk.messages}


# -- models


def _version(model: str) -> tuple[int, int] | None:
    """The version of Claude that a name says; a Claude without one is a newer one, and ``None`` is no Claude."""
    name = model.lower()
    if "claude" not in name:
        return None
    found = re.search(r"claude-(?:[a-z]+-)*v?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?", name)
    if found is None:
        return (1, 2) if "instant" in name else (99, 0)
    return int(found[1]), int(found[2] or 0)


def _most_tokens(version: tuple[int, int] | None) -> int:
    """How many tokens an answer may have on every model of a version."""
    if version is None:
        return 8192
    if version < (3, 5):
        return 4096
    return 8192 if version < (3, 7) else 32000


def _think(
    request: Request,
    effort: Any,
    version: tuple[int, int] | None,
    limit: Any,
    body: dict[str, Any],
    config: dict[str, Any],
) -> None:
    """``reasoning_effort`` as ``thinking`` and ``output_config.effort``; a ``thinking`` that was given wins."""
    adaptive = version is not None and version >= _ADAPTIVE
    if effort == "none":
        if adaptive:
            body["thinking"] = {"type": "disabled"}
    elif adaptive:
        # What it thinks is left out by default on the newer models.
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        config["effort"] = "low" if effort == "minimal" else effort
    elif effort in _BUDGETS:
        budget = min(_BUDGETS[effort], limit - 1 if isinstance(limit, int) else _LEAST_BUDGET)
        if budget >= _LEAST_BUDGET:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif not request.params.get("drop_params"):
        raise unsupported(request, "reasoning_effort", f" {effort!r}")


# -- what comes out


def _output(request: Request, wanted: Any, *, drop: bool) -> dict[str, Any]:
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        wanted = json_schema(wanted)
    form = mapping(wanted)
    kind = form.get("type")
    if kind == "json_schema":
        inner = mapping(form.get("json_schema"))
        schema = inner.get("schema", form.get("schema"))
        return {"format": {"type": "json_schema", "schema": _supported(schema)}}
    if kind == "text" or drop:
        return {}
    raise unsupported(request, "response_format", f" of the type {kind!r}; give it a JSON schema")


# What strict mode refuses in a schema, by what the type is; the model is told of it instead.
_REFUSED: Final = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength maxItems uniqueItems"
    " minProperties maxProperties".split()
)


def _supported(schema: Any) -> Any:
    """A JSON schema as Claude's strict mode takes it: limits that it refuses become words in the description."""
    if isinstance(schema, list):
        return [_supported(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    limits = {name: fields[name] for name in fields if name in _REFUSED and not isinstance(fields[name], dict)}
    if fields.get("minItems") not in (None, 0, 1) and not isinstance(fields["minItems"], dict):
        limits["minItems"] = fields["minItems"]
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if name in limits or name in ("default", "enum", "const", "examples", "required"):
            if name not in limits:
                kept[name] = value
        elif name in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
            kept[name] = {key: _supported(part) for key, part in cast("dict[str, Any]", value).items()}
        else:
            kept[name] = _supported(value)
    if limits:
        words = ", ".join(f"{name}: {value}" for name, value in limits.items())
        kept["description"] = f"{fields.get('description', '')} ({words})".strip()
    if kept.get("type") == "object":
        kept.setdefault("additionalProperties", False)
    return kept


# -- tools


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function in OpenAI's shape as a tool of Claude's; Claude's own tools stay as they are."""
    function = tool.get("function")
    if tool.get("type") != "function" or not (isinstance(function, dict) or "name" in tool):
        return tool
    inner = cast("dict[str, Any]", function) if isinstance(function, dict) else {}
    said = {**{key: value for key, value in tool.items() if key not in ("type", "function")}, **inner}
    schema = mapping(said.pop("parameters", None)) or {"properties": {}}
    kept = {key: value for key, value in said.items() if value is not None}
    return {**kept, "input_schema": {"type": "object", **schema}}


def _tool_choice(request: Request, choice: Any, *, drop: bool) -> dict[str, Any]:
    if choice is None:
        return {}
    if isinstance(choice, str):
        if choice in ("auto", "none", "any", "required"):
            return {"type": "any" if choice == "required" else choice}
    else:
        fields = mapping(choice)
        kind = fields.get("type")
        if kind == "function":
            return {"type": "tool", "name": mapping(fields.get("function")).get("name", fields.get("name"))}
        if kind in ("auto", "any", "none", "tool"):
            return fields
    if drop:
        return {}
    raise unsupported(request, "tool_choice", f" {choice!r}")


# -- messages


class _Conversation:
    """The messages, and apart from them the system prompt."""

    def __init__(self, request: Request, *, drop: bool) -> None:
        self._request = request
        self._drop = drop
        self.messages: list[dict[str, Any]] = []
        self._system: list[dict[str, Any]] = []
        self._answers = False  # the last message is a user's that begins with the results of tools
        for message in request.messages:
            self._add(mapping(message))

    @property
    def system(self) -> str | list[dict[str, Any]] | None:
        """The system prompt: a text where it is nothing more."""
        if len(self._system) == 1 and set(self._system[0]) == {"type", "text"}:
            return cast("str", self._system[0]["text"])
        return self._system or None

    def _add(self, message: dict[str, Any]) -> None:
        role = message.get("role")
        content = message.get("content")
        if role in ("system", "developer"):
            self._system += self._marked(message, self._blocks(content))
        elif role in ("tool", "function"):
            self._add_result(message)
        elif role == "assistant":
            blocks = self._assistant(message)
            self._answers = False
            if blocks:
                only = blocks[0] if len(blocks) == 1 else {}
                plain = only.get("type") == "text" and set(only) == {"type", "text"}
                self.messages.append({"role": "assistant", "content": only["text"] if plain else blocks})
        else:
            blocks = self._marked(message, self._blocks(content))
            if self._answers:
                # Behind results of tools, in the one message that may follow the calls.
                self.messages[-1]["content"] += blocks
            elif isinstance(content, str) and "cache_control" not in message:
                self.messages.append({"role": role, "content": content})
            else:
                self.messages.append({"role": role, "content": blocks})

    def _add_result(self, message: dict[str, Any]) -> None:
        result: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": _call_id(message.get("tool_call_id")),
            **{name: message[name] for name in ("is_error", "cache_control") if name in message},
        }
        content = message.get("content")
        if content:
            result["content"] = content if isinstance(content, str) else self._blocks(content)
        if self._answers:
            self.messages[-1]["content"].append(result)
        else:
            self.messages.append({"role": "user", "content": [result]})
            self._answers = True

    def _assistant(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        beside = mapping(message.get("provider_specific_fields"))
        blocks = [_sendable(mapping(block)) for block in beside.get("content_blocks") or ()]
        if blocks and _says_the_same(blocks, message):
            return blocks
        blocks = signed_thoughts(message)
        blocks += self._blocks(message.get("content"))
        for call in map(mapping, message.get("tool_calls") or ()):
            function = mapping(call.get("function"))
            use = {"type": "tool_use", "id": _call_id(call.get("id")), "name": function.get("name")}
            caller = mapping(call.get("provider_specific_fields")).get("caller")
            if caller:
                use["caller"] = caller
            blocks.append({**use, "input": _arguments(function.get("arguments"))})
        return self._marked(message, blocks)

    def _marked(self, message: dict[str, Any], blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A message's own ``cache_control`` is its last block's."""
        if blocks and message.get("cache_control"):
            blocks[-1] = {**blocks[-1], "cache_control": message["cache_control"]}
        return blocks

    def _blocks(self, content: Any) -> list[dict[str, Any]]:
        """Content as blocks; Claude refuses empty texts, so they are left out."""
        found: list[dict[str, Any]] = []
        for part in content_parts({"content": content}):
            block = self._block(part)
            if block and not (block.get("type") == "text" and not block.get("text")):
                found.append(block)
        return found

    def _block(self, part: dict[str, Any]) -> dict[str, Any]:
        kind = part.get("type")
        kept = {name: value for name, value in part.items() if name not in ("type", kind)}
        inner = part.get(str(kind))
        if kind == "image_url":
            url = inner if isinstance(inner, str) else mapping(inner).get("url")
            return {"type": "image", "source": self._source(url, "image_url"), **kept}
        if kind == "refusal":
            return {"type": "text", "text": inner, **kept}
        if kind == "file":
            return {**self._file(mapping(inner)), **kept}
        if kind in ("input_audio", "video_url"):
            if self._drop:
                return {}
            raise unsupported(self._request, str(kind), " among the parts of a message")
        return part

    def _file(self, file: dict[str, Any]) -> dict[str, Any]:
        name = file.get("filename")
        titled: dict[str, Any] = {"title": name} if isinstance(name, str) and name else {}
        if file.get("file_id"):
            kind = "image" if str(file.get("format", "")).startswith("image/") else "document"
            source = {"type": "url", "url": file["file_id"]}
            if not str(file["file_id"]).startswith(("https://", "http://")):
                source = {"type": "file", "file_id": file["file_id"]}
            return {"type": kind, "source": source, **(titled if kind == "document" else {})}
        source = self._source(file.get("file_data"), "file")
        media = str(source.get("media_type", ""))
        if media.startswith("image/"):
            return {"type": "image", "source": source}
        if media.startswith("text/"):
            try:
                text = base64.b64decode(source["data"], validate=True).decode()
            except (binascii.Error, ValueError):
                raise self._refused("A file of text is not base64 of UTF-8") from None
            source = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "source": source, **titled}

    def _source(self, url: Any, what: str) -> dict[str, Any]:
        """Where an image or a file is: within the URL itself, or at it."""
        if not isinstance(url, str) or not url:
            raise self._refused(f"A part of the type {what!r} has neither a URL nor data")
        if not url.startswith("data:"):
            return {"type": "url", "url": url}
        head, comma, data = url[5:].partition(",")
        media, *rest = head.split(";")
        if not comma:
            raise self._refused(f"A part of the type {what!r} has a data URL without data")
        if "base64" not in rest:
            data = base64.b64encode(unquote(data).encode()).decode()
        return {"type": "base64", "media_type": media.replace("image/jpg", "image/jpeg") or "text/plain", "data": data}

    def _refused(self, message: str) -> BadRequestError:
        return BadRequestError(f"{message}.", llm_provider=self._request.provider, model=self._request.model)


def _says_the_same(blocks: list[dict[str, Any]], message: dict[str, Any]) -> bool:
    """Whether a message still says what its blocks do: its text and its calls may have been changed."""
    text = "".join(str(block.get("text") or "") for block in blocks if block.get("type") == "text")
    calls = [block.get("id") for block in blocks if block.get("type") == "tool_use"]
    return text == (message.get("content") or "") and calls == [
        call.get("id") for call in map(mapping, message.get("tool_calls") or ())
    ]


def _sendable(block: dict[str, Any]) -> dict[str, Any]:
    """A block of an answer as it may be sent: without what the API tells and does not want to be told."""
    citations = block.get("citations")
    if not citations:
        return {name: value for name, value in block.items() if name != "citations"}
    return {
        **block,
        "citations": [
            {name: value for name, value in mapping(citation).items() if name != "file_id"} for citation in citations
        ],
    }


def _call_id(given: Any) -> str:
    """The id of a call in the letters that Claude allows: another provider's may have others."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", str(given or ""))


def _arguments(text: Any) -> Any:
    """The arguments of a call as an object; what is none is wrapped, as Anthropic's documentation has it."""
    if isinstance(text, str):
        try:
            text = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            return {"INVALID_JSON": text}
    return mapping(text) if isinstance(text, Mapping) else {"INVALID_JSON": json.dumps(text, default=str)}
