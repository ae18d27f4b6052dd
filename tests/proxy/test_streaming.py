"""Streams through the proxy, on real sockets at both of its ends."""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import openai
import pytest
import reactivex as rx

from rxllm import ModelResponseStream, as_stream
from rxllm import operators as ops
from rxllm.proxy import create_app
from rxllm.proxy._request import ProxyRequest
from rxllm.testing import LLMServer
from rxllm.types import Usage
from tests.proxy.serving import QUESTION, ask, events_in, serving, texts_of
from tests.server import PATIENCE, Answering, Server, chunk


def _to(server: LLMServer | Server, **arguments: Any) -> dict[str, Any]:
    """The model of an upstream server."""
    return {
        "model": "openai/gpt-4",
        "api_base": server.url,
        "api_key": "sk-upstream-key",
        "max_retries": 0,
        **arguments,
    }


def _openai(address: str) -> Any:
    """openai-python, before the proxy."""
    return openai.OpenAI(base_url=f"{address}/v1", api_key="sk-any", max_retries=0)


@pytest.fixture
def proxied(server: Server) -> Iterator[str]:
    """The proxy before the scripted server."""
    with serving({"gpt-4": _to(server)}) as address:
        yield address


@pytest.fixture(scope="module")
def simulated() -> Iterator[str]:
    """The proxy without configuration."""
    with serving() as address:
        yield address


def test_a_stream_is_events_that_end_in_done(simulated: str) -> None:
    """Each chunk is an event with all that OpenAI's have; the first has the role; [DONE] is the last."""
    response = ask(simulated, model="sim/echo", stream=True, delay=0)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-request-id"].startswith("req_")
    *chunks, done = events_in(response.text)
    assert done == "[DONE]"
    assert texts_of(chunks) == "Hello"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    for event in chunks:
        assert {"id", "object", "created", "model", "choices"} <= event.keys()
        assert event["object"] == "chat.completion.chunk"
        assert not event.get("usage")


def test_the_documented_curl_line_gets_usage_on_a_chunk_of_its_own(simulated: str) -> None:
    """With include_usage one chunk more comes, whose choices are an empty list; a form's content type will do."""
    body = {"model": "sim/echo", "messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    response = httpx.post(
        f"{simulated}/v1/chat/completions",
        content=json.dumps(body),
        headers={"content-type": "application/x-www-form-urlencoded", "authorization": "Bearer sk-1234"},
        timeout=PATIENCE,
    )
    *chunks, usage, done = events_in(response.text)
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 1
    assert not any(event.get("usage") for event in chunks)


def test_a_whole_answer_is_one_json(simulated: str) -> None:
    """Without stream the answer is one JSON, with its usage."""
    response = ask(simulated, model="sim/echo", delay=0, path="/chat/completions")
    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 1


def test_openai_python_streams_text_and_tool_calls(simulated: str) -> None:
    """openai-python is a client of it: text, tool calls in pieces, whole answers, the list of models."""
    tool: Any = {
        "type": "function",
        "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
    }
    with _openai(simulated) as client:
        stream = client.chat.completions.create(model="sim/echo", messages=QUESTION, stream=True)
        assert "".join(event.choices[0].delta.content or "" for event in stream) == "Hello"
        whole = client.chat.completions.create(model="sim/story", messages=QUESTION, tools=[tool])
        assert whole.choices[0].message.tool_calls[0].function.name == "get_weather"
        assert "sim/story" in [model.id for model in client.models.list()]
        assert client.models.retrieve("sim/echo").id == "sim/echo"


