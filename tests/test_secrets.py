"""No key in anything that people see, on real servers that echo it in every way; TLS verified; redirects not followed.

Each test takes the key from the environment, or looks at the frames of the library alone: its own have the key.
"""

import asyncio
import base64
import gc
import html
import json
import logging
import os
import pickle
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, quote_plus

import botocore
import h11
import httpcore
import httpx
import pytest
import reactivex
import trustme
from hypothesis import assume, given, strategies
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

import rxllm
from rxllm import _secrets
from rxllm import operators as ops
from rxllm._exchange import Exchange
from rxllm._prepare import Call
from rxllm._secrets import Secrets, hidden_url, unframed
from rxllm._timeouts import Timeouts
from rxllm._transport import AsyncReader, SyncReader
from rxllm.exceptions import APIConnectionError, APIError, AuthenticationError, IncompleteStreamError, Timeout
from rxllm.providers import resolve
from rxllm.types import Request
from tests.consume import WAYS
from tests.server import PATIENCE, Answering, Script, Server, chunk
from tests.showing import KEYS, assert_hidden, assert_says_nothing, forms

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = [{"role": "user", "content": "Hello"}]
# By where they are: the clone may be in a folder of one of these names, and the tests with it.
LIBRARIES = tuple(
    f"{Path(str(library.__file__)).parent}/" for library in (rxllm, ops, httpx, httpcore, h11, botocore, reactivex)
)

every_key = pytest.mark.parametrize("key", KEYS)


# -- ways to ask, none of which has a key in its frame


def whole(url: str | None, **parameters: Any) -> Any:
    """``completion()`` of a whole response."""
    model = parameters.pop("model", "gpt-4")
    answer: rxllm.ModelResponse = rxllm.completion(model, MESSAGES, stream=False, api_base=url, **parameters)
    return answer


def whole_async(url: str | None, **parameters: Any) -> Any:
    """``acompletion()`` of a whole response."""
    model = parameters.pop("model", "gpt-4")

    async def ask() -> rxllm.ModelResponse:
        answer: rxllm.ModelResponse = await rxllm.acompletion(model, MESSAGES, stream=False, api_base=url, **parameters)
        return answer

    return asyncio.run(ask())


def streamed(consume: Callable[[Any], list[Any]]) -> Callable[..., Any]:
    """``completion(stream=True)``, consumed in that way."""

    def ask(url: str | None, **parameters: Any) -> Any:
        model = parameters.pop("model", "gpt-4")
        return consume(rxllm.completion(model, MESSAGES, stream=True, api_base=url, **parameters))

    return ask


ASKING: dict[str, Callable[..., Any]] = {
    "completion": whole,
    "acompletion": whole_async,
    **{name: streamed(consume) for name, consume in WAYS.items()},
}
every_way = pytest.mark.parametrize("way", ASKING)
both_ways = pytest.mark.parametrize("way", ["completion", "acompletion"])


def ask_by_own_client(url: str | None, way: str, **options: Any) -> Any:
    """A whole response by an httpx client that is made so."""
    if way == "completion":
        with httpx.Client(**options) as client:
            return whole(url, http_client=client)

    async def ask() -> Any:
        async with httpx.AsyncClient(**options) as client:
            return await rxllm.acompletion("gpt-4", MESSAGES, api_base=url, http_client=client)

    return asyncio.run(ask())


# -- servers that echo the key

Echo = Callable[[Answering, str], Awaitable[None]]


def in_json(**more: Any) -> Echo:
    """In the error's words, as JSON; also where other members name it."""

    async def echo(answering: Answering, key: str) -> None:
        error = {"message": f"Incorrect API key provided: {key}.", "param": key, "code": key, "type": f"key {key}"}
        await answering.json_answer(401, {"error": error, key: [key, {"deep": (key,)}], **more}, x_request_id="req_1")

    return echo


def in_words(form: Callable[[str], str], kind: str = "text/plain") -> Echo:
    """In a body of another kind."""

    async def echo(answering: Answering, key: str) -> None:
        await answering.json_answer(403, f"The key {form(key)} is wrong".encode(), content_type=kind)

    return echo


def cut_off(at: int) -> Echo:
    """In words that are cut off inside the key."""

    async def echo(answering: Answering, key: str) -> None:
        await answering.json_answer(400, {"error": {"message": f"Not a key: {key[:at]}"}})

    return echo


async def in_headers(answering: Answering, key: str) -> None:
    """In the headers of an error."""
    await answering.json_answer(500, {"error": {"message": "Failed"}}, x_echo=f"Bearer {key}", x_request_id=key)


async def in_an_error_event(answering: Answering, key: str) -> None:
    """In an error after the first chunk."""
    await answering.start(x_echo=key)
    await answering.event(chunk("Hi"), {"error": {"message": f"{key} has run out", "code": key, "extra": [key]}})
    await answering.end()


async def in_garbage(answering: Answering, key: str) -> None:
    """In a body that is nothing that anybody understands."""
    await answering.start()
    await answering.send(f"data: {key} <is no JSON>\n\n".encode())
    await answering.end()


async def in_a_page(answering: Answering, key: str) -> None:
    """In an HTML page with status 200."""
    page = f"<html><body>{html.escape(key)}</body></html>" + " " * 200
    await answering.json_answer(200, page.encode(), content_type="text/html")


