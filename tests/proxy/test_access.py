"""Who may ask the proxy, and what a client may say."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rxllm.proxy import create_app
from rxllm.proxy._request import ProxyRequest
from rxllm.testing import LLMServer
from tests.proxy.serving import QUESTION, ask, serving


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """A server without configuration and without a key."""
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def with_key() -> Iterator[str]:
    """A server with a key."""
    with serving(master_key="sk-right") as address:
        yield address


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "sk-right"},
        {"authorization": "Basic sk-right"},
        {"x-api-key": "wrong"},
        {"x-api-key": "sk-right-and-more"},
        {"authorization": "Bearer sk-righ\xe9"},
    ],
)
def test_a_wrong_key_is_refused(with_key: str, headers: dict[str, str]) -> None:
    """Without the right key every route but /health and the document is a 401 in OpenAI's form."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with httpx.Client(base_url=with_key, headers=raw) as client:
        body = {"model": "sim/echo", "messages": QUESTION}
        answers = [client.post("/v1/chat/completions", json=body), client.get("/v1/models"), client.get("/v1/models/x")]
        assert client.get("/health").status_code == 200
        assert client.get("/openapi.json").status_code == 200
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "sk-right" not in answer.text


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer sk-right"}, {"authorization": "bearer  sk-right"}, {"x-api-key": "sk-right"}]
)
def test_the_right_key_is_let_in(with_key: str, headers: dict[str, str]) -> None:
    """As Bearer or as x-api-key; where the client comes from does not matter then."""
    others = {"host": "llm.example", "origin": "https://a.example"}
    answer = ask(with_key, model="sim/echo", headers={**headers, **others})
    assert answer.status_code == 200