def test_what_is_asked_reaches_the_upstream_with_the_servers_key() -> None:
    """The upstream gets the client's parameters, its own model's name and key, and nothing of the client's headers."""
    with LLMServer() as upstream:
        upstream.answer("Hi")
        with serving({"public": _to(upstream, temperature=0.5, top_p=0.1)}, master_key="sk-master") as address:
            headers = {"authorization": "Bearer sk-master", "x-forwarded-for": "10.1.1.1"}
            response = ask(address, model="public", temperature=1, seed=7, stream=True, headers=headers)
        assert response.status_code == 200
        [request] = upstream.requests
    assert request.json["model"] == "gpt-4"
    assert (request.json["temperature"], request.json["top_p"], request.json["seed"]) == (1, 0.1, 7)
    assert request.headers["authorization"] == "Bearer sk-upstream-key"
    assert "x-forwarded-for" not in request.headers
    assert "sk-master" not in repr(request.headers)


def test_a_pipeline_answers() -> None:
    """A function of the request makes the Stream, here with an operator in it; asynchronous ones too."""

    def shouted(request: ProxyRequest) -> Any:
        assert request.headers["x-team"] == "blue"
        assert "authorization" not in request.headers
        return request.complete("sim/echo").pipe(ops.redact({"Hello": "Bonjour"}))

    async def awaited(request: ProxyRequest) -> Any:
        return shouted(request)

    with serving({"loud": shouted, "later": awaited, "echo": "sim/echo"}) as address:
        headers = {"x-team": "blue", "authorization": "Bearer sk-x"}
        for model in ("loud", "later"):
            response = ask(address, model=model, stream=True, headers=headers)
            assert texts_of(events_in(response.text)) == "Bonjour"
        assert ask(address, model="echo").json()["choices"][0]["message"]["content"] == "Hello"


def test_usage_that_an_operator_attached_comes_as_it_was_asked_for() -> None:
    """Usage that a pipeline puts on the last chunk is hidden, or comes on a chunk of its own: as the client asked."""
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)

    def answer(_: ProxyRequest) -> Any:
        last = ModelResponseStream.of(finish_reason="stop")
        last.usage = usage
        return as_stream([ModelResponseStream.of("Hi", role="assistant"), last])

    with serving({"gpt-4": answer}) as address:
        hidden = events_in(ask(address, stream=True).text)
        shown = events_in(ask(address, stream=True, stream_options={"include_usage": True}).text)
    assert not any(event.get("usage") for event in hidden[:-1])
    assert [event.get("usage", {}).get("total_tokens") for event in shown[:-1]] == [None, None, 3]
    assert shown[-2]["choices"] == []


def test_usage_that_nobody_reports_is_counted_where_it_was_asked_for(server: Server, proxied: str) -> None:
    """An upstream that reports no usage: what is asked for is counted, and marked as estimated."""
    usage = events_in(ask(proxied, stream=True, stream_options={"include_usage": True}).text)[-2]
    assert usage["choices"] == []
    assert usage["usage"]["estimated"] is True
    assert usage["usage"]["completion_tokens"] == 2


def test_chunks_that_operators_make_get_a_name() -> None:
    """Chunks without id, time and model get one id for the stream; what operators tell each other is not sent."""

    def answer(_: ProxyRequest) -> Any:
        marker = ModelResponseStream.restarting("nothing had come")
        return rx.of(marker, ModelResponseStream.of("Hi"), ModelResponseStream.of(finish_reason="stop"))

    with serving({"gpt-4": answer}) as address:
        *chunks, done = events_in(ask(address, stream=True).text)
    assert done == "[DONE]"
    assert len(chunks) == 2
    assert len({event["id"] for event in chunks}) == 1
    assert chunks[0]["model"] == "gpt-4"
    assert chunks[0]["created"] > 1_700_000_000


def test_an_answer_that_begins_anew_is_an_error_to_who_has_its_beginning() -> None:
    """No client can be told that what it has is void: it gets an error, and no [DONE]."""

    def answer(_: ProxyRequest) -> Any:
        return rx.of(
            ModelResponseStream.of("Hi"), ModelResponseStream.restarting("it broke"), ModelResponseStream.of("Ho")
        )

    with serving({"gpt-4": answer}) as address:
        events = events_in(ask(address, stream=True).text)
    assert "began anew" in events[-1]["error"]["message"]
    assert texts_of(events) == "Hi"