async def in_a_shape(answering: Answering, key: str) -> None:
    """In JSON that is no chunk, at the place where excerpts are cut off."""
    await answering.start()
    for size in range(100, 220, 4):
        await answering.event({"choices": {"x" * size: key}})
    await answering.end()


async def in_a_redirect(answering: Answering, key: str) -> None:
    """In the address that a redirect leads to."""
    location = f"http://elsewhere.example/?key={quote(key, safe='')}"
    await answering.json_answer(307, {"to": location}, location=location)


async def and_break(answering: Answering, key: str) -> None:
    """In the headers of an answer that breaks off."""
    await answering.start(x_echo=key)
    await answering.event(chunk("Hi"))
    answering.reset()


async def and_end(answering: Answering, key: str) -> None:
    """In the headers of an answer that ends too early, and in the chunks beside the text."""
    await answering.start(x_echo=key)
    await answering.event(chunk("Hi"))
    await answering.end()


async def and_say_no_http(answering: Answering, key: str) -> None:
    """In what is no HTTP."""
    await answering.raw(f"{key} {key}\r\n\r\n".encode())
    answering.hang_up()


async def in_a_broken_header(answering: Answering, key: str) -> None:
    """In a header that cannot be read."""
    await answering.raw(f"HTTP/1.1 200 OK\r\n{key}\x00: {key}\r\n\r\n".encode())
    answering.hang_up()


ECHOES: dict[str, Echo] = {
    "JSON": in_json(),
    "plain text": in_words(str),
    "HTML": in_words(lambda key: f"<b>{html.escape(key)}</b>", "text/html"),
    "percent-encoded": in_words(lambda key: f"/v1?key={quote(key, safe='')}&again={quote_plus(key)}"),
    "repr": in_words(lambda key: repr({key: key.encode()})),
    "JSON in text": in_words(lambda key: json.dumps(json.dumps({"k": key}).replace("/", "\\/"))[1:-1]),
    "PHP's JSON": in_words(lambda key: json.dumps({"k": key}).replace("/", "\\/")),
    "cut off": cut_off(18),
    "cut off early": cut_off(12),
    "headers": in_headers,
    "an error event": in_an_error_event,
    "garbage": in_garbage,
    "a page": in_a_page,
    "a wrong shape": in_a_shape,
    "a redirect": in_a_redirect,
    "a break": and_break,
    "an early end": and_end,
    "no HTTP": and_say_no_http,
    "a broken header": in_a_broken_header,
}


def echoing(echo: Echo) -> Script:
    """A script that answers with the key of the request, whatever header that came in."""

    async def script(answering: Answering) -> None:
        headers = answering.headers
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key") or "?"
        await echo(answering, key)

    return script


@every_way
@pytest.mark.parametrize("echo", ECHOES)
def test_a_server_that_echoes_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, echo: str, way: str
) -> None:
    """It is in no part of the error, in no frame and in no line of the log."""
    caplog.set_level(logging.DEBUG)
    server.script = echoing(ECHOES[echo])
    for name in KEYS:
        monkeypatch.setenv("OPENAI_API_KEY", KEYS[name])
        with pytest.raises(APIError) as caught:
            ASKING[way](server.url, max_retries=0)
        assert_says_nothing(caught.value, *KEYS.values())
    assert "receive_response_headers" in caplog.text
    assert_logs_say_nothing(caplog)


def assert_logs_say_nothing(caplog: pytest.LogCaptureFixture, *secrets: str) -> None:
    """No line that a handler on the root logger got has a key in it, nor has anything that it is made of."""
    told = "\n".join(
        f"{record.getMessage()} {record.msg!r} {record.args!r} {record.exc_text}" for record in caplog.records
    )
    assert_hidden(told + caplog.text, *(secrets or KEYS.values()))


@both_ways
def test_retries_are_logged_without_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Our own line says what the provider said, but for the key."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])

    async def script(answering: Answering) -> None:
        words = {"error": {"message": f"Slow down, {answering.headers['authorization']}"}}
        await answering.json_answer(429, words, retry_after_ms="1")

    server.script = script
    with pytest.raises(APIError, match=r"Slow down, Bearer \*\*\*"):
        ASKING[way](server.url, max_retries=1)
    assert "Slow down, Bearer ***" in "".join(
        record.getMessage() for record in caplog.records if record.name == "rxllm"
    )
    assert_logs_say_nothing(caplog)


