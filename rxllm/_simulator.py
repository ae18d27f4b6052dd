"""A provider inside the process: an httpx transport that answers as OpenAI's chat completions do, offline, with no key.

Its models are ``story`` (prose), ``echo`` (the prompt again) and ``reason`` (thoughts, then an answer). All of them
call tools, satisfy JSON schemas, stop at stop sequences and at ``max_tokens``, and report usage in true tokens. The
same prompt and seed give the same answer. Nothing is worked out before it is read, so that an answer may be endless.
"""

import asyncio
import codecs
import json
import math
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import httpx

from rxllm._simulated_arguments import UnsatisfiableError, arguments_of_calls, value_for, words_of
from rxllm._simulated_prose import answer, reasoning, report, story
from rxllm._simulated_request import ChatRequest, FunctionTool, RefusedError, read_request

__all__ = ["MODELS", "Simulator"]

MODELS = ("story", "echo", "reason")


# Long texts are encoded in slices, so that the first piece comes at once and no run is too long for tiktoken. Between
# a letter and a space every tokenizer cuts as well.
_SLICE = re.compile(r".{1,20000}(?<=\S)(?= )|.{1,20000}", re.DOTALL)

Event = bytes | None
"""What a response body is made of: bytes to send, or ``None``, one pause of the pace."""


class Simulator(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers ``POST .../chat/completions`` as an OpenAI-shaped provider does, refusals included.

    Besides OpenAI's parameters the body may hold ``delay``, the seconds before each piece of the answer. A blocking
    client may bring its own way to wait in ``request.extensions["sleep"]``. The client's read timeout holds.

    >>> import httpx
    >>> body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}], "delay": 0}
    >>> with httpx.Client(transport=Simulator()) as client:
    ...     response = client.post("http://simulator/v1/chat/completions", json=body)
    >>> response.json()["choices"][0]["message"]["content"]
    'Hello'
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The response; its body comes as it is read."""
        request.read()
        return _respond(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response; its body comes as it is read, and waits on the event loop."""
        await request.aread()
        return _respond(request)


def _respond(request: httpx.Request) -> httpx.Response:
    request_id = {"x-request-id": f"req_{uuid.uuid4().hex}"}
    try:
        asked = _read(request)
        choices = [_choice(asked, index) for index in range(asked.n or 1)]
    except RefusedError as refused:
        headers = {"content-type": "application/json", **request_id}
        return httpx.Response(refused.status, headers=headers, content=_json(refused.body), request=request)
    completion = _Completion(asked, choices)
    events = completion.as_stream() if asked.stream else completion.as_whole()
    kind = "text/event-stream; charset=utf-8" if asked.stream else "application/json"
    headers = {"content-type": kind, "cache-control": "no-cache", **request_id}
    return httpx.Response(200, headers=headers, stream=_Body(events, asked.delay, request), request=request)