def test_half_of_a_surrogate_pair_is_sent_escaped() -> None:
    """A text that UTF-8 has no place for does not break the stream."""
    with serving({"gpt-4": lambda _: as_stream([ModelResponseStream.of("\ud83d", finish_reason="stop")])}) as address:  # pyright: ignore[reportUnknownLambdaType]
        events = events_in(ask(address, stream=True).text)
    assert texts_of(events) == "\ud83d"


# -- errors


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_an_upstreams_refusal_keeps_its_status(status: int, kind: type[openai.APIStatusError], *, stream: bool) -> None:
    """Before the first chunk an upstream's error is the response's status, with its words and Retry-After."""
    with LLMServer() as upstream:
        upstream.answer("Not like this", status=status, retry_after=3, headers={"x-secret": "internal"})
        with serving({"gpt-4": _to(upstream)}) as address, _openai(address) as client, pytest.raises(kind) as raised:
            client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=stream)
    assert raised.value.status_code == status
    assert "Not like this" in raised.value.message
    assert raised.value.response.headers["retry-after"] == "3"
    assert "x-secret" not in raised.value.response.headers
    assert set(raised.value.response.json()["error"]) == {"message", "type", "param", "code"}


def test_an_upstream_that_sends_elsewhere_is_a_bad_gateway(server: Server, proxied: str) -> None:
    """No redirect is followed, and the client's request is not what is wrong."""
    server.script = lambda answering: answering.json_answer(302, b"", location="http://127.0.0.1:9/")
    assert ask(proxied, stream=True).status_code == 502


@pytest.mark.parametrize("fault", ["truncated", "reset"])
def test_an_answer_that_breaks_off_is_an_error_and_no_end(fault: Any) -> None:
    """After the first chunk the error is an event, which openai-python raises; no [DONE] follows."""
    with LLMServer() as upstream:
        upstream.answer("Hel", "lo", fault=fault, times=2)
        with serving({"gpt-4": _to(upstream)}) as address:
            events = events_in(ask(address, stream=True).text)
            with _openai(address) as client:
                stream = client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=True)
                with pytest.raises(openai.APIError, match="had come"):
                    list(stream)
    assert "[DONE]" not in events
    assert events[-1]["error"]["type"] == "server_error"


def test_an_error_event_of_the_upstream_is_one_of_the_proxy(server: Server, proxied: str) -> None:
    """What the upstream says within its stream is said to the client, without the upstream's key."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"), {"error": {"message": "Overloaded, key sk-upstream-key", "code": "busy"}})
        await answering.end()

    server.script = script
    events = events_in(ask(proxied, stream=True).text)
    assert texts_of(events) == "Hel"
    assert events[-1]["error"]["message"] == "Overloaded, key ***"
    assert events[-1]["error"]["code"] == "busy"


def test_no_key_is_an_error_that_names_the_variable(simulated: str) -> None:
    """Without configuration a provider without a key is refused, with what to set."""
    response = ask(simulated, model="openai/gpt-4o", stream=True)
    assert response.status_code == 401
    assert "OPENAI_API_KEY" in response.json()["error"]["message"]


def test_nobody_is_told_what_an_owners_function_failed_with(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of a function, or of an operator's callback, is a 500 without its words; they are in the log."""

    def failing(_: ProxyRequest) -> Any:
        raise LookupError("the password is swordfish")

    with serving({"gpt-4": failing}) as address:
        response = ask(address, stream=True)
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "swordfish" not in response.text
    assert "swordfish" in caplog.text


def test_a_guard_of_the_owners_refuses() -> None:
    """A guard's refusal is a 400 of its own type, and shows nothing of the text."""

    def guarded(request: ProxyRequest) -> Any:
        return request.complete("sim/echo").pipe(ops.guard(lambda text: "Hello" not in text))

    with serving({"gpt-4": guarded}) as address:
        response = ask(address)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "guardrail_error"


