"""One request's life, sans I/O: what the exchange asks for, and what it makes of the answers."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from rxllm._exchange import BODY, CLOSE, READ, Ask, Call, Exchange, Failure, Head, Send, Sleep
from rxllm._timeouts import Timeouts
from rxllm._transport import _answer  # pyright: ignore[reportPrivateUsage]
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    IncompleteStreamError,
    RateLimitError,
    Timeout,
)
from rxllm.providers import resolve
from rxllm.types import ModelResponseStream, Request
from tests.server import texts

OK = Head(200, {"content-type": "text/event-stream", "x-request-id": "req_1", "x-ratelimit-remaining-requests": "9"})
DATA = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def call(**settings: Any) -> Call:
    """A call of gpt-4 with a key, without retries."""
    provider, wire_model = resolve("gpt-4", None)
    request = Request(model="gpt-4", messages=[{"role": "user", "content": "Hello"}], wire_model=wire_model)
    defaults: dict[str, Any] = {
        "timeouts": Timeouts(1.0, 2.0, 3.0),
        "max_retries": 0,
        "api_key": SecretStr("sk-secret"),
    }
    return Call(request=request, provider=provider, **{**defaults, **settings})


def play(exchange: Exchange, answers: Iterable[Any]) -> tuple[list[Any], list[ModelResponseStream], APIError | None]:
    """Answers what the exchange asks; gives the steps it took, the chunks it gave and the error it ended with."""
    script = iter(answers)
    steps: list[Any] = []
    chunks: list[ModelResponseStream] = []
    told: Any = None
    generator = exchange.steps()
    try:
        while True:
            step = generator.send(told)
            told = None
            if isinstance(step, list):
                chunks += step
                continue
            steps.append(step)
            if step is BODY:
                while isinstance(told := _next(script), bytes):
                    chunks += exchange.feed(told)
                    if exchange.over:
                        told = None
                        break
            elif isinstance(step, Ask):
                told = _answer(step)
            elif step is READ or isinstance(step, Send):
                told = _next(script)
    except StopIteration:
        return steps, chunks, None
    except APIError as error:
        return steps, chunks, error


def _next(script: Iterator[Any]) -> Any:
    answer = next(script)
    return answer() if callable(answer) else answer


def test_a_whole_life() -> None:
    """It sends, reads until the provider's end, and gives the chunks; the first carries the response's headers."""
    steps, chunks, error = play(Exchange(call()), [OK, DATA + FINISH, DONE])
    assert error is None
    assert texts(chunks) == ["Hi"]
    assert chunks[0].request_id == "req_1"
    assert chunks[0].rate_limits == {"remaining-requests": "9"}
    assert "response_headers" not in chunks[0].model_dump()
    assert [type(step).__name__ for step in steps] == ["Send", "Signal"]
    http = steps[0].http
    assert http.url == "https://api.openai.com/v1/chat/completions"
    assert http.headers["authorization"] == "Bearer sk-secret"
    assert "secret" not in repr(steps[0])


def test_the_environment_is_read_when_the_request_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key and the address may be set after completion() was called."""
    exchange = Exchange(call(api_key=None))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-late")
    monkeypatch.setenv("OPENAI_API_BASE", "http://other.example/v1/")
    (send, *_), _, _ = play(exchange, [Failure("connect", "refused")])
    assert send.http.url == "http://other.example/v1/chat/completions"
    assert send.http.headers["authorization"] == "Bearer sk-late"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://first.example/v1")
    (send, *_), _, _ = play(Exchange(call()), [Failure("connect", "refused")])
    assert send.http.url.startswith("http://first.example/")
    (send, *_), _, _ = play(Exchange(call(api_base="http://mine.example/v2")), [Failure("connect", "refused")])
    assert send.http.url.startswith("http://mine.example/v2/")


def test_a_missing_key_names_the_variable() -> None:
    """It is known only when the request is to be sent, and nothing is sent then."""
    steps, _, error = play(Exchange(call(api_key=None)), [])
    assert steps == []
    assert isinstance(error, AuthenticationError)
    assert "OPENAI_API_KEY" in str(error)
    assert error.status_code is None


