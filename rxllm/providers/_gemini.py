"""Google's Gemini: ``streamGenerateContent``, at the Gemini API and on Vertex AI."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, cast

from pydantic_core import from_json

from rxllm._decoders._events import Decoder, Event
from rxllm._decoders._json_array import JSONArrayDecoder
from rxllm.exceptions import APIError
from rxllm.providers._alike import Alike, Likeness
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._errors import response_error
from rxllm.providers._gemini_arguments import PartialArguments
from rxllm.providers._gemini_request import gemini_request, vertex_request
from rxllm.providers._reading import StreamReading, objects, whole_number
from rxllm.types import ModelResponseStream, Request

__all__ = ["Gemini", "VertexGemini"]

# The enum as numbers, which some clients ask for; the two services number it differently from 6 on.
_FINISH: Final = (
    "FINISH_REASON_UNSPECIFIED STOP MAX_TOKENS SAFETY RECITATION OTHER LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII"
    " MALFORMED_FUNCTION_CALL IMAGE_SAFETY UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS IMAGE_PROHIBITED_CONTENT"
    " IMAGE_OTHER NO_IMAGE IMAGE_RECITATION"
).split()
_VERTEX_FINISH: Final = (
    "FINISH_REASON_UNSPECIFIED STOP MAX_TOKENS SAFETY RECITATION OTHER BLOCKLIST PROHIBITED_CONTENT SPII"
    " MALFORMED_FUNCTION_CALL MODEL_ARMOR"
).split()
_BLOCKED: Final = "BLOCK_REASON_UNSPECIFIED SAFETY OTHER BLOCKLIST PROHIBITED_CONTENT IMAGE_SAFETY".split()
_VERTEX_BLOCKED: Final = (
    "BLOCKED_REASON_UNSPECIFIED SAFETY OTHER BLOCKLIST PROHIBITED_CONTENT MODEL_ARMOR JAILBREAK"
).split()

# Beyond those that all providers share.
_FILTERED: Final = frozenset(
    {"LANGUAGE", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "JAILBREAK"}
)
_MODALITIES: Final = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")

# What a candidate says beside its content, and what it is called here.
_BESIDE: Final = {
    "groundingMetadata": "grounding_metadata",
    "urlContextMetadata": "url_context_metadata",
    "citationMetadata": "citation_metadata",
}


# What each chunk of an answer has.
_SHARED: Final = ("object", "id", "model", "created")


class Gemini:
    r"""The wire dialect of ``POST /models/MODEL:streamGenerateContent`` at the Gemini API.

    >>> reading = Gemini().reading(Request(model="gemini/gemini-2.5-flash", messages=[]), {})
    >>> answer = '{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}'
    >>> reading.feed(f"data: {answer}\r\n\r\n".encode())
    []
    >>> [chunk] = reading.end()
    >>> chunk.choices[0].delta.content, chunk.choices[0].finish_reason, reading.complete
    ('Hi', 'stop', True)
    """

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream of server-sent events.

        Raises:
            BadRequestError: a message or a parameter cannot be said to Gemini.
            UnsupportedParamsError: Gemini has not a parameter.
        """
        return gemini_request(request, base_url, api_key, provider)

    def reading(self, request: Request, headers: Mapping[str, str]) -> StreamReading:
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _Reading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class VertexGemini(Gemini):
    """The same on Vertex AI, where a project and a location are part of the address, and the key is a Google token."""

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream of server-sent events.

        Raises:
            BadRequestError: no project is known, or a message or a parameter cannot be said to Gemini.
            UnsupportedParamsError: Gemini has not a parameter.
        """
        return vertex_request(request, base_url, api_key, provider)


class _Call:
    """A function call whose arguments are still to come."""

    __slots__ = ("arguments", "index", "whole")

    def __init__(self, index: int) -> None:
        self.index = index
        self.arguments = PartialArguments()
        self.whole: object = None  # arguments that came in one piece


# The bytes of UTF-8 that begin no character.
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))
_BLOCK: Final = 1024
_MOST_SEARCHED: Final = 1 << 28


class _Text:
    """The text of a candidate, whose places the provider counts in bytes and OpenAI's shape in characters.

    Finding a place costs the same wherever it is, and no more than 256 MiB in all are searched for what is quoted.
    """

    __slots__ = ("_blocks", "_searched", "utf8")

    def __init__(self) -> None:
        self.utf8 = bytearray()
        self._blocks: list[int] = [0]  # the characters before each block of bytes
        self._searched = 0

    def add(self, text: str) -> None:
        self.utf8 += text.encode("utf-8", "replace")

    def find(self, quote: bytes) -> int:
        """Where a quotation begins, in bytes; -1 where it is not found."""
        if self._searched > _MOST_SEARCHED:
            return -1
        self._searched += len(self.utf8)
        return self.utf8.find(quote)

    def character(self, place: int) -> int:
        """How many whole characters there are before a byte."""
        blocks = self._blocks
        while len(blocks) <= place // _BLOCK:
            blocks.append(blocks[-1] + self._begun((len(blocks) - 1) * _BLOCK, len(blocks) * _BLOCK))
        block = place // _BLOCK
        cut = place < len(self.utf8) and self.utf8[place] in _CONTINUATIONS
        return blocks[block] + self._begun(block * _BLOCK, place) - cut

    def _begun(self, start: int, end: int) -> int:
        return len(self.utf8[start:end].translate(None, _CONTINUATIONS))


class _Candidate:
    """What is known of one candidate."""

    __slots__ = ("annotated", "beside", "calls", "current", "sources", "text")

    def __init__(self) -> None:
        self.calls = 0
        self.current: _Call | None = None
        self.text = _Text()
        self.sources: list[dict[str, Any]] = []
        self.annotated: set[tuple[Any, ...]] = set()
        self.beside: dict[str, Any] = {}


class _WithUsage(Alike):
    """What takes events that are like one another but for their text and the usage so far.

    Attributes:
        shared: what their chunks have in common.
        usage: that of the last event; ``None`` where they have none.
    """

    beside = re.compile(rb'"(usageMetadata)": ?(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
    kind = dict

    __slots__ = ("shared", "usage")

    def __init__(self, parts: tuple[bytes, bytes, bytes], chunk: ModelResponseStream, name: str, padding: str) -> None:
        super().__init__(parts, chunk, name, padding)
        self.shared: dict[str, Any] = {name: getattr(chunk, name) for name in _SHARED if name in chunk.model_fields_set}

    def as_chunk(self, event: bytes, text: str, padding: Any) -> ModelResponseStream:
        """The chunk with this text."""
        self.usage = padding
        return super().as_chunk(event, text, None)

    made = as_chunk


class _Reading(StreamReading):
    """A reading of server-sent events, of a JSON array, or of one whole answer."""

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._candidates: dict[int, _Candidate] = {}
        self._vertex = request.provider == "vertex_ai"
        # Each event has the usage so far, of which the last is wanted: it, and what goes with it on a chunk.
        self._usage: Any = None
        self._shared: dict[str, Any] = {}
        self._likeness: Likeness[_WithUsage] = Likeness(self._read_again, _WithUsage)

    def _own_decoder(self, start: bytes) -> Decoder | None:
        return JSONArrayDecoder(self._limit) if start.startswith(b"[") else None

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        if "candidates" in fields or "usageMetadata" in fields or "promptFeedback" in fields:
            return bool(fields.get("error"))
        return super()._is_error(fields, name)

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        fields = _unwrapped(fields)
        failed = self._is_error(fields, name)
        choices = self._choices(fields, self._candidates)
        if not choices:
            choices = self._blocked(fields.get("promptFeedback"))
        shared = _shared(fields)
        usage = fields.get("usageMetadata")
        if _has_counts(usage):
            self._usage, self._shared = usage, shared
            if not choices or any("finish_reason" in choice for choice in choices):
                self._say_usage(out, choices)
                choices = []
        if choices:
            self._take_chunk({**shared, "choices": choices}, out)
        if failed and self.failure is None:
            self._fail(self._stream_error(fields), out)

    def _say_usage(self, out: list[ModelResponseStream], choices: list[dict[str, Any]]) -> None:
        """Gives the usage as it is by now, on a chunk with these choices."""
        usage, self._usage = self._usage, None
        self._take_chunk({**self._shared, "choices": choices, "usage": _usage(usage)}, out)

    def _close_answer(self) -> list[ModelResponseStream]:
        out: list[ModelResponseStream] = []
        if self._usage is not None:
            self._say_usage(out, [])
        return out + super()._close_answer()

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        likeness, matched = self._likeness, False
        for event in events:
            known = likeness.known
            chunk = known.chunk(event) if known is not None else None
            if known is not None and chunk is not None:
                self._add_text(chunk, known)
                out.append(chunk)
                matched = True
                continue
            before = len(out)
            self._take_event(event, out)
            if self._decode is None:
                return
            # Of a text that has halves of surrogate pairs, more is to be told than what it is.
            plain = len(out) == before + 1 and not self._ragged
            if plain and isinstance(event, bytes) and self._normalizer.is_told_nothing_by(out[-1]):
                likeness.learn(event, out[-1], matched=matched)
            else:
                likeness.forget()
            matched = False

    def _add_text(self, chunk: ModelResponseStream, known: "_WithUsage") -> None:
        [choice] = chunk.choices
        if choice.delta.content:
            self._candidates[choice.index].text.add(choice.delta.content)
        if _has_counts(known.usage):
            self._usage, self._shared = known.usage, known.shared

    def _read_again(self, event: bytes) -> ModelResponseStream | None:
        """The chunk of an event like the one that has just been taken, and nothing else comes of it."""
        fields = _unwrapped(from_json(event))
        if isinstance(fields.get("usageMetadata"), str) != (b'"usageMetadata"' in event):
            return None  # it was another member of that name that was replaced
        chunk = ModelResponseStream.model_validate({**_shared(fields), "choices": self._choices(fields, {})})
        self._normalizer.add(chunk, [])
        return chunk

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        if not any(isinstance(payload.get(name), dict | list) for name in ("candidates", "promptFeedback", "response")):
            return False
        self._take("", payload, out)
        if self.failure is None:
            if not self._normalizer.answered:
                return False
            out += self._close_answer()
            self._stop(complete=True)
        return True

    # -- candidates

    def _choices(self, fields: dict[str, Any], candidates: dict[int, _Candidate]) -> list[dict[str, Any]]:
        """The candidates of an event as choices of a chunk; ``candidates`` is what is known of them."""
        choices = [self._choice(candidate, candidates) for candidate in objects(fields.get("candidates"))]
        for choice in choices:
            self._identify(choice, str(fields.get("responseId") or ""))
        return choices

    def _choice(self, candidate: dict[str, Any], candidates: dict[int, _Candidate]) -> dict[str, Any]:
        """A candidate as a choice of a chunk."""
        index = candidate.get("index")
        index = index if isinstance(index, int) and index >= 0 else 0
        known = candidates.get(index)
        if known is None:
            known = candidates[index] = _Candidate()
        content = candidate.get("content")
        parts = objects(cast("dict[str, Any]", content).get("parts")) if isinstance(content, dict) else []
        delta: dict[str, Any] = {}
        texts: dict[str, list[str]] = {}
        for part in parts:
            _add_part(delta, texts, part, known)
        delta.update((name, "".join(pieces)) for name, pieces in texts.items())
        native = _enum(candidate.get("finishReason"), _VERTEX_FINISH if self._vertex else _FINISH)
        choice: dict[str, Any] = {"index": index, "delta": delta}
        if native and native != "FINISH_REASON_UNSPECIFIED":
            _end_call(delta, known)
            _set_finish(choice, native)
            for theirs, ours in (("finishMessage", "finish_message"), ("safetyRatings", "safety_ratings")):
                if candidate.get(theirs):
                    _specific(delta)[ours] = candidate[theirs]
        if isinstance(delta.get("content"), str):
            known.text.add(delta["content"])
        for theirs, ours in _BESIDE.items():
            said = candidate.get(theirs)
            if isinstance(said, dict) and said and known.beside.get(ours) != said:
                # Some repeat it on each chunk. Each that differs is kept, in a list.
                known.beside[ours] = said
                _specific(delta)[ours] = [said]
                self._annotate(delta, known, ours, cast("dict[str, Any]", said))
        for call in delta.get("tool_calls", ()):
            if "arguments" in call["function"]:
                call["function"]["arguments"] = "".join(call["function"]["arguments"])
        logprobs = _logprobs(candidate.get("logprobsResult"))
        if logprobs:
            choice["logprobs"] = {"content": logprobs}
        return choice

    def _annotate(self, delta: dict[str, Any], known: _Candidate, kind: str, said: dict[str, Any]) -> None:
        if kind == "grounding_metadata":
            found = _grounding(said, known)
        elif kind == "citation_metadata":
            found = _citations(said, known)
        else:
            return
        for annotation in found:
            key = tuple(annotation.values())
            if key not in known.annotated:
                known.annotated.add(key)
                delta.setdefault("annotations", []).append({"type": "url_citation", "url_citation": annotation})

    def _blocked(self, feedback: Any) -> list[dict[str, Any]]:
        """The choices of an answer that has none, because the prompt was blocked."""
        if not isinstance(feedback, dict):
            return []
        said = cast("dict[str, Any]", feedback)
        native = _enum(said.get("blockReason"), _VERTEX_BLOCKED if self._vertex else _BLOCKED)
        if not native or native.endswith("_UNSPECIFIED"):
            return []
        choices: list[dict[str, Any]] = []
        for index in range(self._request.n):
            delta = {"provider_specific_fields": {"prompt_feedback": said}}
            choices.append(
                {
                    "index": index,
                    "delta": delta,
                    "finish_reason": "content_filter",
                    "native_finish_reason": native,
                }
            )
        return choices

    def _identify(self, choice: dict[str, Any], response_id: str) -> None:
        """Gives calls that came without an id one of their own: the same for the same answer, however it is cut."""
        for call in choice["delta"].get("tool_calls", ()):
            if call.get("id") == "":
                seed = f"{response_id[:200]}/{choice['index']}/{call['index']}/{call['function'].get('name')}"
                call["id"] = f"call_{hashlib.sha256(seed.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _unwrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """An answer as Google's batches and assistants wrap it, or as it is."""
    wrapped = fields.get("response")
    return cast("dict[str, Any]", wrapped) if isinstance(wrapped, dict) and "candidates" not in fields else fields