def test_fallbacks_are_asked_in_turn() -> None:
    """Several arguments for one name: the next is asked where one fails before any content."""
    with LLMServer() as first, LLMServer() as second:
        first.answer("Busy", status=503)
        second.answer("Hi")
        with serving({"gpt-4": [_to(first), _to(second, api_key="sk-second")]}) as address:
            assert texts_of(events_in(ask(address, stream=True).text)) == "Hi"
        assert second.requests[0].headers["authorization"] == "Bearer sk-second"


# -- leaving


@contextlib.contextmanager
def _asked(address: str, **body: Any) -> Generator[socket.socket]:
    """A connection that has sent its request, and nothing more."""
    host, _, port = address.removeprefix("http://").partition(":")
    data = json.dumps({"model": "gpt-4", "messages": QUESTION, "stream": True, **body}).encode()
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(data)}\r\n\r\n"
        client.sendall(head.encode() + data)
        yield client


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_the_headers_cancels(server: Server, proxied: str, *, stream: bool) -> None:
    """The upstream sees its connection close though it has sent nothing yet."""

    async def script(answering: Answering) -> None:
        server.events.put("asked")
        await answering.closed()

    server.script = script
    with _asked(proxied, stream=stream):
        assert server.next_event() == "asked"
    assert server.next_closed() == 1


def test_a_client_that_leaves_in_the_middle_cancels(server: Server, proxied: str) -> None:
    """The upstream sees its connection close while it waits to send more."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.closed()

    server.script = script
    with _asked(proxied) as client:
        received = b""
        while b"Hel" not in received:
            received += client.recv(65536)
    assert server.next_closed() == 1


def test_a_client_that_reads_nothing_stops_the_upstream(server: Server) -> None:
    """Of 200 MB the upstream gets rid of what fits into the buffers between; then it waits, and the proxy grows not."""

    async def script(answering: Answering) -> None:
        answering.unbuffered()
        await answering.start()
        event = f"data: {json.dumps(chunk('x' * 1000))}\n\n".encode() * 64
        for _ in range(200_000_000 // len(event)):
            await answering.send(event)
            server.events.put(answering.sent)

    server.script = script
    with serving({"gpt-4": _to(server)}) as address, _asked(address) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sent, quiet = server.next_event(), 0
        while quiet < 2:  # it has stood still twice for as long as it ever takes to send more
            try:
                sent, quiet = server.events.get(timeout=0.5), 0
            except Exception:  # noqa: BLE001  queue.Empty
                quiet += 1
        assert sent < 40_000_000
        # Whoever reads again gets the rest at once.
        client.settimeout(PATIENCE)
        received = 0
        while received < sent + 1_000_000:
            received += len(client.recv(1 << 20))
        assert server.next_event() > sent


@pytest.mark.parametrize("options", [{}, {"store": "memory", "resume_for": 0.1}], ids=["without a store", "memory"])
def test_a_client_that_reads_nothing_for_long_has_gone(
    server: Server, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Under any server: the request upstream is closed, and the log says that the client has left."""
    caplog.set_level("INFO", "rxllm.proxy")

    async def script(answering: Answering) -> None:
        await answering.start()
        while True:
            await answering.event(*[chunk("x" * 1000)] * 64)

    server.script = script
    with serving({"gpt-4": _to(server)}, write_timeout=0.3, **options) as address, _asked(address):
        assert server.next_closed() == 1
    assert '"client left"' in caplog.text


@pytest.mark.parametrize("name", ["keep_alive", "write_timeout"])
def test_times_are_above_zero(name: str) -> None:
    """What cannot be is told at once."""
    times: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} is a number of seconds above 0"):
        create_app(**times)


