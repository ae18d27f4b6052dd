"""run_tools: functions are called while the answer streams, and the model is told what came of them."""

import asyncio
import functools
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from reactivex import Observable
from reactivex import operators as rx_ops

import rxllm
from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import APIError, APIResponseValidationError
from rxllm.types import Message
from tests.consume import WAYS, by_for
from tests.operators.sources import asked, call_piece, calling, collect, failure, never_subscribed, of
from tests.server import PATIENCE, Answering, Server, chunk

Ask = Callable[..., Stream[ModelResponseStream]]
QUESTION = [{"role": "user", "content": "Hello"}]
each_way = pytest.mark.parametrize("way", WAYS)


def tool_chunk(*pieces: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chunk with pieces of calls, as OpenAI sends it."""
    return chunk(
        choices=[{"index": 0, "delta": {"tool_calls": list(pieces)}, "finish_reason": finish}],
    )


def told(chunks: list[ModelResponseStream]) -> list[str]:
    """The texts, and what came of the tools, in the order in which they came."""
    return [
        f"{'!' if c.tool_result.failed else ''}<{c.tool_result.content}>"
        if c.tool_result is not None
        else c.choices[0].delta.content or ""
        for c in chunks
        if c.tool_result is not None or c.choices[0].delta.content
    ]


def answering(*answers: list[ModelResponseStream]) -> tuple[Callable[[Any], Any], list[list[Any]]]:
    """A ``send`` that gives one answer after the other, and what it was given."""
    sent: list[list[Any]] = []

    def send(messages: list[Any]) -> Observable[ModelResponseStream]:
        sent.append(messages)
        return rx.of(*answers[len(sent) - 1])

    return send, sent


def run(source: list[ModelResponseStream], functions: Any, send: Any, **arguments: Any) -> list[ModelResponseStream]:
    """Everything that comes of the chunks."""
    stream = rxllm.as_stream(source)
    return by_for(stream.pipe(ops.run_tools(functions, send=send, messages=QUESTION, **arguments)))


def one_call(name: str = "f", arguments: str = "{}") -> list[ModelResponseStream]:
    """An answer that calls one function."""
    return [calling(call_piece(arguments, index=0, id="call_1", name=name), finish_reason="tool_calls")]


@each_way
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_tool_runs_while_text_streams(server: Server, ask: Ask, way: str, kind: str) -> None:
    """It has begun, and its result has come out, before the text that follows its call is sent; then the next answer.

    The server goes on with its text only once the tool has begun, and ends it only once the result has come out.
    """
    seen = server.gate()

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            await answering.event(chunk("Let me "))
            await answering.event(tool_chunk(call_piece('{"city"', index=0, id="a", name="weather")))
            await answering.event(tool_chunk(call_piece(': "Rome"}', index=0)), chunk("look"))
            await server.taken.wait()
            await answering.event(chunk(" it up"))
            await seen.wait()
            await answering.last(chunk("."), chunk(finish="tool_calls"), "[DONE]")
        else:
            await answering.stream("Sunny", " there")

    server.script = script

    def weather(city: str) -> str:
        server.taken.open()
        return f"sun in {city}"

    async def weather_async(city: str) -> str:
        return weather(city)

    def notice(chunk: ModelResponseStream) -> None:
        if chunk.tool_result is not None:
            seen.open()

    tools = {"weather": weather if kind == "plain" else weather_async}
    stream = ask().pipe(
        ops.run_tools(tools, send=lambda messages: ask(messages=messages)),
        rx_ops.do_action(notice),
    )
    pieces = told(WAYS[way](stream))
    assert [piece for piece in pieces if not piece.startswith("<")] == [
        *("Let me ", "look", " it up", "."),
        *("Sunny", " there"),
    ]
    assert pieces.index("<sun in Rome>") < pieces.index(".")
    assert server.requests[1].json["messages"] == [
        *QUESTION,
        {
            "role": "assistant",
            "content": "Let me look it up.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "sun in Rome"},
    ]
    assert len(server.requests) == 2


@each_way
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_tools_run_side_by_side(way: str, kind: str) -> None:
    """Each waits for the other: one after the other, neither would return. Results are sent in the calls' order."""
    send, sent = answering([of("Done", finish_reason="stop")])
    barrier = threading.Barrier(8)
    pool = ThreadPoolExecutor(8)

    def meet(n: int) -> int:
        barrier.wait(PATIENCE)
        return n

    async def meet_async(n: int) -> int:
        await asyncio.get_running_loop().run_in_executor(pool, barrier.wait, PATIENCE)
        return n

    pieces = [call_piece(json.dumps({"n": n}), index=n, id=f"c{n}", name="meet") for n in range(8)]
    source = rxllm.as_stream([calling(*pieces, finish_reason="tool_calls")])
    functions = {"meet": meet if kind == "plain" else meet_async}
    with pool:
        chunks = WAYS[way](source.pipe(ops.run_tools(functions, send=send, messages=QUESTION)))
    results = [c.tool_result for c in chunks if c.tool_result is not None]
    assert sorted(result.content for result in results) == [str(n) for n in range(8)]
    assert [message["content"] for message in sent[0][2:]] == [str(n) for n in range(8)]
    assert [message["tool_call_id"] for message in sent[0][2:]] == [f"c{n}" for n in range(8)]


def test_coroutines_run_on_the_consumers_event_loop() -> None:
    """So that an asynchronous client of the application's own can be used; off a loop each has one of its own."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def f() -> None:
        loops.append(asyncio.get_running_loop())

    async def consume(stream: Stream[Any]) -> list[Any]:
        assert [item async for item in stream]
        return [asyncio.get_running_loop()]

    send, _ = answering([of("a")], [of("b")])
    stream = rxllm.as_stream(one_call()).pipe(ops.run_tools([f], send=send, messages=QUESTION))
    assert asyncio.run(consume(stream)) == loops
    by_for(stream)
    assert len(set(loops)) == 2


def test_a_lambda_that_gives_a_coroutine_is_awaited_on_the_event_loop() -> None:
    """What is awaitable is awaited, whatever gave it."""

    async def fetch(city: str) -> str:
        return f"{city} on {id(asyncio.get_running_loop())}"

    def giving(city: str) -> Any:
        return fetch(city)

    async def consume() -> tuple[list[Any], int]:
        stream = rxllm.as_stream(one_call(arguments='{"city": "Rome"}'))
        send, _ = answering([of("a")])
        piped = stream.pipe(ops.run_tools({"f": giving}, send=send, messages=QUESTION))
        return [item async for item in piped], id(asyncio.get_running_loop())

    chunks, loop = asyncio.run(consume())
    assert told(chunks) == [f"<Rome on {loop}>", "a"]


def test_rounds_go_on_until_nothing_is_called() -> None:
    """Each answer's calls are sent after all that was said before."""

    def square(n: int) -> int:
        return n * n

    send, sent = answering(one_call(arguments='{"n": 2}'), one_call(arguments='{"n": 3}'), [of("9")])
    chunks = run(one_call(arguments='{"n": 1}'), {"f": square}, send)
    assert told(chunks) == ["<1>", "<4>", "<9>", "9"]
    assert [len(messages) for messages in sent] == [3, 5, 7]
    assert sent[2][:5] == sent[1]
    assert QUESTION == [{"role": "user", "content": "Hello"}]


def test_the_last_rounds_calls_are_not_run() -> None:
    """The stream completes with the finish reason of the last answer, which require_finish() can refuse."""
    calls: list[int] = []
    send, sent = answering(one_call(), one_call(), one_call())
    source = rxllm.as_stream(one_call())
    stream = source.pipe(
        ops.run_tools({"f": lambda: calls.append(1)}, send=send, max_rounds=2, messages=QUESTION),
        ops.require_finish("stop"),
    )
    seen: list[ModelResponseStream] = []
    with pytest.raises(APIResponseValidationError, match="finished with 'tool_calls'"):
        seen.extend(stream)
    assert (len(calls), len(sent)) == (2, 2)


def test_no_round_at_all_calls_nothing() -> None:
    """With max_rounds=0 the chunks pass as they are."""
    send, sent = answering()
    chunks = one_call()
    assert run(chunks, {}, send, max_rounds=0) == chunks
    assert sent == []


class City(BaseModel):
    """A parameter of a tool."""

    name: str
    population: int = 0


def test_arguments_are_what_the_annotations_say() -> None:
    """pydantic makes models, numbers and the like of the JSON."""
    taken: list[Any] = []

    def f(city: City, days: int, anything: Any) -> None:
        taken.extend((city, days, anything))

    send, _ = answering([of("a")])
    arguments = '{"city": {"name": "Rome"}, "days": "3", "anything": [1]}'
    assert told(run(one_call(arguments=arguments), [f], send)) == ["<null>", "a"]
    assert taken == [City(name="Rome"), 3, [1]]


def raising(error: BaseException) -> Callable[[], Any]:
    """A function that raises."""

    def f() -> None:
        raise error

    return f


def needing(a: int) -> int:
    """A function with a parameter."""
    return a


FAILURES: list[tuple[Any, Any, str]] = [
    ({"f": raising(KeyError("city"))}, one_call(), "KeyError: 'city'"),
    ({"f": raising(ValueError())}, one_call(), "ValueError"),
    ({"f": raising(asyncio.CancelledError())}, one_call(), "RuntimeError: It was cancelled"),
    ({"g": print, "h": print}, one_call(), "There is no function 'f'. There are: g, h."),
    ({}, one_call(), "There is no function 'f'. There are: none."),
    ({"f": print}, one_call(arguments="[1]"), "The arguments are no JSON object: [1]"),
    ({"f": needing}, one_call(), "ValidationError: a: Missing required argument"),
    ({"f": lambda: 1}, one_call(arguments='{"b": 1}'), "ValidationError: b: Unexpected keyword argument"),
]


@pytest.mark.parametrize(("functions", "call", "content"), FAILURES)
def test_the_model_is_told_what_failed(functions: Any, call: Any, content: str) -> None:
    """By type and message, and nothing of where it was raised; then the answer goes on."""
    send, sent = answering([of("Sorry")])
    assert told(run(call, functions, send)) == [f"!<{content}>", "Sorry"]
    assert sent[0][-1] == {"role": "tool", "tool_call_id": "call_1", "content": content}


@each_way
def test_a_coroutine_that_fails(way: str) -> None:
    """Likewise; one that cancels itself as well."""

    async def f() -> None:
        raise LookupError("nothing there")

    async def g() -> None:
        raise asyncio.CancelledError

    send, _ = answering([of("Sorry")])
    pieces = [call_piece("{}", index=n, id=f"c{n}", name=name) for n, name in enumerate("fg")]
    source = rxllm.as_stream([calling(*pieces, finish_reason="tool_calls")])
    out = told(WAYS[way](source.pipe(ops.run_tools([f, g], send=send, messages=QUESTION))))
    assert sorted(out[:2]) == ["!<LookupError: nothing there>", "!<RuntimeError: It was cancelled>"]
    assert out[2:] == ["Sorry"]


def test_broken_arguments_are_told() -> None:
    """They come at the end of the answer, beside those calls that could be made."""
    send, sent = answering([of("Again")])
    answer = [
        calling(call_piece('{"x": ', index=0, id="a", name="f")),
        calling(call_piece("{}", index=1, id="b", name="f")),
        of(finish_reason="length"),
    ]
    chunks = run(answer, {"f": lambda: "fine"}, send)
    contents = [message["content"] for message in sent[0][2:]]
    assert "are not JSON" in contents[0]
    assert contents[1] == "fine"
    assert sorted(c.tool_result.failed for c in chunks if c.tool_result is not None) == [False, True]


@pytest.mark.parametrize(("reason", "content"), [("tool_calls", "fine"), ("length", "cut off"), (None, "cut off")])
def test_a_call_without_arguments(reason: str | None, content: str) -> None:
    """It is made where the answer came to its end; where it was cut off, its arguments may have been."""
    send, sent = answering([of("Then")])
    run([calling(call_piece(id="a", name="f"), finish_reason=reason)], {"f": lambda: "fine"}, send)
    assert content in sent[0][-1]["content"]


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, True]}, '{"a":[1,true]}'),
        (City(name="Rome"), '{"name":"Rome","population":0}'),
        ({"nan": float("nan")}, '{"nan":"NaN"}'),
        (type, "\"<class 'type'>\""),
    ],
)
def test_what_a_function_returns_is_told(value: Any, content: str) -> None:
    """A string as it is, anything else as JSON, what JSON has nothing for as its str()."""
    send, sent = answering([of("a")])
    run(one_call(), {"f": lambda: value}, send)
    assert sent[0][-1]["content"] == content