@every_way
@every_key
def test_an_answer_in_which_all_is_well(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str, key: str
) -> None:
    """The log says nothing, and neither do the chunks and their headers; what the model says is left as it is."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[key])

    async def script(answering: Answering) -> None:
        await answering.start(x_echo=answering.headers["authorization"], x_request_id="req_1")
        await answering.last(chunk("A key begins with sk-proj-"), chunk(finish="stop"), "[DONE]")

    server.script = script
    answer = ASKING[way](server.url)
    parts: list[Any] = [answer] if isinstance(answer, rxllm.ModelResponse) else answer
    told = "".join(part.model_dump_json() + repr(part) + repr(part.response_headers) for part in parts)
    assert "A key begins with sk-proj-" in told
    assert "req_1" in told
    assert_hidden(told, *KEYS.values())
    assert "x-echo" in caplog.text
    assert_logs_say_nothing(caplog)


# -- keys that are given


@every_way
@every_key
def test_a_key_that_is_given(server: Server, way: str, key: str) -> None:
    """api_key= is in no frame of the library when the stream fails."""
    server.script = echoing(in_json())
    with pytest.raises(AuthenticationError) as caught:
        ASKING[way](server.url, api_key=KEYS[key])
    assert_says_nothing(caught.value, *KEYS.values(), frames_of=LIBRARIES)


async def echo_headers(answering: Answering) -> None:
    """Says all that it was sent."""
    told = {"path": answering.path, "headers": answering.headers, "body": answering.body.decode()}
    await answering.json_answer(400, {"error": {"message": json.dumps(told), "param": answering.path}, **told})


PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {"model": "gpt-4", "api_key": KEYS["plain"]},
    "anthropic": {"model": "claude-sonnet-4-5", "api_key": KEYS["plain"]},
    "gemini": {"model": "gemini-2.5-flash", "api_key": KEYS["plain"]},
    "gemini in the query": {"model": "gemini-2.5-flash", "api_key": "0" * 9, "extra_query": {"key": KEYS["awkward"]}},
    "azure": {"model": "azure/gpt-4", "api_key": KEYS["awkward"]},
    "azure with a token": {"model": "azure/gpt-4", "api_key": "eyJ" + KEYS["long"]},
    "bedrock": {"model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0", "api_key": KEYS["plain"]},
    "bedrock, signed": {
        "model": "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key": KEYS["awkward"],
        "aws_session_token": KEYS["long"],
        "aws_region_name": "eu-west-1",
    },
    "cohere": {"model": "cohere/command-r", "api_key": KEYS["plain"]},
    "ollama": {"model": "ollama/llama3", "extra_headers": {"X-Corp-Auth": KEYS["awkward"]}},
    "further headers": {
        "model": "gpt-4",
        "api_key": "0" * 9,
        "extra_headers": {"X-Api-Key": KEYS["plain"], "cookie": f"a=b; session={KEYS['long']}", "X-App": "chat"},
    },
    "basic": {
        "model": "gpt-4",
        "api_key": "0" * 9,
        "extra_headers": {"authorization": "Basic " + base64.b64encode(f"me:{KEYS['long']}".encode()).decode()},
    },
    "a server among the tools": {
        "model": "openai/responses/gpt-4",
        "api_key": "0" * 9,
        "tools": [{"type": "mcp", "server_url": "https://mcp.example", "authorization": KEYS["plain"]}],
    },
    "a search among the body": {
        "model": "gpt-4",
        "api_key": "0" * 9,
        "extra_body": {"data_sources": [{"authentication": {"type": "api_key", "key": KEYS["plain"]}}]},
    },
}
SECRETS = (*KEYS.values(), "AKIAIOSFODNN7EXAMPLE")


@both_ways
@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_a_provider_takes_for_a_key(
    server: Server, caplog: pytest.LogCaptureFixture, provider: str, way: str
) -> None:
    """A server that says all that it was sent: no key, signature, token or cookie comes through; the rest does."""
    caplog.set_level(logging.DEBUG)
    server.script = echo_headers
    with pytest.raises(APIError) as caught:
        ASKING[way](server.url, **PROVIDERS[provider])
    (request,) = server.requests
    assert request.headers["content-type"] in str(caught.value)
    assert_says_nothing(caught.value, *SECRETS, frames_of=LIBRARIES)
    assert_logs_say_nothing(caplog, *SECRETS)
    signature = request.headers.get("authorization", "").partition("Signature=")[2]
    assert not signature or signature not in str(caught.value)
    if provider == "further headers":
        assert '"x-app": "chat"' in str(caught.value)


@both_ways
def test_a_name_and_a_password_in_the_address(server: Server, way: str) -> None:
    """They are in no error, no repr and no log, encoded or not; the host is."""
    server.script = echo_headers
    url = keyed(server.url) + "&api-version=3"
    stream = rxllm.completion("gpt-4", MESSAGES, stream=True, api_base=url, api_key=KEYS["long"])
    assert_hidden(repr(stream) + repr(vars(stream)) + repr(stream.request), *KEYS.values())
    with pytest.raises(APIError) as caught:
        ASKING[way](url, api_key=KEYS["long"])
    assert "api-version=3" in str(caught.value)
    assert_says_nothing(caught.value, *KEYS.values(), frames_of=LIBRARIES)


KEYED: dict[str, Any] = {
    "api_key": KEYS["plain"],
    "base_url": f"http://me:{quote(KEYS['awkward'], safe='')}@127.0.0.1:9/v1",
    "extra_headers": {"authorization": KEYS["long"]},
    "extra_body": {"key": KEYS["long"]},
    "tools": [{"type": "mcp", "authorization": KEYS["long"]}],
    "aws_secret_access_key": KEYS["awkward"],
}
WRONG: dict[str, dict[str, Any]] = {
    "no such model": {"model": "no-such-model"},
    "no such provider": {"custom_llm_provider": "nobody"},
    "a timeout": {"timeout": "soon"},
    "no time": {"timeout": -1},
    "retries": {"max_retries": -1},
    "two retries": {"max_retries": 1, "num_retries": 2},
    "two addresses": {"api_base": f"http://{KEYS['plain']}@127.0.0.1:9/v2"},
    "no address": {"base_url": f"{KEYS['plain']}@127.0.0.1:9/v2"},
    "no address, with a password": {"base_url": f"me:{KEYS['plain']}@127.0.0.1:9/v2"},
    "an address that is none": {"base_url": [KEYS["plain"]]},
    "a client": {"http_client": object()},
    "no choices": {"n": 0},
    "options": {"stream_options": 1},
    "no messages": {"messages": []},
    "a message": {"messages": [1]},
    "an event": {"max_event_bytes": 0},
    "an event's size": {"max_event_bytes": True},
    "a key in bytes": {"api_key": KEYS["plain"].encode()},
    "headers": {"extra_headers": [("authorization", KEYS["plain"])]},
    "an answer": {"mock_response": object()},
    "an unknown parameter": {"model": "anthropic/claude-sonnet-4-5", "logit_bias": {}},
    "parts of a key": {"model": "bedrock/x", "api_key": None, "aws_access_key_id": KEYS["plain"].encode()},
    "nothing that JSON can say": {"extra_body": {"token": KEYS["plain"], "more": object()}},
}


@pytest.mark.parametrize("stream", [True, False])
@both_ways
@pytest.mark.parametrize("wrong", WRONG)
def test_bad_arguments(wrong: str, way: str, stream: bool) -> None:
    """Whatever is refused, and wherever: no frame of the library has a key, a password or a header's value."""
    parameters: dict[str, Any] = {"model": "gpt-4", "messages": MESSAGES, "max_retries": 0, **KEYED, **WRONG[wrong]}
    with pytest.raises((APIError, TypeError, ValueError)) as caught:
        if way == "completion":
            list(rxllm.completion(**parameters, stream=stream))
        else:
            asyncio.run(acomplete(parameters, stream=stream))
    assert_says_nothing(caught.value, *KEYS.values(), frames_of=LIBRARIES)


