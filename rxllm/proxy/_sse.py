"""A Stream as the body of a response, in any framework."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from functools import partial
from typing import Any

from rxllm._stream import Stream
from rxllm.proxy._encoding import ChunkEncoder
from rxllm.proxy._errors import error_event
from rxllm.types import ModelResponseStream

__all__ = ["ServerSentEvents", "to_sse"]


class ServerSentEvents:
    """The events of a Stream: for WSGI an iterable of bytes, for ASGI an asynchronous one.

    Each loop sends a request of its own, when it starts. ``close()``, which WSGI servers call, ends what was begun.
    """

    def __init__(self, stream: Stream[ModelResponseStream]) -> None:
        self._stream = stream
        self._closing: set[asyncio.Task[None]] = set()
        self._begun: list[Generator[bytes, None, None]] = []
        request = stream.request
        self._model = request.model if request is not None else ""

    def __iter__(self) -> Iterator[bytes]:
        events = self._events()
        self._begun.append(events)
        return events

    def __aiter__(self) -> AsyncIterator[bytes]:
        events = self._async_events()
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(partial(self._abandon, events))
        return events

    def _abandon(self, events: AsyncGenerator[bytes, None], task: "asyncio.Task[Any]") -> None:
        """A framework that is cancelled while it sends leaves its iterator to the garbage collector."""
        if task.cancelled() or task.exception() is not None:
            closing = task.get_loop().create_task(events.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def close(self) -> None:
        """Ends every loop that is under way in a thread, which cancels its request."""
        while self._begun:
            self._begun.pop().close()

    def _encoder(self) -> ChunkEncoder:
        return ChunkEncoder(self._model, include_usage=True)  # what is public was asked for

    def _events(self) -> Generator[bytes, None, None]:
        encoder = self._encoder()
        chunks = iter(self._stream)
        try:
            for chunk in chunks:
                if data := encoder.encode(chunk):
                    yield data
            last = encoder.end()
        except Exception as error:  # noqa: BLE001  the status has been sent: the events alone can tell
            last = error_event(error)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        yield last

    async def _async_events(self) -> AsyncGenerator[bytes, None]:
        encoder = self._encoder()
        chunks = aiter(self._stream)
        try:
            async for chunk in chunks:
                if data := encoder.encode(chunk):
                    yield data
            last = encoder.end()
        except Exception as error:  # noqa: BLE001  likewise
            last = error_event(error)
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        yield last


def to_sse(stream: Stream[ModelResponseStream]) -> ServerSentEvents:
    r"""A Stream of chunks as server-sent events in OpenAI's form, for a route of one's own.

    ASGI: ``StreamingResponse(to_sse(stream), media_type="text/event-stream")`` in Starlette and FastAPI. WSGI:
    ``Response(to_sse(stream), mimetype="text/event-stream")`` in Flask, ``StreamingHttpResponse(to_sse(stream))`` in
    Django, or what the application itself returns. Django under ASGI is given ``aiter(to_sse(stream))``: it reads
    whole what can be iterated without ``async``. Nothing is sent before the first event is asked for. When the client
    leaves, the framework closes the iterator, and that cancels the request.

    A route has sent its status by then, so an error is an event, ``data: {"error": {...}}``, which OpenAI's clients
    raise, and no ``[DONE]`` follows it. Usage comes on a chunk of its own, where the stream's request or an operator
    asked for it.

    Args:
        stream: the Stream.

    Raises:
        TypeError: it is no Stream; ``as_stream()`` makes one.

    >>> import rxllm
    >>> question = [{"role": "user", "content": "Hi"}]
    >>> stream = rxllm.completion("sim/echo", question, stream=True, extra_body={"delay": 0})
    >>> list(to_sse(stream))[-1]
    b'data: [DONE]\n\n'
    """
    given: Any = stream
    if not isinstance(given, Stream):
        raise TypeError(f"to_sse() takes a Stream, not {type(given).__name__}: as_stream() makes one.")
    return ServerSentEvents(stream)
