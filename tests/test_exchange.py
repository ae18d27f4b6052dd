"""One request's life, sans I/O: what the exchange asks for, and what it makes of the answers."""

import gzip
import logging
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from pydantic import SecretStr

from rxllm._exchange import Exchange
from rxllm._prepare import Call
from rxllm._steps import BODY, CLOSE, READ, Ask, Failure, Head, Send, Sleep
from rxllm._timeouts import Timeouts
from rxllm._transport import _answer  # pyright: ignore[reportPrivateUsage]
from rxllm.exceptions import (
    APIError,
    APIResponseValidationError,
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
    assert (
        str(error)
        == "No further event within 3 s (the idle timeout), 4.80 s after the request was made; 1 chunk had come."
    )
    assert (error.bound, error.seconds, error.chunks) == ("idle", 3.0, 1)


@pytest.mark.parametrize(
    ("kind", "after", "bounds", "said"),
    [
        (
            "connect timeout",
            1.0,
            Timeouts(1, 2, 3),
            ("No connection within 1 s (the connect timeout), 1.00 s", "connect", 1),
        ),
        (
            "connect timeout",
            2.0,
            Timeouts(None, 2, 3),
            ("No connection within 2 s (the first timeout), 2.00 s", "first", 2),
        ),
        (
            "connect timeout",
            1.5,
            Timeouts(5, 2, 3, 1.5),
            ("No connection within 1.5 s (the total timeout)", "total", 1.5),
        ),
        ("timeout", 2.25, Timeouts(1, 2, 3, 4), ("No first event within 2 s (the first timeout), 2.25 s", "first", 2)),
        ("timeout", 1.5, Timeouts(1, 2, 3, 1.5), ("No end within 1.5 s (the total timeout), 1.50 s", "total", 1.5)),
    ],
)
def test_timeouts_say_which_bound(kind: Any, after: float, bounds: Timeouts, said: tuple[str, str, float]) -> None:
    """In words and as attributes: which bound was passed, after how long, and how many chunks had come."""
    clock = Clock()
    exchange = Exchange(call(timeouts=bounds), clock)

    def late() -> Failure:
        clock.now += after
        return Failure(kind, "")

    _, _, error = play(exchange, [late])
    assert isinstance(error, Timeout)
    words, bound, seconds = said
    assert str(error).startswith(words)
    assert str(error).endswith("after the request was made; 0 chunks had come.")
    assert (error.bound, error.seconds, error.chunks) == (bound, seconds, 0)


def test_the_total_time_ends_what_never_pauses() -> None:
    """What came with the last piece is delivered, and then no more is read; an end that came is an end."""
    for last, ends in ((DATA, True), (FINISH, False)):
        clock = Clock()
        exchange = Exchange(call(timeouts=Timeouts(1, 2, 3, 10)), clock)

        def at(now: float, data: bytes, clock: Clock = clock) -> Any:
            def answer() -> bytes:
                clock.now = now
                return data

            return answer

        _, chunks, error = play(exchange, [OK, at(105.0, DATA), at(110.0, last), DONE])
        assert len(chunks) == 2
        assert isinstance(error, Timeout) == ends
        if isinstance(error, Timeout):
            assert (error.bound, error.chunks) == ("total", 2)
            assert "No end within 10 s" in str(error)


def test_the_total_time_bounds_the_retries() -> None:
    """A wait that would go past it is not begun: the error that was to be retried comes at once."""
    busy = [Head(429, {"retry-after": "5"}), None]
    steps, _, error = play(Exchange(call(max_retries=3, timeouts=Timeouts(total=4))), busy)
    assert isinstance(error, RateLimitError)
    assert not any(isinstance(step, Sleep) for step in steps)


def test_what_breaks_before_the_first_chunk_is_tried_again() -> None:
    """After the headers too, and where the first event says that the provider is overloaded."""
    overloaded = b'data: {"error": {"message": "Overloaded", "type": "overloaded_error"}}\n\n'
    for first in ([OK, Failure("broken", "reset")], [OK, b": ping\n\n", Failure("broken", "")], [OK, overloaded]):
        steps, chunks, error = play(Exchange(call(max_retries=1)), [*first, OK, DATA + FINISH + DONE])
        assert error is None
        assert texts(chunks) == ["Hi"]
        assert sum(isinstance(step, Sleep) for step in steps) == 1


@pytest.mark.parametrize(
    "first",
    [
        [OK, Failure("timeout", "")],
        [OK, None],
        [OK, b'data: {"error": {"message": "No such model", "code": "model_not_found"}}\n\n'],
        [OK, DATA + b'data: {"error": {"message": "Overloaded", "type": "overloaded_error"}}\n\n'],
        [Failure("untrusted", "self-signed certificate")],
        [Failure("invalid", "")],
    ],
    ids=["first event late", "empty answer", "error event", "error event after a chunk", "certificate", "bad request"],
)
def test_what_is_not_tried_again(first: list[Any]) -> None:
    """What is paid for, what would not go better, and whatever comes after a chunk."""
    steps, _, error = play(Exchange(call(max_retries=3)), first)
    assert error is not None
    assert not any(isinstance(step, Sleep) for step in steps)


def test_retry_after_in_all_its_forms() -> None:
    """Seconds, milliseconds, a date; one that has passed is now, and what is too long or unreadable is not followed."""
    soon, passed = (formatdate(time.time() + seconds, usegmt=True) for seconds in (30, -30))
    for headers, least, most in (
        ({"retry-after": "2.5"}, 2.5, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25, 0.25),
        ({"retry-after": soon}, 28.0, 30.0),
        ({"retry-after": passed}, 0.0, 0.0),
        ({"retry-after": "-1"}, 0.0, 0.0),
        ({"retry-after": "61"}, 0.375, 0.5),
        ({"retry-after": "nan"}, 0.375, 0.5),
        ({"retry-after": "soon"}, 0.375, 0.5),
        ({"retry-after-ms": "much", "retry-after": "1"}, 1.0, 1.0),
        ({}, 0.375, 0.5),
    ):
        steps, _, _ = play(Exchange(call(max_retries=1)), [Head(503, headers), None, OK, FINISH + DONE])
        (wait,) = [step.seconds for step in steps if isinstance(step, Sleep)]
        assert least <= wait <= most, headers


def compressed(encoding: str) -> Head:
    """The head of a compressed answer."""
    return Head(200, {"content-type": "text/event-stream", "content-encoding": encoding})


def test_a_compressed_answer_comes_piece_by_piece() -> None:
    """However much a piece of the body unfolds to, only some of it is held at once, and all of it comes."""
    many = gzip.compress(DATA * 60_000 + FINISH + DONE)
    exchange = Exchange(call())
    steps = exchange.steps()
    assert isinstance(next(steps), Send)
    assert steps.send(compressed("gzip")) is BODY
    counts = [len(exchange.feed(many))]
    while exchange.rest is not None:
        counts.append(len(exchange.feed(b"")))
    assert exchange.over
    assert sum(counts) == 60_001
    assert max(counts) < 20_000
    with pytest.raises(StopIteration):
        steps.send(None)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "GZIP, gzip, gzip"])
