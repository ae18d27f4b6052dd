"""What OpenAI's dialect has not to touch passes as it came.

Nearly all events of an answer are the same JSON with another text in it. The first of them is read and put right like
any other; where nothing had to be put right, those that are like it go out as they came. Any other is read: the first,
the last, errors, tool calls, usage. So there are no rules here about what an answer is.
"""

from collections.abc import Mapping
from typing import Any, Final

from rxllm import Stream
from rxllm._completion import RequestSource
from rxllm.exceptions import APIError
from rxllm.providers._alike import Alike
from rxllm.providers._base import HTTPRequest, Provider, Reading
from rxllm.providers._openai import OpenAIChat, OpenAIChatReading
from rxllm.proxy._encoding import ALWAYS, ALWAYS_OF_A_CHOICE
from rxllm.types import ModelResponseStream, Request

__all__ = ["RelayedEvent", "relayed"]

_CONTENT_ALONE: Final = {"content"}
# Without one of these an event gets it before it goes out.
_NAMED: Final = frozenset(ALWAYS)
_NAMED_OF_A_CHOICE: Final = frozenset(ALWAYS_OF_A_CHOICE)
_LINE_FEED: Final = 10


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


class _Passing(Alike):
    """Passes the events that are like the one it was made for; makes chunks of them where they need touching."""

    __slots__ = ("_passes",)

    def __init__(self, parts: tuple[bytes, bytes, bytes], chunk: ModelResponseStream, name: str, padding: str) -> None:
        super().__init__(parts, chunk, name, padding)
        self._passes = _needs_no_touching(chunk)

    def made(self, event: bytes, text: str, padding: str | None) -> Any:
        """The event as it came; one that came in several lines would have to be framed so again."""
        if self._passes and _LINE_FEED not in event:
            return RelayedEvent(b"data: %b\n\n" % event)
        return self.as_chunk(event, text, padding)


def _needs_no_touching(chunk: ModelResponseStream) -> bool:
    """Whether an event is a text and what belongs to it, and nothing that anyone has to look at."""
    [choice] = chunk.choices
    delta = choice.delta
    if delta.__pydantic_fields_set__ != _CONTENT_ALONE or delta.__pydantic_extra__:
        return False
    if choice.logprobs is not None or choice.__pydantic_extra__:
        return False
    if not choice.__pydantic_fields_set__ >= _NAMED_OF_A_CHOICE or not chunk.__pydantic_fields_set__ >= _NAMED:
        return False
    return bool(chunk.id and chunk.created and chunk.model) and chunk.reported_usage is None


class _RelayReading(OpenAIChatReading):
    """Passes what looks like what was read."""

    alike = _Passing