def _shared(fields: dict[str, Any]) -> dict[str, Any]:
    """What all chunks of an answer have, as an event says it."""
    shared: dict[str, Any] = {"object": "chat.completion.chunk"}
    for ours, theirs in (("id", "responseId"), ("model", "modelVersion")):
        if isinstance(fields.get(theirs), str):
            shared[ours] = fields[theirs]
    created = _seconds(fields.get("createTime"))
    if created:
        shared["created"] = created
    return shared


def _set_finish(choice: dict[str, Any], native: str) -> None:
    if native in _FILTERED:
        choice["finish_reason"], choice["native_finish_reason"] = "content_filter", native
    else:
        choice["finish_reason"] = native


def _enum(value: Any, names: Sequence[str]) -> str | None:
    """The name of an enum's value, which may be its number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else str(value)
    return value if isinstance(value, str) and value else None


def _specific(holder: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = holder.setdefault("provider_specific_fields", {})
    return fields


# -- parts


def _add_part(delta: dict[str, Any], texts: dict[str, list[str]], part: dict[str, Any], known: _Candidate) -> None:
    """Puts one part of a candidate's content where it belongs in the delta, or among the pieces of its texts."""
    signature = part.get("thoughtSignature")
    text = part.get("text")
    call = part.get("functionCall")
    data = part.get("inlineData")
    if isinstance(call, dict):
        _add_call(delta, cast("dict[str, Any]", call), signature, known)
    elif isinstance(data, dict):
        _add_data(delta, part, cast("dict[str, Any]", data), signature)
    elif isinstance(text, str):
        name = "reasoning_content" if part.get("thought") else "content"
        if text:
            texts.setdefault(name, []).append(text)
        if signature:
            _specific(delta).setdefault("thought_signatures", []).append(signature)
            if part.get("thought"):
                block = {"type": "thinking", "thinking": text, "signature": signature}
                delta.setdefault("thinking_blocks", []).append(block)
    elif part.keys() - {"thoughtSignature", "thought"}:
        # What the provider's own tools did: code and its outcome, calls and answers. They are sent back as they came.
        _specific(delta).setdefault("parts", []).append(part)
    elif signature:
        _specific(delta).setdefault("thought_signatures", []).append(signature)


