"""smooth_text: bursts become an even pace, and nothing else waits."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as rx_ops
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import Stream
from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.consume import WAYS
from tests.operators.sources import call_piece, calling, failure, items, notifications, of, reported, text_chunks
from tests.server import PATIENCE, Answering, Server, chunk


def texts(chunks: list[ModelResponseStream], index: int = 0) -> list[str]:
    """The texts of a choice, chunk by chunk."""
    return [c.delta.content for each in chunks for c in each.choices if c.index == index and c.delta.content]


def timed(
    *chunks: tuple[float, ModelResponseStream], until: float = 1_000, **arguments: Any
) -> list[tuple[float, str | None]]:
    """When each text came, and with ``None`` the end."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(time, each) for time, each in chunks),  # type: ignore[arg-type]
        ReactiveTest.on_completed(until),  # type: ignore[arg-type]
    )
    settings: dict[str, Any] = {"interval": 10, "late": 100, **arguments}
    operator = ops.smooth_text(**settings)
    result = scheduler.start(lambda: source.pipe(operator), disposed=2_000)
    return [
        (time, "".join(texts([item])) if kind == "N" else None) for time, kind, item in notifications(result.messages)
    ]


def test_a_burst_becomes_an_even_pace() -> None:
    """The first word at once, one more at each interval, the last with the end."""
    assert timed((210, of("one two three fo")), (300, of("ur five "))) == [
        (210, "one "),
        (220, "two "),
        (230, "three "),
        (300, "four "),
        (1000, "five "),
        (1000, None),
    ]


def test_the_pace_is_kept_across_chunks() -> None:
    """A word that is whole soon after another waits for its turn."""
    assert timed((210, of("a b")), (213, of(" c")), (216, of(" d "))) == [
        (210, "a "),
        (220, "b "),
        (230, "c "),
        (1000, "d "),
        (1000, None),
    ]


def test_more_come_at_a_time_where_some_would_be_late() -> None:
    """Thirty words in a hundred seconds, evenly."""
    seen = timed((210, of("w " * 31)))[:-2]
    assert [time for time, _ in seen] == sorted([210 + 10 * n for n in range(10)] * 3)


@pytest.mark.parametrize(
    "other",
    [
        calling(call_piece("{}", index=0, id="a", name="f")),
        of(finish_reason="stop"),
        reported(prompt_tokens=1),
        of("!", finish_reason="length"),
        of(annotations=[{"type": "url_citation"}]),
    ],
)
def test_nothing_but_text_waits(other: ModelResponseStream) -> None:
    """All text before it comes with it, in order."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("", role="assistant")),
        ReactiveTest.on_next(220, of("one two three fo")),
        ReactiveTest.on_next(225, other),
        ReactiveTest.on_next(227, of("five six")),
    )
    result = scheduler.start(lambda: source.pipe(ops.smooth_text(10, late=100)), disposed=500)
    seen = notifications(result.messages)
    assert [(time, texts([item])) for time, _, item in seen[:2]] == [(210, []), (220, ["one "])]
    at_once = [item for time, _, item in seen if time == 225]
    whole = "".join(texts(at_once))
    if other.choices and other.choices[0].delta.annotations:
        # A piece that is not whole is no text yet.
        assert whole == "two three "
    else:
        assert whole == "two three fo" + (other.choices[0].delta.content or "" if other.choices else "")
    last = at_once[-1]
    assert [choice.finish_reason for choice in last.choices] == [choice.finish_reason for choice in other.choices]
    assert last.reported_usage == other.reported_usage


@given(
    st.lists(st.sampled_from(["one ", "tw", "o", "\u4f60\u597d", " ", "\n", "three"]), max_size=10),
    st.lists(st.integers(0, 40), min_size=10, max_size=10),
    st.sampled_from(["word", "line", "char"]),
)
def test_any_cutting_and_any_times_give_the_same_pieces(pieces: list[str], waits: list[int], by: Any) -> None:
    """Which are the text, in order."""
    times = [210 + sum(waits[: at + 1]) for at in range(len(pieces))]
    seen = timed(*zip(times, text_chunks(pieces), strict=True), by=by)
    expected = texts(items(ops.smooth_text(0, by), of("".join(pieces))))
    assert [text for _, text in seen] == [*expected, None]
    assert "".join(expected) == "".join(pieces)


def test_an_error_brings_what_waits() -> None:
    """At once."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("one two th")), rx.throw(error)).pipe(ops.smooth_text()))
    assert (texts(seen), raised) == (["one ", "two ", "th"], error)