@pytest.mark.parametrize(
    ("first", "passes"),
    [
        (Failure("connect", "refused"), True),
        (Failure("connect timeout", ""), True),
        (Failure("broken", "reset"), True),
        (Failure("timeout", ""), False),
        (Head(408, {}), True),
        (Head(409, {}), True),
        (Head(429, {}), True),
        (Head(500, {}), True),
        (Head(503, {}), True),
        (Head(400, {}), False),
        (Head(401, {}), False),
        (Head(404, {}), False),
    ],
)
def test_what_is_retried(first: Any, passes: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Before the first chunk, what may pass is tried again, with a wait, and logged."""
    caplog.set_level(logging.INFO, "rxllm")
    body = [None] if isinstance(first, Head) else []
    steps, chunks, error = play(Exchange(call(max_retries=1)), [first, *body, OK, DATA + FINISH + DONE])
    waits = [step.seconds for step in steps if isinstance(step, Sleep)]
    if passes:
        assert error is None
        assert texts(chunks) == ["Hi"]
        assert len(waits) == 1
        assert 0 < waits[0] <= 0.5
        assert "trying again" in caplog.text
    else:
        assert error is not None
        assert waits == []
        assert caplog.text == ""


def test_retries_end() -> None:
    """After the last try its error is raised; Retry-After is honoured, in seconds and in milliseconds."""
    answers = [Head(429, {"retry-after": "7"}), None, Head(429, {"retry-after-ms": "1500"}), None, Head(429, {}), None]
    steps, _, error = play(Exchange(call(max_retries=2)), answers)
    assert isinstance(error, RateLimitError)
    assert [step.seconds for step in steps if isinstance(step, Sleep)] == [7.0, 1.5]
    assert steps.count(CLOSE) == 3


def test_after_the_first_chunk_nothing_is_repeated() -> None:
    """A break in the middle is an error; what had come is delivered."""
    steps, chunks, error = play(Exchange(call(max_retries=5)), [OK, DATA, Failure("broken", "reset by peer")])
    assert texts(chunks) == ["Hi"]
    assert isinstance(error, IncompleteStreamError)
    assert "reset by peer; 1 chunk had come" in str(error)
    assert not any(isinstance(step, Sleep) for step in steps)


@pytest.mark.parametrize("last", [None, Failure("broken", "reset"), Failure("timeout", "")])
def test_an_end_is_a_proof(last: Any) -> None:
    """Once the choice has finished, any end completes; before, none does."""
    assert play(Exchange(call()), [OK, DATA + FINISH, last])[2] is None
    assert isinstance(play(Exchange(call()), [OK, DATA, last])[2], IncompleteStreamError | Timeout)


def test_an_idle_time_begins_when_somebody_waits() -> None:
    """The first bound holds until the first event, the idle one from the wait after each; comments move nothing."""
    clock = Clock()
    exchange = Exchange(call(), clock)
    left: list[float | None] = []

    def at(now: float, data: bytes) -> Any:
        """A piece that comes at that time, after a wait that has just begun."""

        def answer() -> bytes:
            left.append(exchange.time_left())
            clock.now = now
            return data

        return answer

    pieces = [at(101.5, b": ping\n\n"), at(101.75, DATA), at(104.0, b": ping\n\n"), at(104.8, b":\n\n")]
    _, chunks, error = play(exchange, [OK, *pieces])
    assert left == [2.0, 0.5, 3.0, 0.75]
    assert texts(chunks) == ["Hi"]
    assert isinstance(error, Timeout)
    assert str(error) == "No further event within 3 seconds; 1 chunk had come."
    assert isinstance(error, APIConnectionError)


def test_timeouts_say_which_bound() -> None:
    """Connecting, or the first event."""
    assert str(play(Exchange(call()), [Failure("connect timeout", "")])[2]) == "No connection within 1 seconds."
    assert (
        str(play(Exchange(call()), [Failure("timeout", "")])[2])
        == "No first event within 2 seconds; 0 chunks had come."
    )


def _token(_: Request) -> str:
    return "token"


def test_credentials_are_asked_for_where_there_is_no_key() -> None:
    """A provider may know where a key is to be had; what it raises is the request's error."""

    def refuse(_: Request) -> str:
        raise AuthenticationError("no credentials here")

    plain = call(api_key=None)
    known = replace(plain, provider=replace(plain.provider, credentials=_token))
    steps, _, _ = play(Exchange(known), [Failure("connect", "refused")])
    assert steps[-1].http.headers["authorization"] == "Bearer token"
    unknown = replace(plain, provider=replace(plain.provider, credentials=refuse))
    steps, _, error = play(Exchange(unknown), [])
    assert str(error) == "no credentials here"
    assert not any(isinstance(step, Send) for step in steps)


def test_an_argument_of_a_shape_that_nobody_expects() -> None:
    """Whatever a dialect stumbles over is one typed error, before anything is sent."""
    odd = replace(call().request, params={"extra_query": 5})
    steps, _, error = play(Exchange(replace(call(), request=odd)), [])
    assert steps == []
    assert isinstance(error, BadRequestError)
    assert "cannot be put into openai's form" in str(error)
    assert error.__context__ is None
