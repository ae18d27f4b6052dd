"""Whatever a server does, a user sees the right text or one typed error, however the answer is consumed."""

import asyncio
import socket
import ssl
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from http import HTTPStatus
from typing import Any

import pytest
import trustme

import rxllm
from rxllm import ModelResponseStream, Stream, Timeouts
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
)
from tests.consume import by_async_for, by_for
from tests.misbehaving import CASES, Case, wrong
from tests.misdeeds import ANSWER, TEXT
from tests.server import Answering, Server, texts

Ask = Callable[..., Stream[ModelResponseStream]]
SIDE_BY_SIDE = 16
RUNS = [pytest.param(case, way, id=f"{case.name}-{way}") for case in CASES if not case.waits for way in case.ways]
WAITING_RUNS = [pytest.param(case, way, id=f"{case.name}-{way}") for case in CASES if case.waits for way in case.ways]
both_ways = pytest.mark.parametrize("consume", [by_for, by_async_for], ids=["for", "async for"])

# As rxllm.exceptions draws the tree.
CLASSES: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: Timeout,
    409: ConflictError,
    413: RequestTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    502: BadGatewayError,
    503: ServiceUnavailableError,
    504: Timeout,
    529: ServiceUnavailableError,
}


@pytest.mark.parametrize(("case", "way"), RUNS)
def test_what_a_user_sees(server: Server, case: Case, way: str) -> None:
    """The right text, or one typed error with what had come before it delivered."""
    problem = wrong(case, server, way)
    assert not problem, problem


@pytest.mark.parametrize(("case", "way"), WAITING_RUNS)
def test_what_a_user_sees_of_one_that_waits(case: Case, way: str) -> None:
    """The same where time has to pass, which it does for many at once."""
    problem = wrong_of_those_that_wait()[case.name, way]
    assert not problem, problem


@cache
def wrong_of_those_that_wait() -> dict[tuple[str, str], str]:
    """What is wrong of each case that waits, in each way, all of them held side by side."""
    runs = [(case, way) for case in CASES if case.waits for way in case.ways]

    def alone(run: tuple[Case, str]) -> str:
        with Server() as server:
            return wrong(run[0], server, run[1])

    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        problems = list(threads.map(alone, runs))
    rxllm.close()
    return {(case.name, way): problem for (case, way), problem in zip(runs, problems, strict=True)}


def test_the_names_of_the_cases_differ() -> None:
    """A case that has another's name would be counted as one with it."""
    assert len({case.name for case in CASES}) == len(CASES)


def errors_by_status(server: Server, ask: Ask, statuses: list[int], way: str, body: bytes) -> dict[int, APIError]:
    """What each status ends with, without retries."""

    async def script(answering: Answering) -> None:
        status = statuses[answering.number - 1]
        await answering.json_answer(status, body, location="http://elsewhere.invalid/")

    async def consume() -> None:
        for status in statuses:
            try:
                async for _ in ask(max_retries=0):
                    pass
            except APIError as error:
                errors[status] = error

    server.script = script
    errors: dict[int, APIError] = {}
    if way == "async for":
        asyncio.run(consume())
    else:
        for status in statuses:
            try:
                list(ask(max_retries=0))
            except APIError as error:
                errors[status] = error
    assert len(server.requests) == len(statuses)
    return errors


@pytest.mark.parametrize("way", ["for", "async for"])
@pytest.mark.parametrize("body", [b"", b'{"error": {"message": "No", "code": "no"}}'], ids=["no body", "a body"])
def test_every_status_has_its_class(server: Server, ask: Ask, way: str, body: bytes) -> None:
    """From 400 to 529, each with one request; the provider's words are the message, or else the status is."""
    statuses = list(range(400, 530))
    errors = errors_by_status(server, ask, statuses, way, body)
    for status in statuses:
        error = errors[status]
        assert type(error) is CLASSES.get(status, APIStatusError if status < 500 else InternalServerError), status
        assert (error.status_code, error.code) == (status, "no" if body else None)
        assert str(error) == "No" if body else f"HTTP {status}" in str(error)


@pytest.mark.parametrize("way", ["for", "async for"])
def test_no_redirect_is_followed(server: Server, ask: Ask, way: str) -> None:
    """Each 3xx is an error that says where it leads to; a request to there would be one too many, or fail otherwise."""
    statuses = [300, 301, 302, 303, 304, 305, 307, 308]
    errors = errors_by_status(server, ask, statuses, way, b"")
    for status in statuses:
        assert type(errors[status]) is APIStatusError
        assert errors[status].status_code == status
        assert HTTPStatus(status).phrase in str(errors[status])
        assert "to http://elsewhere.invalid/" in str(errors[status])


@both_ways
def test_nobody_listens(ask: Ask, consume: Callable[..., list[Any]]) -> None:
    """A refused connection is tried again, and then an error that says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(APIConnectionError, match="No connection") as caught:
            consume(ask(api_base=f"http://127.0.0.1:{taken.getsockname()[1]}", max_retries=1))
    assert type(caught.value) is APIConnectionError


@both_ways
def test_nobody_accepts(ask: Ask, consume: Callable[..., list[Any]]) -> None:
    """A connection that the system accepted, and the server never does, is one without a first event."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Timeout) as caught:
        consume(ask(api_base=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1))
    assert caught.value.bound == "first"


@both_ways
def test_no_room_to_connect(ask: Ask, consume: Callable[..., list[Any]]) -> None:
    """A server whose queue of connections is full lets the time for connecting pass, and the next try's too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        with pytest.raises(Timeout, match=r"0\.1 s") as caught:
            consume(ask(api_base=f"http://127.0.0.1:{address[1]}", timeout=Timeouts(connect=0.1), max_retries=1))
        for client in waiting:
            client.close()
    assert (caught.value.bound, caught.value.seconds, caught.value.chunks) == ("connect", 0.1, 0)


@both_ways
def test_a_handshake_that_stalls(ask: Ask, consume: Callable[..., list[Any]]) -> None:
    """TLS is a part of connecting."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Timeout) as caught:
        base = f"https://127.0.0.1:{listener.getsockname()[1]}"
        consume(ask(api_base=base, timeout=Timeouts(connect=0.1), max_retries=0))
    assert (caught.value.bound, caught.value.seconds) == ("connect", 0.1)


@both_ways
def test_a_certificate_that_nobody_trusts(ask: Ask, consume: Callable[..., list[Any]]) -> None:
    """No request is sent over it, and none is tried again."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(serving)  # pyright: ignore[reportUnknownMemberType]
    with Server(serving) as server:
        with pytest.raises(APIConnectionError, match="certificate") as caught:
            consume(ask(api_base=server.url, max_retries=2))
        assert (server.connections, server.requests) == (1, [])
    assert type(caught.value) is APIConnectionError
    rxllm.close()


@pytest.mark.parametrize("piece", [b"\n", b": keep-alive\n\n", b"id: 1\n"], ids=["blank lines", "comments", "fields"])
def test_what_is_no_content_takes_no_memory(server: Server, ask: Ask, piece: bytes) -> None:
    """However much of it comes, and without a pause, nothing is kept."""

    async def script(answering: Answering) -> None:
        answering.unbuffered()
        await answering.start()
        for _ in range(64):
            await answering.send(piece * (65536 // len(piece)))
        await answering.last(*ANSWER)

    list(ask())  # loads what the first request loads
    server.script = script
    tracemalloc.start()
    try:
        assert "".join(texts(ask())) == TEXT
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.requests[-1].sent > 4 * peak
