"""``complete_all()``: a result for each of many requests, so many at a time, however it is consumed."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import Any

import pytest
from reactivex import operators as rx_ops

import rxllm
from rxllm import BatchResult, Stream, complete_all
from rxllm.exceptions import (
    AuthenticationError,
    BadRequestError,
    IncompleteStreamError,
    RateLimitError,
    ServiceUnavailableError,
)
from rxllm.testing import LLMServer
from tests.consume import WAYS, by_async_for, by_for
from tests.server import PATIENCE, Answering, Server, chunk
from tests.test_stream import join_rxllm_threads

Consume = Callable[[Stream[Any]], list[Any]]
Ask = Callable[..., Stream[BatchResult]]

ways = pytest.mark.parametrize("consume", WAYS.values(), ids=[*WAYS])
both = pytest.mark.parametrize("consume", [by_for, by_async_for], ids=["for", "async for"])


async def echo(answering: Answering) -> None:
    """Answers with the prompt."""
    await answering.stream("You said ", said(answering))


def said(answering: Answering) -> str:
    """The prompt of a request."""
    return str(answering.json["messages"][-1]["content"])


def text_of(result: BatchResult) -> str | None:
    """The text of a response."""
    assert result.response is not None, result.error
    return result.response.choices[0].message.content


def texts(results: list[BatchResult]) -> dict[int, str | None]:
    """The text of each response, by the index of its request."""
    assert len({result.index for result in results}) == len(results)
    return {result.index: text_of(result) for result in results}


@pytest.fixture
def batch(server: Server) -> Ask:
    """``complete_all()`` of the server's model; the server answers with the prompt."""
    server.script = echo

    def batch(requests: Any, **arguments: Any) -> Stream[BatchResult]:
        asked: dict[str, Any] = {"model": "gpt-4", "api_base": server.url, "api_key": "sk-secret-key", **arguments}
        return complete_all(requests, **asked)

    return batch


@ways
def test_every_request_has_its_result(batch: Ask, consume: Consume) -> None:
    """One result for each, with its own answer, what was given, and the number of attempts."""
    given: list[Any] = ["one", {"messages": [{"role": "user", "content": "two"}]}, "three"]
    results = consume(batch(given, max_concurrent=2))
    assert texts(results) == {0: "You said one", 1: "You said two", 2: "You said three"}
    for result in results:
        assert result.request is given[result.index]
        assert (result.error, result.attempts) == (None, 1)
        assert result.seconds > 0
        assert result.response.usage is not None


@ways
def test_no_requests_are_no_results(batch: Ask, consume: Consume) -> None:
    """It completes without an item."""
    assert consume(batch([])) == []


@both
def test_each_consumer_asks_anew(server: Server, batch: Ask, consume: Consume) -> None:
    """It is cold: nothing is sent before, and all is for each."""
    stream = batch(["one", "two"])
    assert server.requests == []
    assert texts(consume(stream)) == texts(consume(stream))
    assert len(server.requests) == 4


@ways
def test_results_come_as_they_are_ready(server: Server, batch: Ask, consume: Consume) -> None:
    """A request that takes long holds nobody up but itself."""
    last = server.gate()

    async def answer(answering: Answering) -> None:
        if said(answering) == "0":
            await last.wait()
        elif said(answering) == "5":
            last.open()
        await echo(answering)

    server.script = answer
    results = consume(batch(map(str, range(6)), max_concurrent=2))
    assert [result.index for result in results if result.index] == [1, 2, 3, 4, 5]
    assert results[0].index == 1


@both
@pytest.mark.parametrize("most", [1, 2, 7])
def test_so_many_are_under_way_and_no_more(server: Server, batch: Ask, consume: Consume, most: int) -> None:
    """The limit is reached, and never passed."""
    under_way: list[int] = []
    now = 0
    reached = server.gate()

    async def answer(answering: Answering) -> None:
        nonlocal now
        now += 1
        under_way.append(now)
        if now == most:
            reached.open()
        await reached.wait()
        await answering.start()
        await answering.event(chunk("Hi", finish="stop"))
        now -= 1
        await answering.last("[DONE]")

    server.script = answer
    assert len(consume(batch(map(str, range(40)), max_concurrent=most))) == 40
    assert max(under_way) == most


