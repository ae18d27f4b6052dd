"""Anthropic's Messages API: Claude, at Anthropic itself and, with small differences, at Azure, Google and Amazon."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from rxllm._decoders._events import Event, NamedEvent
from rxllm._decoders._json import parse
from rxllm.exceptions import APIError
from rxllm.providers._alike import Alike, Likeness
from rxllm.providers._anthropic_request import messages_body
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading, mapping, objects, whole_number
from rxllm.providers._requests import endpoint, json_request, with_entra
from rxllm.types import Delta, ModelResponseStream, Request

__all__ = ["AnthropicMessages", "AnthropicReading", "AzureAnthropic"]

_VERSION: Final = "2023-06-01"


class AnthropicMessages:
    r"""The wire dialect of ``POST /v1/messages``.

    >>> reading = AnthropicMessages().reading(Request(model="anthropic/claude", messages=[]), {})
    >>> event = b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}'
    >>> [chunk] = reading.feed(b"event: content_block_delta\ndata: " + event + b"\n\n")
    >>> chunk.choices[0].delta.content, chunk.choices[0].delta.role
    ('Hello', 'assistant')
    >>> reading.feed(b'data: {"type": "message_stop"}\n\n'), reading.complete
    ([], True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        ``base_url`` may end in ``/v1`` or ``/v1/messages`` already. ``api_version`` among the parameters is the
        ``anthropic-version``.

        Raises:
            BadRequestError: a parameter or a message cannot be said in JSON.
            UnsupportedParamsError: Claude has not a parameter.
        """
        body = {"model": request.wire_model or request.model, **messages_body(request, provider), "stream": True}
        version = self.version(request)
        return json_request(request, provider, self.url(base_url), body, api_key, anthropic_version=version)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "AnthropicReading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return AnthropicReading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)

    def version(self, request: Request) -> str:
        """The version of the API that ``request`` asks for; with later ones than ours Claude has no temperature."""
        return str(request.params.get("api_version") or _VERSION)

    def url(self, base_url: str) -> str:
        """Where requests go.

        >>> AnthropicMessages().url("https://api.anthropic.com/v1/")
        'https://api.anthropic.com/v1/messages'
        """
        address, mark, query = base_url.partition("?")
        return endpoint(address.rstrip("/").removesuffix("/v1") + mark + query, "/v1/messages")


class AzureAnthropic(AnthropicMessages):
    """Claude at Azure AI Foundry, whose ``api_version`` is that of other models; a Microsoft Entra token is a Bearer.

    >>> AzureAnthropic().url("https://me.services.ai.azure.com")
    'https://me.services.ai.azure.com/anthropic/v1/messages'
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream."""
        return super().http_request(request, base_url, api_key, with_entra(provider, api_key, "x-api-key"))

    def version(self, request: Request) -> str:
        """The version of Claude's API."""
        return _VERSION

    def url(self, base_url: str) -> str:
        """Where requests go."""
        address = base_url.partition("?")[0].rstrip("/").removesuffix("/models")
        return super().url(f"{address}/anthropic" if address.endswith(".services.ai.azure.com") else address)


# Members of a message that have their own places in a chunk, or that message_delta repeats.
_MESSAGE: Final = frozenset(
    {"id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "stop_details", "usage"}
)
# The order of content blocks that the OpenAI shape of a message can keep: reasoning, then text, then calls.
_PLAIN_ORDER: Final = {"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}
# Kinds of deltas that are pieces of a text: the fields of ours and theirs that hold it.
_TEXTS: Final = {"text_delta": (("content", "text"),), "thinking_delta": (("reasoning_content", "thinking"),)}


class AnthropicReading(StreamReading):
    """A reading of Claude's events; ``take_event`` takes those that came otherwise than as server-sent events.

    What becomes of the content blocks:

    - ``text`` is ``content``; its citations are ``annotations`` when the block is over, and at once
      ``provider_specific_fields["citations"]`` as they came.
    - ``thinking`` is ``reasoning_content`` as it comes; whole, with its signature, it is one of ``thinking_blocks``, as
      ``redacted_thinking`` is.
    - ``tool_use`` is one of ``tool_calls``; members that the OpenAI shape has not are its ``provider_specific_fields``.
    - All others (server tools and their results, compaction, fallback) are none of the caller's tool calls. An answer
      with such a block, with citations, or with blocks in an order that a message in the OpenAI shape cannot keep has
      all its blocks in ``provider_specific_fields["content_blocks"]``, each as soon as it and its kind are known. Sent
      back, such a message is these blocks.
    """

    events: int

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._usage: dict[str, Any] = {}
        self._usage_given = False
        self._shared: dict[str, Any] = {}  # id and model, on each chunk
        self._open: dict[int, _Block] = {}
        self._calls = 0
        self._length = 0  # of the text so far
        self._ended: list[_Block] = []  # not yet given as content_blocks
        self._rank = 0
        self._plain = True
        self._likeness = Likeness(self._read_again, Alike)
        self._written: _Block | None = None  # whose text or thinking the last event was
        self._learnt = "", _Block({})  # the name and the block of the event that was learnt from

    def take_event(self, fields: dict[str, Any], *, ragged: bool = False) -> list[ModelResponseStream]:
        """The chunks that one event amounts to: an object as it stands behind ``data:``.

        ``ragged`` says that it, or one before it, may hold halves of surrogate pairs.
        """
        out: list[ModelResponseStream] = []
        if not self.complete and self.failure is None:
            self.events += 1
            self._ragged = ragged
            self._take("", fields, out)
        return out

    def take_answer(self, fields: dict[str, Any]) -> list[ModelResponseStream]:
        """The chunks that a whole answer amounts to; a failure where it is none."""
        out: list[ModelResponseStream] = []
        if not self._take_whole(fields, out):
            self._fail(self._no_stream(json.dumps(fields)), out)
        return out

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        likeness, matched = self._likeness, False
        for event in events:
            name, data = event if isinstance(event, NamedEvent) else ("", event)
            # Claude fills events up with spaces before the last brace, each as far as it likes.
            data = data[:-1].rstrip(b" ") + data[-1:] if data[-2:] == b" }" else data
            known, (learnt, block) = likeness.known, self._learnt
            if known is not None and name == learnt:
                chunk = known.chunk(data)
                if chunk is not None:
                    self._add_text(block, chunk.choices[0].delta)
                    out.append(chunk)
                    matched = True
                    continue
            self._written = None
            before = len(out)
            self._take_event(event, out)
            if self._decode is None:
                return
            written = self._written
            # Of a text that has halves of surrogate pairs, more is to be told than what it is.
            plain = not self._ragged and len(out) == before + 1
            if written is not None and plain and self._normalizer.is_told_nothing_by(out[-1]):
                likeness.learn(data, out[-1], matched=matched)
                if likeness.known is not known:
                    self._learnt = name, written
            else:
                likeness.forget()
            matched = False

    def _read_again(self, data: bytes) -> ModelResponseStream | None:
        """The chunk of an event like the one that has just been taken, and nothing else comes of it."""
        delta = mapping(mapping(from_json(data)).get("delta"))
        given = {ours: delta[theirs] for ours, theirs in _TEXTS.get(delta.get("type", ""), ()) if theirs in delta}
        chunk = ModelResponseStream.model_validate(self._fields(given, None))
        self._normalizer.add(chunk, [])
        return chunk

    def _add_text(self, block: "_Block", delta: Delta) -> None:
        if delta.content:
            block.pieces.append(delta.content)
            self._length += len(delta.content)
        elif delta.reasoning_content:
            block.pieces.append(delta.reasoning_content)

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        kind = fields.get("type")
        if isinstance(kind, str) and kind != "error" and name != "error" and not fields.get("error"):
            return False  # message_start has a "message", and is no complaint
        return super()._is_error(fields, name)

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        kind = fields.get("type")
        if not isinstance(kind, str):
            kind = name or ("completion" if "completion" in fields else "")
        if self._is_error(fields, "error" if kind == "error" else name or kind):
            self._fail(self._stream_error(fields), out)
        elif kind == "content_block_delta":
            self._add_to_block(_index(fields), mapping(fields.get("delta")), out)
        elif kind == "content_block_start":
            self._start_block(_index(fields), mapping(fields.get("content_block")), out)
        elif kind == "content_block_stop":
            block = self._open.pop(_index(fields), None)
            if block is not None:
                self._end_block(block, out)
        elif kind == "message_start":
            self._start_message(mapping(fields.get("message")), out)
        elif kind == "message_delta":
            self._end_message(fields, out)
        elif kind == "message_stop":
            self._stop_message(fields, out)
        elif kind == "completion":
            self._take_completion(fields, out)
        # ping, and whatever events there will be

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if "completion" in payload:
            self._take_completion(payload, out)
            return self.complete or self.failure is not None
        if payload.get("type") != "message" or not isinstance(payload.get("content"), list):
            return False
        self._start_message({**payload, "content": []}, out)
        for index, block in enumerate(objects(payload["content"])):
            self._start_block(index, block, out)
        delta = {name: payload[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in payload}
        self._end_message({"delta": delta}, out)
        if self.failure is None:
            self._finish(out)
        return True

    # -- the message

    def _start_message(self, message: dict[str, Any], out: list[ModelResponseStream]) -> None:
        self._shared = {name: message[name] for name in ("id", "model") if isinstance(message.get(name), str)}
        self._usage.update(mapping(message.get("usage")))
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        beside = {key: value for key, value in message.items() if key not in _MESSAGE and value is not None}
        if beside:
            delta["provider_specific_fields"] = beside
        self._give(delta, out)
        for index, block in enumerate(objects(message.get("content"))):
            self._start_block(index, block, out)
            self._end_open(out)

    def _end_message(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A ``message_delta``: how the message ends, and what it has cost so far."""
        self._end_open(out)
        said = mapping(fields.get("delta"))
        delta: dict[str, Any] = {}
        beside = {key: value for key, value in said.items() if key != "stop_reason" and value is not None}
        beside.update((k, v) for k, v in fields.items() if k not in ("type", "delta", "usage") and v is not None)
        if beside:
            delta["provider_specific_fields"] = beside
        reason = said.get("stop_reason")
        explanation = mapping(said.get("stop_details")).get("explanation")
        if reason == "refusal" and isinstance(explanation, str):
            delta["refusal"] = explanation
        self._usage.update((k, v) for k, v in mapping(fields.get("usage")).items() if v is not None)
        more: dict[str, Any] = {}
        if self._usage:
            self._usage_given = True
            more["usage"] = _usage(self._usage)
        self._give(delta, out, finish=reason if isinstance(reason, str) else None, **more)

    def _stop_message(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A ``message_stop``; Bedrock says there how long it took."""
        self._end_open(out)
        beside = {key: value for key, value in fields.items() if key != "type" and value is not None}
        if self._normalizer.answered and self._usage and (beside or not self._usage_given):
            self._take_chunk({**beside, **self._shared, "choices": [], "usage": _usage(self._usage)}, out)
        if self.failure is None:
            self._finish(out)

    def _take_completion(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """An event of the legacy text completions; the one with a stop reason is the last."""
        self._shared = {name: fields[name] for name in ("id", "model") if isinstance(fields.get(name), str)}
        text, reason, stop = fields.get("completion"), fields.get("stop_reason"), fields.get("stop")
        delta: dict[str, Any] = {"content": text if isinstance(text, str) else ""}
        if stop:
            delta["provider_specific_fields"] = {"stop_sequence": stop}
        self._give(delta, out, finish=reason if isinstance(reason, str) and reason else None)
        if reason and self.failure is None:
            self._finish(out)

    # -- its blocks

    def _start_block(self, index: int, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        before = self._open.pop(index, None)
        if before is not None:
            self._end_block(before, out)
        block = self._open[index] = _Block(fields)
        if block.type == "tool_use":
            block.call = self._calls
            self._calls += 1
            beside = {k: v for k, v in fields.items() if k not in ("type", "id", "name", "input") and v is not None}
            call: dict[str, Any] = {
                "index": block.call,
                "id": fields.get("id"),
                "type": "function",
                "function": {"name": fields.get("name"), "arguments": ""},
            }
            if beside:
                call["provider_specific_fields"] = beside
            self._give({"tool_calls": [call]}, out)
        elif block.type == "text":
            block.start = self._length
        citations = fields.get("citations")
        block.fields.pop("citations", None)
        for kind, value in (("text", fields.get("text")), ("thinking", fields.get("thinking"))):
            if block.type == kind and isinstance(value, str) and value:
                block.fields[kind] = ""
                self._add_to_block(index, {"type": f"{kind}_delta", kind: value}, out)
        for citation in objects(citations):
            self._add_to_block(index, {"type": "citations_delta", "citation": citation}, out)

    def _add_to_block(self, index: int, delta: dict[str, Any], out: list[ModelResponseStream]) -> None:
        kind = delta.get("type")
        block = self._open.get(index)
        if block is None:
            # Never started, as some who imitate this dialect leave it.
            block = self._open[index] = _Block(
                {"type": "thinking" if kind in ("thinking_delta", "signature_delta") else "text"}
            )
            block.start = self._length
        if kind == "text_delta":
            text = delta.get("text")
            if isinstance(text, str):
                self._written = block
                block.pieces.append(text)
                self._length += len(text)
                self._give({"content": text}, out)
        elif kind == "thinking_delta":
            thinking = delta.get("thinking")
            if isinstance(thinking, str) and thinking:
                self._written = block
                block.pieces.append(thinking)
                self._give({"reasoning_content": thinking}, out)
        elif kind == "input_json_delta":
            text = delta.get("partial_json")
            if isinstance(text, str) and text:
                block.pieces.append(text)
                if block.call is not None:
                    self._give_arguments(block.call, text, out)
        elif kind == "citations_delta":
            citation = mapping(delta.get("citation"))
            if citation:
                block.citations.append(citation)
                self._give({"provider_specific_fields": {"citations": [citation]}}, out)
        else:
            block.merge(delta)  # signature_delta, compaction_delta and those to come

    def _end_open(self, out: list[ModelResponseStream]) -> None:
        for index in list(self._open):
            self._end_block(self._open.pop(index), out)

    def _end_block(self, block: "_Block", out: list[ModelResponseStream]) -> None:
        if block.call is not None and not block.pieces:
            given = block.fields.get("input")
            arguments = json.dumps(given if isinstance(given, dict) else {}, separators=(",", ":"), ensure_ascii=False)
            self._give_arguments(block.call, arguments, out)
        delta: dict[str, Any] = {}
        if block.type in ("thinking", "redacted_thinking"):
            delta["thinking_blocks"] = [block.whole()]
        if block.citations:
            delta["annotations"] = [_annotation(citation, block.start, self._length) for citation in block.citations]
        rank = _PLAIN_ORDER.get(block.type)
        self._plain = self._plain and rank is not None and rank >= self._rank and not block.citations
        self._rank = rank or 0
        self._ended.append(block)
        if not self._plain:
            delta["provider_specific_fields"] = {"content_blocks": [ended.whole() for ended in self._ended]}
            self._ended.clear()
        if delta:
            self._give(delta, out)

    # -- chunks

    def _give_arguments(self, call: int, text: str, out: list[ModelResponseStream]) -> None:
        self._give({"tool_calls": [{"index": call, "function": {"arguments": text}}]}, out)

    def _give(
        self, delta: dict[str, Any], out: list[ModelResponseStream], *, finish: str | None = None, **more: Any
    ) -> None:
        if self.failure is None:
            self._take_chunk({**self._fields(delta, finish), **more}, out)

    def _fields(self, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {**self._shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


class _Block:
    """A content block while it comes."""

    __slots__ = ("call", "citations", "fields", "merged", "pieces", "start", "type")

    def __init__(self, fields: dict[str, Any]) -> None:
        kind = fields.get("type")
        self.type = kind if isinstance(kind, str) else ""
        self.fields = dict(fields)
        self.pieces: list[str] = []  # of its text, its thinking, or the JSON of its input
        self.merged: dict[str, list[str]] = {}  # pieces of its other fields, such as a signature
        self.citations: list[dict[str, Any]] = []
        self.call: int | None = None  # its place among the caller's tool calls
        self.start = 0  # where its text begins in the content

    def merge(self, delta: dict[str, Any]) -> None:
        """A delta of no kind of its own: strings are appended, anything else replaces what was there."""
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            before = self.fields.get(name)
            if isinstance(before, str) and isinstance(value, str):
                self.merged.setdefault(name, [before]).append(value)
            else:
                self.merged.pop(name, None)
                self.fields[name] = value

    def whole(self) -> dict[str, Any]:
        """The block as it would stand in an answer that was not streamed."""
        block = {**self.fields, **{name: "".join(pieces) for name, pieces in self.merged.items()}}
        text = "".join(self.pieces)
        if not text.isascii():
            # The halves of a surrogate pair may have come in two pieces; JSON cannot say one that stays alone.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if self.type in ("text", "thinking"):
            block[self.type] = text
        elif text:
            block["input"] = _input(text)
        if self.citations:
            block["citations"] = self.citations
        return block


def _input(text: str) -> Any:
    """The input of a tool; what was broken off is wrapped, as Anthropic's documentation has it."""
    try:
        return parse(text)
    except ValueError:
        return {"INVALID_JSON": text}


def _annotation(citation: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    """A citation in OpenAI's shape where that has one; ``start`` and ``end`` are the cited text's in the content."""
    if isinstance(citation.get("url"), str):
        cited = {key: citation[key] for key in ("url", "title") if isinstance(citation.get(key), str)}
        return {"type": "url_citation", "url_citation": {**cited, "start_index": start, "end_index": end}}
    return {**citation, "start_index": start, "end_index": end}


def _usage(raw: dict[str, Any]) -> dict[str, Any]:
    """Claude's counts in OpenAI's shape: the prompt's tokens include those that the cache took or gave."""
    read = whole_number(raw.get("cache_read_input_tokens"))
    written = whole_number(raw.get("cache_creation_input_tokens"))
    prompt = whole_number(raw.get("input_tokens")) + read + written
    completion = whole_number(raw.get("output_tokens"))
    usage: dict[str, Any] = {
        **raw,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": written},
    }
    thinking = mapping(raw.get("output_tokens_details")).get("thinking_tokens")
    if thinking is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": whole_number(thinking)}
    return usage


def _index(fields: dict[str, Any]) -> int:
    index = fields.get("index")
    return index if isinstance(index, int) else 0
