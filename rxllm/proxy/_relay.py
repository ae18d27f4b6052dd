"""What OpenAI's dialect has not to touch passes as it came.

Nearly all events of an answer are the same JSON with another text in it. The first of them is read and put right like
any other; where nothing had to be put right, those that are like it go out as they came. Any other is read: the first,
the last, errors, tool calls, usage. So there are no rules here about what an answer is.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from rxllm import Stream
from rxllm._completion import RequestSource
from rxllm.exceptions import APIError
from rxllm.providers._alike import Alike
from rxllm.providers._base import HTTPRequest, Provider, Reading
from rxllm.providers._openai import OpenAIChat, OpenAIChatReading
from rxllm.proxy._encoding import ChunkEncoder
from rxllm.types import ModelResponseStream, Request

__all__ = ["RelayedEvent", "relayed"]

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
        self._passes: bool | None = None  # before the first of them is looked at

    def made(self, event: bytes, text: str, padding: Any) -> Any:
        """The event as it came; one that came in several lines would have to be framed so again."""
        if self._passes is None:
            self._passes = _needs_no_touching(event, self.as_chunk(event, text, padding))
        if self._passes and _LINE_FEED not in event:
            return RelayedEvent(b"data: %b\n\n" % event)
        return self.as_chunk(event, text, padding)


def _needs_no_touching(event: bytes, chunk: ModelResponseStream) -> bool:
    """Whether an event says just what would be said of its chunk."""
    said = ChunkEncoder("").encode(chunk).removeprefix(b"data: ")
    return bool(from_json(said) == from_json(event))


class _RelayReading(OpenAIChatReading):
    """Passes what looks like what was read."""

    alike = _Passing