def test_what_cannot_be_told_is_an_error_of_the_tool() -> None:
    """A value that holds itself."""
    value: list[Any] = []
    value.append(value)
    send, sent = answering([of("a")])
    (result,) = [c.tool_result for c in run(one_call(), {"f": lambda: value}, send) if c.tool_result is not None]
    assert result.failed
    assert "Circular reference" in sent[0][-1]["content"]


def test_messages_come_from_the_request() -> None:
    """A Stream knows what it asked; messages= goes before, and without either it is an error when it is applied."""
    send, sent = answering([of("a")], [of("b")])
    collect_all(asked(rx.of(*one_call("g"))).pipe(ops.run_tools({}, send=send)))
    assert sent[0][0] == {"role": "user", "content": "Hi"}
    given = iter([Message(role="user", content="Hey")])
    collect_all(asked(rx.of(*one_call("g"))).pipe(ops.run_tools({}, send=send, messages=given)))
    assert sent[1][0] == {"role": "user", "content": "Hey"}
    with pytest.raises(ValueError, match="messages="):
        never_subscribed().pipe(ops.run_tools({}, send=send))


def collect_all(source: Observable[Any]) -> list[Any]:
    """All items, wherever they come from."""
    return by_for(rxllm.as_stream(source))


def test_the_answer_can_be_sent_as_it_is(server: Server, ask: Ask) -> None:
    """The assistant's message is what build_response() builds, text and calls, for choice 0 alone."""
    answer = [
        of("I ", role="assistant"),
        of("You ", index=1),
        of("look"),
        calling(call_piece("{}", index=0, id="other", name="f"), index=1),
        calling(call_piece("{}", index=0, id="a", name="f")),
        of(index=1, finish_reason="tool_calls"),
        of(finish_reason="tool_calls"),
    ]
    send, sent = answering([of("end")])
    chunks = run(answer, {"f": lambda: 1}, send)
    assert [c for c in chunks if c.tool_result is None][: len(answer)] == answer
    (message,) = [c.message for c in collect(rx.of(*answer).pipe(ops.build_response()))[0].choices if c.index == 0]
    assert sent[0] == [
        *QUESTION,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]