def test_the_key_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RXLLM_MASTER_KEY is the key where none is given."""
    monkeypatch.setenv("RXLLM_MASTER_KEY", "sk-held")
    with serving() as address:
        assert ask(address, model="sim/echo").status_code == 401
        assert ask(address, model="sim/echo", headers={"x-api-key": "sk-held"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:4000"},
        {"host": "127.0.0.1.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"host": "["},
        {"origin": "http://[::1"},
    ],
)
def test_without_a_key_other_sites_are_refused(plain: str, headers: dict[str, str]) -> None:
    """A page that lets its own name point here, or sends a browser here, is refused, and told nothing."""
    assert ask(plain, model="sim/echo", headers=headers).status_code == 403
    assert httpx.get(f"{plain}/v1/models", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{"host": "localhost"}, {"host": "[::1]:4000"}, {"host": "0.0.0.0:1"}, {"origin": "http://localhost:3000"}],
)
def test_without_a_key_this_machine_is_served(plain: str, headers: dict[str, str]) -> None:
    """By any of its names for itself, and pages of its own."""
    assert ask(plain, model="sim/echo", headers=headers).status_code == 200


def _from(peer: str, app: Any) -> int:
    async def get() -> int:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/v1/models")).status_code

    return asyncio.run(get())


def test_without_a_key_another_machine_is_refused() -> None:
    """A peer of another machine is refused whatever Host it says; with open_to_all it is not."""
    assert _from("192.0.2.7", create_app()) == 403
    assert _from("192.0.2.7", create_app(open_to_all=True)) == 200
    assert _from("127.0.0.1", create_app()) == 200
    assert _from("::ffff:127.0.0.1", create_app()) == 200


def test_cors_is_off_unless_asked_for() -> None:
    """Pages of the named origins may read the answers, and no others."""
    ours = {"origin": "https://ours.example", "access-control-request-method": "POST"}
    with serving() as address:
        assert (
            "access-control-allow-origin" not in httpx.options(f"{address}/v1/chat/completions", headers=ours).headers
        )
    with serving(allow_origins=["https://ours.example"]) as address:
        allowed = httpx.options(f"{address}/v1/chat/completions", headers=ours)
        assert allowed.headers["access-control-allow-origin"] == "https://ours.example"
        answer = ask(address, model="sim/echo", headers={"origin": "https://ours.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://ours.example")
        theirs = httpx.options(f"{address}/v1/chat/completions", headers={**ours, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in theirs.headers


# -- what a client may say


@pytest.fixture(scope="module")
def before_upstream() -> Iterator[tuple[str, LLMServer]]:
    """A server before an upstream, and that."""
    with LLMServer() as upstream:
        model = {"model": "openai/gpt-4", "api_base": upstream.url, "api_key": "sk-up"}
        with serving({"gpt-4": model}) as address:
            yield address, upstream


@pytest.mark.parametrize(
    "name",
    [
        "api_base",
        "base_url",
        "api_key",
        "http_client",
        "extra_headers",
        "extra_body",
        "extra_query",
        "custom_llm_provider",
        "mock_response",
        "fallbacks",
        "timeout",
        "max_retries",
        "num_retries",
        "max_event_bytes",
        "api_version",
        "vertex_location",
        "vertex_credentials",
        "aws_region_name",
        "aws_access_key_id",
        "guardrails",
        "prompt_id",
        "model_list",
        "mock_timeout",
        "langfuse_secret_key",
        "litellm_credential_name",
        "litellm_metadata_of_mine",
    ],
)
def test_what_is_the_owners_to_say_is_refused(before_upstream: tuple[str, LLMServer], name: str) -> None:
    """No client sends the server elsewhere, or with another key, or past its bounds: a 400 that names the field."""
    address, upstream = before_upstream
    answer = ask(address, **{name: "http://169.254.169.254/"})
    assert not upstream.requests
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


_NOTES: dict[str, Any] = {
    "tags": ["blue"],
    "cache": {"no-cache": True},
    "no-log": True,
    "ttl": 5,
    "metadata": {"generation_name": "mine"},
    "litellm_metadata": {"tags": ["blue"]},
    "litellm_session_id": "s-1",
}


def test_what_is_said_to_the_proxy_goes_to_no_provider(caplog: pytest.LogCaptureFixture) -> None:
    """What LiteLLM's clients tell a proxy about a request, a model's function finds in its notes; the log names it."""
    caplog.set_level("INFO", "rxllm.proxy")
    seen: list[Any] = []
    with LLMServer() as upstream:
        upstream.answer("Hi", times=None)

        def noted(request: ProxyRequest) -> Any:
            seen.append(request.notes)
            return request.complete("openai/gpt-4", api_base=upstream.url, api_key="k")

        with serving({"gpt-4": noted}) as address:
            assert ask(address, **_NOTES, top_k=5).status_code == 200
            assert ask(address, metadata={"a": "b"}, store=True).status_code == 200
        first, second = (request.json for request in upstream.requests)
    assert seen == [_NOTES, {}]
    assert not _NOTES.keys() & first.keys()
    assert first["top_k"] == 5
    assert (second["metadata"], second["store"]) == ({"a": "b"}, True)
    lines = [json.loads(record.message) for record in caplog.records if "request_id" in record.message]
    assert lines[0]["not_sent_on"] == sorted(_NOTES)
    assert "not_sent_on" not in lines[1]
    assert "blue" not in caplog.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"null", None),
        (b"\xff\xfe", None),
        (b'{"model": NaN}', None),
        (b"[" * 100_000, None),
        (b'{"model": "sim/echo", "messages": [{"role": "user", "x": ' + b"[" * 900 + b"]" * 900 + b"}]}", None),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "", "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": 5, "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "sim/echo"}', "messages"),
        (b'{"model": "sim/echo", "messages": []}', "messages"),
        (b'{"model": "sim/echo", "messages": "Hi"}', "messages"),
        (b'{"model": "sim/echo", "messages": ["Hi"]}', "messages.0"),
        (b'{"model": "sim/echo", "messages": [{"content": "x"}]}', "messages.0.role"),
        (b'{"model": "sim/echo", "messages": [{"role": "user", "content": 5}]}', "messages.0.content"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "stream": "yes"}', "stream"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "n": 0}', "n"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "n": 1.5}', "n"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "max_tokens": "5"}', "max_tokens"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "temperature": "hot"}', "temperature"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "stream_options": 1}', "stream_options"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "tools": {}}', "tools"),
        (b'{"model": "sim/echo", "messages": [{"role": "user"}], "tools": [1]}', "tools.0"),
        (b'{"model": "nobodys", "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "sim/", "messages": [{"role": "user", "content": "x"}]}', "model"),
    ],
)
def test_a_wrong_body_is_refused_by_name(plain: str, body: bytes, param: str | None) -> None:
    """A 400, for a model that is not there a 404, in OpenAI's form, with the field that is wrong."""
    answer = httpx.post(f"{plain}/v1/chat/completions", content=body)
    error = answer.json()["error"]
    assert answer.status_code == (404 if error["code"] == "model_not_found" else 400)
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param or "")
    assert error["message"]