@both
def test_requests_are_taken_when_there_is_room(batch: Ask, consume: Consume) -> None:
    """Of a generator without end no more is taken than what is done and what is under way."""
    taken = 0

    def prompts() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "more"

    seen: list[int] = []

    def note(_: BatchResult) -> None:
        seen.append(taken)

    consume(batch(prompts(), max_concurrent=3).pipe(rx_ops.do_action(note), rx_ops.take(30)))
    assert len(seen) == 30
    assert all(so_far <= done + 3 for done, so_far in enumerate(seen))


def test_on_an_event_loop_there_are_no_threads(batch: Ask) -> None:
    """``async for`` does all of it on its own event loop, but for asyncio's own looking up of names."""
    before = {thread.name for thread in threading.enumerate()}
    seen: set[str] = set()

    async def consume() -> None:
        async for _ in batch(map(str, range(50)), max_concurrent=10):
            seen.update(thread.name for thread in threading.enumerate())

    asyncio.run(consume())
    assert {name for name in seen - before if not name.startswith("asyncio_")} == set()


class Waiting:
    """Requests without end, of which the server answers the first alone, once three are there; who closes them."""

    def __init__(self, server: Server, *, asynchronous: bool) -> None:
        self.closed = threading.Event()
        self.server = server
        self._three = server.gate()
        self.requests: Any = self._requests_async() if asynchronous else self._requests()
        server.script = self._answer

    def under_way(self, number: int) -> None:
        """So many requests are with the server, unanswered."""
        for _ in range(number):
            self.server.next_event()

    def over(self, number: int) -> None:
        """So many were cancelled, no other was sent, and the requests are closed."""
        assert {self.server.next_closed() for _ in range(number)} == set(range(2, 2 + number))
        assert self.closed.wait(PATIENCE)
        assert len(self.server.requests) == 1 + number
        join_rxllm_threads()

    async def _answer(self, answering: Answering) -> None:
        if answering.number == 3:
            self._three.open()
        if answering.number == 1:
            await self._three.wait()
            await echo(answering)
        else:
            self.server.events.put(answering.number)
            await answering.closed()

    def _requests(self) -> Iterator[str]:
        try:
            while True:
                yield "more"
        finally:
            self.closed.set()

    async def _requests_async(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "more"
        finally:
            self.closed.set()


kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["generator", "asynchronous generator"])


@kinds
def test_leaving_a_for_cancels_what_is_under_way(server: Server, batch: Ask, asynchronous: bool) -> None:
    """The server sees each connection close, and the requests are closed."""
    waiting = Waiting(server, asynchronous=asynchronous)
    with closing(iter(batch(waiting.requests, max_concurrent=3))) as results:
        assert text_of(next(results)) == "You said more"
        # The place of the first is taken when somebody asks for the next result.
        waiting.under_way(2)
    waiting.over(2)


@kinds
def test_leaving_an_async_for_cancels_what_is_under_way(server: Server, batch: Ask, asynchronous: bool) -> None:
    """So it is on an event loop, where it is over when the iterator is closed."""
    waiting = Waiting(server, asynchronous=asynchronous)

    async def consume() -> None:
        async with aclosing(aiter(batch(waiting.requests, max_concurrent=3))) as results:
            assert text_of(await anext(results)) == "You said more"
            await asyncio.to_thread(waiting.under_way, 2)
        assert waiting.closed.is_set()

    asyncio.run(consume())
    waiting.over(2)


@kinds
def test_dispose_from_another_thread_cancels_what_is_under_way(server: Server, batch: Ask, asynchronous: bool) -> None:
    """So it is for a subscriber."""
    waiting = Waiting(server, asynchronous=asynchronous)
    results: list[BatchResult] = []
    subscription = batch(waiting.requests, max_concurrent=3).subscribe(results.append)
    waiting.under_way(3)
    subscription.dispose()
    waiting.over(3)
    assert len(results) == 1


