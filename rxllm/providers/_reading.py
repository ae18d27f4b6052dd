"""What every dialect's reading shares: bytes become events, events JSON, and whatever goes wrong a typed error.

A dialect derives from ``StreamReading`` and says what its events mean, by ``_take``: it makes of each an object in the
shape of an OpenAI chunk and hands it to ``_take_chunk``, and calls ``_finish`` at the provider's own end.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast

from pydantic import ValidationError
from pydantic_core import from_json

from rxllm._decoders._events import MAX_EVENT_BYTES, Decoder, Event, NamedEvent, too_large
from rxllm._decoders._json import parse, parse_loosely, whole_text
from rxllm._decoders._ndjson import NDJSONDecoder
from rxllm._decoders._sse import SSEDecoder
from rxllm._headers import request_id_of
from rxllm.exceptions import APIError, APIResponseValidationError
from rxllm.providers._errors import stream_error
from rxllm.providers._normalize import BrokenAnswer, Normalizer
from rxllm.types import ModelResponseStream, Request

__all__ = ["StreamReading", "mapping", "objects", "whole_number"]

_BOM: Final = b"\xef\xbb\xbf"
_SSE_STARTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
# What is looked at to tell what a body is.
_BEGINNING: Final = 4096


class StreamReading:
    """One response body being read. What it is, an event stream or a whole JSON object, its first bytes say.

    No more of it is held than ``max_event_bytes`` among the request's parameters says, 32 MiB where it says nothing: a
    larger event, or a larger body that is no stream, is a failure.

    Attributes:
        json_lines: whether the provider streams JSON objects, one a line; one over several lines is a whole body still.
    """

    json_lines: ClassVar[bool] = False

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        self.events = 0
        self.complete = False
        self.failure: APIError | None = None
        self._request = request
        self._headers = headers
        self._limit: int = request.params.get("max_event_bytes") or MAX_EVENT_BYTES
        self._normalizer = Normalizer(request)
        self._decoder: Decoder | None = None
        self._decode: Callable[[bytes], list[Event]] | None = None  # while there is an event stream to be read
        self._body = bytearray()  # what came before it was known for an event stream
        self._fresh = True  # a byte order mark may still come
        self._halves: dict[tuple[str, ...], str] = {}  # high surrogates whose low half has not come yet
        self._ragged = False  # some events had halves of surrogate pairs, which may be kept anywhere by now
        self._ending = False

    def feed(self, data: bytes) -> list[ModelResponseStream]:
        """The chunks that ``data`` completes. After an error the chunks before it are given, and ``failure`` is set."""
        out: list[ModelResponseStream] = []
        decode = self._decode
        if decode is None:
            decode = self._look(data)
            if decode is None:
                return out
            data = bytes(self._body)
            self._body.clear()
        try:
            events = decode(data)
        except APIResponseValidationError as error:
            self._fail(self._invalid(error.message, ""), out)
            return out
        self.events += len(events)
        self._take_events(events, out)
        return out

    def end(self) -> list[ModelResponseStream]:
        """The body has ended, or broken off: what was held back. ``complete`` tells whether the end was proven."""
        out: list[ModelResponseStream] = []
        if self.complete or self.failure is not None or self._ending:
            return out
        self._ending = True
        decoder = self._decoder
        if decoder is None:
            self._take_body(out)
        else:
            self._decode = lambda _: decoder.flush()
            out += self.feed(b"")
        if not self.complete and self.failure is None:
            self._close(out)
        return out

    # -- what a dialect says

    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """The JSON object of an event; ``name`` is the event's, ``""`` where it has none."""
        raise NotImplementedError

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        """A whole JSON answer, from a server that does not stream; false where it is none."""
        raise NotImplementedError

    def _is_error(self, fields: dict[str, Any], name: str) -> bool:
        """Whether an object says that something went wrong."""
        if fields.get("error") or name == "error" or "error" in (fields.get("object"), fields.get("type")):
            return True
        if name or "choices" in fields or "usage" in fields:
            return False
        return any(fields.get(words) for words in ("message", "detail", "msg", "errors"))

    def _own_decoder(self, start: bytes) -> Decoder | None:
        """The decoder of a framing that this dialect alone has, if the body's first bytes, no white space, say so."""
        return None

    def _close(self, out: list[ModelResponseStream]) -> None:
        """The body has ended without the provider's own end: whether the answer is whole, its finish reasons tell."""
        out += self._close_answer()
        self._stop(complete=self._normalizer.finished)

    def _finish(self, out: list[ModelResponseStream]) -> None:
        """The provider's own end. Before any choice it ends nothing."""
        if not self._normalizer.answered:
            self._fail(self._invalid("The provider ended the stream without a single choice", ""), out)
            return
        out += self._close_answer()
        self._stop(complete=True)

    # -- events

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        for event in events:
            self._take_event(event, out)
            if self._decode is None:
                break

    def _take_event(self, event: Event, out: list[ModelResponseStream]) -> None:
        """One event."""
        name, data = event if isinstance(event, NamedEvent) else ("", event)
        text = data.decode("utf-8", "replace").strip()
        if text == "[DONE]":
            self._finish(out)
        elif text:
            try:
                payload = self._parse(text)
            except ValueError as error:
                self._take_garbage(name, text, str(error), out)
            else:
                self._take_json(name, payload, out)

    def _parse(self, text: str | bytes) -> Any:
        """The JSON of an event.

        Raises:
            ValueError: it is none.
        """
        try:
            return from_json(text)
        except ValueError:
            payload = parse_loosely(text)
        self._ragged = True
        return payload

    def _take_garbage(self, name: str, text: str, reason: str, out: list[ModelResponseStream]) -> None:
        if self._ending:
            return  # the body broke off within this event: that is for `complete` to tell
        if name == "error":
            self._fail(self._stream_error(text), out)
        elif not name:
            self._fail(self._invalid(f"The provider sent an event that is not JSON ({reason})", text), out)

    def _take_json(self, name: str, payload: Any, out: list[ModelResponseStream]) -> None:
        if isinstance(payload, dict):
            self._take(name, cast("dict[str, Any]", payload), out)
        elif name == "error" or _is_error_list(payload):
            self._fail(self._stream_error(payload), out)
        elif not name:
            self._fail(self._invalid("The provider sent an event that is no JSON object", json.dumps(payload)), out)

    def _take_chunk(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """A chunk in the OpenAI shape, which may need repair; of a gateway that does not stream, a whole completion."""
        if self._has_too_many(fields, out):
            return
        for choice in objects(fields.get("choices")):
            if "message" in choice and "delta" not in choice:
                choice["delta"] = choice.pop("message")
        if self._ragged:
            self._join_halves(fields)
            fields = whole_text(fields)
        chunk = self._repaired(fields, out)
        if chunk is not None:
            try:
                self._normalizer.add(chunk, out)
            except BrokenAnswer as broken:
                self._fail(self._stream_error(broken.said), out)

    def _has_too_many(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        """Fails, and says so, where there are more choices and calls than anybody asks for.

        Each becomes an object that takes five hundred times the bytes that it came in.
        """
        choices = fields.get("choices")
        count = len(cast("Any", choices)) if isinstance(choices, list) else 0
        for choice in objects(choices)[: _MOST_CHOICES + 1]:
            calls = mapping(choice.get("delta") or choice.get("message")).get("tool_calls")
            count += len(cast("Any", calls)) if isinstance(calls, list) else 0
        if count > _MOST_CHOICES:
            self._fail(self._invalid(f"The provider sent {count:,} choices and calls at once", ""), out)
        return count > _MOST_CHOICES

    def _repaired(self, fields: dict[str, Any], out: list[ModelResponseStream]) -> ModelResponseStream | None:
        """The chunk, with repairs where the model refuses a value; a failure where there is none."""
        reason = ""
        for _ in range(4):
            try:
                return ModelResponseStream.model_validate(fields)
            except ValidationError as error:
                if error.error_count() > _MOST_REPAIRS:
                    break
                wrong = [
                    (problem["loc"], problem["msg"])
                    for problem in error.errors(include_url=False, include_context=False, include_input=False)
                ]
            # From the back, so that what is taken out of a list moves nothing that is still to be repaired.
            refused = [message for place, message in reversed(wrong) if not _repair(fields, place)]
            if refused:
                places = ", ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in wrong[:3])
                reason = f" ({places})"
                break
        self._fail(self._invalid(f"The provider sent an event that is no chunk{reason}", json.dumps(fields)), out)
        return None

    def _join_halves(self, fields: dict[str, Any]) -> None:
        """Joins the halves of surrogate pairs that came in two deltas. One that stays alone becomes U+FFFD."""
        for choice in objects(fields.get("choices")):
            index = str(choice.get("index") or 0)
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            texts = cast("dict[str, Any]", delta)
            finished = bool(choice.get("finish_reason"))
            for name in ("content", "reasoning_content", "reasoning", "reasoning_text", "thinking", "refusal"):
                self._join(texts, name, (index, name), finished=finished)
            for call in objects(texts.get("tool_calls")):
                function = call.get("function")
                if isinstance(function, dict):
                    key = (index, "arguments", str(call.get("index")))
                    self._join(cast("dict[str, Any]", function), "arguments", key, finished=finished)

    def _join(self, texts: dict[str, Any], name: str, key: tuple[str, ...], *, finished: bool) -> None:
        text = texts.get(name)
        if not isinstance(text, str):
            text = ""
            if key not in self._halves or texts.get(name) is not None or not finished:
                return
        elif not text and not finished:
            return
        text = self._halves.pop(key, "") + text
        if "\ud800" <= text[-1:] <= "\udbff" and not finished:
            self._halves[key] = text[-1]
            text = text[:-1]
        texts[name] = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _close_answer(self) -> list[ModelResponseStream]:
        """The answer is over: what was held back."""
        return self._normalizer.close()

    def _stop(self, *, complete: bool = False, failure: APIError | None = None) -> None:
        """Nothing is read, or held, any more."""
        self.complete = complete
        self.failure = failure
        self._decode = self._decoder = None
        self._body = bytearray()

    def _look(self, data: bytes) -> Callable[[bytes], list[Event]] | None:
        """What the body is, by its beginning: for an event stream, how to decode it."""
        if self.complete or self.failure is not None or self._ending:
            return None
        body = self._body
        if self._fresh or not body:
            # White space may come for long before anything else, to keep the connection: it is not held.
            data = self._after_blanks(bytes(body) + data)
            body.clear()
        body += data
        start = bytes(body[:_BEGINNING])
        if not start or self._fresh:
            return None
        decoder = self._own_decoder(start)
        if decoder is None and not start.startswith((b"{", b"[", b"<")):
            if "event-stream" in self._headers.get("content-type", "") or start.startswith(_SSE_STARTS):
                decoder = SSEDecoder(self._limit)
            elif any(begin.startswith(start) for begin in _SSE_STARTS):
                return None
        elif decoder is None and self.json_lines and start.startswith(b"{"):
            first = start[1:].lstrip(b" \t\r")[:1]
            if not first and len(start) < _BEGINNING:
                return None
            if first not in (b"", b"\n"):
                decoder = NDJSONDecoder(self._limit)
        if decoder is not None:
            self._decoder = decoder
            self._decode = decoder.feed
            return decoder.feed
        self.events += 1  # of such a body each piece is progress
        if len(body) > self._limit:
            self._stop(failure=self._invalid(too_large("a body that is no stream", self._limit).message, ""))
        return None

    def _after_blanks(self, data: bytes) -> bytes:
        """The beginning of the body without a byte order mark, which may not be whole yet, and without white space."""
        if self._fresh:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                return data
            self._fresh = False
            data = data.removeprefix(_BOM)
        return data.lstrip()

    def _take_body(self, out: list[ModelResponseStream]) -> None:
        """A body that is no event stream: a whole completion, an error with status 200, or something else."""
        text = self._body.decode("utf-8", "replace").strip()
        self._body.clear()
        if not text:
            return
        try:
            payload: Any = parse(text)
        except ValueError as error:
            if str(error).startswith("Extra data") or not _is_cut_off(text):
                self._fail(self._no_stream(text), out)
            return
        fields = cast("dict[str, Any]", payload) if isinstance(payload, dict) else None
        if _is_error_list(payload) or (fields is not None and self._is_error(fields, "")):
            self._fail(self._stream_error(payload), out)
        elif fields is None or not self._take_whole(fields, out):
            self._fail(self._no_stream(text), out)

    def _fail(self, error: APIError, out: list[ModelResponseStream]) -> None:
        """What was held back is given before the error."""
        out += self._close_answer()
        self._stop(failure=error)

    def _stream_error(self, payload: Any) -> APIError:
        return stream_error(self._request, 200, self._headers, payload)

    def _no_stream(self, text: str) -> APIError:
        kind = self._headers.get("content-type") or "no content-type"
        return self._invalid(f"The provider sent neither an event stream nor a chat completion, but {kind}", text)

    def _invalid(self, message: str, text: str) -> APIError:
        request, headers = self._request, self._headers
        return APIResponseValidationError(
            f"{message}: {text[:200]}" if text else message,
            status_code=200,
            llm_provider=request.provider,
            model=request.model,
            body=text[:4000] or None,
            request_id=request_id_of(headers),
            headers=headers,
        )


_MOST_CHOICES: Final = 1000

# An event with more values than these in wrong places is no chunk.
_MOST_REPAIRS: Final = 100

# Fields that say something about the answer and are no part of it: unreadable, they are left out.
_BESIDE_THE_ANSWER: Final = frozenset(
    {"usage", "logprobs", "annotations", "audio", "thinking_blocks", "provider_specific_fields", "system_fingerprint"}
)
_NAMES: Final = frozenset({"id", "model", "object", "type", "name", "role", "finish_reason", "native_finish_reason"})


def _repair(fields: dict[str, Any], place: tuple[int | str, ...]) -> bool:
    """Puts the value at ``place`` right, where it can only mean one thing; false where it cannot be read."""
    holder: Any = fields
    for step in place[:-1]:
        holder = holder[step]
    key: Any = place[-1]
    value: Any = holder[key]
    if value is None or value in ([], {}, "") or _BESIDE_THE_ANSWER.intersection(map(str, place)):
        del holder[key]
    elif key == "arguments":
        holder[key] = json.dumps(value)
    elif key == "tool_calls" and isinstance(value, dict):
        holder[key] = [value]
    elif key in _NAMES and isinstance(value, int | float):
        holder[key] = str(value)
    elif key in ("created", "index") and isinstance(value, float) and math.isfinite(value):
        holder[key] = int(value)
    elif key == "created":
        del holder[key]
    else:
        return False
    return True


# More than anyone counts; sums of such numbers can still be written down.
_HIGHEST_COUNT: Final = 10**15


def _is_error_list(payload: Any) -> bool:
    """Gemini wraps an error in a list."""
    return any(item.get("error") for item in objects(payload))


def objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects in a list; none where it is no list."""
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object; an empty one where it is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def whole_number(value: Any) -> int:
    """A count from JSON, which some providers write as 7.0; 0 where it is none, or out of all reason."""
    counts = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _HIGHEST_COUNT
    return int(value) if counts else 0


def _is_cut_off(text: str) -> bool:
    """Whether a text is the beginning of a JSON object, and no more."""
    if not text.startswith("{"):
        return False
    try:
        from_json(text.encode(), allow_partial=True)
    except ValueError:
        return False
    return True
