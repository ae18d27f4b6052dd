"""Reading a body through the OpenAI dialect, sans I/O, and telling what came of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rxllm._tool_calls import ToolCalls
from rxllm.exceptions import APIError
from rxllm.providers._openai import OpenAIChat
from rxllm.types import ModelResponseStream, Request, Usage

EVENT_STREAM = {"content-type": "text/event-stream"}


def request(**params: Any) -> Request:
    """A request with these parameters."""
    return Request(model="openai/gpt-4", messages=[], params=params, wire_model="gpt-4")


@dataclass
class Outcome:
    """What a body came to."""

    chunks: list[ModelResponseStream]
    complete: bool
    failure: APIError | None
    events: int
    texts: dict[int, str] = field(default_factory=dict[int, str])
    reasoning: dict[int, str] = field(default_factory=dict[int, str])
    refusals: dict[int, str] = field(default_factory=dict[int, str])
    finishes: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    natives: dict[int, str | None] = field(default_factory=dict[int, str | None])
    roles: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    calls: dict[int, ToolCalls] = field(default_factory=dict[int, ToolCalls])
    usage: Usage | None = None

    def __post_init__(self) -> None:
        for chunk in self.chunks:
            self.usage = chunk.reported_usage or self.usage
            for choice in chunk.choices:
                index, delta = choice.index, choice.delta
                self.texts[index] = self.texts.get(index, "") + (delta.content or "")
                self.reasoning[index] = self.reasoning.get(index, "") + (delta.reasoning_content or "")
                self.refusals[index] = self.refusals.get(index, "") + (delta.refusal or "")
                if choice.finish_reason is not None:
                    self.finishes.setdefault(index, []).append(choice.finish_reason)
                    self.natives[index] = choice.native_finish_reason
                if delta.role is not None:
                    self.roles.setdefault(index, []).append(delta.role)
                for call in delta.tool_calls or ():
                    self.calls.setdefault(index, ToolCalls(index)).add(call)

    @property
    def dumped(self) -> list[Any]:
        """The chunks, with the fields that dumping leaves out."""
        return [(chunk.model_dump(), chunk.reported_usage) for chunk in self.chunks]

    def told_calls(self, choice: int = 0) -> list[tuple[str, str, str]]:
        """Id, name and arguments of each call of a choice."""
        calls = self.calls[choice].all() if choice in self.calls else []
        return [(call.id, call.function.name, call.function.arguments) for call in calls]


def read(pieces: Iterable[bytes], asked: Request | None = None, headers: Mapping[str, str] = EVENT_STREAM) -> Outcome:
    """Reads a body to its end."""
    reading = OpenAIChat().reading(asked or request(), headers)
    chunks: list[ModelResponseStream] = []
    for piece in pieces:
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def sse(*events: Any, done: bool = True) -> bytes:
    """A body of these events: JSON, or bytes as they are."""
    lines = [event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() for event in events]
    if done:
        lines.append(b"data: [DONE]")
    return b"".join(line + b"\n\n" for line in lines)


def event(delta: Mapping[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **top: Any) -> Any:
    """A chunk with one choice, as a provider sends it."""
    choice = {"index": index, "delta": dict(delta or {}), "finish_reason": finish}
    return {"id": "chatcmpl-1", "created": 7, "model": "gpt-4", "choices": [choice], **top}


def text(content: str, **rest: Any) -> Any:
    """A chunk of text."""
    return event({"content": content}, **rest)


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