def test_leaving_ends_the_timers() -> None:
    """What waits is not delivered any more, and nothing is left on the scheduler."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(ReactiveTest.on_next(210, of("one two three four")))
    result = scheduler.start(lambda: source.pipe(ops.smooth_text(10, late=100)), disposed=225)
    assert [time for time, _, _ in notifications(result.messages)] == [210, 220]
    assert source.subscriptions == [ReactiveTest.subscribe(200, 225)]
    assert scheduler.clock < 500


def test_an_interval_of_0_cuts_and_does_not_wait() -> None:
    """No timer runs."""
    assert timed((210, of("one two th")), interval=0) == [(210, "one "), (210, "two "), (1000, "th"), (1000, None)]


def test_pieces_are_chunks_like_the_one_that_completed_them() -> None:
    """With its id, model and what else it says; the role on the first."""
    first = of("one two", role="assistant")
    first.id, first.model, first.response_headers = "chatcmpl-1", "gpt-4", {"x-request-id": "1"}
    seen = items(ops.smooth_text(0.01), first, reported(prompt_tokens=1))
    assert [(each.id, each.model) for each in seen[:2]] == [("chatcmpl-1", "gpt-4")] * 2
    assert [each.choices[0].delta.role for each in seen[:2]] == ["assistant", None]
    assert texts(seen) == ["one ", "two"]


def test_choices_and_reasoning() -> None:
    """Pieces of each choice and field are cut by themselves, and come in their order."""
    chunks = [of(reasoning_content="a b"), of("c d"), of("e f", index=1), of(" g"), of("h ", index=1)]
    seen = items(ops.smooth_text(0.01), *chunks)
    assert [each.choices[0].delta.reasoning_content for each in seen[:2]] == ["a ", "b"]
    assert (texts(seen), texts(seen, 1)) == (["c ", "d ", "g"], ["e ", "fh "])


def test_an_answer_that_begins_anew() -> None:
    """What waited is void, and the marker does not wait."""
    scheduler = TestScheduler()
    marker = ModelResponseStream.restarting("broke")
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("one two three fo")), ReactiveTest.on_next(215, marker)
    )
    result = scheduler.start(lambda: source.pipe(ops.smooth_text(10, late=100)), disposed=500)
    assert [(time, item is marker) for time, _, item in notifications(result.messages)] == [(210, False), (215, True)]


@pytest.mark.parametrize("way", WAYS)
def test_over_a_real_connection(
    way: str, server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]
) -> None:
    """However it is consumed, words come while the provider is silent."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one two three four fi"))
        await server.taken.wait()
        await answering.last(chunk("ve"), chunk(finish="stop"), "[DONE]")

    server.script = script

    def watch(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        return source.pipe(rx_ops.do_action(see))

    seen: list[str] = []

    def see(each: ModelResponseStream) -> None:
        seen.extend(texts([each]))
        if len(seen) == 4:
            server.taken.open()

    WAYS[way](ask().pipe(ops.smooth_text(0.01), watch))
    assert seen == ["one ", "two ", "three ", "four ", "five"]


def test_without_a_scheduler() -> None:
    """On a bare Observable the timers have threads of their own."""
    subject: rx.Subject[ModelResponseStream] = rx.Subject()
    seen: list[str] = []
    three = threading.Event()

    def see(each: ModelResponseStream) -> None:
        seen.extend(texts([each]))
        if len(seen) == 3:
            three.set()

    subject.pipe(ops.smooth_text(0.01)).subscribe(see)
    subject.on_next(of("one two three fo"))
    assert three.wait(PATIENCE)
    subject.on_completed()
    assert seen == ["one ", "two ", "three ", "fo"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"interval": -1}, ValueError),
        ({"interval": "1"}, TypeError),
        ({"late": 0.01}, ValueError),
        ({"late": None}, TypeError),
        ({"by": "sentence"}, TypeError),
        ({"by": None}, TypeError),
        ({"by": re.compile(b"a")}, TypeError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"interval|late|by"):
        ops.smooth_text(**arguments)