def _add_data(delta: dict[str, Any], part: dict[str, Any], data: dict[str, Any], signature: Any) -> None:
    """An image, a piece of speech, or another file that the model made."""
    kind, content = data.get("mimeType"), data.get("data")
    if not isinstance(kind, str) or not isinstance(content, str):
        _specific(delta).setdefault("parts", []).append(part)
    elif kind.startswith("image/") and not part.get("thought"):
        image: dict[str, Any] = {
            "type": "image_url",
            "image_url": {"url": f"data:{kind};base64,{content}"},
        }
        if signature:
            image["thought_signature"] = signature
        delta.setdefault("images", []).append(image)
    elif kind.startswith("audio/") and "audio" not in delta:
        delta["audio"] = {"data": content, "mime_type": kind}
    else:
        _specific(delta).setdefault("parts", []).append(part)


def _add_call(delta: dict[str, Any], call: dict[str, Any], signature: Any, known: _Candidate) -> None:
    """A function call, whole or a piece of it; one without anything ends the call before it."""
    name = call.get("name")
    given: dict[str, Any] = {}
    if isinstance(name, str) and name:
        _end_call(delta, known)
        known.current = _Call(known.calls)
        known.calls += 1
        own_id = call.get("id")
        own_id = own_id if isinstance(own_id, str) else ""
        given = {"index": known.current.index, "id": own_id, "type": "function", "function": {"name": name}}
        fields: dict[str, Any] = {}
        if own_id:
            fields["function_call_id"] = own_id
        if signature:
            fields["thought_signature"] = signature
        if fields:
            given["provider_specific_fields"] = fields
        delta.setdefault("tool_calls", []).append(given)
    current = known.current
    if current is None:
        return
    text = "".join(current.arguments.add(part) for part in objects(call.get("partialArgs")))
    if "args" in call and call["args"] is not None:
        current.whole = call["args"]
    if text:
        _add_arguments(delta, current, text)
    if not call.get("willContinue"):
        _end_call(delta, known)