def test_a_restart_voids_what_was_called_before() -> None:
    """The answer begins anew: what came of earlier calls is not told, and the marker passes."""
    release = threading.Event()

    def slow() -> str:
        release.wait(PATIENCE)
        return "late"

    send, sent = answering([of("end")])

    def source() -> Iterator[ModelResponseStream]:
        yield of("Old")
        yield calling(call_piece("{}", index=0, id="old", name="slow"))
        yield of("text")
        yield ModelResponseStream.restarting("the connection broke")
        release.set()
        yield of("New")
        yield calling(call_piece("{}", index=0, id="new", name="quick"), finish_reason="tool_calls")

    stream = rxllm.as_stream(source())
    functions = {"slow": slow, "quick": lambda: "soon"}
    chunks = by_for(stream.pipe(ops.run_tools(functions, send=send, messages=QUESTION)))
    assert [c.tool_result.call.id for c in chunks if c.tool_result is not None] == ["new"]
    assert [c.restart for c in chunks if c.restart] == ["the connection broke"]
    assert sent[0][1]["content"] == "New"
    assert [m["tool_call_id"] for m in sent[0][2:]] == ["new"]


@each_way
def test_leaving_cancels_what_is_under_way(server: Server, ask: Ask, way: str) -> None:
    """The request is closed, a coroutine is cancelled, and what a thread still brings is nobody's."""
    begun, cancelled, release = threading.Event(), threading.Event(), threading.Event()

    async def script(answering: Answering) -> None:
        await answering.start()
        pieces = [call_piece("{}", index=n, id=f"c{n}", name=name) for n, name in enumerate(("patient", "blocking"))]
        await answering.event(tool_chunk(*pieces), chunk("and"))
        await server.taken.wait()
        await answering.event(chunk("on"))
        await answering.closed()

    async def patient() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def blocking() -> str:
        assert begun.wait(PATIENCE)
        server.taken.open()
        assert release.wait(PATIENCE)
        return "late"

    def goes_on(chunk: ModelResponseStream) -> bool:
        return not any(choice.delta.content == "on" for choice in chunk.choices)

    server.script = script
    stream = ask().pipe(
        ops.run_tools([patient, blocking], send=lambda _: rx.throw(AssertionError("asked again"))),
        rx_ops.take_while(goes_on),
    )
    assert told(WAYS[way](stream)) == ["and"]
    assert server.next_closed() == 1
    assert cancelled.wait(PATIENCE)
    release.set()