def _read(request: httpx.Request) -> ChatRequest:
    if not request.url.path.endswith("/chat/completions"):
        raise RefusedError(f"Unknown request URL: {request.method} {request.url.path}.", status=404, code="unknown_url")
    if request.method != "POST":
        raise RefusedError(f"Not allowed to {request.method} on {request.url.path}.", status=405)
    return read_request(request.content, models=MODELS)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response body at a pace, read in either way, closed from any thread."""

    def __init__(self, events: Iterator[Event], delay: float, request: httpx.Request) -> None:
        self._events = events
        self._delay = delay
        self._request = request
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        sleep: Callable[[float], None] = self._request.extensions.get("sleep", time.sleep)
        silent = 0.0
        for event in self._events:
            if self._closed:
                return
            if event is not None:
                silent = 0.0
                yield event
            elif self._delay:
                left = self._left(silent)
                sleep(min(self._delay, left))
                self._check(left)
                silent += self._delay

    async def __aiter__(self) -> AsyncIterator[bytes]:
        silent = 0.0
        for event in self._events:
            if self._closed:
                return
            if event is not None:
                silent = 0.0
                yield event
            else:
                left = self._left(silent)
                # Also where the delay is 0: a task that never yields could not be cancelled.
                await asyncio.sleep(min(self._delay, left))
                self._check(left)
                silent += self._delay

    def close(self) -> None:
        """Nothing more is sent."""
        self._closed = True

    async def aclose(self) -> None:
        """Nothing more is sent."""
        self._closed = True

    def _left(self, silent: float) -> float:
        """How many seconds the client still waits for a byte, after ``silent`` seconds without one."""
        bound = self._request.extensions.get("timeout", {}).get("read")
        # The transport's own bound moves: it tells what is left of it.
        left = bound.remaining() if hasattr(bound, "remaining") else None if bound is None else bound - silent
        return math.inf if left is None else max(left, 0.0)

    def _check(self, left: float) -> None:
        if left < self._delay:
            raise httpx.ReadTimeout("The read operation timed out", request=self._request)


@dataclass(frozen=True)
class _Piece:
    """What a choice goes on with: a delta, and how many tokens were generated for it."""

    delta: dict[str, Any]
    tokens: int
    thought: bool = False


@dataclass
class _Choice:
    """One choice: its pieces as they are generated, and how it ends."""

    pieces: Iterator[_Piece]
    finish_reason: str = "stop"


class _Completion:
    """A completion under way, told in either of the two ways that the wire knows."""

    def __init__(self, asked: ChatRequest, choices: list[_Choice]) -> None:
        self._asked = asked
        self._choices = choices
        self._tokens = self._thought_tokens = 0
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": "fp_simulator",
        }

    def as_stream(self) -> Iterator[Event]:
        """Server-sent events: the role, the deltas, how each choice ends, usage where it was asked for, ``[DONE]``."""
        options = self._asked.stream_options
        include_usage = bool(options and options.include_usage)
        common = {**self._common, "object": "chat.completion.chunk"} | ({"usage": None} if include_usage else {})
        for index, choice in enumerate(self._choices):
            content = None if choice.finish_reason == "tool_calls" else ""
            delta = {"role": "assistant", "content": content, "refusal": None}
            yield _sse({**common, "choices": [_delta(index, delta, None)]})
        for index, piece in self._pieces():
            if piece is None:
                yield _sse({**common, "choices": [_delta(index, {}, self._choices[index].finish_reason)]})
            else:
                yield None
                yield _sse({**common, "choices": [_delta(index, piece.delta, None)]})
        if include_usage:
            yield _sse({**common, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def as_whole(self) -> Iterator[Event]:
        """One JSON object, after the time that generating it takes."""
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": None, "refusal": None} for _ in self._choices
        ]
        for index, piece in self._pieces():
            if piece is not None:
                yield None
                _add(messages[index], piece.delta)
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}
            for index, (message, choice) in enumerate(zip(messages, self._choices, strict=True))
        ]
        for message in messages:
            if message["content"] is None and "tool_calls" not in message:
                message["content"] = ""
        whole = {**self._common, "object": "chat.completion", "choices": choices, "usage": self._usage()}
        yield _json(whole)

    def _pieces(self) -> Iterator[tuple[int, _Piece | None]]:
        """The pieces of all choices by turns, each choice's end as ``None``."""
        going = {index: choice.pieces for index, choice in enumerate(self._choices)}
        while going:
            for index, pieces in list(going.items()):
                piece = next(pieces, None)
                if piece is None:
                    del going[index]
                else:
                    self._tokens += piece.tokens
                    self._thought_tokens += piece.tokens if piece.thought else 0
                yield index, piece

    def _usage(self) -> dict[str, Any]:
        from rxllm._tokens import FALLBACK, count_prompt, count_tools, get_encoding

        encoding = get_encoding(FALLBACK)
        tools = [tool.model_dump(by_alias=True) for tool in self._asked.tools or ()]
        prompt = count_prompt(self._asked.messages, encoding) + count_tools(tools, encoding)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._tokens,
            "total_tokens": prompt + self._tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self._thought_tokens, "audio_tokens": 0},
        }


def _choice(asked: ChatRequest, index: int) -> _Choice:
    """What ``asked`` is answered with. Whatever cannot be answered is refused here, before anything is sent."""
    # Different conversations that end in the same words are answered differently, and so are the choices.
    seed = json.dumps([asked.seed, index, [message.text for message in asked.messages]])
    choice = _Choice(iter(()))
    thoughts = _text_pieces(reasoning(asked.prompt, seed), "reasoning_content") if asked.model == "reason" else ()
    results = asked.tool_results
    if asked.functions and not results:
        choice.finish_reason = "tool_calls"
        said = _call_pieces(asked)
    else:
        said = _text_pieces(_until(asked.stop_sequences, _text(asked, results, seed)), "content")
    choice.pieces = _limited(choice, chain(thoughts, said), asked.token_limit)
    return choice


