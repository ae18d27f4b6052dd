"""Error bodies of any shape become typed errors that carry the provider's words."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm import exceptions
from rxllm.exceptions import (
    APIError,
    APIStatusError,
    BadRequestError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InternalServerError,
    RateLimitError,
    Timeout,
    UnsupportedParamsError,
)
from rxllm.providers._errors import response_error, stream_error
from rxllm.providers._openai import OpenAIChat
from rxllm.types import Request
from tests.recordings import WIRE

REQUEST = Request(model="openai/gpt-4", messages=[], wire_model="gpt-4")
RECORDED = [
    pytest.param(case, id=f"{case.parent.name}/{case.name}")
    for case in sorted(WIRE.glob("errors-*/*"))
    if case.is_dir()
]


def error_of(status: int, body: Any, **headers: str) -> APIError:
    """The error of a response; a body that is not bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return response_error(REQUEST, status, {name.replace("_", "-"): value for name, value in headers.items()}, sent)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "PaymentRequiredError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (405, "APIStatusError"),
        (408, "Timeout"),
        (409, "ConflictError"),
        (413, "RequestTooLargeError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (502, "BadGatewayError"),
        (503, "ServiceUnavailableError"),
        (504, "Timeout"),
        (520, "InternalServerError"),
        (529, "ServiceUnavailableError"),
        (307, "APIStatusError"),
    ],
)
def test_the_status_decides_the_class(status: int, name: str) -> None:
    """Whatever the words, and even if the body says another status."""
    error = error_of(status, {"error": {"message": "maximum context length", "code": 418}})
    expected = "ContextWindowExceededError" if status == 400 else name
    assert type(error) is getattr(exceptions, expected)
    assert error.status_code == status
    assert type(error_of(status, b"")) is getattr(exceptions, name)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"message": "m", "code": "context_length_exceeded"}, ContextWindowExceededError),
        ({"message": "This model's maximum context length is 8192 tokens."}, ContextWindowExceededError),
        ({"message": "prompt is too long: 5 tokens > 4 maximum"}, ContextWindowExceededError),
        ({"message": "the request exceeds the available context size"}, ContextWindowExceededError),
        ({"message": "Input Tokens Exceeded"}, ContextWindowExceededError),
        ({"message": "m", "code": "content_filter"}, ContentPolicyViolationError),
        ({"message": "m", "code": "content_policy_violation"}, ContentPolicyViolationError),
        ({"message": "triggering Azure OpenAI's content management policy"}, ContentPolicyViolationError),
        ({"message": "m", "code": "unsupported_parameter"}, UnsupportedParamsError),
        ({"message": "m", "code": "unknown_parameter"}, UnsupportedParamsError),
        ({"message": "Unrecognized request argument supplied: functions"}, UnsupportedParamsError),
        ({"message": "Invalid 'temperature': too high", "code": "decimal_above_max_value"}, BadRequestError),
        ({"message": "Context is everything"}, BadRequestError),
        ({"message": "max_tokens is too large"}, BadRequestError),
    ],
)
def test_code_or_words_refine_a_bad_request(said: dict[str, str], kind: type[APIError]) -> None:
    """In a response, and in a stream where the payload says that it is one."""
    assert type(error_of(400, {"error": said})) is kind
    assert type(stream_error(REQUEST, 200, {}, {"error": {**said, "type": "invalid_request_error"}})) is kind


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "words"}}, "words"),
        ({"message": "words"}, "words"),
        ({"error": "words"}, "words"),
        ({"detail": "words"}, "words"),
        ({"error": {"error": {"message": "words"}}}, "words"),
        ([{"error": {"message": "words"}}], "words"),
        ({"error": "Bad Request", "message": "words", "statusCode": 400}, "Bad Request: words"),
        ({"error": "invalid_scope", "error_description": "words"}, "invalid_scope: words"),
        ({"error": "Bad Request", "detail": "Bad Request: words"}, "Bad Request: words"),
        ({"error": "words, all of them", "message": "words"}, "words, all of them"),
        ({"Message": "words"}, "words"),
        ({"errorMessage": "words", "errorType": "t"}, "words"),
        ({"error": {"name": "ZodError", "issues": [{"message": "words"}, {"message": "more"}]}}, "words; more"),
        ({"error": {"reason": "words"}}, "words"),
        ({"reason": "words", "title": "A title"}, "A title"),
        ({"description": "words"}, "words"),
        ({"error": {"message": "words", "details": [{"@type": "ErrorInfo", "reason": "KEY"}]}}, "words"),
        (b'data: {"error": {"message": "words"}}\n\n', "words"),
        (b': hello\n\ndata: 1\n\nevent: error\ndata: {"message": "words"}\n\ndata: [DONE]\n\n', "words"),
        (b'event: error\ndata: {"message": "words"}', "words"),
        (b"Bad data: words", "Bad data: words"),
        (["words", "more"], "words; more"),
        ("words", "words"),
        (b"words", "words"),
        ({"code": 1, "msg": "words"}, "words"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too big", "type": "t"}]}, "body.n: too big"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "words"}}'}}},
         "Provider returned error: words"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "words"}}},
         "Provider returned error: words"),
        (b"<html><head><title>Just a\n moment...</title></head></html>", "HTTP 418 I'm a Teapot: Just a moment..."),
        (b"<html><title>418 I'm a Teapot</title></html>", "HTTP 418 I'm a Teapot, with a page of HTML"),
        (b"<html>", "HTTP 418 I'm a Teapot, with a page of HTML"),
        (b"", "HTTP 418 I'm a Teapot, with an empty body"),
        ({}, "HTTP 418 I'm a Teapot: {}"),
        ({"error": {"message": None}}, 'HTTP 418 I\'m a Teapot: {"error": {"message": null}}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_the_providers_words_whatever_the_shape(body: Any, words: str) -> None:
    """There is always something to read."""
    error = error_of(418, body)
    assert str(error) == error.message == words


def test_fields() -> None:
    """Code, type, param, request id, headers and body are there; numbers that name the code become strings."""
    body = {"error": {"message": "m", "type": "t", "param": "n", "code": 1234}}
    error = error_of(429, body, x_request_id="req_1", retry_after="3")
    assert (error.code, error.type, error.param, error.request_id) == ("1234", "t", "n", "req_1")
    assert error.headers == {"x-request-id": "req_1", "retry-after": "3"}
    assert error.body == body
    assert (error.llm_provider, error.model) == ("openai", "openai/gpt-4")
    assert error_of(500, b"oops", request_id="req_2").body == "oops"
    assert error_of(500, b"oops", request_id="req_2").request_id == "req_2"
    assert error_of(400, {"error": {"message": "m"}, "request_id": "req_3"}).request_id == "req_3"
    assert error_of(503, b"").body is None
    assert (
        error_of(400, {"message": "m"}, x_amzn_errortype="ValidationException:http://x").type == "ValidationException"
    )


def test_words_name_the_code_before_numbers_do() -> None:
    """Google's ``code`` repeats the HTTP status; its ``status`` is the code."""
    assert error_of(404, {"error": {"code": 404, "message": "m", "status": "NOT_FOUND"}}).code == "NOT_FOUND"


def test_a_redirect_says_where_to() -> None:
    """Redirects are not followed: the key would go along."""
    assert "https://elsewhere/v1" in str(error_of(307, b"", location="https://elsewhere/v1"))


def test_a_long_message_is_shortened() -> None:
    """A message that holds a whole page stays readable."""
    assert len(str(error_of(400, {"error": {"message": "x" * 100_000}}))) < 5000


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"error": {"message": "m", "code": 429}}, RateLimitError),
        ({"error": {"message": "m", "code": "503"}}, InternalServerError),
        ({"message": "m", "statusCode": 429}, RateLimitError),
        ({"Message": "m", "StatusCode": 400}, BadRequestError),
        ({"error": {"message": "m", "status_code": 400, "code": "tool_use_failed"}}, BadRequestError),
        ({"error": {"message": "m", "type": "server_error"}}, InternalServerError),
        ({"error": {"message": "m", "code": "DEADLINE_EXCEEDED"}}, Timeout),
        ({"error": {"message": "m", "code": 1305}}, APIStatusError),
        ({"error": {"message": "m"}}, APIStatusError),
        ("m", APIStatusError),
    ],
)
def test_errors_in_a_stream(payload: Any, kind: type[APIError]) -> None:
    """A status that the payload names decides, then its words; the status that came stays."""
    error = stream_error(REQUEST, 200, {}, payload)
    assert isinstance(error, kind)
    if kind is APIStatusError:
        assert type(error) is APIStatusError
    assert (str(error), error.status_code) == ("m", 200)