def test_an_error_of_the_source_passes() -> None:
    """After an error nothing is sent, and tools that are still running are not waited for."""
    send, sent = answering()
    release = threading.Event()
    source = rx.concat(rx.of(*one_call()), rx.throw(RuntimeError("broken")))
    functions = {"f": lambda: release.wait(PATIENCE)}
    chunks, error = failure(source.pipe(ops.run_tools(functions, send=send, messages=QUESTION)))
    assert (len(chunks), str(error), sent) == (1, "broken", [])
    release.set()


@pytest.mark.parametrize("answer", [LookupError("no more"), 5, "text"])
def test_what_send_raises_ends_the_stream(answer: Any) -> None:
    """So does something that is no stream of chunks."""

    def send(_messages: list[Any]) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    chunks, error = failure(rx.of(*one_call("unknown")).pipe(ops.run_tools({}, send=send, messages=QUESTION)))
    assert len(chunks) == 2
    assert type(error) is (LookupError if isinstance(answer, Exception) else TypeError)


def test_an_error_of_a_later_answer_passes(server: Server, ask: Ask) -> None:
    """It is the stream's own."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            call = call_piece("{}", index=0, id="a", name="f")
            await answering.last(tool_chunk(call, finish="tool_calls"), "[DONE]")
        else:
            await answering.json_answer(400, {"error": {"message": "no such tool"}})

    server.script = script
    tools = ops.run_tools({"f": lambda: 1}, send=lambda messages: ask(messages=messages))
    with pytest.raises(APIError, match="no such tool"):
        by_for(ask().pipe(tools))


def test_two_consumers_share_nothing() -> None:
    """Each runs the tools and asks for itself."""
    calls: list[int] = []
    send, sent = answering([of("a")], [of("b")])
    stream = rxllm.as_stream(one_call()).pipe(
        ops.run_tools({"f": lambda: calls.append(1)}, send=send, messages=QUESTION)
    )
    assert [told(by_for(stream)) for _ in range(2)] == [["<null>", "a"], ["<null>", "b"]]
    assert (len(calls), len(sent)) == (2, 2)


def test_errors_of_tools_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the traceback, for whoever wrote the tool."""
    send, _ = answering([of("a")])
    with caplog.at_level("INFO", "rxllm"):
        run(one_call(), {"f": raising(KeyError("city"))}, send)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "'f'" in record.getMessage()