def _end_call(delta: dict[str, Any], known: _Candidate) -> None:
    """The current call has all its arguments."""
    current, known.current = known.current, None
    if current is None:
        return
    if current.whole is not None and not current.arguments.begun:
        _add_arguments(delta, current, json.dumps(current.whole, ensure_ascii=False))
    else:
        _add_arguments(delta, current, current.arguments.close())


def _add_arguments(delta: dict[str, Any], call: _Call, text: str) -> None:
    """More of a call's arguments, in pieces, on what this delta has of it already, if anything."""
    calls: list[dict[str, Any]] = delta.setdefault("tool_calls", [])
    if calls and calls[-1]["index"] == call.index:
        calls[-1]["function"].setdefault("arguments", []).append(text)
    else:
        calls.append({"index": call.index, "function": {"arguments": [text]}})


# -- sources


def _grounding(said: dict[str, Any], known: _Candidate) -> Iterator[dict[str, Any]]:
    """Which stretch of the text stands on which source. The provider counts bytes, OpenAI's shape characters."""
    known.sources = objects(said.get("groundingChunks")) or known.sources
    for support in objects(said.get("groundingSupports")):
        segment = support.get("segment")
        places = support.get("groundingChunkIndices")
        if not isinstance(segment, dict) or not isinstance(places, list):
            continue
        stretch = cast("dict[str, Any]", segment)
        start, end = _stretch(stretch.get("startIndex"), stretch.get("endIndex"), stretch.get("text"), known.text)
        for place in cast("list[object]", places):
            if not isinstance(place, int) or not 0 <= place < len(known.sources):
                continue
            for source in islice(known.sources[place].values(), 8):  # one, of a kind that is not known beforehand
                if isinstance(source, dict) and isinstance(url := cast("dict[str, Any]", source).get("uri"), str):
                    title = cast("dict[str, Any]", source).get("title")
                    yield _annotation(start, end, url, title)