def _text(asked: ChatRequest, results: list[tuple[str, str]], seed: str) -> Iterator[str]:
    schema = asked.schema_of_answer
    if schema is not None:
        try:
            return iter([_compact(value_for(schema, asked.prompt))])
        except UnsatisfiableError as error:
            reason = f"Invalid schema for response_format: {error}."
        raise RefusedError(reason, code="invalid_json_schema", param="response_format.json_schema.schema")
    if results:
        return report(results)
    if asked.model == "echo":
        return iter([asked.prompt])
    return answer(asked.prompt, seed) if asked.model == "reason" else story(asked.prompt, seed)


def _call_pieces(asked: ChatRequest) -> Iterator[_Piece]:
    """The tool calls, each its name first and then its arguments piece by piece."""
    function = _best(asked.functions, asked.prompt)
    parallel = asked.parallel_tool_calls is not False
    try:
        calls = arguments_of_calls(function.parameters, asked.prompt, parallel=parallel)
    except UnsatisfiableError as error:
        reason = f"Invalid schema for function '{function.name}': {error}."
        place = next(i for i, tool in enumerate(asked.tools or ()) if tool.function.name == function.name)
    else:
        return _told(function.name, [_compact(arguments) for arguments in calls])
    raise RefusedError(reason, code="invalid_function_parameters", param=f"tools[{place}].function.parameters")


def _told(name: str, calls: list[str]) -> Iterator[_Piece]:
    for index, arguments in enumerate(calls):
        function = {"name": name, "arguments": ""}
        opened = {"index": index, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
        yield _Piece({"tool_calls": [opened]}, sum(tokens for _, tokens in _pieces_of(name)))
        for text, tokens in _pieces_of(arguments):
            yield _Piece({"tool_calls": [{"index": index, "function": {"arguments": text}}]}, tokens)


def _best(functions: list[FunctionTool], prompt: str) -> FunctionTool:
    """The function whose name, else whose description or parameters, has most of the prompt's words; else the first."""
    words = words_of(prompt)

    def fit(function: FunctionTool) -> tuple[int, int]:
        properties: dict[str, Any] = (function.parameters or {}).get("properties") or {}
        described = words_of(" ".join([function.description or "", *properties]))
        return len(words & words_of(function.name)), len(words & described)

    return max(functions, key=fit)


def _until(stop: list[str], texts: Iterable[str]) -> Iterator[str]:
    """``texts`` up to the first stop sequence, with as much held back as one may still begin in."""
    if not stop:
        yield from texts
        return
    longest = max(len(sequence) for sequence in stop)
    waiting: list[str] = []
    for text in chain(texts, (None,)):
        if text is not None:
            waiting.append(text)
        while waiting and (text is None or sum(map(len, waiting[1:])) >= longest - 1):
            ahead = "".join(waiting)
            found = min((place for sequence in stop if (place := ahead.find(sequence)) >= 0), default=len(ahead))
            if found < len(waiting[0]):
                yield waiting[0][:found]
                return
            yield waiting.pop(0)


def _text_pieces(texts: Iterable[str], field: str) -> Iterator[_Piece]:
    for text in texts:
        for piece, tokens in _pieces_of(text):
            yield _Piece({field: piece}, tokens, thought=field == "reasoning_content")


def _pieces_of(text: str) -> Iterator[tuple[str, int]]:
    """``text`` cut into its tokens, with the number of them: more than one where only together they are characters."""
    from rxllm._tokens import FALLBACK, get_encoding

    encoding = get_encoding(FALLBACK)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tokens = 0
    for part in _SLICE.finditer(text):
        for token in encoding.encode(part[0], disallowed_special=()):
            tokens += 1
            piece = decoder.decode(encoding.decode_single_token_bytes(token))
            if piece:
                yield piece, tokens
                tokens = 0


def _limited(choice: _Choice, pieces: Iterable[_Piece], limit: int | None) -> Iterator[_Piece]:
    """The pieces as far as ``limit`` tokens go; where they do not all fit, ``choice`` ends for its length."""
    left = math.inf if limit is None else limit
    for piece in pieces:
        left -= piece.tokens
        if left < 0:
            choice.finish_reason = "length"
            return
        yield piece


def _delta(index: int, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Adds ``delta`` to a whole message."""
    for name in ("content", "reasoning_content"):
        if name in delta:
            message[name] = (message.get(name) or "") + delta[name]
    for call in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if "id" in call:
            calls.append({"id": call["id"], "type": "function", "function": dict(call["function"])})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(value: Any) -> bytes:
    return _compact(value).encode("utf-8", "replace")  # a lone surrogate of the prompt's has no UTF-8


def _sse(value: Any) -> bytes:
    return b"data: " + _json(value) + b"\n\n"