def test_an_encoding_that_was_not_asked_for(encoding: str) -> None:
    """It is said by name, and the body is not read."""
    steps, _, error = play(Exchange(call(max_retries=2)), [compressed(encoding)])
    assert isinstance(error, APIResponseValidationError)
    assert f"encoded as '{encoding}'" in str(error)
    assert steps[-1] is CLOSE


@pytest.mark.parametrize("encoding", ["identity", "utf-8", "none", ""])
def test_an_encoding_that_is_none(encoding: str) -> None:
    """Some servers name a charset there: the body is read as it is."""
    assert texts(play(Exchange(call()), [compressed(encoding), DATA + FINISH + DONE])[1]) == ["Hi"]


def test_a_body_that_is_not_compressed_as_it_says() -> None:
    """It is an answer that cannot be decoded; what came before the damage is delivered."""
    packing = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    whole = packing.compress(DATA) + packing.flush(zlib.Z_SYNC_FLUSH)
    for pieces, came in (([b"no gzip at all"], []), ([whole, b"\xff" * 30], ["Hi"])):
        _, chunks, error = play(Exchange(call()), [compressed("gzip"), *pieces])
        assert isinstance(error, APIResponseValidationError)
        assert "cannot be decoded" in str(error)
        assert texts(chunks) == came


def test_a_compressed_error() -> None:
    """Its words are read, no more than 128 KiB of them; where they cannot be, the status speaks."""
    body = gzip.compress(b'{"error": {"message": "Slow down"}}')
    for data, words in ((body, "Slow down"), (b"garbage", "429"), (gzip.compress(b" " * (9 << 20)), "429")):
        head = Head(429, {"content-encoding": "gzip"})
        _, _, error = play(Exchange(call()), [head, data, None])
        assert isinstance(error, RateLimitError)
        assert words in str(error)


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


def test_credentials_that_cannot_be_read() -> None:
    """Whatever the system says of a file is an error of the request, and not a missing key."""

    def read(_: Request) -> str:
        raise FileNotFoundError(2, "No such file", "credentials.json")

    plain = call(api_key=None)
    _, _, error = play(Exchange(replace(plain, provider=replace(plain.provider, credentials=read))), [])
    assert isinstance(error, AuthenticationError)
    assert "credentials.json" in str(error)