def test_fields_that_are_null_are_not_there(plain: str) -> None:
    """Clients send null for what they do not say."""
    answer = ask(plain, model="sim/echo", stop=None, tools=None, stream=None, stream_options=None, n=None)
    assert answer.status_code == 200


def _sent(address: str, data: bytes) -> bytes:
    """What a server says to bytes, until it closes or says no more."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        try:
            client.sendall(data)
        except OSError:
            pass  # it has answered, and does not read on
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(65536)
        return received


def _with_length(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _chunked(body: bytes) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(body) // 4, body[: len(body) // 4]) for _ in range(4)) + b"0\r\n\r\n"


@pytest.mark.parametrize("framed", [_with_length, _chunked])
def test_a_body_that_is_too_large_is_refused_while_it_comes(framed: Callable[[bytes], bytes]) -> None:
    """A 413, also for a body that does not say how long it is."""
    body = json.dumps({"model": "sim/echo", "messages": QUESTION, "user": "x" * 4000}).encode()
    with serving(max_body_bytes=2000) as address:
        answer = _sent(address, framed(body))
        assert answer.startswith(b"HTTP/1.1 413")
        assert ask(address, model="sim/echo").status_code == 200


def test_the_bound_is_ten_mebibytes(plain: str) -> None:
    """What is just below passes, what is above does not."""
    passed = ask(plain, model="sim/echo", messages=[{"role": "user", "content": "x"}], metadata={"x": "y" * 10_000_000})
    refused = ask(plain, model="sim/echo", metadata={"x": "y" * 10_500_000})
    assert passed.status_code == 200
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "request_too_large"


def test_a_body_that_does_not_come_is_waited_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 408, and the end of the connection."""
    monkeypatch.setattr("rxllm.proxy._request._PIECE_WITHIN", 0.05)
    with serving() as address:
        answer = _sent(address, _with_length(b"x" * 100)[:-1])
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer


def test_who_tries_keys_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """On every route, and without the keys that were tried; a path is told so far."""
    caplog.set_level("INFO", "rxllm.proxy")
    with serving(master_key="sk-right") as address:
        for path in ("/v1/models", "/v1/models/" + "x" * 5000, "/v1/streams/any", "/v1/chat/completions"):
            method = "POST" if "chat" in path else "GET"
            httpx.request(method, f"{address}{path}", headers={"x-api-key": "sk-tried"}, json={})
    lines = [json.loads(record.message) for record in caplog.records if "request_id" in record.message]
    assert [(line["status"], line["error"], line["ended"]) for line in lines] == [
        (401, "invalid_api_key", "refused")
    ] * 4
    assert all(len(line["path"]) <= 200 for line in lines)
    assert "sk-tried" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/" + "n" * 5000, 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/nothing", 404),
        ("GET", "/v1/models/no", 404),
    ],
)
def test_what_is_not_there_is_told_in_the_same_form(plain: str, method: str, path: str, status: int) -> None:
    """Other paths and methods, and models that are not there."""
    answer = httpx.request(method, plain + path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert len(answer.text) < 500
