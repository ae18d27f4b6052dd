"""Amazon Bedrock by InvokeModelWithResponseStream: each vendor's own dialect inside AWS's binary event stream."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from pydantic import BaseModel

from rxllm.exceptions import APIError
from rxllm.providers._anthropic import AnthropicReading
from rxllm.providers._anthropic_request import messages_body
from rxllm.providers._base import Provider
from rxllm.providers._bedrock import BedrockConverse, BedrockReading
from rxllm.providers._bedrock_events import converse_usage
from rxllm.providers._bedrock_request import UNSUPPORTED, converse_body, model_name
from rxllm.providers._reading import objects, whole_number
from rxllm.providers._requests import content_parts, json_schema, parameters, unsupported
from rxllm.types import ModelResponseStream, Request

__all__ = ["BedrockInvoke"]

_ANTHROPIC_VERSION: Final = "bedrock-2023-05-31"
_METRICS: Final = "amazon-bedrock-invocationMetrics"


class BedrockInvoke(BedrockConverse):
    """The wire dialect of ``POST /model/{modelId}/invoke-with-response-stream``.

    What is sent depends on the model's vendor; what comes is told by its shape: Anthropic's messages, Nova's Converse
    events, chat completions in OpenAI's shape (AI21, Mistral, OpenAI's open models), or one of the shapes of text
    (Titan, Llama, Cohere, Mistral). The last object of a stream carries Bedrock's own count of the tokens.
    """

    operation = "invoke-with-response-stream"

    def body(self, request: Request, provider: Provider) -> dict[str, Any]:
        """The body of the HTTP request, in the dialect of the model's vendor."""
        return _invoke_body(request, provider)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "_InvokeReading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _InvokeReading(request, headers)