def test_an_error_in_a_stream_without_words_shows_what_came() -> None:
    """``{"error": true}`` is all that some say."""
    assert str(stream_error(REQUEST, 200, {}, {"error": True})).endswith('{"error": true}')


@pytest.mark.skipif(not RECORDED, reason="the recorded errors (../shared/wire) are not here")
@pytest.mark.parametrize("case", RECORDED)
def test_recorded_errors(case: Path) -> None:
    """Every recorded refusal gives the class of its status and the provider's own message."""
    response = json.loads((case / "response.json").read_text())
    body = (case / "body.bin").read_bytes()
    error = OpenAIChat().error(REQUEST, response["status"], response["headers"], body)
    plain = type(error_of(response["status"], b""))
    assert isinstance(error, plain)
    payload = json.loads(body)
    told = payload.get("error", payload)
    message = told if isinstance(told, str) else told.get("message") or told.get("detail")
    assert error.message.startswith(message[:4000].strip())
    if isinstance(told, dict):
        for name in ("type", "param"):
            value = told.get(name)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            assert value is None or getattr(error, name) == value
    too_long = "handles-co" in case.name and response["status"] == 400
    assert isinstance(error, ContextWindowExceededError) == too_long


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from("error message detail code type param status loc msg metadata raw details".split()),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    )
)
def test_any_payload_gives_an_error_with_words(payload: Any) -> None:
    """In a response and in a stream alike."""
    assert str(error_of(400, payload)).strip()
    assert str(stream_error(REQUEST, 200, {}, payload)).strip()
