"""stop_at: exactly before a sequence, wherever it is cut, and then the request is cancelled."""

from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import Stream
from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.consume import WAYS
from tests.operators.sources import asked, call_piece, calling, collect, failure, items, of, reported, text_chunks
from tests.server import Answering, Server, chunk


def texts(chunks: list[ModelResponseStream], index: int = 0) -> str:
    """The whole text of a choice."""
    return "".join(c.delta.content or "" for each in chunks for c in each.choices if c.index == index)


def reasons(chunks: list[ModelResponseStream], index: int = 0) -> list[str]:
    """The finish reasons of a choice."""
    return [c.finish_reason for each in chunks for c in each.choices if c.index == index and c.finish_reason]


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.text("abc", max_size=4), max_size=8),
)
def test_any_cutting_gives_the_same(sequences: list[str], pieces: list[str]) -> None:
    """The text before the sequence that is complete first, and a finish reason, however the text is cut."""
    whole = "".join(pieces)
    ends = [(whole.find(each) + len(each), -len(each)) for each in sequences if each in whole]
    given_chunks = items(ops.stop_at(*sequences), *text_chunks(pieces), of(finish_reason="length"))
    one_by_one = items(ops.stop_at(*sequences), *text_chunks(whole), of(finish_reason="length"))
    if ends:
        end, length = min(ends)
        expected, reason = whole[: end + length], "stop"
    else:
        expected, reason = whole, "length"
    for chunks in (given_chunks, one_by_one):
        assert (texts(chunks), reasons(chunks)) == (expected, [reason])
        assert chunks[-1].choices[0].finish_reason == reason


def test_the_last_chunk_says_what_stopped_it() -> None:
    """As a provider tells of its own stop sequences."""
    chunks = items(ops.stop_at("END", "STOP"), of("a", role="assistant"), of("b ST"), of("OP c"), of("d"))
    assert [each.choices[0].delta.content for each in chunks] == ["a", "b ", None]
    last = chunks[-1].choices[0]
    assert (last.finish_reason, last.native_finish_reason) == ("stop", "stop_sequence")
    assert last.delta.provider_specific_fields == {"stop_sequence": "STOP"}


def test_the_rest_of_the_answer_passes_as_it_came() -> None:
    """Chunks, reasoning and calls, where no sequence comes; what looked like one is given before a call."""
    whole = [
        of("", role="assistant"),
        of(reasoning_content="to the END"),
        of("Hello"),
        of("E"),
        calling(call_piece('{"END": 1}', index=0, id="a", name="f")),
        of(finish_reason="tool_calls"),
        reported(prompt_tokens=3),
    ]
    chunks = items(ops.stop_at("END"), *whole)
    assert chunks[:3] == whole[:3]
    assert chunks[3].choices[0].delta.content == "E"
    assert chunks[3].choices[0].delta.tool_calls == whole[4].choices[0].delta.tool_calls
    assert chunks[4:] == whole[5:]