def _citations(said: dict[str, Any], known: _Candidate) -> Iterator[dict[str, Any]]:
    for source in objects(said.get("citationSources")) or objects(said.get("citations")):
        if isinstance(url := source.get("uri"), str):
            start, end = _stretch(source.get("startIndex"), source.get("endIndex"), None, known.text)
            yield _annotation(start, end, url, source.get("title"))


def _annotation(start: int, end: int, url: str, title: Any) -> dict[str, Any]:
    return {"start_index": start, "end_index": end, "url": url, "title": title if isinstance(title, str) else ""}


def _stretch(start: Any, end: Any, quoted: Any, text: _Text) -> tuple[int, int]:
    """The first character of a stretch that is given in bytes of the text, and the one behind its last."""
    length = len(text.utf8)
    first = min(max(start, 0), length) if isinstance(start, int) else 0
    last = min(max(end, first), length) if isinstance(end, int) else length
    if isinstance(quoted, str):
        quote = quoted.encode("utf-8", "replace")
        told = last - first == len(quote) and text.utf8.startswith(quote, first)
        if not told and (found := text.find(quote)) >= 0:
            first, last = found, found + len(quote)
    return text.character(first), text.character(last)


# -- usage, logprobs, time


def _has_counts(said: Any) -> bool:
    """Whether it is any usage."""
    if isinstance(said, dict):
        for name, value in cast("dict[str, Any]", said).items():
            if name.endswith("TokenCount") and isinstance(value, int):
                return True
    return False


