"""What the providers of the benchmarks send: streams in four wire formats, made as bytes before they are asked for."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["QUESTION", "WIRES", "Wire"]

QUESTION = "Hello"


class Wire(NamedTuple):
    """A provider's wire format: where it is spoken, and how a stream begins, goes on and ends."""

    base: str
    """The beginning of the path that a client is told, in rxllm ``api_base``."""
    path: str
    """What follows, with the model's name where it has a place there."""
    question: dict[str, Any]
    """The body of a request, but for the model."""
    start: bytes
    event: Callable[[int], bytes]
    """A chunk of text, by its number."""
    end: bytes

    def request(self, model: str) -> tuple[str, dict[str, Any]]:
        """The path and the body of a request for a stream."""
        in_path = "{model}" in self.path
        return self.base + self.path.format(model=model), self.question if in_path else {
            "model": model,
            **self.question,
        }

    def packets(self, chunks: int, a_packet: int) -> list[bytes]:
        """A stream of so many chunks of text, cut into packets of so many events.

        What a format sends before its text goes with the first packet; what it sends after it is the last.
        """
        packets = [
            b"".join(self.event(number) for number in range(begin, min(begin + a_packet, chunks)))
            for begin in range(0, chunks, a_packet)
        ]
        return [self.start + packets[0], *packets[1:], self.end]


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _openai(number: int) -> bytes:
    """About 330 bytes; like OpenAI's, each is filled up with letters and digits to a length that tells nothing."""
    return b"data: " + _openai_json(_delta(number), None, _padding(number)) + b"\n\n"


def _delta(number: int) -> dict[str, str]:
    role = {"role": "assistant"} if number == 0 else {}
    return {**role, "content": f" word{number % 100}"}


def _padding(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()[: 4 + number % 13]


def _openai_json(delta: dict[str, str], finish_reason: str | None, padding: str) -> bytes:
    return _json(
        {
            "id": "chatcmpl-BDA7OEUOiPJr6S3fbWdwAE3GbR2n5",
            "object": "chat.completion.chunk",
            "created": 1742476858,
            "model": "gpt-4o-2024-08-06",
            "service_tier": "default",
            "system_fingerprint": "fp_eb9dce56a8",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
            "usage": None,
            "obfuscation": padding,
        }
    )


def _vllm(number: int) -> bytes:
    """About 220 bytes, of which nothing but the text changes, as from servers of open models."""
    return b"data: " + _vllm_json(_delta(number), None) + b"\n\n"


def _vllm_json(delta: dict[str, str], finish_reason: str | None) -> bytes:
    return _json(
        {
            "id": "chatcmpl-5f1c8a8f3c0d4b7b9f0e6a2d1c3b5a79",
            "object": "chat.completion.chunk",
            "created": 1742476858,
            "model": "meta-llama/Llama-3.1-8B-Instruct",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        }
    )


def _anthropic(number: int) -> bytes:
    """About 150 bytes; like Claude's, each is filled up with spaces to a length that tells nothing."""
    delta = {"type": "text_delta", "text": f" word{number % 100}"}
    body = _json({"type": "content_block_delta", "index": 0, "delta": delta})
    return b"event: content_block_delta\ndata: " + body[:-1] + b" " * (number % 16) + b"}\n\n"


def _named(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _json(event)) for event in events)


def _anthropic_start() -> bytes:
    message: dict[str, Any] = {
        "id": "msg_01BenchmarkBenchmarkBenc",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 8, "cache_read_input_tokens": 0, "output_tokens": 1, "service_tier": "standard"},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return _named([{"type": "message_start", "message": message}, block, {"type": "ping"}])


def _anthropic_end() -> bytes:
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return _named(
        [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 2000}},
            {"type": "message_stop"},
        ]
    )


def _gemini(number: int, finish_reason: str | None = None) -> bytes:
    """About 400 bytes: Gemini says several words at once, and the usage so far each time."""
    candidate: dict[str, Any] = {
        "content": {"parts": [{"text": f" word{number % 100} and some more that go along"}], "role": "model"},
        "index": 0,
    }
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    fields = {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": 7 * (number + 1),
            "totalTokenCount": 8 + 7 * (number + 1),
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
        },
        "modelVersion": "gemini-2.5-flash",
        "responseId": "BenchmarkBenchmarkBenchmark",
    }
    return b"data: " + json.dumps(fields).encode() + b"\r\n\r\n"


_MESSAGES = [{"role": "user", "content": QUESTION}]

WIRES = {
    "openai": Wire(
        base="/v1",
        path="/chat/completions",
        question={"messages": _MESSAGES, "stream": True},
        start=b"",
        event=_openai,
        end=b"data: " + _openai_json({}, "stop", "aB3") + b"\n\ndata: [DONE]\n\n",
    ),
    "hosted_vllm": Wire(
        base="/vllm/v1",
        path="/chat/completions",
        question={"messages": _MESSAGES, "stream": True},
        start=b"",
        event=_vllm,
        end=b"data: " + _vllm_json({}, "stop") + b"\n\ndata: [DONE]\n\n",
    ),
    "anthropic": Wire(
        base="/v1",
        path="/messages",
        question={"messages": _MESSAGES, "max_tokens": 4096, "stream": True},
        start=_anthropic_start(),
        event=_anthropic,
        end=_anthropic_end(),
    ),
    "gemini": Wire(
        base="/v1beta",
        path="/models/{model}:streamGenerateContent?alt=sse",
        question={"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]},
        start=b"",
        event=_gemini,
        end=_gemini(0, "STOP"),
    ),
}
"""By the name that rxllm has for whoever speaks it."""
