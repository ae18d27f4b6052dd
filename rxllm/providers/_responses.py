"""OpenAI's Responses API, as OpenAI, Azure, xAI and the servers that speak like them send it."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading, objects
from rxllm.providers._requests import endpoint, json_request, with_entra
from rxllm.providers._responses_request import responses_body
from rxllm.types import ModelResponseStream, Request

__all__ = ["AzureResponses", "OpenAIResponses"]


class OpenAIResponses:
    r"""The wire dialect of ``POST /responses``.

    Text, refusals and calls of the caller's tools are where they are in a chat completion; reasoning summaries and raw
    reasoning are ``reasoning_content``. All other output items, whole, are in ``provider_specific_fields["output"]``:
    reasoning items with what is encrypted in them, and the calls and results of hosted tools. With them stand marks for
    the messages and calls between, so that the order can be told. Sent back within their message, they become input
    items again.

    >>> reading = OpenAIResponses().reading(Request(model="gpt-5", messages=[]), {"content-type": "text/event-stream"})
    >>> [chunk] = reading.feed(b'data: {"type": "response.output_text.delta", "delta": "Hello"}\n\n')
    >>> chunk.choices[0].delta.content
    'Hello'
    >>> [last] = reading.feed(b'data: {"type": "response.completed", "response": {"status": "completed"}}\n\n')
    >>> last.choices[0].finish_reason, reading.complete
    ('stop', True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream; the Responses API's own parameters are passed on.

        Raises:
            BadRequestError: a parameter cannot be said in JSON.
            UnsupportedParamsError: the Responses API has not a parameter, such as ``stop``.
        """
        return json_request(request, provider, self.url(request, base_url), responses_body(request, provider), api_key)

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        return endpoint(base_url, "/responses")

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_Reading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


# The first dated version that has responses at all; an older one in the environment is meant for chat completions.
_FIRST_AZURE_VERSION: Final = "2025-03"


class AzureResponses(OpenAIResponses):
    """The Responses API on Azure, which needs no version any more; the model is the deployment's name.

    With ``api_version=`` or ``AZURE_API_VERSION`` as a date, the older, dated API is asked.

    >>> dialect, base = AzureResponses(), "https://me.openai.azure.com"
    >>> dialect.url(Request(model="azure/responses/mine", messages=[], wire_model="mine"), base)
    'https://me.openai.azure.com/openai/v1/responses'
    >>> dialect.url(Request(model="", messages=[], params={"api_version": "2025-04-01-preview"}), base)
    'https://me.openai.azure.com/openai/responses?api-version=2025-04-01-preview'
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request; a Microsoft Entra token, a JSON Web Token, goes as Bearer, and a key as ``api-key``."""
        return super().http_request(request, base_url, api_key, with_entra(provider, api_key, "api-key"))

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        address = base_url.partition("?")[0].rstrip("/")
        if address.endswith(("/openai/v1", "/responses")):
            return endpoint(base_url, "/responses")
        resource = address.partition("/openai")[0]
        version = str(request.params.get("api_version") or "")
        from_environment = os.environ.get("AZURE_API_VERSION", "")
        if not version and from_environment[:7] >= _FIRST_AZURE_VERSION:
            version = from_environment
        if version[:4].isdigit():
            return f"{resource}/openai/responses?api-version={version}"
        return f"{resource}/openai/v1/responses" + (f"?api-version={version}" if version == "preview" else "")


@dataclass
class _Item:
    """An output item as far as it has come."""

    kind: str
    call: int | None = None  # its place among the caller's calls
    length: int = 0  # of a message's text
    sent: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])  # of each part of it


# The deltas of text, by the end of the event's name: where they go. Some servers have names of their own.
_TEXTS: Final = {
    "output_text": "content",
    "refusal": "refusal",
    "reasoning_summary_text": "reasoning_content",
    "reasoning_summary": "reasoning_content",
    "reasoning_text": "reasoning_content",
    "reasoning": "reasoning_content",
}
# Likewise the whole parts of items.
_PARTS: Final = {
    "output_text": ("content", "text"),
    "text": ("content", "text"),
    "refusal": ("refusal", "refusal"),
    "summary_text": ("reasoning_content", "text"),
    "reasoning_text": ("reasoning_content", "text"),
}
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
_ARGUMENTS: Final = {"function_call_arguments": "arguments", "custom_tool_call_input": "input"}
_ENDS: Final = frozenset({"completed", "incomplete", "failed", "cancelled", "done"})
_CALL_FIELDS: Final = frozenset({"id", "type", "status", "call_id", "name", "arguments", "input"})
_INCOMPLETE: Final = {"content_filter": "content_filter"}


class _Reading(StreamReading):
    """A reading of the Responses API's events."""

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._shared: dict[str, Any] = {"object": "chat.completion.chunk"}
        self._items: dict[int | str | None, _Item] = {}
        self._kinds: set[str] = set()  # of items that have come
        self._calls = 0
        self._marks: list[dict[str, Any]] = []  # of messages and calls, since what was last kept
        self._kept = False
        self._stored: bool | None = None
        self._custom = _custom_tools(
            request.params.get("tools"), cast("Any", request.params.get("extra_body") or {}).get("tools")
        )

    # -- events

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        kind = str(fields.get("type") or name)
        if kind.startswith("response.") or fields.get("object") == "response":
            return False
        return super()._is_error(fields, name)

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            self._fail(self._stream_error(fields), out)
            return
        kind = str(fields.get("type") or name)
        subject, _, what = kind.removeprefix("response.").rpartition(".")
        response: Any = fields.get("response")
        if not isinstance(response, dict) and not subject and (what in _ENDS or fields.get("object") == "response"):
            response = fields  # some servers send the response itself
        if isinstance(response, dict):
            self._take_response("" if subject else what, cast("dict[str, Any]", response), out)
        elif what == "delta":
            self._take_delta(subject, fields, out)
        elif what == "done" and subject in _TEXTS:
            place = _TEXTS[subject]
            self._take_text(subject, place, fields, fields.get("refusal" if place == "refusal" else "text"), out)
        elif what == "done" and subject in _ARGUMENTS:
            self._take_arguments(self._item(fields, ""), fields.get(_ARGUMENTS[subject]), out, whole=True)
        elif subject in ("output_item", "output_text.annotation", "content_part"):
            self._take_member(subject, what, fields, out)
        elif what == "partial_image":
            image = {key: value for key, value in fields.items() if key not in ("type", "sequence_number")}
            self._give({"provider_specific_fields": {"partial_image": image}}, out)

    def _take_delta(self, subject: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        delta: Any = fields.get("delta")
        if isinstance(delta, dict):
            delta = cast("dict[str, Any]", delta).get("text")
        if subject in _TEXTS:
            self._take_text(subject, _TEXTS[subject], fields, delta, out, whole=False)
        elif subject == "content_part":
            self._take_text("output_text", "content", fields, delta, out, whole=False)
        elif subject in _ARGUMENTS:
            self._take_arguments(self._item(fields, ""), delta, out, whole=False)
        elif subject == "audio":
            self._give({"audio": {"data": delta}}, out)
        elif subject == "audio.transcript":
            self._give({"audio": {"transcript": delta}}, out)

    def _take_member(self, subject: str, what: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """An output item, a part of one, or an annotation: begun or whole."""
        member: Any = fields.get({"output_item": "item", "content_part": "part"}.get(subject, "annotation"))
        if not isinstance(member, dict):
            return
        said = cast("dict[str, Any]", member)
        if subject == "output_text.annotation":
            item = self._item(fields, "message")
            _count(item, "annotations", fields, 1)
            self._give({"annotations": [_annotation(said)]}, out)
        elif subject == "content_part":
            if what == "done" and str(said.get("type")) in _PARTS:
                item = self._item(fields, "")
                item.kind = item.kind or ("reasoning" if _PARTS[said["type"]][0] == "reasoning_content" else "message")
                self._kinds.add(item.kind)
                self._take_part(item, said, fields, out)
        elif what == "added":
            self._begin(fields, said, out)
        elif what == "done":
            self._take_item(fields, said, out)

    # -- items and what is in them

    def _item(self, fields: dict[str, Any], kind: str) -> _Item:
        """The item that an event is about, a new one where there is none."""
        item = self._find(fields, fields.get("item_id"), kind)
        if item is None:
            item = self._items[_key(fields)] = _Item(kind)
        if not item.kind:
            item.kind = kind
        if kind:
            self._kinds.add(item.kind)
        return item

    def _kind(self, said: dict[str, Any]) -> str:
        """What an item is. A call of a custom tool that is none of the caller's is a hosted tool's, as xAI has them."""
        kind = str(said.get("type") or "")
        if kind != "custom_tool_call" or str(said.get("name")) in self._custom or "prompt" in self._request.params:
            return kind  # a stored prompt may have tools that are not known here
        return f"hosted {kind}"

    def _find(self, fields: dict[str, Any], name: Any, kind: str) -> _Item | None:
        """An item by its place, else by its id: some servers give a new id each time, some the same place twice."""
        by_name = self._items.get(name) if isinstance(name, str) else None
        for item in (self._items.get(_key(fields)), by_name):
            if item is not None and (not kind or item.kind in ("", kind)):
                return item
        return None

    def _begin(self, fields: dict[str, Any], said: dict[str, Any], out: list[ModelResponseStream]) -> _Item:
        """A new item. A call of one of the caller's tools is given at once, before its arguments."""
        kind = self._kind(said)
        item = self._items[_key(fields)] = _Item(kind)
        if isinstance(said.get("id"), str):
            self._items[said["id"]] = item
        self._kinds.add(kind)
        if kind in _CALLS:
            item.call = self._calls
            self._calls += 1
            call = {
                "index": item.call,
                "id": said.get("call_id") or said.get("id"),
                "type": "function" if kind == "function_call" else "custom",
                "function": {"name": said.get("name"), "arguments": ""},
            }
            rest = {key: value for key, value in said.items() if key not in _CALL_FIELDS and value is not None}
            if rest:
                call["provider_specific_fields"] = rest
            self._give({"tool_calls": [call]}, out)
        return item

    def _take_item(self, fields: dict[str, Any], said: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A whole item: what of it has not come in deltas."""
        kind = self._kind(said)
        item = self._find(fields, said.get("id"), kind)
        if item is None or (kind in _CALLS and item.call is None):
            item = self._begin(fields, said, out)
        # It has ended: its id may be used again, and events that say nothing of where they belong are of the next one.
        self._items.pop(None, None)
        if isinstance(said.get("id"), str):
            self._items.pop(said["id"], None)
        item.kind = kind
        self._kinds.add(kind)
        if kind in _CALLS:
            self._take_arguments(item, said.get(_CALLS[kind]), out, whole=True)
            self._keep({"type": kind, "call_id": said.get("call_id")}, out, mark=True)
        elif kind == "message":
            for index, part in enumerate(objects(said.get("content"))):
                self._take_part(item, part, {"content_index": index}, out)
            phase = {"phase": said["phase"]} if said.get("phase") else {}
            self._keep({"type": kind, "length": item.length, **phase}, out, mark=not phase)
        elif kind:
            if kind == "reasoning":
                self._take_reasoning(item, said, out)
            self._keep(said, out)

    def _take_reasoning(self, item: _Item, said: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """What a reasoning item says, where no delta has said any of it: the reasoning itself, or its summary."""
        if any(item.sent.values()):
            return
        for name in ("content", "summary"):
            for index, part in enumerate(objects(said.get(name))):
                self._take_part(item, part, {"content_index" if name == "content" else "summary_index": index}, out)
            if any(item.sent.values()):
                return

    def _take_part(
        self, item: _Item, part: dict[str, Any], fields: dict[str, Any], out: list[ModelResponseStream]
    ) -> None:
        """A whole part of an item: what of it has not come in deltas."""
        kind = str(part.get("type") or "")
        if kind not in _PARTS:
            return
        place, name = _PARTS[kind]
        if item.kind == "reasoning":
            place = "reasoning_content"  # vLLM calls it output_text there
        self._take_piece(item, place, fields, part.get(name), part.get("logprobs"), out, whole=True)
        if place == "content":
            annotations = objects(part.get("annotations"))
            if annotations and not _count(item, "annotations", fields, 0):
                _count(item, "annotations", fields, len(annotations))
                self._give({"annotations": [_annotation(annotation) for annotation in annotations]}, out)

    def _take_text(
        self,
        subject: str,
        place: str,
        fields: dict[str, Any],
        text: Any,
        out: list[ModelResponseStream],
        *,
        whole: bool = True,
    ) -> None:
        item = self._item(fields, "reasoning" if place == "reasoning_content" else "message")
        self._take_piece(item, place, fields, text, fields.get("logprobs"), out, whole=whole)

    def _take_piece(
        self,
        item: _Item,
        place: str,
        fields: dict[str, Any],
        text: Any,
        logprobs: Any,
        out: list[ModelResponseStream],
        *,
        whole: bool,
    ) -> None:
        """A piece of text, or the whole of it, which is given only where no piece has come."""
        if not isinstance(text, str):
            return
        choice: dict[str, Any] = {}
        if text and not (whole and _count(item, place, fields, 0)):
            _count(item, place, fields, len(text))
            choice["delta"] = {place: text}
            if place == "content":
                item.length += len(text)
        tokens = objects(logprobs)
        if tokens and not (whole and _count(item, "logprobs", fields, 0)):
            _count(item, "logprobs", fields, len(tokens))
            choice["logprobs"] = {"content": tokens}
        if choice:
            self._give(choice.pop("delta", {}), out, **choice)

    def _take_arguments(self, item: _Item, text: Any, out: list[ModelResponseStream], *, whole: bool) -> None:
        """Arguments of a call that has been given; of one that has not, the whole item will tell them."""
        if item.call is None or not isinstance(text, str) or not text or (whole and _count(item, "arguments", {}, 0)):
            return
        _count(item, "arguments", {}, len(text))
        self._give({"tool_calls": [{"index": item.call, "function": {"arguments": text}}]}, out)

    # -- the response around them

    def _take_response(self, what: str, response: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """The response as a whole: what it says of itself, and at its end what it came to."""
        for name, said in (("id", "id"), ("created", "created_at"), ("model", "model")):
            if response.get(said):
                self._shared[name] = response[said]
        if isinstance(response.get("store"), bool):
            self._stored = response["store"]
        if what not in _ENDS:
            return
        status = str(response.get("status") or what)
        if status not in _ENDS:
            status = what  # some say "in_progress" to the end
        self._take_output(response, out)
        usage = _usage(response.get("usage"))
        if status in ("failed", "cancelled") or response.get("error"):
            if usage:
                self._take_chunk({**self._shared, "choices": [], "usage": usage}, out)
            words = {"message": f"The provider's response has {status}", "code": "server_error"}
            self._fail(self._stream_error({"error": response.get("error") or words, "response": response}), out)
            return
        finish, native = _finish_reason(status, response)
        delta: dict[str, Any] = {}
        if self._kept and self._marks:
            delta["provider_specific_fields"] = self._unloaded()
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "native_finish_reason": native}
        beside = {name: response[name] for name in ("service_tier", "content_filters") if response.get(name)}
        self._take_chunk({**self._shared, **beside, "choices": [choice], "usage": usage}, out)
        if self.failure is None:
            self._finish(out)

    def _take_output(self, response: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """The items in the response's end, of the kinds that have not come: places and ids may differ from before."""
        known = set(self._kinds)
        for index, said in enumerate(objects(response.get("output"))):
            if self._kind(said) not in known:
                self._take_item({"item_id": f"output[{index}]"}, said, out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        status = str(payload.get("status", "completed"))
        if not isinstance(payload.get("output"), list) or status not in _ENDS:
            return False
        self._take_response(status, payload, out)
        return True

    def _give(self, delta: dict[str, Any], out: list[ModelResponseStream], **choice: Any) -> None:
        self._take_chunk({**self._shared, "choices": [{"index": 0, "delta": delta, **choice}]}, out)

    def _keep(self, said: dict[str, Any], out: list[ModelResponseStream], *, mark: bool = False) -> None:
        """Keeps an item that a chat completion has no place for. Marks of those it has are given with the next one."""
        self._marks.append(said)
        if not mark:
            self._kept = True
            self._give({"provider_specific_fields": self._unloaded()}, out)

    def _unloaded(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"output": self._marks}
        self._marks = []
        if self._stored is not None:
            fields["stored"] = self._stored
        return fields


def _custom_tools(*given: Any) -> set[str]:
    """The names of the caller's custom tools, those in namespaces too."""
    names: set[str] = set()
    for tools in given:
        for tool in cast("Iterable[Any]", tools or ()):
            if isinstance(tool, Mapping):
                fields = cast("Mapping[str, Any]", tool)
                if fields.get("type") == "custom":
                    names.add(str(cast("Mapping[str, Any]", fields.get("custom") or fields).get("name")))
                names |= _custom_tools(fields.get("tools"))
    return names


def _key(fields: dict[str, Any]) -> int | str | None:
    """What tells the items of a response apart."""
    place, name = fields.get("output_index"), fields.get("item_id")
    return place if isinstance(place, int) else name if isinstance(name, str) else None


def _count(item: _Item, what: str, fields: dict[str, Any], more: int) -> int:
    """How much of one part of an item has come, with ``more``."""
    place = fields.get("summary_index", fields.get("content_index"))
    key = (what, place if isinstance(place, int) else 0)
    item.sent[key] = item.sent.get(key, 0) + more
    return item.sent[key]


def _annotation(said: dict[str, Any]) -> dict[str, Any]:
    """An annotation as chat completions have it: what a citation of a page says stands in an object of its own."""
    if said.get("type") != "url_citation" or "url_citation" in said:
        return said
    return {"type": "url_citation", "url_citation": {key: value for key, value in said.items() if key != "type"}}


def _finish_reason(status: str, response: dict[str, Any]) -> tuple[str, str]:
    """The finish reason, and what the provider said: an incomplete response names its reason."""
    if status != "incomplete":
        return "stop", "completed"
    details = response.get("incomplete_details")
    reason = cast("dict[str, Any]", details).get("reason") if isinstance(details, dict) else None
    return _INCOMPLETE.get(str(reason), "length"), str(reason or status)


def _usage(said: Any) -> dict[str, Any] | None:
    """Usage under the names of chat completions, beside the provider's own."""
    if not isinstance(said, dict) or not said:
        return None
    fields = cast("dict[str, Any]", said)
    ours = {
        "prompt_tokens": fields.get("input_tokens"),
        "completion_tokens": fields.get("output_tokens"),
        "prompt_tokens_details": fields.get("input_tokens_details"),
        "completion_tokens_details": fields.get("output_tokens_details"),
    }
    return {**fields, **{name: value for name, value in ours.items() if value is not None}}
