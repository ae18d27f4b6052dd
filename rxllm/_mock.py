"""``mock_response=``: an answer of the caller's own, in place of a provider's."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from rxllm._iterables import IterableSource
from rxllm.types import ModelResponseStream, Request

__all__ = ["mock_chunks"]


class _Mock:
    """Chunks that can be iterated more than once, since a Stream can be."""

    def __init__(self, response: Any, request: Request) -> None:
        self._response = response
        self._request = request

    def __iter__(self) -> Iterator[ModelResponseStream]:
        if isinstance(self._response, Exception):
            raise self._response
        deltas = [self._response] if isinstance(self._response, str) else self._response
        role: str | None = "assistant"
        for delta in deltas:
            yield self._named(ModelResponseStream.of(delta, role=role))
            role = None
        yield self._named(ModelResponseStream.of(role=role, finish_reason="stop"))

    def _named(self, chunk: ModelResponseStream) -> ModelResponseStream:
        chunk.id = "chatcmpl-mock"
        chunk.model = self._request.wire_model
        return chunk


def mock_chunks(response: Any, request: Request) -> IterableSource:
    """A source that answers ``request`` with ``response``.

    Raises:
        TypeError: it is neither a text, nor a list of texts, nor an exception.
    """
    texts = isinstance(response, Sequence) and all(isinstance(delta, str) for delta in response)  # pyright: ignore[reportUnknownVariableType]
    if not texts and not isinstance(response, Exception):
        raise TypeError("mock_response is a text, a list of texts, or an exception.")
    return IterableSource(_Mock(response, request))