def _usage(fields: dict[str, Any]) -> dict[str, Any]:
    """The usage in OpenAI's shape, with the provider's own fields beside it."""
    prompt, candidates = (
        _count(fields, "promptTokenCount"),
        _count(fields, "candidatesTokenCount", "responseTokenCount"),
    )
    thoughts, tools = _count(fields, "thoughtsTokenCount"), _count(fields, "toolUsePromptTokenCount")
    total = _count(fields, "totalTokenCount")
    # Some models count their thoughts among the candidates' tokens already.
    included = 0 < thoughts <= candidates and total == prompt + tools + candidates
    usage: dict[str, Any] = {
        **fields,
        "prompt_tokens": prompt,
        "completion_tokens": candidates if included else candidates + thoughts,
        "total_tokens": total or prompt + tools + candidates + (0 if included else thoughts),
    }
    prompted = _by_modality(fields.get("promptTokensDetails"))
    if "cachedContentTokenCount" in fields:
        prompted["cached_tokens"] = _count(fields, "cachedContentTokenCount")
    completed = _by_modality(fields.get("candidatesTokensDetails") or fields.get("responseTokensDetails"))
    if "thoughtsTokenCount" in fields:
        completed["reasoning_tokens"] = thoughts
    if prompted:
        usage["prompt_tokens_details"] = prompted
    if completed:
        usage["completion_tokens_details"] = completed
    return usage


def _count(fields: dict[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(value := fields.get(name), int):
            return whole_number(value)
    return 0


def _by_modality(details: Any) -> dict[str, Any]:
    """Counts such as ``text_tokens`` and ``audio_tokens``."""
    counts: dict[str, Any] = {}
    for detail in objects(details) if details else ():
        modality, count = detail.get("modality"), detail.get("tokenCount")
        if isinstance(modality, int):
            modality = _MODALITIES[modality] if 0 <= modality < len(_MODALITIES) else None
        if isinstance(modality, str) and isinstance(count, int):
            name = f"{modality.lower()}_tokens"
            counts[name] = counts.get(name, 0) + whole_number(count)
    return counts


def _logprobs(result: Any) -> list[dict[str, Any]]:
    if not isinstance(result, dict):
        return []
    fields = cast("dict[str, Any]", result)
    chosen = objects(fields.get("chosenCandidates"))
    tops = objects(fields.get("topCandidates"))
    tokens: list[dict[str, Any]] = []
    for place, token in enumerate(chosen):
        others = objects(tops[place].get("candidates")) if place < len(tops) else []
        tokens.append({**_logprob(token), "top_logprobs": [_logprob(other) for other in others]})
    return tokens


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    text = str(token.get("token") or "")
    return {
        "token": text,
        "logprob": token.get("logProbability", 0.0),
        "bytes": list(text.encode("utf-8", "replace")),
    }


def _seconds(time: Any) -> int:
    """An RFC 3339 time as seconds since 1970; 0 where it is none."""
    if not isinstance(time, str):
        return 0
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0
