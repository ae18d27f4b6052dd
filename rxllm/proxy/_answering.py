"""Answers a request for a completion: as a stream of events, or whole."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from rxllm import Stream
from rxllm._plain import json_line
from rxllm.exceptions import APIError
from rxllm.proxy._client import Client, ClientLeftError
from rxllm.proxy._encoding import ChunkEncoder, whole_body
from rxllm.proxy._errors import Refusal, error_body, error_event, log_failure, retry_headers, status_of
from rxllm.proxy._log import Access
from rxllm.proxy._models import Models
from rxllm.proxy._relay import RelayedEvent, relayed
from rxllm.proxy._request import ProxyRequest
from rxllm.proxy._resuming import Resuming
from rxllm.types import ModelResponse, ModelResponseStream

__all__ = ["Completion", "Resumed"]

_STREAM_HEADERS: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),  # nginx would hold events back
)


ClientMaker = Callable[[Receive, Send], Client]


class Answer:
    """An ASGI application that answers one request, which has been read.

    Args:
        access: its line of the log.
        client: makes the one who is answered, of what the server calls it with.
    """

    def __init__(self, access: Access, client: ClientMaker) -> None:
        self._access = access
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers."""
        access = self._access
        client = self._client(receive, send)
        try:
            async with client:
                try:
                    await self._respond(client)
                except asyncio.CancelledError:
                    await self._stop(client)
                    raise
                except ClientLeftError:
                    raise
                except Exception as error:  # noqa: BLE001  whatever a Stream or the owner's function ends with
                    await self._fail(client, error)
        except ClientLeftError:
            access.ended = "client left"
        finally:
            access.status = client.status
            access.write()

    async def _respond(self, client: Client) -> None:
        """Answers, where nothing goes wrong."""
        raise NotImplementedError

    async def _send_events(
        self, client: Client, events: AsyncGenerator[bytes, None], *headers: tuple[str, str]
    ) -> None:
        """Sends a stream of events, to its end."""
        access = self._access
        client.stream((*_STREAM_HEADERS, ("x-request-id", access.request_id), *headers))
        async with contextlib.aclosing(events):
            async for data in events:
                has_room = client.write(data)
                if access.first is None:
                    access.first = time.monotonic()
                    await asyncio.sleep(0)  # so that it is sent before more is read: it is what people wait for
                if not has_room:
                    await client.room()
        await client.finish()

    async def _fail(self, client: Client, error: Exception) -> None:
        """Tells the client: by the status where nothing was sent yet, else by an event, and an end without [DONE]."""
        access = self._access
        access.error = type(error).__name__
        if isinstance(error, Refusal):
            access.error, access.ended = error.code, "refused"
        else:
            access.ended = "upstream error" if isinstance(error, APIError) else "failed"
        log_failure(error, access.request_id)
        if not client.writing:
            await self._refuse(client, error)
        elif self._access.stream:
            client.write(error_event(error))
            await client.finish()

    async def _stop(self, client: Client) -> None:
        """The server stops, unless it is the client that leaves."""
        if not client.left:
            self._access.ended = "stopped"
            stopped = Refusal(503, "The server stops.", code="server_stopped", kind="overloaded_error")
            if not client.writing:
                await self._refuse(client, stopped)
            elif self._access.stream:
                await client.cut_off(error_event(stopped))

    async def _refuse(self, client: Client, error: Exception) -> None:
        await self._send_json(client, status_of(error), json_line(error_body(error)), *retry_headers(error).items())

    async def _send_json(self, client: Client, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        said = (("content-type", "application/json"), ("content-length", str(len(body))), *headers)
        await client.answer(status, (*said, ("x-request-id", self._access.request_id)), body)


class Completion(Answer):
    """The answer to who asks a model; where streams are kept, by way of what keeps them."""

    def __init__(
        self, request: ProxyRequest, models: Models, access: Access, client: ClientMaker, resuming: Resuming | None
    ) -> None:
        super().__init__(access, client)
        self._request = request
        self._models = models
        self._resuming = resuming

    async def _respond(self, client: Client) -> None:
        access, request, resuming = self._access, self._request, self._resuming
        stream = await self._models.stream(request)
        if not request.stream:
            from rxllm.operators import build_response

            response: ModelResponse = await stream.pipe(build_response())
            access.usage = response.usage
            await self._send_json(client, 200, whole_body(response, request.model))
            return
        encoder = ChunkEncoder(request.model, include_usage=request.include_usage)
        events = events_of(stream, request, encoder)
        try:
            if resuming is None:
                await self._send_events(client, events)
            else:
                kept = await resuming.begin(events, access.request_id)
                heard = heard_by(access, resuming.listen(kept, None))
                await self._send_events(client, heard, ("x-stream-id", kept))
        finally:
            access.events, access.usage = access.events or encoder.events, encoder.usage


class Resumed(Answer):
    """The rest of a stream, to who comes back."""

    def __init__(self, stream: str, after: str | None, access: Access, client: ClientMaker, resuming: Resuming) -> None:
        super().__init__(access, client)
        self._stream = stream
        self._after = after
        self._resuming = resuming
        access.stream = True

    async def _respond(self, client: Client) -> None:
        heard = heard_by(self._access, self._resuming.listen(self._stream, self._after))
        await self._send_events(client, heard, ("x-stream-id", self._stream))


async def heard_by(access: Access, events: AsyncGenerator[tuple[bytes, int], None]) -> AsyncGenerator[bytes, None]:
    """The events of a stream that is kept, counted."""
    async with contextlib.aclosing(events):
        async for data, count in events:
            access.events += count
            yield data


async def events_of(
    stream: Stream[ModelResponseStream], request: ProxyRequest, encoder: ChunkEncoder
) -> AsyncGenerator[bytes, None]:
    """The events of an answer, to its end; leaving it cancels."""
    if request.include_usage:
        from rxllm.operators import attach_usage

        # A merge has no request of its own, by which the prompt could be counted.
        known = (None, None) if stream.request is not None else (request.model, request.messages)
        events: Stream[Any] = stream.pipe(attach_usage(*known, own_chunk=True))
    else:
        events = relayed(stream)
    async with contextlib.aclosing(aiter(events)) as chunks:
        async for chunk in chunks:
            if type(chunk) is RelayedEvent:
                encoder.events += 1
                yield chunk
            elif data := encoder.encode(chunk):
                yield data
    yield encoder.end()