def two() -> None:
    """A function."""


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"functions": 5}, TypeError, "functions"),
        ({"functions": "f"}, TypeError, "functions"),
        ({"functions": [5]}, TypeError, "functions"),
        ({"functions": [functools.partial(two)]}, TypeError, "__name__"),
        ({"functions": {"f": 5}}, TypeError, "functions"),
        ({"functions": {5: two}}, TypeError, "functions"),
        ({"functions": [two, two]}, ValueError, "two"),
        ({"send": 5}, TypeError, "send"),
        ({"max_rounds": -1}, ValueError, "max_rounds"),
        ({"max_rounds": True}, TypeError, "max_rounds"),
        ({"messages": "Hi"}, TypeError, "messages"),
        ({"messages": {"role": "user"}}, TypeError, "messages"),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: Any, error: type[Exception], match: str) -> None:
    """No stream has to run to learn that an argument is wrong."""
    given: dict[str, Any] = {"functions": {}, "send": print, **arguments}
    with pytest.raises(error, match=match):
        ops.run_tools(**given)


@given(st.data())
def test_any_cutting_gives_the_same_rounds(data: st.DataObject) -> None:
    """However the deltas of text and calls are cut, the same is called, told and sent."""
    text = data.draw(st.text(max_size=8))
    calls = data.draw(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2), max_size=3))
    chunks = [of(piece) for piece in text]
    for index, arguments in enumerate(calls):
        whole = json.dumps(arguments)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        first, *rest = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        chunks.append(calling(call_piece(first, index=index, id=f"c{index}", name="f")))
        chunks += [calling(call_piece(more, index=index)) for more in rest]
    send, sent = answering([of("end")])
    collected = collect(rx.of(*chunks, of(finish_reason="stop")).pipe(ops.run_tools({}, send=send, messages=QUESTION)))
    assert [c.tool_result.call.parsed for c in collected if c.tool_result is not None] == calls
    assert len(sent) == bool(calls)
    if calls:
        assert [call["function"]["name"] for call in sent[0][1]["tool_calls"]] == ["f"] * len(calls)
        assert (sent[0][1].get("content") or "") == text


