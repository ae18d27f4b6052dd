"""Cohere's chat API, version 2: ``POST /v2/chat``. Streams of version 1 are read as well."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from pydantic import BaseModel

from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading, mapping, objects, whole_number
from rxllm.providers._requests import content_parts, endpoint, json_request, json_schema, parameters, unsupported
from rxllm.types import ModelResponseStream, Request

__all__ = ["COHERE_HAS_NOT", "CohereChat"]

COHERE_HAS_NOT: Final = frozenset(
    "audio function_call functions logit_bias metadata modalities prediction prompt_cache_key safety_identifier"
    " service_tier store top_logprobs user verbosity web_search_options".split()
)

# OpenAI's names of what Cohere calls otherwise.
_NAMES: Final = {"max_completion_tokens": "max_tokens", "stop": "stop_sequences", "top_p": "p", "top_k": "k"}

# Finish reasons by which the answer did not come to its end.
_FAILED: Final = frozenset({"ERROR", "TIMEOUT", "USER_CANCEL"})
# Those that are neither and that OpenAI knows by another name.
_MEANT: Final = {"ERROR_LIMIT": "length", "ERROR_TOXIC": "content_filter"}

# Lists that go along with an answer of version 1.
_BESIDE: Final = ("citations", "search_queries", "search_results", "documents")


class CohereChat:
    r"""The wire dialect of Cohere's ``/v2/chat``.

    ``response_format`` with a schema becomes Cohere's, ``reasoning_effort`` and ``thinking`` switch its thinking on and
    off, with the budget that ``thinking`` names. The plan that a model makes before it calls tools streams in
    ``delta.tool_plan``; once it is over it stands whole, as it is sent back, in
    ``provider_specific_fields["tool_plan"]``. Citations stand in ``provider_specific_fields["citations"]``; those of a
    source with an address are ``annotations`` too.

    >>> reading = CohereChat().reading(Request(model="cohere/command-a-03-2025", messages=[]), {})
    >>> delta = b'{"type": "content-delta", "delta": {"message": {"content": {"text": "Hello"}}}}'
    >>> [chunk] = reading.feed(b"event: content-delta\ndata: " + delta + b"\n\n")
    >>> chunk.choices[0].delta.content
    'Hello'
    >>> [last] = reading.feed(b'data: {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}\n\n')
    >>> last.choices[0].finish_reason, reading.complete
    ('stop', True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        Raises:
            BadRequestError: a parameter cannot be said in JSON.
            UnsupportedParamsError: Cohere has not a parameter, or a kind of content.
        """
        path = "/chat" if base_url.partition("?")[0].rstrip("/").endswith("/v2") else "/v2/chat"
        return json_request(request, provider, endpoint(base_url, path), _body(request, provider), api_key)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_Reading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class _Reading(StreamReading):
    """One answer of Cohere being read: server-sent events of version 2, or the lines of JSON of version 1."""

    json_lines: ClassVar[bool] = True

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._id = ""
        self._plan: list[str] = []  # until it is over
        self._calls = 0  # of version 1

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            self._fail(self._stream_error(fields), out)
        elif _is_v1(fields):
            self._take_v1(fields, out)
        elif isinstance(fields.get("message"), dict):
            self._take_answer(fields, out)
        else:
            self._take_v2(str(fields.get("type") or name), fields, out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if not _is_v1(payload) and not isinstance(payload.get("message"), dict):
            return False
        self._take("", payload, out)
        return True

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        if fields.get("error") or "error" in (name, fields.get("type")):
            return True
        if name or "type" in fields or _is_v1(fields):
            return False
        words = (fields.get(name) for name in ("message", "detail", "msg", "errors"))
        return any(said and not isinstance(said, dict) for said in words)

    # -- version 2

    def _take_v2(self, kind: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        delta = mapping(fields.get("delta"))
        message = mapping(delta.get("message"))
        match kind:
            case "message-start":
                self._id = _text(fields.get("id"))
                self._give({"role": "assistant"}, out)
            case "content-start" | "content-delta":
                content = _content(_listed(message.get("content")))
                logprobs = _logprobs(fields.get("logprobs"))
                if content or logprobs:
                    self._give(content, out, logprobs=logprobs)
            case "tool-plan-delta":
                self._give_plan(_text(message.get("tool_plan")), out)
            case "tool-call-start" | "tool-call-delta":
                calls = [_call(call, fields.get("index")) for call in objects(_listed(message.get("tool_calls")))]
                if calls:
                    self._give({"tool_calls": calls}, out, plan_over=True)
            case "citation-start":
                delta = _cited(objects(_listed(message.get("citations"))))
                if delta:
                    self._give(delta, out)
            case "message-end":
                self._end(delta, delta.get("usage"), {}, out)
            case _:
                pass  # the ends of parts, and what is not known yet

    def _take_answer(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A whole answer of version 2."""
        message = mapping(fields.get("message"))
        self._id = _text(fields.get("id"))
        delta = {"role": "assistant", **_content(_listed(message.get("content")))}
        self._plan = [plan for plan in (_text(message.get("tool_plan")),) if plan]
        calls = objects(message.get("tool_calls"))
        if calls:
            delta["tool_calls"] = [_call(call, index) for index, call in enumerate(calls)]
        delta.update(_cited(objects(message.get("citations"))))
        self._give(delta, out, plan_over=True)
        self._end(fields, fields.get("usage"), {}, out)

    # -- version 1

    def _take_v1(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        kind = fields.get("event_type")
        response = mapping(fields.get("response"))
        if "event_type" not in fields and "is_finished" not in fields:
            kind, response = "stream-end", fields  # a whole answer
            self._give(_said(fields.get("text")), out)
        self._id = self._id or _text(fields.get("generation_id") or response.get("generation_id"))
        if kind == "stream-start":
            self._give({"role": "assistant"}, out)
        elif kind == "tool-calls-chunk":
            # The calls themselves come whole, after their pieces.
            self._give_plan(_text(fields.get("text") or mapping(fields.get("tool_call_delta")).get("text")), out)
        elif kind == "tool-calls-generation":
            if not self._plan:
                self._give_plan(_text(fields.get("text")), out)
            self._give_calls(fields, out)
        elif kind == "stream-end" or fields.get("is_finished") is True:
            if not self._calls:
                self._give_calls(response, out)
            # What is billed leaves out the documents that the model read: alone, it is no usage.
            meta = mapping(response.get("meta"))
            counts = meta if meta.get("tokens") else {}
            beside = {name: response[name] for name in _BESIDE if response.get(name)} if response is fields else {}
            self._end({**response, **fields}, counts, beside, out)
        elif kind in ("text-generation", None):
            delta = _said(fields.get("text"))
            if delta:
                self._give(delta, out)
        else:
            beside = {name: fields[name] for name in _BESIDE if isinstance(fields.get(name), list)}
            if beside:
                self._give({"provider_specific_fields": beside}, out)

    def _give_calls(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """The calls of version 1: their arguments are an object, and they have no ids; they get such as stay."""
        calls: list[dict[str, Any]] = []
        for call in objects(fields.get("tool_calls")):
            name = _text(call.get("name"))
            arguments = json.dumps(call.get("parameters") or {}, ensure_ascii=False, separators=(",", ":"))
            told = f"{self._id[:200]} {self._calls} {name} {arguments}".encode("utf-8", "replace")
            call_id = f"call_{hashlib.sha256(told).hexdigest()[:24]}"
            function = {"name": name, "arguments": arguments}
            calls.append({"index": self._calls, "id": call_id, "type": "function", "function": function})
            self._calls += 1
        if calls:
            self._give({"tool_calls": calls}, out, plan_over=True)

    # -- both

    def _give_plan(self, text: str, out: list[ModelResponseStream]) -> None:
        if text:
            self._plan.append(text)
            self._give({"tool_plan": text}, out)

    def _end(self, said: dict[str, Any], counts: Any, beside: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """The answer's end; a finish reason may say that it failed, with the error's words beside."""
        reason = _text(said.get("finish_reason"))
        usage = _usage(mapping(counts))
        delta = {"provider_specific_fields": beside} if beside else {}
        error = said.get("error")
        if error or reason in _FAILED:
            self._give(delta, out, usage=usage, plan_over=True)
            words = error or f"The provider broke the answer off (finish_reason {reason!r})"
            told = {"message": words, "code": said.get("error_type"), "type": reason.lower()}
            if self.failure is None:
                self._fail(self._stream_error({"error": told}), out)
            return
        finish: dict[str, Any] = {"finish_reason": _MEANT.get(reason, reason) or None}
        if reason in _MEANT:
            finish["native_finish_reason"] = reason
        self._give(delta, out, usage=usage, plan_over=True, **finish)
        if self.failure is None:
            self._finish(out)

    def _give(
        self,
        delta: dict[str, Any],
        out: list[ModelResponseStream],
        *,
        usage: dict[str, Any] | None = None,
        plan_over: bool = False,
        **choice: Any,
    ) -> None:
        if plan_over and self._plan:
            plan = {"tool_plan": "".join(self._plan)}
            self._plan.clear()
            delta = {**delta, "provider_specific_fields": {**delta.get("provider_specific_fields", {}), **plan}}
        chunk: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "model": self._request.wire_model or self._request.model,
            "choices": [{"index": 0, "delta": delta, **choice}],
        }
        if usage is not None:
            chunk["usage"] = usage
        self._take_chunk(chunk, out)


def _is_v1(fields: dict[str, Any]) -> bool:
    return "event_type" in fields or "is_finished" in fields or ("generation_id" in fields and "text" in fields)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[Any]:
    """Cohere has single things in fields whose names speak of several."""
    return cast("Any", value) if isinstance(value, list) else [value]


def _said(text: Any) -> dict[str, Any]:
    return {"content": text} if text and isinstance(text, str) else {}


def _content(parts: list[Any]) -> dict[str, Any]:
    """Parts of a message's content, text and thinking, as a delta."""
    texts: dict[str, list[str]] = {}
    for part in parts:
        said = {"text": part} if isinstance(part, str) else mapping(part)
        for name, field in (("text", "content"), ("thinking", "reasoning_content")):
            text = _text(said.get(name))
            if text:
                texts.setdefault(field, []).append(text)
    return {field: "".join(pieces) for field, pieces in texts.items()}


def _call(call: dict[str, Any], index: Any) -> dict[str, Any]:
    """A tool call, or a piece of one, with the event's index; one without keeps none."""
    return {**call, "index": index} if isinstance(index, int) else call


def _cited(citations: list[dict[str, Any]]) -> dict[str, Any]:
    """Citations as a delta."""
    if not citations:
        return {}
    delta: dict[str, Any] = {"provider_specific_fields": {"citations": citations}}
    annotations: list[dict[str, Any]] = []
    for citation in citations:
        for source in objects(citation.get("sources")):
            document = mapping(source.get("document"))
            if document.get("url"):
                place = {"start_index": citation.get("start"), "end_index": citation.get("end")}
                cited = {**place, "url": document["url"], "title": document.get("title") or ""}
                annotations.append({"type": "url_citation", "url_citation": cited})
    return {**delta, "annotations": annotations} if annotations else delta


def _logprobs(said: Any) -> dict[str, Any] | None:
    """The log probability of a piece of text; that of several tokens together is the sum of theirs."""
    fields = mapping(said)
    numbers = [number for number in _listed(fields.get("logprobs")) if isinstance(number, int | float)]
    if not numbers:
        return None
    text = _text(fields.get("text"))
    try:
        logprob = sum(numbers)
    except OverflowError:  # a whole number that no float can hold
        return None
    item = {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace")), "top_logprobs": []}
    return {"content": [{**item, "token_ids": fields.get("token_ids")}]}


def _usage(said: dict[str, Any]) -> dict[str, Any] | None:
    """What the model read and wrote; what of that is billed stands beside, and counts where nothing else is said."""
    tokens = mapping(said.get("tokens")) or mapping(said.get("billed_units"))
    if not tokens:
        return None
    prompt, completion = whole_number(tokens.get("input_tokens")), whole_number(tokens.get("output_tokens"))
    usage: dict[str, Any] = {
        **said,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if said.get("cached_tokens") is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": whole_number(said["cached_tokens"])}
    return usage


# -- the request


def _body(request: Request, provider: Provider) -> dict[str, Any]:
    params = parameters(request, provider)
    drops = bool(request.params.get("drop_params"))
    for name, own in _NAMES.items():
        if name in params:
            params[own] = params.pop(name)
    if isinstance(params.get("stop_sequences"), str):
        params["stop_sequences"] = [params["stop_sequences"]]
    if "response_format" in params:
        params["response_format"] = _format(params["response_format"])
    thinking = _thinking(params.pop("reasoning_effort", None), params.pop("thinking", None))
    if thinking is not None:
        params["thinking"] = thinking
    if params.get("tools"):
        tools = [_tool(tool) for tool in params["tools"]]
        strict = [tool["function"].pop("strict", None) is True for tool in tools]
        params["tools"] = tools
        if all(strict):
            params.setdefault("strict_tools", True)

    refused = ""
    choice = params.pop("tool_choice", "auto")
    if isinstance(choice, str) and choice.lower() in ("none", "required"):
        params["tool_choice"] = choice.upper()
    elif choice != "auto":
        refused = "tool_choice"
    if params.pop("parallel_tool_calls", True) is False:
        refused = "parallel_tool_calls"
    if params.pop("n", 1) != 1:
        refused = "n"
    if refused and not drops:
        raise unsupported(request, refused, " of that value" if refused != "n" else " above 1")
    messages = [_message(request, message) for message in request.messages]
    return {"model": request.wire_model or request.model, "messages": messages, **params, "stream": True}


def _format(wanted: Any) -> Any:
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        wanted = json_schema(wanted)
    said = mapping(wanted)
    if said.get("type") != "json_schema":
        return cast("Any", wanted)
    schema = mapping(said.get("json_schema")).get("schema")
    return {"type": "json_object", "json_schema": schema} if schema else {"type": "json_object"}


def _thinking(effort: Any, thinking: Any) -> Any:
    said = mapping(thinking)
    if thinking is None and effort is not None:
        return {"type": "disabled" if effort == "none" else "enabled"}
    if "budget_tokens" in said:
        rest = {key: value for key, value in said.items() if key != "budget_tokens"}
        return {**rest, "token_budget": said["budget_tokens"]}
    return thinking


def _tool(tool: Any) -> dict[str, Any]:
    """A tool as Cohere wants it: the parameters have to be there, if only to say that there are none."""
    plain: dict[str, Any] = tool.model_dump(exclude_none=True) if isinstance(tool, BaseModel) else dict(tool)
    function = dict(mapping(plain.get("function")))
    if function.get("parameters") is None:
        function["parameters"] = {"type": "object", "properties": {}}
    return {**plain, "function": function}


def _message(request: Request, message: Mapping[str, Any]) -> dict[str, Any]:
    role = message.get("role")
    told: dict[str, Any] = {"role": "system" if role == "developer" else role}
    parts = [part for given in content_parts(message) if (part := _part(request, given)) is not None]
    if role == "tool":
        told["tool_call_id"] = message.get("tool_call_id")
    if role == "assistant":
        if message.get("reasoning_content"):
            parts.insert(0, {"type": "thinking", "thinking": message["reasoning_content"]})
        beside = mapping(message.get("provider_specific_fields"))
        for name in ("tool_plan", "citations"):
            if value := message.get(name) or beside.get(name):
                told[name] = value
        calls = objects(message.get("tool_calls"))
        if calls:
            told["tool_calls"] = [_call_sent(call) for call in calls]
    plain = isinstance(message.get("content"), str) and len(parts) == 1 and parts[0].get("type") == "text"
    if parts or "tool_calls" not in told:
        told["content"] = parts[0]["text"] if plain else parts or ""
    return told


def _call_sent(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call sent back. Cohere leaves the arguments of some empty, which is no JSON."""
    function = mapping(call.get("function"))
    arguments = function.get("arguments")
    sent = {"name": function.get("name"), "arguments": arguments if str(arguments or "").strip() else "{}"}
    return {"id": call.get("id"), "type": "function", "function": sent}


def _part(request: Request, part: dict[str, Any]) -> dict[str, Any] | None:
    kind = part.get("type")
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal") or ""}
    if kind == "image_url":
        image = part.get("image_url")
        return {**part, "image_url": {"url": image}} if isinstance(image, str) else part
    if kind in ("text", "document", "thinking"):
        return part
    if request.params.get("drop_params"):
        return None
    raise unsupported(request, f"content of type {kind}")