async def acomplete(parameters: dict[str, Any], *, stream: bool) -> None:
    """``acompletion()``, consumed."""
    answer: Any = await rxllm.acompletion(**parameters, stream=stream)
    if stream:
        async for _ in answer:
            pass


@every_way
@pytest.mark.parametrize("bad", ["\n", "é", "\x00", "\u200b"])
def test_a_key_that_is_none(server: Server, monkeypatch: pytest.MonkeyPatch, way: str, bad: str) -> None:
    """It is refused before anything is sent, and not shown."""
    if bad == "\x00":  # the environment holds none
        monkeypatch.setattr(os, "environ", {**os.environ, "OPENAI_API_KEY": f"{KEYS['plain']}{bad}{KEYS['plain']}"})
    else:
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEYS['plain']}{bad}{KEYS['plain']}")
    with pytest.raises(AuthenticationError) as caught:
        ASKING[way](server.url)
    assert_says_nothing(caught.value, *KEYS.values())
    assert server.connections == 0


# -- connections that fail


async def never(answering: Answering) -> None:
    """Answers nothing."""
    answering.server.events.put("waiting")
    await answering.closed()


async def stall(answering: Answering) -> None:
    """Answers the beginning, with the key in the headers."""
    await answering.start(x_echo=answering.headers["authorization"])
    await answering.event(chunk("Hi"))
    answering.server.events.put("waiting")
    await answering.closed()


def keyed(url: str) -> str:
    """An address that has keys in it, so that every frame that knows it does."""
    return url.replace("//", f"//me:{quote(KEYS['awkward'], safe='')}@") + f"?key={KEYS['plain']}"


async def hang_up(answering: Answering) -> None:
    """Closes the connection instead."""
    answering.hang_up()