@both
def test_a_request_that_fails_is_a_result(server: Server, batch: Ask, consume: Consume) -> None:
    """What the provider objects to, and what completion() refuses, concerns one request; the others go on."""

    async def answer(answering: Answering) -> None:
        if said(answering) == "bad":
            await answering.json_answer(400, {"error": {"message": "Not like this"}})
        else:
            await echo(answering)

    server.script = answer
    given: list[Any] = [
        "one",
        "bad",
        {"messages": []},
        5,
        {"messages": [{"role": "user", "content": "x"}], "model": "who-knows"},
        {"messages": [{"role": "user", "content": "x"}], "n": 0},
        {"messages": "x"},
        {},
        "two",
    ]
    results = sorted(consume(batch(given, max_concurrent=3)), key=lambda result: result.index)
    none = type(None)
    assert [type(result.error) for result in results] == [
        none, BadRequestError, ValueError, TypeError, BadRequestError, ValueError, TypeError, TypeError, none
    ]  # fmt: skip
    assert [result.attempts for result in results] == [1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert all((result.response is None) is (result.error is not None) for result in results)
    assert "Not like this" in str(results[1].error)
    assert len(server.requests) == 3


@both
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_requests_raise_ends_it(server: Server, batch: Ask, consume: Consume, asynchronous: bool) -> None:
    """The error is the Stream's, and what is under way is cancelled."""
    arrived = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.number == 3:
            arrived.open()
        if said(answering) == "a":
            await arrived.wait()
            await echo(answering)
        else:
            await answering.closed()
            server.events.put(said(answering))

    server.script = answer

    def prompts() -> Iterator[str]:
        yield from "abc"
        raise LookupError("the database is gone")

    async def prompts_async() -> AsyncIterator[str]:
        for prompt in prompts():
            yield prompt

    given: Any = prompts_async() if asynchronous else prompts()
    with pytest.raises(LookupError, match="the database is gone"):
        consume(batch(given, max_concurrent=3))
    assert {server.next_event(), server.next_event()} == {"b", "c"}


@both
def test_a_fault_in_a_program_ends_it(server: Server, batch: Ask, consume: Consume) -> None:
    """What is neither of the provider nor of the arguments is no result."""
    arrived = server.gate()

    async def answer(answering: Answering) -> None:
        if said(answering) == "waits":
            arrived.open()
            await answering.closed()
            server.events.put("closed")
        else:
            await arrived.wait()
            await echo(answering)

    server.script = answer
    given = [
        "waits",
        "is answered",
        {"messages": [{"role": "user", "content": "x"}], "mock_response": ["Hel", KeyError("oops")]},
    ]
    with pytest.raises(KeyError, match="oops"):
        consume(batch(given, max_concurrent=2))
    assert server.next_event() == "closed"


def test_all_is_over_when_the_error_comes(server: Server, batch: Ask) -> None:
    """What is under way is cancelled, and the requests closed, before the error is told."""
    closed: list[str] = []
    told: list[list[str]] = []
    over = threading.Event()

    def prompts() -> Iterator[Any]:
        try:
            yield {"messages": [{"role": "user", "content": "x"}], "mock_response": KeyError("oops")}
            yield "more"
            yield "more"
        finally:
            closed.append("closed")

    def on_error(_: Exception) -> None:
        told.append(list(closed))
        over.set()

    batch(prompts(), max_concurrent=2).subscribe(on_error=on_error)
    assert over.wait(PATIENCE)
    assert told == [["closed"]]


@both
def test_wrong_kind_of_client_ends_it(consume: Consume) -> None:
    """A client that cannot be used here is the same fault for all requests."""
    import httpx

    client: Any = httpx.AsyncClient() if consume is by_for else httpx.Client()
    with pytest.raises(TypeError, match="httpx"):
        consume(complete_all(["a", "b"], model="gpt-4", api_key="x", http_client=client))
    if consume is by_for:
        asyncio.run(client.aclose())
    else:
        client.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tries had failed at each wait; the waits themselves take no time."""
    seen: list[int] = []

    def no_wait(attempt: int, headers: Mapping[str, str]) -> float:
        seen.append(attempt)
        return 0.0

    monkeypatch.setattr("rxllm._batch.retry_wait", no_wait)
    return seen


@both
def test_an_answer_that_breaks_off_is_asked_for_again(consume: Consume, waits: list[int]) -> None:
    """Whole, as often as ``retries`` says, with growing waits; and nothing of what broke off is in the response."""
    with LLMServer() as server:
        server.answer("Hel", fault="truncated")
        server.answer("Hell", fault="reset")
        server.answer("Bye")
        (result,) = consume(complete_all(["Hi"], model="gpt-4", api_base=server.url, api_key="test"))
        assert (text_of(result), result.attempts, waits) == ("Bye", 3, [0, 1])
        assert len(server.requests) == 3
    rxllm.close()


@both
def test_after_so_many_tries_the_error_is_the_result(consume: Consume, waits: list[int]) -> None:
    """With ``retries=1`` it is asked twice, and the other requests are not held up."""
    with LLMServer() as server:
        server.answer("Hel", fault="truncated", times=None, when=lambda request: b"broken" in request.body)
        server.answer("Whole", times=None)
        ask: dict[str, Any] = {"model": "gpt-4", "api_base": server.url, "api_key": "test"}
        results = consume(complete_all(["broken", "a", "b"], retries=1, max_concurrent=1, **ask))
        first, *others = sorted(results, key=lambda result: result.index)
        assert isinstance(first.error, IncompleteStreamError)
        assert (first.attempts, [text_of(other) for other in others]) == (2, ["Whole", "Whole"])
        assert waits == [0]
    rxllm.close()


def test_an_error_amid_the_answer_is_tried_again_where_that_may_help(server: Server, batch: Ask) -> None:
    """429 and 5xx are, after what the server says; 400 is not."""
    codes = {"limit": 429, "down": 503, "bad": 400}

    async def answer(answering: Answering) -> None:
        await answering.start(retry_after="0")
        await answering.event(chunk("So far"))
        await answering.event({"error": {"message": "No", "code": codes[said(answering)]}})
        await answering.end()

    server.script = answer
    results = by_async_for(batch([*codes], retries=2))
    assert {result.request: result.attempts for result in results} == {"limit": 3, "down": 3, "bad": 1}


def test_what_fails_before_it_begins_is_not_tried_again_here(server: Server, batch: Ask) -> None:
    """``completion()`` has done so by itself, as often as ``max_retries`` says."""

    async def answer(answering: Answering) -> None:
        await answering.json_answer(429, {"error": {"message": "Slow down"}}, retry_after="0")

    server.script = answer
    (result,) = by_async_for(batch(["Hi"], max_retries=1, retries=5))
    assert isinstance(result.error, RateLimitError)
    assert (result.attempts, len(server.requests)) == (1, 2)


def test_what_fails_before_it_begins_again_is_not_tried_again_here(
    batch: Ask, server: Server, waits: list[int]
) -> None:
    """Also where an earlier try had begun: each is looked at by itself."""

    async def answer(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            await answering.event(chunk("So far"))
            answering.hang_up()
        else:
            await answering.json_answer(503, {"error": {"message": "Down"}})

    server.script = answer
    (result,) = by_async_for(batch(["Hi"], max_retries=0, retries=5))
    assert isinstance(result.error, ServiceUnavailableError)
    assert (result.attempts, len(server.requests), waits) == (2, 2, [0])


def test_what_no_trying_helps_is_asked_once(server: Server, batch: Ask) -> None:
    """A refused key is refused the second time too."""

    async def answer(answering: Answering) -> None:
        await answering.json_answer(401, {"error": {"message": "Who are you?"}})

    server.script = answer
    (result,) = by_async_for(batch(["Hi"]))
    assert isinstance(result.error, AuthenticationError)
    assert len(server.requests) == 1


def test_leaving_while_a_request_waits_for_its_next_try(
    server: Server, batch: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not sent any more: the wait, here one that does not end by itself, goes with the subscription."""

    def for_ever(attempt: int, headers: Mapping[str, str]) -> float:
        return 3600.0

    monkeypatch.setattr("rxllm._batch.retry_wait", for_ever)

    async def answer(answering: Answering) -> None:
        if said(answering) == "broken":
            await answering.start()
            await answering.event(chunk("So far"))
            answering.hang_up()
            server.events.put("broken")
        else:
            await answering.server.taken.wait()
            await echo(answering)

    server.script = answer
    with closing(iter(batch(["broken", "whole"], max_concurrent=2))) as results:

        def once_it_has_broken_off() -> None:
            server.next_event()
            server.taken.open()

        opening = threading.Thread(target=once_it_has_broken_off)
        opening.start()
        assert text_of(next(results)) == "You said whole"
        opening.join()
    assert len(server.requests) == 2
    assert [thread for thread in threading.enumerate() if thread.name == "rxllm-worker"] == []


@both
def test_answers_that_are_there_at_once_do_not_pile_up(consume: Consume) -> None:
    """Thousands of requests whose answers need no waiting: the stack stays as it is."""
    results = consume(
        complete_all(("Hi" for _ in range(3_000)), model="gpt-4", mock_response="Hello", max_concurrent=1)
    )
    assert len(results) == 3_000


@both
def test_what_is_over_is_not_held(consume: Consume) -> None:
    """Of many requests, what stays of those that have their result is nothing."""
    requests = complete_all(("Hi" for _ in range(500)), model="gpt-4", mock_response="Hello")
    live: list[int] = []

    def look(place: int) -> None:
        if place % 100 == 99:
            gc.collect()
            live.append(sum(isinstance(held, Stream) for held in gc.get_objects()))

    consume(requests.pipe(rx_ops.map_indexed(lambda _, place: look(place))))
    assert len(live) == 5
    assert max(live) < min(live) + 50


@both
def test_refused_requests_do_not_pile_up(consume: Consume) -> None:
    """Nor with requests that are refused before they are sent: one is taken for each result that is."""
    taken = 0

    def prompts() -> Iterator[Any]:
        nonlocal taken
        while taken < 20_000:
            taken += 1
            yield {"messages": []}

    seen: list[int] = []
    stream = complete_all(prompts(), model="gpt-4").pipe(rx_ops.do_action(lambda _: seen.append(taken)))
    assert len(consume(stream)) == 20_000
    assert max(so_far - done for done, so_far in enumerate(seen)) == 1


@ways
def test_requests_may_come_asynchronously(batch: Ask, consume: Consume) -> None:
    """An asynchronous iterable serves every way of consuming, and no more is taken of it than there is room for."""
    taken = 0

    async def prompts() -> AsyncIterator[str]:
        nonlocal taken
        for number in range(12):
            taken += 1
            await asyncio.sleep(0)
            yield str(number)

    seen: list[int] = []
    stream = batch(prompts(), max_concurrent=3).pipe(rx_ops.do_action(lambda _: seen.append(taken)))
    assert texts(consume(stream)) == {number: f"You said {number}" for number in range(12)}
    assert all(so_far <= done + 4 for done, so_far in enumerate(seen))


def test_arguments_for_all_and_for_one(server: Server, batch: Ask) -> None:
    """A request's own come first, common messages stand before a text, and ``stream`` is passed over."""
    system = {"role": "system", "content": "Be brief"}
    user = {"role": "user", "content": "two"}
    given: list[Any] = ["one", {"messages": [user], "temperature": 0.5, "stream": False}]
    results = by_async_for(batch(given, messages=[system], temperature=1.0, stream=True, max_concurrent=1))
    assert [text_of(result) for result in results] == ["You said one", "You said two"]
    first, second = (request.json for request in server.requests)
    assert first["messages"] == [system, {"role": "user", "content": "one"}]
    assert second["messages"] == [user]
    assert (first["temperature"], second["temperature"]) == (1.0, 0.5)
    assert first["stream"] is second["stream"] is True


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"requests": "a text"}, TypeError, "requests is a list .* not a str"),
        ({"requests": {"messages": []}}, TypeError, "not a dict"),
        ({"requests": 5}, TypeError, "not a int"),
        ({"requests": [], "max_concurrent": 0}, ValueError, "max_concurrent is a whole number from 1 on, not 0"),
        ({"requests": [], "max_concurrent": 1.5}, TypeError, "max_concurrent is a whole number, not float"),
        ({"requests": [], "max_concurrent": True}, TypeError, "max_concurrent is a whole number, not bool"),
        ({"requests": [], "retries": -1}, ValueError, "retries is a whole number from 0 on, not -1"),
        ({"requests": [], "retries": None}, TypeError, "retries is a whole number, not NoneType"),
    ],
)
def test_wrong_arguments_are_told_at_once(arguments: dict[str, Any], kind: type[Exception], reason: str) -> None:
    """Not when it is consumed; and no frame of the traceback holds a key."""
    with pytest.raises(kind, match=reason) as raised:
        complete_all(**arguments, api_key="sk-secret-key")
    frames = [entry.frame.f_locals for entry in raised.traceback if "_batch.py" in str(entry.path)][1:]
    assert frames
    assert not [value for frame in frames for value in frame.values() if "sk-secret-key" in repr(value)]


def test_no_key_is_shown(server: Server, batch: Ask) -> None:
    """Neither by a result's repr, nor by the traceback of its error."""
    given: dict[str, Any] = {"messages": [], "api_key": "sk-other-key", "model": "gpt-4"}
    (result,) = by_for(batch([given]))
    assert "sk-" not in repr(result)
    assert result.request is given
    assert result.error is not None
    assert result.error.__traceback__ is None


def test_results_do_not_change() -> None:
    """A result is frozen."""
    result = BatchResult(0, "Hi", error=ValueError("no"))
    with pytest.raises(AttributeError):
        result.index = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
