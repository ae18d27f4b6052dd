"""What OpenAI's dialect has not to touch passes unparsed.

Nearly all events of an answer are the same JSON with another text in it. The first of them is read and put right like
any other; where that came to nothing but a text more, the bytes around the text are kept. An event that has the same
bytes around a text, which ends where it seems to end, is such a one again: it needs no reading, and goes out as it
came. Any other is read: the first, the last, errors, tool calls, usage. So there are no rules here about what an answer
is.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from rxllm import Stream
from rxllm._completion import RequestSource
from rxllm._decoders._events import Event
from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest, Provider, Reading
from rxllm.providers._openai import OpenAIChat, OpenAIChatReading
from rxllm.proxy._encoding import ALWAYS, ALWAYS_OF_A_CHOICE
from rxllm.types import ModelResponseStream, Request

__all__ = ["RelayedEvent", "relayed"]

_CONTENT_ALONE: Final = {"content"}
# Without one of these an event gets it before it goes out.
_NAMED: Final = frozenset(ALWAYS)
_NAMED_OF_A_CHOICE: Final = frozenset(ALWAYS_OF_A_CHOICE)
_CONTENT: Final = b'"content":'
_PADDING: Final = b'"obfuscation":"'  # OpenAI's, of another length each time


class RelayedEvent(bytes):
    """An event as it came, framed: it stands where its chunk would."""

    __slots__ = ()


def relayed(stream: Stream[Any]) -> Stream[ModelResponseStream | RelayedEvent]:
    """The same request, with events that need no touching as they came; ``stream`` where that cannot be."""
    source = stream.source
    if not isinstance(source, RequestSource) or type(source.dialect) is not OpenAIChat:
        return stream
    return Stream.from_source(source.spoken_in(_Relaying(source.dialect)), stream.request)


class _Relaying:
    """OpenAI's dialect, with another way of reading."""

    def __init__(self, dialect: OpenAIChat) -> None:
        self._dialect = dialect

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        return self._dialect.http_request(request, base_url, api_key, provider)

    def reading(self, request: Request, headers: Mapping[str, str]) -> Reading:
        return _RelayReading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        return self._dialect.error(request, status, headers, body)


class _RelayReading(OpenAIChatReading):
    """Reads what does not look like what was read."""

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._before = b""  # the text; empty where no event may pass
        self._after = b""  # it, and before the padding, if there is any
        self._end = b""  # after the padding

    def _take_events(self, events: list[Event], out: list[ModelResponseStream]) -> None:
        passed = cast("list[Any]", out)
        for event in events:
            if self._before and type(event) is bytes and self._passes(event):
                passed.append(RelayedEvent(b"data: %b\n\n" % event))
                continue
            came = len(out)
            super()._take_events([event], out)
            self._before = b""
            if self._decode is None:
                return
            # Where it is held back, what came out was not this event.
            known = len(out) > came and not self._normalizer.holds_back
            if known and type(event) is bytes and not self._halves:
                self._learn(event, out[-1])

    def _passes(self, event: bytes) -> bool:
        """Whether it is the event that was learnt from, with another text."""
        before, end = self._before, self._end
        if not (event.startswith(before) and event.endswith(end)) or len(event) < len(before) + len(end):
            return False
        text = event[len(before) : len(event) - len(end)]
        if self._after:
            text, found, padding = text.partition(self._after)
            if not found or not padding.isalnum():
                return False
        # A quotation mark would end the text earlier, or be escaped; of escapes only that of line breaks is known.
        if b'"' in text:
            return False
        if b"\\" in text and b"\\" in text.replace(b"\\n", b""):
            return False
        return _is_plain(text)

    def _learn(self, event: bytes, chunk: ModelResponseStream) -> None:
        """Keeps what stands around the text, where the event is a text and nothing else that anyone has to look at."""
        choices = chunk.choices
        if len(choices) != 1 or chunk.usage is not None or chunk.reported_usage is not None:
            return
        [choice] = choices
        if choice.finish_reason is not None or choice.delta.__pydantic_fields_set__ != _CONTENT_ALONE:
            return
        if not chunk.__pydantic_fields_set__ >= _NAMED or not (chunk.id and chunk.created and chunk.model):
            return
        if not choice.__pydantic_fields_set__ >= _NAMED_OF_A_CHOICE:
            return
        if choice.logprobs is not None or choice.__pydantic_extra__ or choice.delta.__pydantic_extra__:
            return
        if not _is_plain(event):
            return  # it came in several lines, and would have to be framed so again
        before, found, rest = event.partition(_CONTENT)
        blank = b" " if rest[:1] == b" " else b""
        rest = rest[len(blank) :]
        if not found or rest[:1] != b'"' or _CONTENT in rest:
            return
        text, found, after = rest[1:].partition(b'"')
        if not found or b"\\" in text:
            return
        self._after, self._end = b"", b'"' + after
        beginning, found, padded = after.partition(_PADDING)
        if found:
            padding, found, end = padded.partition(b'"')
            if not found or not padding.isalnum():
                return
            self._after, self._end = b'"' + beginning + _PADDING, b'"' + end
        self._before = before + _CONTENT + blank + b'"'


def _is_plain(text: bytes) -> bool:
    """Whether these are the bytes of a text within JSON: UTF-8 without control characters."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
    return len(text.translate(None, _CONTROL)) == len(text)


_CONTROL: Final = bytes(range(32))