def test_held_text_comes_before_an_error() -> None:
    """Nothing that came is lost."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("a EN")), rx.throw(error)).pipe(ops.stop_at("END")))
    assert (texts(seen), raised) == ("a EN", error)


def test_the_request_is_cancelled_before_the_last_chunks_are_delivered() -> None:
    """Nothing more is paid for, however long the consumer takes."""
    events: list[str] = []
    observers: list[abc.ObserverBase[ModelResponseStream]] = []

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _scheduler: object = None) -> Disposable:
        observers.append(observer)
        return Disposable(lambda: events.append("cancelled"))

    source: Observable[ModelResponseStream] = Observable(subscribe)
    source.pipe(ops.stop_at("END")).subscribe(
        lambda chunk: events.append(chunk.choices[0].delta.content or chunk.choices[0].finish_reason or ""),
        on_completed=lambda: events.append("done"),
    )
    for text in ("a", "b E", "ND", "c"):
        observers[0].on_next(of(text))
    assert events == ["a", "b ", "cancelled", "stop", "done"]


def test_a_source_that_emits_inside_its_subscribe_is_cut_off_too() -> None:
    """What it still sends is dropped, and it is disposed of as soon as that is possible."""
    disposed: list[bool] = []

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _scheduler: object = None) -> Disposable:
        for text in ("a", "END", "b"):
            observer.on_next(of(text))
        observer.on_completed()
        return Disposable(lambda: disposed.append(True))

    assert texts(collect(Observable(subscribe).pipe(ops.stop_at("END")))) == "a"
    assert disposed == [True]


def test_choices_stop_by_themselves() -> None:
    """Each at its own sequence; the request is cancelled when the last of them has stopped or finished."""
    scheduler = TestScheduler()
    chunks = [of("a"), of("b", index=1), of("END"), of("gone"), of("c", index=1), of("END", index=1), of("d", index=2)]
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, each) for at, each in enumerate(chunks)), ReactiveTest.on_completed(300)
    )
    result = scheduler.start(lambda: source.pipe(ops.stop_at("END")))
    given_chunks: list[Any] = [getattr(message.value, "value", None) for message in result.messages]
    seen = [each for each in given_chunks if each is not None]
    assert (texts(seen, 0), texts(seen, 1), texts(seen, 2)) == ("a", "bc", "")
    assert (reasons(seen, 0), reasons(seen, 1)) == (["stop"], ["stop"])
    assert source.subscriptions == [ReactiveTest.subscribe(200, 260)]
    assert result.messages[-1] == ReactiveTest.on_completed(260)


@pytest.mark.parametrize(("n", "ends"), [(1, 220), (2, 230), (3, 300)])
def test_as_many_choices_as_were_asked_for_are_waited_for(n: int, ends: int) -> None:
    """One that was asked for and has not come yet will come."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("a")),
        ReactiveTest.on_next(220, of("END")),
        ReactiveTest.on_next(230, of("END", index=1)),
        ReactiveTest.on_completed(300),
    )
    result = scheduler.start(lambda: asked(source, params={"n": n}).pipe(ops.stop_at("END")))
    assert result.messages[-1] == ReactiveTest.on_completed(ends)


def test_a_choice_that_finishes_while_a_stopped_one_still_runs_ends_the_request() -> None:
    """The stopped one would be paid for until its own end."""
    chunks = [of("a"), of("b", index=1), of("END"), of(index=1, finish_reason="length"), of("more"), reported(x=1)]
    seen = items(ops.stop_at("END"), *chunks)
    assert seen[-1].choices[0].finish_reason == "length"


def test_where_the_provider_comes_to_its_own_end_its_usage_passes() -> None:
    """Nothing is left to cancel then."""
    seen = items(ops.stop_at("END"), of("a END", finish_reason="length"), reported(prompt_tokens=3))
    assert reasons(seen) == ["stop"]
    assert seen[-1].reported_usage is not None


def test_an_answer_that_begins_anew_is_searched_anew() -> None:
    """Neither what was held back nor a choice that had stopped counts any more."""
    marker = ModelResponseStream.restarting("the connection broke")
    seen = items(ops.stop_at("END"), of("x", index=1), of("END"), of("EN", index=1), marker, of("D"), of("D", index=1))
    after = seen[seen.index(marker) + 1 :]
    assert (texts(after, 0), texts(after, 1)) == ("D", "D")


def test_usage_of_a_stopped_answer() -> None:
    """attach_usage() below it counts what came until then, on the chunk that says why it stopped."""
    last = rx.of(*text_chunks(["Hello", "END", " world"])).pipe(ops.stop_at("END"), ops.attach_usage("gpt-4")).run()
    assert last.choices[0].finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == 1


@pytest.mark.parametrize(
    ("sequences", "error"), [((), ValueError), (("",), ValueError), (("a", 5), TypeError), ((["a"],), TypeError)]
)
def test_sequences_are_checked_when_the_operator_is_made(sequences: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match="stop_at"):
        ops.stop_at(*sequences)


@pytest.mark.parametrize("way", WAYS)
def test_over_a_real_connection(
    way: str, server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]
) -> None:
    """However it is consumed, the response is closed while the provider would still be writing."""

    async def endless(answering: Answering) -> None:
        await answering.start()
        for text in ("one ", "two E", "ND"):
            await answering.event(chunk(text))
        await answering.closed()

    server.script = endless
    seen = WAYS[way](ask().pipe(ops.stop_at("END")))
    assert (texts(seen), reasons(seen)) == ("one two ", ["stop"])
    server.next_closed()