async def _leave(address: str, chance: random.Random) -> None:
    """A client that goes at any moment, in good order or not."""
    host, _, port = address.removeprefix("http://").partition(":")
    body = json.dumps({"model": "gpt-4", "messages": QUESTION, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    reader, writer = await asyncio.open_connection(host, int(port))
    whole = chance.random() < 0.8
    writer.write(request if whole else request[: chance.randrange(len(request))])
    await writer.drain()
    if whole and chance.random() < 0.7:
        await reader.read(chance.randrange(1, 1000))
    if chance.random() < 0.5:
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize("options", [{}, {"store": "memory", "resume_for": 0.1}], ids=["without a store", "memory"])
def test_of_many_clients_that_leave_at_any_moment_nothing_is_left(server: Server, options: Any) -> None:
    """Each request that had been sent upstream is closed there, and the next is served."""

    async def script(answering: Answering) -> None:
        try:
            await answering.start()
            await answering.event(chunk("Hel"))
            await answering.closed()
        except OSError:  # it was gone before
            server.closed.put(answering.number)
            raise

    async def leave(address: str) -> None:
        chance = random.Random(1)
        for _ in range(4):
            await asyncio.gather(*(_leave(address, chance) for _ in range(50)))

    server.script = script
    with serving({"gpt-4": _to(server), "echo": "sim/echo"}, **options) as address:
        asyncio.run(leave(address))
        closed: set[int] = set()
        assert ask(address, model="echo", delay=0).status_code == 200
    while len(closed) < len(server.requests):  # the server has ended: no further one comes
        closed.add(server.next_closed())
    assert len(closed) > 50


def test_a_client_that_leaves_in_the_middle_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """A body that breaks off is no failure of the server's: a line of the log, and no traceback."""
    caplog.set_level("INFO", "rxllm.proxy")
    with serving() as address:
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{")
        while "client left" not in caplog.text:
            assert ask(address, model="sim/echo", delay=0).status_code == 200
    assert "Traceback" not in caplog.text


def test_a_server_that_tells_by_an_error_that_the_client_left(caplog: pytest.LogCaptureFixture) -> None:
    """Some ASGI servers raise from send(): that is a client that left, and nothing else."""
    caplog.set_level("INFO", "rxllm.proxy")

    async def receive() -> Any:
        if requests:
            return requests.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("Connection lost")

    body = json.dumps({"model": "sim/story", "messages": QUESTION, "stream": True}).encode()
    requests = [{"type": "http.request", "body": body, "more_body": False}]
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(create_app()(scope, receive, send))
    assert '"client left"' in caplog.text


# -- silence


def test_silence_is_broken_by_comments_and_ended_by_an_error_event(server: Server) -> None:
    """After so many silent seconds the headers come, and comments; an error is an event from then on."""

    async def script(answering: Answering) -> None:
        await answering.server.taken.wait()
        await answering.json_answer(429, {"error": {"message": "Slow down"}})

    server.script = script
    with serving({"gpt-4": _to(server)}, keep_alive=0.05) as address, _asked(address) as client:
        received = b""
        while received.count(b": keep-alive\n\n") < 2:
            received += client.recv(65536)
        server.taken.open()
        while b"Slow down" not in received:
            received += client.recv(65536)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"[DONE]" not in received


def test_a_comment_comes_between_events_too(server: Server) -> None:
    """A pause within a stream is silence as well, and what follows it comes whole."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.server.taken.wait()
        await answering.event(chunk("lo"), chunk(finish="stop"), "[DONE]")
        await answering.end()

    server.script = script
    with serving({"gpt-4": _to(server)}, keep_alive=0.05) as address, _asked(address) as client:
        received = b""
        while b": keep-alive" not in received:
            received += client.recv(65536)
        server.taken.open()
        while b"[DONE]" not in received:
            received += client.recv(65536)
    assert received.index(b"Hel") < received.index(b": keep-alive") < received.index(b'"lo"')
