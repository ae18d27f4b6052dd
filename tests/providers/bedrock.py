"""Reading a body through Bedrock's dialects, sans I/O."""

from collections.abc import Iterable, Mapping
from typing import Any

from rxllm.providers import resolve
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import Outcome

__all__ = ["asked", "read"]

AWS_STREAM = {"content-type": "application/vnd.amazon.eventstream"}


def asked(model: str = "bedrock/amazon.nova-lite-v1:0", messages: Any = (), **params: Any) -> Request:
    """A request for a model of Bedrock's."""
    provider, wire_model = resolve(model)
    return Request(model=model, messages=list(messages), params=params, provider=provider.name, wire_model=wire_model)


def read(pieces: Iterable[bytes], request: Request, headers: Mapping[str, str] = AWS_STREAM) -> Outcome:
    """Reads a body to its end."""
    provider, _ = resolve(request.model)
    reading = provider.dialect.reading(request, headers)
    chunks: list[ModelResponseStream] = []
    for piece in pieces:
        chunks += reading.feed(piece)
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)
