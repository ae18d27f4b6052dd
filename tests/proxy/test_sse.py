"""A Stream as the body of a response of one's own."""

import http.client
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route

from rxllm import Stream, completion
from rxllm import operators as ops
from rxllm.proxy import create_app, to_sse
from rxllm.testing import LLMServer
from rxllm.types import ModelResponseStream
from tests.proxy.serving import QUESTION, events_in, serving, texts_of
from tests.proxy.serving import ask as asked_of
from tests.server import Answering, Server, chunk

_Ask = Callable[..., Stream[ModelResponseStream]]


def _starlette(stream: Stream[ModelResponseStream]) -> Starlette:
    async def route(_: Request) -> StreamingResponse:
        return StreamingResponse(to_sse(stream), media_type="text/event-stream")

    return Starlette(routes=[Route("/", route)])


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the standard library's name
        pass


@contextmanager
def _wsgi(stream: Stream[ModelResponseStream]) -> Generator[str]:
    """The address of a WSGI server from the standard library."""

    def application(_: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("content-type", "text/event-stream")])
        return to_sse(stream)

    with make_server("127.0.0.1", 0, application, WSGIServer, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _asgi(stream: Stream[ModelResponseStream]) -> Generator[str]:
    with serving(app=_starlette(stream)) as address:
        yield address


both = pytest.mark.parametrize("served", [_asgi, _wsgi])


@both
def test_any_stream_is_served(ask: _Ask, served: Any) -> None:
    """In an ASGI route and from a WSGI application: events, and [DONE]; each request sends one of its own."""
    with served(ask().pipe(ops.attach_usage(own_chunk=True))) as address:
        first, second = httpx.get(address).text, httpx.get(address).text
    for text in (first, second):
        *chunks, usage, done = events_in(text)
        assert done == "[DONE]"
        assert texts_of(chunks) == "Hello world"
        assert usage["usage"]["completion_tokens"] == 2


@both
def test_an_error_is_an_event(served: Any) -> None:
    """The status has gone by then: the error is told in the stream, and no [DONE] follows."""
    with LLMServer() as upstream:
        upstream.answer("No", status=429)
        stream = completion("gpt-4", QUESTION, stream=True, api_base=upstream.url, api_key="k", max_retries=0)
        with served(stream) as address:
            events = events_in(httpx.get(address).text)
    [event] = events
    assert event["error"]["message"] == "No"


@both
def test_a_client_that_leaves_cancels(server: Server, ask: _Ask, served: Any) -> None:
    """Whoever serves it closes the iterator when its client goes, and the upstream sees it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        for _ in range(200):  # WSGI notices a client's leaving when it writes, and no buffer takes so much
            await answering.event(chunk("x" * 65536))
        await answering.closed()

    async def until_closed(answering: Answering) -> None:
        try:
            await script(answering)
        except OSError:  # in the middle
            server.closed.put(answering.number)
            raise

    server.script = until_closed
    with served(ask()) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"))
        connection.request("GET", "/")
        assert b"Hel" in connection.getresponse().read(300)
        connection.close()
        assert server.next_closed() == 1


def test_closing_cancels(server: Server, ask: _Ask) -> None:
    """close() ends the loops that are under way, as WSGI servers ask for."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.closed()

    server.script = script
    events = to_sse(ask())
    assert b"Hel" in next(iter(events))
    events.close()
    assert server.next_closed() == 1


def test_only_a_stream_will_do() -> None:
    """Anything else is told what to do."""
    with pytest.raises(TypeError, match="as_stream"):
        to_sse([b"data"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_the_proxy_mounts_under_a_prefix() -> None:
    """In another application, without lifespan; its document names the prefix."""
    outer = Starlette(routes=[Mount("/llm", create_app({"gpt-4": "sim/echo"}))])
    with serving(app=outer) as address:
        assert texts_of(events_in(asked_of(address, path="/llm/v1/chat/completions", stream=True).text)) == "Hello"
        assert httpx.get(f"{address}/llm/v1/models").json()["data"][0]["id"] == "gpt-4"
        assert httpx.get(f"{address}/llm/openapi.json").json()["servers"] == [{"url": "/llm"}]
        assert httpx.get(f"{address}/llm/nothing").json()["error"]["code"] == "unknown_url"