@every_way
@pytest.mark.parametrize("script", [never, stall, hang_up])
@every_key
def test_connections_that_fail(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: Script,
    way: str,
    key: str,
) -> None:
    """Timeouts and breaks come without the frames of those who wrote the key to the socket."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS[key])
    monkeypatch.setenv("OPENAI_BASE_URL", keyed(server.url))
    server.script = script
    with pytest.raises(APIConnectionError) as caught:
        ASKING[way](None, timeout=PATIENCE if script is hang_up else 0.05, max_retries=0)
    assert isinstance(caught.value, Timeout) == (script is not hang_up)
    assert_says_nothing(caught.value, *KEYS.values())
    assert_logs_say_nothing(caplog)


@both_ways
def test_nobody_there(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A connection that is refused, to an address with a password in it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["long"])
    monkeypatch.setenv("OPENAI_BASE_URL", keyed("http://127.0.0.1:9/v1"))
    with pytest.raises(APIConnectionError) as caught:
        ASKING[way](None, max_retries=0)
    assert_says_nothing(caught.value, *KEYS.values())


@both_ways
@pytest.mark.parametrize("script", [never, stall])
@pytest.mark.parametrize("own", [False, True])
def test_ctrl_c(server: Server, monkeypatch: pytest.MonkeyPatch, script: Script, way: str, own: bool) -> None:
    """It passes through while somebody waits, before the headers or in the body; no frame beneath us comes along."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["long"])
    monkeypatch.setenv("OPENAI_BASE_URL", keyed(server.url))
    server.script = script
    main = threading.get_ident()

    def interrupt() -> None:
        server.next_event()
        signal.pthread_kill(main, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        if own:
            ask_by_own_client(None, way)
        else:
            ASKING[way](None)
    interrupting.join(PATIENCE)
    assert_says_nothing(caught.value, *KEYS.values())


def test_an_error_that_nobody_foresaw(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a client of the user's own: it passes as it is, without its frames, with a note of where it came from."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["long"])

    def fail(request: httpx.Request) -> None:
        shown = dict(request.headers)
        assert shown
        raise LookupError("a hook's own")

    with httpx.Client(event_hooks={"request": [fail]}) as client, pytest.raises(LookupError, match="own") as caught:
        whole(server.url, http_client=client)
    assert_says_nothing(caught.value, *KEYS.values())
    assert "test_secrets.py" in caught.value.__notes__[0]
    assert "in fail" in caught.value.__notes__[0]


# -- clients of the user's own


@pytest.mark.parametrize("echo", ["JSON", "headers", "a redirect", "a break", "no HTTP"])
@both_ways
@pytest.mark.usefixtures("without_waits")
def test_a_client_of_ones_own(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, echo: str, way: str
) -> None:
    """The same holds, also for httpx's own lines in the log, which name the address."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    server.script = echoing(ECHOES[echo])
    monkeypatch.setenv("OPENAI_BASE_URL", keyed(server.url))
    with pytest.raises(APIError) as caught:
        ask_by_own_client(None, way, follow_redirects=True)
    assert_says_nothing(caught.value, *KEYS.values())
    assert echo == "no HTTP" or "HTTP Request: POST" in caplog.text
    assert_logs_say_nothing(caplog)


@pytest.mark.parametrize("own", ["headers", "cookies", "auth", "params"])
@both_ways
def test_what_a_client_of_ones_own_adds(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str, own: str
) -> None:
    """Keys that its owner gave it are hidden like those that were given to us."""
    caplog.set_level(logging.DEBUG)
    server.script = echo_headers
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    adding: dict[str, dict[str, Any]] = {
        "headers": {"headers": {"x-gateway-key": KEYS["awkward"]}},
        "cookies": {"cookies": {"session": KEYS["plain"]}},
        "auth": {"auth": ("me", KEYS["long"])},
        "params": {"params": {"key": KEYS["awkward"]}},
    }
    with pytest.raises(APIError) as caught:
        ask_by_own_client(server.url, way, **adding[own])
    (request,) = server.requests
    assert {"headers": "x-gateway-key", "cookies": "cookie", "auth": "authorization", "params": "host"}[own] in (
        request.headers
    )
    assert_says_nothing(caught.value, *KEYS.values(), frames_of=LIBRARIES)
    assert_logs_say_nothing(caplog)


# -- what shows itself


@every_key
def test_nothing_that_holds_a_key_shows_it(key: str) -> None:
    """repr, vars and a pickle of Stream, Request, Call, readers, the exchange and its Secrets."""
    provider, wire_model = resolve("gpt-4", None)
    params = {"tools": [{"authorization": KEYS[key]}], "extra_query": {"key": KEYS[key]}, "n": 3}
    request = Request(model="gpt-4", messages=MESSAGES, params=params, wire_model=wire_model)
    call = Call(
        request=request, provider=provider, timeouts=Timeouts(), max_retries=0, api_base=f"http://{KEYS[key]}@h"
    )
    http = provider.dialect.http_request(request, f"http://me:{quote(KEYS[key], safe='')}@h", KEYS[key], provider)
    secrets = Secrets(KEYS[key])
    asked: dict[str, Any] = {"api_key": KEYS[key], "extra_headers": {"x-key": KEYS[key]}, **params}
    stream: Any = rxllm.completion("gpt-4", MESSAGES, stream=True, **asked)
    source: Any = stream.source
    things: list[Any] = [
        call,
        http,
        secrets,
        Exchange(call),
        SyncReader(call),
        AsyncReader(call),
        stream,
        stream.request,
        source,
    ]
    told = "".join(f"{thing!r} {thing} {pretty_repr(thing)}" for thing in things)
    told += pickle.dumps(secrets).decode("latin-1")
    assert_hidden(told, *KEYS.values())
    assert "'n': 3" in repr(stream.request)
    assert stream.request.params["tools"] == params["tools"]


def test_no_secret_outlives_its_call(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What log lines are scrubbed of is gone with the calls that it belongs to, failed ones too."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    others = {id(secrets) for secrets in _secrets.calls_under_way()}  # of whatever has run before
    list(rxllm.completion("gpt-4", MESSAGES, stream=True, api_base=server.url))
    server.script = echoing(in_json())
    with pytest.raises(AuthenticationError):
        whole(server.url)
    gc.collect()
    held = [secrets for secrets in _secrets.calls_under_way() if secrets.forms and id(secrets) not in others]
    assert held == []


def test_importing_rxllm_touches_no_logger() -> None:
    """Filters come with the first request, and once."""
    program = (
        "import logging, rxllm\n"
        "watched = [logging.getLogger(name) for name in ('rxllm', 'httpx', 'httpcore.http11')]\n"
        "assert not any(logger.filters for logger in watched)\n"
        "for _ in range(2): rxllm.completion('sim/echo', [{'role': 'user', 'content': 'x'}], extra_body={'delay': 0})\n"
        "assert [len(logger.filters) for logger in watched] == [1, 1, 1]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


# -- what else prints


def test_pytests_own_locals(server: Server, tmp_path: Path) -> None:
    """pytest --showlocals prints the locals of every frame, cut off or not."""
    server.script = echoing(in_json())
    (tmp_path / "test_it.py").write_text(
        "import asyncio, os, rxllm\n"
        "asked = dict(model='gpt-4', messages=[{'role': 'user', 'content': 'Hello'}], api_base=os.environ['WHERE'])\n"
        "def test_sync(): rxllm.completion(**asked)\n"
        "def test_async(): asyncio.run(rxllm.acompletion(**asked))\n"
        "def test_stream(): list(rxllm.completion(**asked, stream=True))\n"
        "def test_bad(): rxllm.completion(**asked, timeout=-1, api_key=os.environ['OPENAI_API_KEY'])\n"
        "def test_run(): rxllm.completion(**asked, stream=True, extra_headers={'x-key': os.environ['TWO']}).run()\n"
    )
    environment = {**os.environ, "WHERE": server.url, "OPENAI_API_KEY": KEYS["long"], "TWO": KEYS["plain"]}
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--showlocals",
            "-vv",
            "--full-trace",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=100,
    )
    told = (ran.stdout + ran.stderr).decode()
    assert "5 failed" in told
    assert "call_later" not in told
    assert_hidden(told, *KEYS.values())


def test_richs_traceback(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """rich prints them too, and cuts what is long."""
    server.script = echoing(in_json())
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["long"])
    with pytest.raises(AuthenticationError) as caught:
        whole(server.url)
    console = Console(file=StringIO(), width=500, color_system=None)
    error = caught.value
    console.print(Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True))
    assert isinstance(console.file, StringIO)
    told = console.file.getvalue()
    assert "AuthenticationError" in told
    assert "locals" in told
    assert_hidden(re.sub(r"[\s│]", "", told), *KEYS.values())


@pytest.mark.parametrize("echo", ["JSON", "an error event", "garbage"])
def test_the_command_line(server: Server, echo: str) -> None:
    """What it says of an error has no key in it."""
    server.script = echoing(ECHOES[echo])
    told = command_line("chat", "--api-base", server.url, "-m", "gpt-4", "Hi", OPENAI_API_KEY=KEYS["awkward"])
    assert "rxllm: " in told
    assert_hidden(told, *KEYS.values())


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "Hi", "--api-key", KEYS["plain"]],
        ["chat", "Hi", f"--api-key={KEYS['plain']}"],
        ["chat", "--api-base", f"me:{KEYS['plain']}@llm.example/v1", "-m", "gpt-4", "Hi"],
        ["chat", "--api-base", f"http://me:{KEYS['plain']}@127.0.0.1:9/v1", "-m", "gpt-4", "Hi"],
    ],
)
def test_arguments_on_the_command_line(arguments: list[str]) -> None:
    """Nor does it repeat a key that it was given by mistake, or a password in an address."""
    told = command_line(*arguments, OPENAI_API_KEY=KEYS["long"])
    assert "rxllm: " in told
    assert_hidden(told, *KEYS.values())


def command_line(*arguments: str, **environment: str) -> str:
    """What ``rxllm`` prints, which fails."""
    ran = subprocess.run(
        [sys.executable, "-m", "rxllm", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=60,
        check=False,
    )
    assert ran.returncode in (1, 2)
    return (ran.stdout + ran.stderr).decode()


# -- proxies


class SocksProxy:
    """A SOCKS5 proxy that wants a name and a password, and leads to where it is asked to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.passwords: list[bytes] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward: asyncio.StreamWriter | None = None
        try:
            _, count = await reader.readexactly(2)
            await reader.readexactly(count)
            writer.write(b"\x05\x02")
            _, size = await reader.readexactly(2)
            await reader.readexactly(size)
            self.passwords.append(await reader.readexactly((await reader.readexactly(1))[0]))
            writer.write(b"\x01\x00")
            *_, kind = await reader.readexactly(4)
            assert kind == 1
            host = ".".join(map(str, await reader.readexactly(4)))
            answers, onward = await asyncio.open_connection(host, int.from_bytes(await reader.readexactly(2)))
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            await asyncio.gather(self._pipe(reader, onward), self._pipe(answers, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, onward):
                if one is not None:
                    one.transport.abort()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.write_eof()


@both_ways
def test_a_proxys_password(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """httpcore's log names what it tells a SOCKS proxy, but for the password."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    monkeypatch.setenv("no_proxy", "")
    with SocksProxy() as proxy:
        monkeypatch.setenv("all_proxy", f"socks5://me:{quote(KEYS['awkward'], safe='')}@127.0.0.1:{proxy.port}")
        assert ASKING[way](server.url).choices[0].message.content == "Hello world"
        rxllm.close()
    assert proxy.passwords == [KEYS["awkward"].encode()]
    assert "setup_socks5_connection" in caplog.text
    assert_logs_say_nothing(caplog)


# -- TLS, and redirects


@pytest.fixture
def authority() -> trustme.CA:
    """Whoever issued the certificate of ``secure``."""
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Server]:
    """A server with a certificate that nobody knows."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)  # pyright: ignore[reportUnknownMemberType]
    with Server(serving) as running:
        yield running
    rxllm.close()


@every_way
def test_a_certificate_that_cannot_be_verified(secure: Server, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """It is refused, said so, and not tried again; nothing was sent."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    with pytest.raises(APIConnectionError, match="certificate") as caught:
        ASKING[way](secure.url)
    assert "verif" in str(caught.value)
    assert not isinstance(caught.value, IncompleteStreamError | Timeout)
    assert_says_nothing(caught.value, *KEYS.values())
    assert secure.connections == 1
    assert secure.requests == []


@both_ways
def test_a_client_of_ones_own_is_refused_too(secure: Server, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """As long as it verifies: that is its owner's business."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    with pytest.raises(APIConnectionError, match="certificate") as caught:
        ask_by_own_client(secure.url, way)
    assert_says_nothing(caught.value, *KEYS.values())
    assert secure.connections == 1


@both_ways
@pytest.mark.parametrize("trusts", [True, False])
def test_a_client_that_trusts_the_certificate(
    secure: Server, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, way: str, trusts: bool
) -> None:
    """Or verifies nothing, as its owner wants it: the answer comes."""
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]
    answer = ask_by_own_client(secure.url, way, verify=trusting if trusts else False)
    assert answer.choices[0].message.content == "Hello world"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("own", [False, True])
@both_ways
def test_redirects_are_not_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch, way: str, own: bool, status: int
) -> None:
    """Whoever is elsewhere never hears of the key, not even by a client that was told to follow."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEYS["plain"])
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["plain"])
    with Server() as elsewhere:

        async def script(answering: Answering) -> None:
            await answering.json_answer(status, b"", location=f"{elsewhere.url}/messages?key={KEYS['plain']}")

        server.script = script
        with pytest.raises(APIError) as caught:
            if own:
                ask_by_own_client(server.url, way, follow_redirects=True)
            else:
                ASKING[way](server.url, model="claude-sonnet-4-5")
        assert elsewhere.connections == 0
    assert len(server.requests) == 1
    assert caught.value.status_code == status
    assert_says_nothing(caught.value, KEYS["plain"], frames_of=LIBRARIES)


# -- the type itself


@every_key
def test_each_form_is_found(key: str) -> None:
    """As it is, and as servers and libraries write it, in any JSON, keys of dictionaries too."""
    secrets = Secrets(KEYS[key])
    for form in forms(KEYS[key]):
        told = {form: [f"a {form} b", (form, 1, None)], "bytes": f"<{form}>".encode()}
        assert secrets.clean(told) == {"***": ["a *** b", ("***", 1, None)], "bytes": b"<***>"}


ESCAPES: dict[str, Callable[[str], str]] = {
    "repr": lambda text: repr(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "JSON": lambda text: json.dumps(text)[1:-1],
    "PHP's JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "Go's JSON": lambda text: json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c"),
    "HTML": html.escape,
    "percent": lambda text: quote(text, safe=""),
    "form": quote_plus,
}
printable = strategies.text(strategies.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)


@given(secret=printable, escapes=strategies.lists(strategies.sampled_from(sorted(ESCAPES)), max_size=3))
def test_escapes_on_top_of_one_another(secret: str, escapes: list[str]) -> None:
    """In whatever way a secret is escaped, three times over: nothing of it is left, and nothing else is gone."""
    form = secret
    for name in escapes:
        form = ESCAPES[name](form)
    secrets = Secrets(secret)
    assume(secrets.forms)
    # A backslash at its end may stay behind; one alone says nothing.
    assert re.fullmatch(r"<(\\|%(25)*5C)*\*\*\*(\\|%(25)*5C)*>", secrets.clean(f"<{form}>"))


@every_key
def test_beginnings_that_were_cut_off(key: str) -> None:
    """A long one anywhere, a short one at the end or before dots; what all keys begin with is none."""
    secrets = Secrets(KEYS[key])
    assert secrets.clean(f"key {KEYS[key][:20]} is wrong") == "key *** is wrong"
    assert secrets.clean(f"key {KEYS[key][:9]}...") == "key ***..."
    assert secrets.clean(f"key '{KEYS[key][:9]}'") == "key '***'"
    assert (
        secrets.clean(f"keys begin with {KEYS[key][:8]}: is it one?") == f"keys begin with {KEYS[key][:8]}: is it one?"
    )
    assert secrets.clean("sk- is how keys begin") == "sk- is how keys begin"


@pytest.mark.parametrize("word", ["", "abc", "EMPTY", "ollama", "None", "true", "dummy"])
def test_what_is_no_secret(word: str) -> None:
    """Short ones, and words that stand for no key, tear no text apart."""
    text = f"abc {word} ollama: None is true"
    assert Secrets(word).clean(text) == text


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("authorization", "Bearer abcdef", "abcdef"),
        ("Authorization", "abcdef", "abcdef"),
        ("x-api-key", "word", "word"),
        ("api-key", "word", "word"),
        ("X-Goog-Api-Key", "word", "word"),
        ("ocp-apim-subscription-key", "word", "word"),
        ("x-amz-security-token", "word", "word"),
        ("proxy-authorization", "Basic bWU6c2VjcmV0", "bWU6c2VjcmV0"),
        ("proxy-authorization", "Basic bWU6c2VjcmV0", "secret"),
        ("cookie", "a=b; session=0123456789", "0123456789"),
        ("x-gateway", "Bearer abcdef", "abcdef"),
        ("x-gateway", "0123456789abcdef", "0123456789abcdef"),
        ("x-client-secret", "word", "word"),
        ("x-app", "chat", None),
        ("x-use-key", "true", None),
        ("x-deployment", "gpt-4o-mini-2024-07-18", None),
        ("x-tokens", "1000", None),
        ("x-author", "somebody", None),
        ("user-agent", "rxllm/0.1.0 0123456789abcdef", None),
        ("anthropic-version", "2023-06-01", None),
        ("openai-organization", "org-0123456789abcdef", None),
        ("idempotency-key", "0123456789abcdef", None),
        ("http-referer", "https://app.example/0123456789abcdef", None),
    ],
)
def test_which_headers_are_secret(name: str, value: str, secret: str | None) -> None:
    """By name, by scheme, by look; a harmless word stays where it is in every error."""
    secrets = Secrets()
    secrets.add_headers({name: value})
    if secret is None:
        assert secrets.clean(value) == value
        assert secrets.forms == frozenset()
    else:
        assert secrets.clean(f"<{secret}>") == "<***>"


def test_the_members_of_a_key() -> None:
    """Each but those that are no secret; the key as a whole is one."""
    parts = {"aws_access_key_id": "AKIA0000", "aws_secret_access_key": "s3cr3t/x", "aws_region_name": "eu-west-1"}
    secrets = Secrets()
    secrets.add_key(json.dumps(parts))
    told = f"{json.dumps(parts)} | AKIA0000 s3cr3t/x s3cr3t%2Fx in eu-west-1"
    assert secrets.clean(told) == "*** | *** *** *** in eu-west-1"
    secrets.add_key('{"not json')
    assert secrets.clean('{"not json') == "***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://llm.example/v1", "https://llm.example/v1"),
        ("https://me:pass@llm.example/v1", "https://***@llm.example/v1"),
        ("me:pass@llm.example/v1", "***@llm.example/v1"),
        ("https://me:pa/ss@llm.example/v1", "https://***@llm.example/v1"),
        ("https://llm.example:80/models/claude@2024", "https://llm.example:80/models/claude@2024"),
        ("https://token@llm.example", "https://***@llm.example"),
        ("https://llm.example/models/claude@2024", "https://llm.example/models/claude@2024"),
        ("https://h/?api-version=1&code=abc&x-key=b&sig=c", "https://h/?api-version=1&code=***&x-key=***&sig=***"),
        ("https://h/?%6Bey=abc", "https://h/?%6Bey=***"),
    ],
)
def test_urls_for_people_to_read(url: str, shown: str) -> None:
    """Without a user's name and password, and without the values of what is called a key."""
    assert hidden_url(url) == shown
    secrets = Secrets()
    secrets.add_address(url)
    for secret in ("pass", "token", "abc"):
        if f"={secret}" not in url and f"{secret}@" in url:
            assert secret not in secrets.clean(url)


def test_scrubbing_an_error() -> None:
    """Its words, attributes and notes; it comes without what it was raised from, and pickles clean."""
    secrets = Secrets(KEYS["awkward"])
    error = AuthenticationError(f"no {KEYS['awkward']}", body={KEYS["awkward"]: 1}, headers={"x": KEYS["awkward"]})
    error.add_note(f"with {KEYS['awkward']}")
    error.args += (KEYS["awkward"].encode(),)
    error.__cause__ = error.__context__ = ValueError(KEYS["awkward"])
    assert secrets.scrub(error) is error
    assert str(error.message) == "no ***"
    assert error.__notes__ == ["with ***"]
    assert error.body == {"***": 1}
    assert_says_nothing(error, *KEYS.values(), frames_of=LIBRARIES)


def test_an_error_without_its_frames() -> None:
    """It loses them and its chain; where one that is none of ours came from, a note says once."""
    with pytest.raises(LookupError) as caught:
        try:
            json.loads("{")
        except ValueError as error:
            raise LookupError from error
    bare = unframed(unframed(caught.value))
    assert (bare.__traceback__, bare.__cause__, bare.__context__) == (None, None, None)
    assert len(bare.__notes__) == 1
    assert "test_an_error_without_its_frames" in bare.__notes__[0]


def test_lines_are_scrubbed_while_calls_come_and_go(caplog: pytest.LogCaptureFixture) -> None:
    """Threads begin and end calls while others log: each line is scrubbed of all that is under way."""
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("httpcore.http11")
    kept = Secrets(KEYS["plain"])
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            Secrets(KEYS["long"])

    others = [threading.Thread(target=come_and_go) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for number in range(300):
            log.debug("line %d: %s", number, KEYS["plain"])
    finally:
        over.set()
        for other in others:
            other.join(PATIENCE)
    assert kept.clean(KEYS["plain"]) == "***"
    assert_hidden("".join(record.message for record in caplog.records if hasattr(record, "message")), KEYS["plain"])