def test_a_coroutine_is_no_stream() -> None:
    """``send`` gives a Stream on an event loop too; the error says so, and nothing is left that was never awaited."""

    async def send(_messages: object) -> Any:
        raise AssertionError("called")

    chunks = rxllm.as_stream([calling(call_piece("{}", index=0, id="a", name="f"), finish_reason="tool_calls")])
    with pytest.raises(TypeError, match="no coroutine"):
        chunks.pipe(ops.run_tools({"f": int}, send=send, messages=[])).run()  # type: ignore[arg-type]


def test_below_it_the_response_is_the_last_and_its_usage_that_of_all() -> None:
    """With its cost, by one table of prices or by that of each model."""
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]

    def send(messages: list[Any]) -> Stream[ModelResponseStream]:
        extra = {"delay": 0}
        return rxllm.completion("sim/story", messages, stream=True, tools=tools, max_tokens=8, extra_body=extra)

    asking = send([{"role": "user", "content": "What is the weather?"}])
    each: list[Any] = []

    def note(chunk: ModelResponseStream) -> None:
        if chunk.usage is not None:
            each.append(chunk.usage)

    prices = {"input": 1, "output": 2}
    pipeline = asking.pipe(
        ops.attach_cost(prices),
        ops.run_tools({"get_weather": str}, send=lambda messages: send(messages).pipe(ops.attach_cost(prices))),
        rx_ops.do_action(note),
        ops.attach_usage(),
        ops.build_response(),
    )
    response = pipeline.run()
    assert response.choices[0].finish_reason != "tool_calls"
    usage = response.usage
    assert usage is not None
    assert len(each) == usage.answers == 2
    assert usage.total_tokens == sum(one.total_tokens for one in each)
    assert usage.cost == sum(one.cost for one in each)
    costing = asking.pipe(ops.run_tools({"get_weather": str}, send=send), ops.attach_cost(prices)).run().usage
    assert costing is not None
    # Ids of calls are of other tokens each time, and part of the prompt.
    assert (costing.completion_tokens, costing.answers) == (usage.completion_tokens, 2)
    assert costing.cost == Decimal(costing.prompt_tokens + 2 * costing.completion_tokens) / 1_000_000
