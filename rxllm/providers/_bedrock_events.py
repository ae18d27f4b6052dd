"""Bedrock's Converse events as chunks in the OpenAI shape."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from rxllm.providers._reading import objects

__all__ = ["ConverseEvents", "converse_usage", "whole_answer"]

_CACHE_READ: Final = ("cacheReadInputTokens", "cacheReadInputTokenCount")
_CACHE_WRITE: Final = ("cacheWriteInputTokens", "cacheWriteInputTokenCount")


class _Block:
    """A content block that has not stopped yet."""

    def __init__(self, kind: str, start: Mapping[str, Any], position: int = 0) -> None:
        self.kind = kind  # "toolUse", "server_tool_use", "toolResult" or "reasoningContent"
        self.start = start
        self.position = position  # among the caller's tool calls
        self.pieces: list[str] = []
        self.signature: list[str] = []
        self.redacted: list[str] = []
        self.results: list[Any] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ConverseEvents:
    """Makes of each event of one ConverseStream the chunks, in the OpenAI shape, that it comes to.

    Text, reasoning and the caller's tool calls are passed on as they come. What has to be whole comes when its block
    stops: signed and redacted reasoning in ``thinking_blocks``; ``server_tool_calls`` and ``server_tool_results``,
    which are Bedrock's own and none of the caller's, in ``provider_specific_fields``, where ``citations`` are too, and
    deltas that are not known. A tool call without input has the arguments ``{}``.

    Attributes:
        ended: the stop reason and the usage have both come: nothing follows.

    >>> events = ConverseEvents({"model": "amazon.nova-lite-v1:0"})
    >>> [chunk] = events.take("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}, "p": "abcd"})
    >>> chunk["choices"][0]["delta"]
    {'content': 'Hi'}
    """

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self._shared = shared
        self._blocks: dict[Any, _Block] = {}
        self._calls = 0
        self._stopped = False
        self._counted = False

    @property
    def ended(self) -> bool:
        return self._stopped and self._counted

    def take(self, name: str, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks that an event comes to; none for events that are not known."""
        index: Any = fields.get("contentBlockIndex")
        if not isinstance(index, int | float | str):
            index = None
        match name:
            case "messageStart":
                yield self._chunk({"role": fields.get("role") or "assistant"})
            case "contentBlockStart":
                yield from self._stop(index)
                yield from self._start(index, _object(fields.get("start")), fields)
            case "contentBlockDelta":
                yield from self._delta(index, _object(fields.get("delta")), fields)
            case "contentBlockStop":
                yield from self._stop(index)
            case "messageStop":
                for open_index in list(self._blocks):
                    yield from self._stop(open_index)
                self._stopped = True
                more = fields.get("additionalModelResponseFields")
                delta = {"provider_specific_fields": {"additionalModelResponseFields": more}} if more else {}
                yield self._chunk(delta, finish_reason=fields.get("stopReason"))
            case "metadata":
                self._counted = True
                usage = _object(fields.get("usage"))
                if usage:
                    rest = {key: fields[key] for key in ("metrics", "trace", "performanceConfig") if fields.get(key)}
                    tier = _object(fields.get("serviceTier")).get("type")
                    if tier:
                        rest["service_tier"] = tier
                    yield {**self._shared, **rest, "choices": [], "usage": converse_usage(usage)}
            case _:
                pass

    def _start(self, index: Any, start: dict[str, Any], fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        tool, result = _object(start.get("toolUse")), _object(start.get("toolResult"))
        if tool and tool.get("type") == "server_tool_use":
            self._blocks[index] = _Block("server_tool_use", tool)
        elif tool:
            yield self._call(index, tool)
        elif result:
            self._blocks[index] = _Block("toolResult", result)
        elif start:
            yield self._specific("contentBlockStart", fields)

    def _delta(self, index: Any, delta: dict[str, Any], fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "text" in delta:
            yield self._chunk({"content": delta["text"]})
        elif "toolUse" in delta:
            piece = _object(delta["toolUse"]).get("input")
            block = self._blocks.get(index)
            if block is None or block.kind not in ("toolUse", "server_tool_use"):
                yield self._call(index, {})
                block = self._blocks[index]
            if isinstance(piece, str) and piece:
                block.pieces.append(piece)
                if block.kind == "toolUse":
                    yield self._chunk({"tool_calls": [{"index": block.position, "function": {"arguments": piece}}]})
        elif "reasoningContent" in delta:
            yield from self._reasoning(index, _object(delta["reasoningContent"]))
        elif "toolResult" in delta:
            block = self._blocks.setdefault(index, _Block("toolResult", {}))
            block.results += objects(delta["toolResult"])
        elif "citation" in delta:
            citation = _object(delta["citation"])
            told: dict[str, Any] = {"provider_specific_fields": {"citations": [citation]}}
            web = _object(_object(citation.get("location")).get("web"))
            if isinstance(web.get("url"), str):
                title = citation.get("title") or web.get("domain") or ""
                told["annotations"] = [{"type": "url_citation", "url_citation": {"url": web["url"], "title": title}}]
            yield self._chunk(told)
        elif delta:
            yield self._specific("contentBlockDelta", fields)

    def _reasoning(self, index: Any, delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
        block = self._blocks.setdefault(index, _Block("reasoningContent", {}))
        text, signature, redacted = (delta.get(name) for name in ("text", "signature", "redactedContent"))
        if isinstance(signature, str):
            block.signature.append(signature)
        if isinstance(redacted, str):
            block.redacted.append(redacted)
        if isinstance(text, str):
            block.pieces.append(text)
            yield self._chunk({"reasoning_content": text})

    def _stop(self, index: Any) -> Iterator[dict[str, Any]]:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        match block.kind:
            case "toolUse":
                if not block.pieces:
                    yield self._chunk({"tool_calls": [{"index": block.position, "function": {"arguments": "{}"}}]})
            case "server_tool_use":
                call = {"id": block.start.get("toolUseId"), "name": block.start.get("name")}
                yield self._specific("server_tool_calls", {**call, "arguments": block.text or "{}"})
            case "toolResult":
                yield self._specific("server_tool_results", {**block.start, "content": block.results})
            case _:
                blocks: list[dict[str, Any]] = []
                signature = "".join(block.signature)
                if signature:
                    # Unsigned reasoning is not sent back: models that do not sign it do not take it either.
                    blocks.append({"type": "thinking", "thinking": block.text, "signature": signature})
                if block.redacted:
                    blocks.append({"type": "redacted_thinking", "data": _joined(block.redacted)})
                if blocks:
                    yield self._chunk({"thinking_blocks": blocks})

    def _call(self, index: Any, tool: dict[str, Any]) -> dict[str, Any]:
        block = self._blocks[index] = _Block("toolUse", tool, self._calls)
        self._calls += 1
        function = {"name": tool.get("name"), "arguments": ""}
        call = {"index": block.position, "id": tool.get("toolUseId"), "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]})

    def _specific(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        return self._chunk({"provider_specific_fields": {name: [{k: v for k, v in value.items() if k != "p"}]}})

    def _chunk(self, delta: dict[str, Any], finish_reason: Any = None) -> dict[str, Any]:
        return {**self._shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def whole_answer(answer: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that a whole Converse answer would have been, had it been streamed; none where it is no such."""
    message = _object(_object(answer.get("output")).get("message"))
    if not message and "stopReason" not in answer:
        return
    yield "messageStart", {"role": message.get("role")}
    for index, block in enumerate(objects(message.get("content"))):
        for name, part in _as_deltas(block):
            yield name, {"contentBlockIndex": index, **part}
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", answer
    yield "metadata", answer


def _as_deltas(block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    tool, result = _object(block.get("toolUse")), _object(block.get("toolResult"))
    reasoning, cited = _object(block.get("reasoningContent")), _object(block.get("citationsContent"))
    if tool:
        import json

        yield "contentBlockStart", {"start": {"toolUse": tool}}
        yield "contentBlockDelta", {"delta": {"toolUse": {"input": json.dumps(tool.get("input") or {})}}}
    elif result:
        yield "contentBlockStart", {"start": {"toolResult": {k: v for k, v in result.items() if k != "content"}}}
        yield "contentBlockDelta", {"delta": {"toolResult": result.get("content")}}
    elif reasoning:
        yield "contentBlockDelta", {"delta": {"reasoningContent": _object(reasoning.get("reasoningText")) or reasoning}}
    elif cited:
        for part in objects(cited.get("content")):
            yield "contentBlockDelta", {"delta": part}
        for citation in objects(cited.get("citations")):
            yield "contentBlockDelta", {"delta": {"citation": citation}}
    else:
        yield "contentBlockDelta", {"delta": block}


def converse_usage(said: Mapping[str, Any]) -> dict[str, Any]:
    """Converse's usage in the OpenAI shape, where the prompt includes what was read from the cache and written to it.

    >>> told = converse_usage({"inputTokens": 4, "outputTokens": 2, "cacheReadInputTokens": 10})
    >>> told["prompt_tokens"], told["total_tokens"], told["prompt_tokens_details"]["cached_tokens"]
    (14, 16, 10)
    """
    read, written = _count(said, *_CACHE_READ), _count(said, *_CACHE_WRITE)
    prompt = _count(said, "inputTokens", "inputTokenCount") + read + written
    completion = _count(said, "outputTokens", "outputTokenCount")
    usage = {
        **said,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": max(prompt + completion, _count(said, "totalTokens")),
    }
    if read or written:
        usage["prompt_tokens_details"] = {"cached_tokens": read, "cache_creation_tokens": written}
    return usage


def _count(said: Mapping[str, Any], *names: str) -> int:
    found = (said.get(name) for name in names)
    return next((int(value) for value in found if isinstance(value, int | float) and 0 <= value < 1e15), 0)


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _joined(pieces: list[str]) -> str:
    """Base64 in pieces, each of which was encoded by itself."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except ValueError:
        return "".join(pieces)