class _InvokeReading(BedrockReading):
    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._claude: AnthropicReading | None = None
        self._usage: dict[str, Any] = {}  # as the vendor told it, so far
        self._begun: set[int] = set()  # the choices that have come and not ended

    def _close(self, out: list[ModelResponseStream]) -> None:
        if self._claude is None:
            super()._close(out)
        else:
            out += self._claude.end()
            self._stop(complete=self._claude.complete, failure=self._claude.failure)

    def _fail(self, error: APIError, out: list[ModelResponseStream]) -> None:
        if self._claude is not None:
            out += self._claude.end()
        super()._fail(error, out)

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            self._fail(self._stream_error(fields), out)
        elif "bytes" not in fields:
            self._take_object(fields, out)
        else:
            try:
                payload = self._parse(base64.b64decode(fields["bytes"], validate=True))
            except (ValueError, TypeError) as error:
                self._fail(self._invalid(f"The provider sent a chunk that is not JSON in base64 ({error})", ""), out)
                return
            if isinstance(payload, dict):
                self._take_object(cast("dict[str, Any]", payload), out)
            else:
                self._fail(self._invalid("The provider sent a chunk that is no JSON object", json.dumps(payload)), out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if payload.get("type") == "message":
            self._claude = AnthropicReading(self._request, self._headers)
            out += self._claude.take_answer(payload)
            self._close(out)
            return True
        if "output" in payload:
            return super()._take_whole(payload, out)
        self._take_object(payload, out)
        if self.failure is None and not self.complete:
            if not self._normalizer.answered:
                return False
            out += self._normalizer.close()
            self._stop(complete=True)
        return True

    def _take_object(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """One object of the vendor's own."""
        if self._claude is not None or _is_claude(payload):
            self._take_claude(payload, out)
            return
        if self._is_error(payload, "") and not self._texts(payload):
            self._fail(self._stream_error(payload), out)
            return
        # What Bedrock says beside the vendor's own words: of guardrails, and in the end of tokens.
        beside = {name: payload.pop(name) for name in list(payload) if name.startswith("amazon-bedrock-")}
        metrics = beside.pop(_METRICS, None)
        for chunk in self._chunks(payload):
            self._take_chunk({**chunk, **beside}, out)
            if self.failure is not None:
                return
        if isinstance(metrics, dict):
            self._take_metrics(cast("dict[str, Any]", metrics), beside, out)

    def _chunks(self, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What an object comes to, as chunks in the OpenAI shape."""
        for name in _CONVERSE_EVENTS.intersection(payload):
            event = payload[name]
            if isinstance(event, dict):
                yield from self._events.take(name, cast("dict[str, Any]", event))
        metadata = payload.get("metadata")
        usage = cast("dict[str, Any]", metadata).get("usage") if isinstance(metadata, dict) else None
        if isinstance(usage, dict):
            self._usage = converse_usage(cast("dict[str, Any]", usage))
        elif isinstance(payload.get("usage"), dict):
            self._usage = payload["usage"]
        for name, place in _COUNTS.items():
            if isinstance(payload.get(name), int | float):
                self._usage = {**self._usage, place: whole_number(payload[name])}
        choices = [_openai_choice(choice) for choice in objects(payload.get("choices"))] or self._texts(payload)
        for choice in choices:
            if isinstance(choice.get("index"), int):
                (self._begun.discard if choice.get("finish_reason") else self._begun.add)(choice["index"])
        if choices or ("choices" in payload and self._usage):
            shared = {**self._shared, **{name: payload[name] for name in _SHARED if payload.get(name)}}
            yield {**shared, "choices": choices, "usage": self._usage or None}

    def _texts(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices in an object of the vendors of text; none where it is another's."""
        for name, reason in (("outputText", "completionReason"), ("generation", "stop_reason"), *_COMPLETION):
            if name in payload:
                return [_choice(payload.get("index"), payload[name], payload.get(reason))]
        if "is_finished" in payload or "event_type" in payload:
            return self._cohere(payload)
        for name, text in (("generations", "text"), ("outputs", "text"), ("results", "outputText")):
            found = objects(payload.get(name))
            if found:
                return [_choice(place, each.get(text), _reason(each)) for place, each in enumerate(found)]
        return []

    def _cohere(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Cohere's Command: an end that names no choice ends them all."""
        calls = [
            {
                "index": place,
                "id": f"call_{place}",
                "type": "function",
                "function": {"name": call.get("name"), "arguments": json.dumps(call.get("parameters") or {})},
            }
            for place, call in enumerate(objects(payload.get("tool_calls")))
            if payload.get("event_type") == "tool-calls-generation"
        ]
        if calls:
            return [{"index": 0, "delta": {"tool_calls": calls}}]
        text, reason = payload.get("text"), _reason(payload)
        if reason is None:
            return [_choice(payload.get("index"), text, None)] if isinstance(text, str) else []
        places = [payload["index"]] if "index" in payload else sorted(self._begun) or [0]
        return [_choice(place, text, reason) for place in places]

    def _take_metrics(self, metrics: dict[str, Any], beside: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """Bedrock's count of the tokens, which comes with the last object: the answer is over."""
        usage = {**converse_usage(metrics), **self._usage, _METRICS: metrics}
        self._take_chunk({**self._shared, **beside, "choices": [], "usage": usage}, out)
        if self.failure is None and self._normalizer.finished:
            self._finish(out)

    def _take_claude(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._claude is None:
            self._claude = AnthropicReading(self._request, self._headers)
        out += self._claude.take_event(payload, ragged=self._ragged)
        if self._claude.complete or self._claude.failure is not None:
            self._stop(complete=self._claude.complete, failure=self._claude.failure)


_CONVERSE_EVENTS: Final = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)
_COMPLETION: Final = (("completion", "stop_reason"),)
# What the vendors of text call their counts of tokens.
_COUNTS: Final = {
    "inputTextTokenCount": "prompt_tokens",
    "totalOutputTextTokenCount": "completion_tokens",
    "prompt_token_count": "prompt_tokens",
    "generation_token_count": "completion_tokens",
}
_SHARED: Final = ("id", "created", "model", "object", "system_fingerprint", "service_tier")
_COHERE_REASONS: Final = {"ERROR": "error", "ERROR_TOXIC": "content_filter", "ERROR_LIMIT": "length"}


def _is_claude(payload: Mapping[str, Any]) -> bool:
    kind = payload.get("type")
    return isinstance(kind, str) and (kind == "ping" or kind.startswith(("message_", "content_block_")))


def _reason(fields: Mapping[str, Any]) -> Any:
    """Why a text ended; a ``stop_reason`` that is a number is a token, and beside the point."""
    named = (fields.get(name) for name in ("finish_reason", "stop_reason", "completionReason"))
    return next((reason for reason in named if isinstance(reason, str) and reason), None)


def _choice(index: Any, text: Any, reason: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": int(index) if isinstance(index, int | float) and 0 <= index < 1e6 else 0}
    choice["delta"] = {"content": text if isinstance(text, str) else ""}
    if isinstance(reason, str) and reason:
        choice["finish_reason"] = _COHERE_REASONS.get(reason, reason)
        if reason == "ERROR_TOXIC":
            choice["native_finish_reason"] = reason
    return choice


def _openai_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice as OpenAI sends it; Mistral says ``message`` for ``delta``, and some send a bare text."""
    rest = {key: value for key, value in choice.items() if key not in ("message", "delta", "text", "stop_reason")}
    delta: Any = choice.get("delta") or choice.get("message")
    if delta is None:
        delta = {"content": choice["text"]} if isinstance(choice.get("text"), str) else {}
    return {"index": 0, **rest, "delta": delta, "finish_reason": _reason(choice)}


# -- requests


def _invoke_body(request: Request, provider: Provider) -> dict[str, Any]:
    """The body that asks for ``request`` in the dialect of the model's vendor; what is not known is OpenAI's.

    Raises:
        UnsupportedParamsError: the vendor has not a parameter, or a kind of content.
        BadRequestError: a message cannot be said.
    """
    params = {name: value for name, value in request.params.items() if not name.startswith("aws_")}
    request = replace(request, params=params)
    name = model_name(request.wire_model or request.model)
    if "claude" in name:
        return {"anthropic_version": _ANTHROPIC_VERSION, **messages_body(request, provider)}
    if "nova" in name:
        return _nova_body(request, provider)
    for start, (prompt, names, fixed) in _TEXT_MODELS.items():
        if name.startswith(start):
            return _text_body(request, provider, prompt, names, fixed)
    body = {**parameters(request, provider), "messages": [dict(message) for message in request.messages]}
    wanted = body.get("response_format")
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        body["response_format"] = json_schema(wanted)
    return body


def _nova_body(request: Request, provider: Provider) -> dict[str, Any]:
    """Converse's shape, with the model's own parameters among the rest."""
    body = converse_body(request, provider)
    more: dict[str, Any] = body.pop("additionalModelRequestFields", None) or {}
    inference = {**body.pop("inferenceConfig", {}), **more.pop("inferenceConfig", {})}
    return {"schemaVersion": "messages-v1", **body, **({"inferenceConfig": inference} if inference else {}), **more}


def _text_body(
    request: Request,
    provider: Provider,
    prompt: Callable[[list[tuple[str, str]]], dict[str, Any]],
    names: Mapping[str, str],
    fixed: Mapping[str, Any],
) -> dict[str, Any]:
    """A prompt of text, as the vendor's template has it, and the parameters by the vendor's names for them."""
    drop = bool(request.params.get("drop_params"))
    has_not = UNSUPPORTED | {
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "user",
    }
    given = parameters(request, replace(provider, unsupported=provider.unsupported | has_not - set(names)))
    if given.pop("n", None) not in (None, 1) and not drop:
        raise unsupported(request, "n", " above 1")
    if "max_completion_tokens" in given:
        whole = given.pop("max_completion_tokens")
        given.setdefault("max_tokens", whole)
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    if "stop" in given and "stop" not in names:
        if not drop:
            raise unsupported(request, "stop", " for this model")
        del given["stop"]
    said: list[tuple[str, str]] = []
    for message in request.messages:
        parts = content_parts(message)
        if any(not isinstance(part.get("text"), str) for part in parts):
            raise unsupported(request, "messages", " of anything but text for this model")
        said.append((str(message.get("role")), "".join(part["text"] for part in parts)))
    body: dict[str, Any] = {**fixed}
    for name, value in given.items():
        place = names.get(name, name)
        outer, dot, inner = place.partition(".")
        if dot:
            body.setdefault(outer, {})[inner] = value
        else:
            body[place] = value
    return {**prompt(said), **body}


def _titan_prompt(said: list[tuple[str, str]]) -> dict[str, Any]:
    if len(said) == 1:
        return {"inputText": said[0][1]}
    lines = [text if role == "system" else f"{'Bot' if role == 'assistant' else 'User'}: {text}" for role, text in said]
    return {"inputText": "\n".join([*lines, "Bot:"])}


def _llama_prompt(said: list[tuple[str, str]]) -> dict[str, Any]:
    turns = [f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in said]
    return {"prompt": f"<|begin_of_text|>{''.join(turns)}<|start_header_id|>assistant<|end_header_id|>\n\n"}


def _mistral_prompt(said: list[tuple[str, str]]) -> dict[str, Any]:
    turns = [f" {text}</s>" if role == "assistant" else f"[INST] {text} [/INST]" for role, text in said]
    return {"prompt": "<s>" + "".join(turns)}


def _cohere_prompt(said: list[tuple[str, str]]) -> dict[str, Any]:
    if len(said) == 1:
        return {"prompt": said[0][1]}
    lines = [
        text if role == "system" else f"{'Chatbot' if role == 'assistant' else 'User'}: {text}" for role, text in said
    ]
    return {"prompt": "\n".join([*lines, "Chatbot:"])}


def _cohere_chat(said: list[tuple[str, str]]) -> dict[str, Any]:
    roles = {"assistant": "CHATBOT", "system": "SYSTEM", "developer": "SYSTEM"}
    told = [{"role": roles.get(role, "USER"), "message": text} for role, text in said]
    return {"message": told[-1]["message"], **({"chat_history": told[:-1]} if told[:-1] else {})}


# Models that take text, by what their names start with: the prompt, the names of parameters, what always stands there.
_TEXT_MODELS: Final[
    dict[str, tuple[Callable[[list[tuple[str, str]]], dict[str, Any]], dict[str, str], dict[str, Any]]]
] = {
    "amazon.titan": (
        _titan_prompt,
        {
            "max_tokens": "textGenerationConfig.maxTokenCount",
            "temperature": "textGenerationConfig.temperature",
            "top_p": "textGenerationConfig.topP",
            "stop": "textGenerationConfig.stopSequences",
        },
        {},
    ),
    "meta.llama": (_llama_prompt, {"max_tokens": "max_gen_len"}, {}),
    "cohere.command-r": (
        _cohere_chat,
        {
            "top_p": "p",
            "top_k": "k",
            "stop": "stop_sequences",
            "seed": "seed",
            "frequency_penalty": "frequency_penalty",
            "presence_penalty": "presence_penalty",
        },
        {},
    ),
    "cohere.command": (_cohere_prompt, {"top_p": "p", "top_k": "k", "stop": "stop_sequences"}, {"stream": True}),
    "mistral.mistral-7b": (_mistral_prompt, {"stop": "stop"}, {}),
    "mistral.mixtral": (_mistral_prompt, {"stop": "stop"}, {}),
    "mistral.mistral-large-2402": (_mistral_prompt, {"stop": "stop"}, {}),
    "mistral.mistral-small-2402": (_mistral_prompt, {"stop": "stop"}, {}),
}
