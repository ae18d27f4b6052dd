"""The named operators together, in every order that makes sense.

Over completions of the embedded models, consumed in every way, and by several consumers of one request.
"""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from reactivex import ConnectableObservable, Observable
from reactivex import operators as rx_ops

import rxllm
from rxllm import ModelResponse, ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm._tokens import count_prompt, count_text, get_encoding
from rxllm.exceptions import RateLimitError
from rxllm.types import ChatCompletionMessageToolCall, Usage
from tests.consume import WAYS
from tests.server import PATIENCE

MODEL = "gpt-4o"  # what the pipelines count with: the embedded models count with its encoding
MESSAGES = [{"role": "user", "content": "Write a short story about a clockmaker"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CUT = 4

Step = Callable[[Observable[Any]], Observable[Any]]
take: Callable[[], Step] = lambda: ops.take_chunks(CUT)  # noqa: E731  a name for the table
attach: Callable[[], Step] = lambda: ops.attach_usage(MODEL, MESSAGES)  # noqa: E731  likewise
count: Callable[[], Step] = lambda: ops.count_tokens(MODEL)  # noqa: E731  likewise

# Chunks to chunks, in any order; then at most one that gives something else.
BEFORE: dict[str, list[Callable[[], Step]]] = {
    "": [],
    "take": [take],
    "attach": [attach],
    "take, attach": [take, attach],
    "attach, take": [attach, take],
    "attach, attach": [attach, attach],
    "take, attach, take": [take, attach, take],
}
LAST: dict[str, Callable[[], Step] | None] = {
    "": None,
    "accumulate_text": ops.accumulate_text,
    "assemble_tool_calls": ops.assemble_tool_calls,
    "count_tokens": count,
}
ORDERS = [
    pytest.param(before, last, id=", ".join(filter(None, (before, last))) or "none")
    for before in BEFORE
    for last in LAST
]
COMPLETIONS: dict[str, dict[str, Any]] = {
    "story": {"model": "sim/story", "max_tokens": 40},
    "reason": {"model": "sim/reason", "max_tokens": 60},
    "calls": {
        "model": "sim/story",
        "messages": [{"role": "user", "content": "What's the weather in Paris and Rome?"}],
        "tools": [WEATHER],
    },
    "two choices": {"model": "sim/story", "max_tokens": 20, "n": 2},
    "short": {"model": "sim/echo", "messages": [{"role": "user", "content": "Hello"}]},
}
each_order = pytest.mark.parametrize(("before", "last"), ORDERS)
each_completion = pytest.mark.parametrize("name", COMPLETIONS)


def ask(name: str) -> Stream[ModelResponseStream]:
    """The stream of one of the completions."""
    parameters: dict[str, Any] = {"messages": MESSAGES, "extra_body": {"delay": 0}, **COMPLETIONS[name]}
    stream: Stream[ModelResponseStream] = rxllm.completion(
        parameters.pop("model"), parameters.pop("messages"), stream=True, **parameters
    )
    return stream


def through(source: Any, before: str, last: str) -> Any:
    """The source through the pipeline of a row of the table."""
    steps = [make() for make in BEFORE[before]]
    final = LAST[last]
    return source.pipe(*steps, final()) if final is not None else source.pipe(*steps)


def plain(chunks: list[ModelResponseStream]) -> list[Any]:
    """Chunks without what differs from request to request, and without usage."""
    dumped: list[dict[str, Any]] = [chunk.model_dump(exclude={"id", "created", "usage"}) for chunk in chunks]
    for chunk in dumped:
        for choice in chunk["choices"]:
            for call in choice["delta"]["tool_calls"] or ():
                call["id"] = bool(call["id"])
    return dumped


@cache
def whole(name: str) -> tuple[ModelResponseStream, ...]:
    """All chunks of a completion: the same prompt and seed give the same again."""
    return tuple(ask(name))


@cache
def expected(name: str, *, cut: bool) -> tuple[list[ModelResponseStream], ModelResponse]:
    """The chunks of a completion as far as a pipeline lets them come, and what they amount to, found without one."""
    chunks: list[ModelResponseStream] = []
    content = 0
    for chunk in whole(name):
        chunks.append(chunk)
        content += any(choice.delta.content for choice in chunk.choices)
        if cut and content == CUT:
            break
    return chunks, rxllm.as_stream(chunks).pipe(ops.build_response()).run()


def expected_usage(name: str, *, cut: bool) -> Usage:
    """As reported of a whole answer; of a part what can be counted."""
    chunks, response = expected(name, cut=cut)
    if chunks[-1].reported_usage is not None:
        return chunks[-1].reported_usage
    encoding = get_encoding("o200k_base")
    completion = reasoning = 0
    for choice in response.choices:
        completion += count_text(encoding, choice.message.content or "")
        reasoning += count_text(encoding, choice.message.reasoning_content or "")
    prompt = count_prompt(MESSAGES, encoding)
    assert not any(choice.message.tool_calls for choice in response.choices)
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion + reasoning,
        total_tokens=prompt + completion + reasoning,
        estimated=True,
    )
    if reasoning:
        usage.completion_tokens_details = Usage.model_validate(
            {"completion_tokens_details": {"reasoning_tokens": reasoning}}
        ).completion_tokens_details
    return usage


def check(name: str, before: str, last: str, items: list[Any]) -> None:
    """The items are those that the order is to give."""
    cut = "take" in before
    chunks, response = expected(name, cut=cut)
    first = next(choice.message for choice in response.choices if choice.index == 0)
    texts = [
        choice.delta.content
        for chunk in chunks
        for choice in chunk.choices
        if choice.index == 0 and choice.delta.content
    ]
    so_far = ["".join(texts[: n + 1]) for n in range(len(texts))]
    if last == "accumulate_text":
        assert items == (so_far or [""])
        assert items[-1] == (first.content or "")
    elif last == "count_tokens":
        encoding = get_encoding("o200k_base")
        assert items == ([count_text(encoding, text) for text in so_far] or [0])
    elif last == "assemble_tool_calls":
        calls: list[ChatCompletionMessageToolCall] = items
        assert [(c.index, c.function.name, c.parsed) for c in calls] == [
            (c.index, c.function.name, c.parsed) for c in first.tool_calls or ()
        ]
        assert [c.parsed for c in calls] == ([{"city": "Paris"}, {"city": "Rome"}] if name == "calls" else [])
    else:
        check_chunks(name, before, items)


def check_chunks(name: str, before: str, items: list[ModelResponseStream]) -> None:
    """All chunks came, and the last one carries the usage if any was to be attached."""
    cut = "take" in before
    chunks, _ = expected(name, cut=cut)
    if "attach" not in before:
        assert plain(items) == plain(chunks)
        assert all(item.usage is None for item in items)
        return
    *others, final = items
    # Where no finish came to be held back, one more chunk has it: unless a cut below carries it on its own last chunk.
    if len(items) > len(chunks):
        assert len(final.choices) == 0
        assert before != "attach, take"
        assert plain(others) == plain(chunks)
    else:
        assert plain(items) == plain(chunks)
    assert all(item.usage is None for item in others)
    assert final.usage == expected_usage(name, cut=cut)


@each_completion
@each_order
def test_any_order_gives_the_right_result(name: str, before: str, last: str) -> None:
    """Text, calls and counts are those of what came; the last chunk carries the usage of that."""
    items: list[Any] = list(through(ask(name), before, last))
    check(name, before, last, items)


@each_order
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_any_order_consumed_in_any_way(before: str, last: str, way: Any) -> None:
    """The same on event loops and by subscribing."""
    check("reason", before, last, way(through(ask("reason"), before, last)))


class Consumer:
    """One of several subscribers."""

    def __init__(self, source: Observable[Any]) -> None:
        self.items: list[Any] = []
        self.errors: list[Exception] = []
        self._ended = threading.Event()
        source.subscribe(self.items.append, self._on_error, self._ended.set)

    def _on_error(self, error: Exception) -> None:
        self.errors.append(error)
        self._ended.set()

    def wait(self) -> None:
        """Until the end."""
        assert self._ended.wait(PATIENCE), "neither completed nor failed"


def published(stream: Stream[ModelResponseStream], rows: list[tuple[str, str]]) -> list[Consumer]:
    """A consumer for each row of the table, all of one request, when they have ended."""
    connectable: ConnectableObservable[ModelResponseStream] = stream.pipe(rx_ops.publish())
    consumers = [Consumer(through(connectable, *row)) for row in rows]
    connectable.connect()
    for consumer in consumers:
        consumer.wait()
    return consumers


@each_completion
def test_all_orders_at_once_over_one_request(name: str) -> None:
    """A consumer for each order, of one published stream: none disturbs another, wherever it leaves."""
    rows = [(before, last) for before in BEFORE for last in LAST]
    consumers = published(ask(name), rows)
    ids = {
        chunk.id for consumer, (_, last) in zip(consumers, rows, strict=True) if not last for chunk in consumer.items
    }
    assert len(ids) == 1
    for consumer, (before, last) in zip(consumers, rows, strict=True):
        assert consumer.errors == []
        check(name, before, last, consumer.items)


@pytest.mark.parametrize("before", ["", "attach", "attach, attach"])
@pytest.mark.parametrize("last", LAST)
def test_an_error_ends_any_order(before: str, last: str) -> None:
    """With what came before it; the error has the usage of that if any was to be attached."""
    error = RateLimitError("Too many tokens", status_code=429)
    stream = rxllm.completion(MODEL, MESSAGES, stream=True, mock_response=["Once ", "upon ", "a ", error])
    items: list[Any] = []
    with pytest.raises(RateLimitError) as raised:
        for item in through(stream, before, last):
            items.append(item)  # noqa: PERF402  those that came before the error
    assert raised.value is error
    wanted: dict[str, list[Any]] = {
        "accumulate_text": ["Once ", "Once upon ", "Once upon a "],
        "count_tokens": [
            count_text(get_encoding("o200k_base"), text) for text in ("Once ", "Once upon ", "Once upon a ")
        ],
        "assemble_tool_calls": [],
    }
    if last:
        assert items == wanted[last]
    else:
        assert [(item.choices[0].delta.content, item.usage) for item in items] == [
            ("Once ", None),
            ("upon ", None),
            ("a ", None),
        ]
    if before:
        assert error.usage is not None
        assert error.usage.estimated
        assert error.usage.completion_tokens == count_text(get_encoding("o200k_base"), "Once upon a ")
    else:
        assert error.usage is None


def test_a_cut_before_an_error_is_a_completion() -> None:
    """The error is never asked for."""
    stream = rxllm.completion(MODEL, MESSAGES, stream=True, mock_response=["Once ", "upon ", RateLimitError])
    for first, second in ((ops.take_chunks(2), attach()), (attach(), ops.take_chunks(2))):
        last: ModelResponseStream = stream.pipe(first, second).run()
        assert last.usage is not None
        assert last.usage.completion_tokens == count_text(get_encoding("o200k_base"), "Once upon ")


def test_after_a_break_nothing_is_attached() -> None:
    """There is no chunk left that could carry it."""
    seen: list[ModelResponseStream] = []
    for chunk in ask("story").pipe(attach()):
        seen.append(chunk)
        if len(seen) == 5:
            break
    assert len(seen) == 5
    assert all(chunk.usage is None for chunk in seen)


@pytest.mark.parametrize("consume", [WAYS["for"], WAYS["async for"]], ids=["for", "async for"])
def test_an_operator_in_the_wrong_place_is_told_of(consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """What types alone would tell: an operator on chunks below one that makes texts of them."""
    texts: Any = rxllm.completion("sim/echo", MESSAGES, stream=True, extra_body={"delay": 0}).pipe(ops.text_deltas())
    with pytest.raises(AttributeError) as raised:
        consume(texts.pipe(ops.take_chunks(1)))
    assert "was given a str: put it before" in raised.value.__notes__[0]
