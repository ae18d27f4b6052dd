"""rxllm.testing: streams that are drawn, and the time they come at."""

import asyncio
import threading
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as rx_ops

from rxllm import as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError, RateLimitError
from rxllm.testing import VirtualTime, Watched, cold_chunks, hot_chunks, tool_call
from rxllm.types import ModelResponseStream
from tests.server import PATIENCE

of = ModelResponseStream.of


def seen(observable: rx.Observable[Any], seconds: float = 100) -> Watched[Any]:
    """What comes of it on virtual time."""
    time = VirtualTime()
    watched = time.watch(observable)
    time.advance(seconds)
    return watched


@pytest.mark.parametrize(
    ("drawing", "items", "times", "ended_at"),
    [
        ("-Hel-lo-|", ["Hel", "lo"], [1, 5], 8),
        ("|", [], [], 0),
        ("", [], [], None),
        ("---", [], [], None),
        ("a", ["a"], [0], None),
        ("   -a-|   ", ["a"], [1], 3),
        ("-Hello, you -|", ["Hello, you "], [1], 13),
        ("- -\n-|", [" ", "\n"], [1, 3], 5),
        ("-007-1e5-nan-|", ["007", "1e5", "nan"], [1, 5, 9], 13),
        ("--(a,b c,d|)", ["a", "b c", "d"], [2, 2, 2], 2),
        ("-(a,b)-c-|", ["a", "b", "c"], [1, 1, 7], 9),
        ("-(a|)--", ["a"], [1], 1),
        ("-<think>-|", ["<think>"], [1], 9),
    ],
)
def test_what_a_drawing_says(drawing: str, items: list[str], times: list[float], ended_at: float | None) -> None:
    """Each character is a second; a text comes at its first one; a group at its bracket."""
    watched = seen(cold_chunks(drawing))
    assert watched.items == [of(text) for text in items]
    assert (watched.times, watched.ended_at) == (times, ended_at)
    assert watched.completed == (ended_at is not None)


@pytest.mark.parametrize(
    ("drawing", "words"),
    [
        ("-a-|-b", "behind the end"),
        ("-a-#|", "behind the end"),
        ("-(a,b", "alone"),
        ("-a)-", "alone"),
        ("-()-", "empty"),
        ("-(a,,b)-", "empty"),
        ("-(,a)-", "empty"),
        ("-a-^-b-", "hot"),
    ],
)
def test_what_is_no_drawing(drawing: str, words: str) -> None:
    """It is refused when it is read, and shown."""
    with pytest.raises(ValueError, match=words) as caught:
        cold_chunks(drawing)
    assert repr(drawing) in str(caught.value)


def test_beads_that_are_no_text() -> None:
    """A role, finish reasons, and whatever is looked up, which comes first."""
    reasons = ["stop", "length", "tool_calls", "content_filter"]
    drawing = "-<role>-" + "-".join(f"<{reason}>" for reason in reasons) + "-|"
    assert seen(cold_chunks(drawing)).items == [
        of(role="assistant"),
        *(of(finish_reason=reason) for reason in reasons),
    ]
    other = of("x", index=1)
    assert seen(cold_chunks("-<stop>-|", {"<stop>": other})).items == [other]


def test_errors() -> None:
    """``#`` is the error that is given, or else a broken connection."""
    error = RateLimitError("Slow down")
    assert seen(cold_chunks("-a-#", error=error)).error is error
    assert isinstance(seen(cold_chunks("#")).error, APIConnectionError)


def test_tool_calls() -> None:
    """Whole, with arguments of any kind, or in pieces."""
    whole = tool_call("add", {"x": [1]}, index=1, choice=2)
    pieces = {"a": tool_call("add", '{"x": '), "b": tool_call(arguments="[1]}", id=None), "c": whole}
    calls = seen(cold_chunks("-a-b-c-|", pieces).pipe(ops.assemble_tool_calls())).items
    assert {(call.function.name, call.choice, str(call.parsed)) for call in calls} == {
        ("add", 0, "{'x': [1]}"),
        ("add", 2, "{'x': [1]}"),
    }
    (piece,) = pieces["b"].choices[0].delta.tool_calls or []
    assert piece.model_dump(exclude_unset=True) == {"index": 0, "function": {"arguments": "[1]}"}}


def test_each_subscriber_gets_all_of_what_is_cold() -> None:
    """Whenever it comes, and chunks of its own where the drawing made them."""
    time = VirtualTime()
    source = cold_chunks("-<stop>-|")
    first = time.watch(source)
    time.advance(5)
    second = time.watch(source)
    time.advance(20)
    assert (first.times, second.times) == ([1], [6])
    assert first.items == second.items


def test_leaving_what_is_cold() -> None:
    """Nothing more comes."""
    time = VirtualTime()
    watched = time.watch(cold_chunks("-a-b-|"))
    time.advance(1)
    watched.leave()
    time.advance(20)
    assert (watched.times, watched.ended_at, watched.completed) == ([1], None, False)


def test_what_is_hot_has_partly_gone_by() -> None:
    """``^`` is the subscription, and takes no time; a late one gets the rest."""
    time = VirtualTime()
    source = hot_chunks("-a-^-b-c-|", time, timespan=2)
    first = time.watch(source)
    time.advance(3)
    late = time.watch(source)
    time.advance(20)
    assert (first.items, first.times, first.ended_at) == ([of("b"), of("c")], [2, 6], 10)
    assert (late.items, late.times, late.ended_at) == ([of("c")], [6], 10)
    with pytest.raises(ValueError, match="twice"):
        hot_chunks("^-^", time)
    assert time.watch(hot_chunks("a-|", time)).items == []


def test_the_timespan() -> None:
    """How long a character takes, also in fractions."""
    watched = seen(cold_chunks("-a-b-|", timespan=0.1))
    assert watched.times == pytest.approx([0.1, 0.3])
    assert watched.ended_at == pytest.approx(0.5)


def test_drawings_in_real_loops() -> None:
    """The same drawing, consumed as a Stream is."""
    stream = as_stream(cold_chunks("-Hel-lo-<stop>|", timespan=0.001)).pipe(ops.text_deltas())

    async def consume() -> list[str]:
        return [text async for text in stream]

    assert list(stream) == asyncio.run(consume()) == ["Hel", "lo"]
    for timespan in (0, 0.001):
        # Alone, it runs on a scheduler that has a thread for each timer.
        alone = cold_chunks("(a,b,c)-d-e-f-(g,h|)", timespan=timespan)
        assert alone.pipe(ops.accumulate_text()).run() == "abcdefgh"
    seen: list[str] = []
    done = threading.Event()
    cold_chunks("(a,b)-c-|", timespan=0.001).pipe(ops.text_deltas()).subscribe(seen.append, None, done.set)
    assert done.wait(PATIENCE)
    assert seen == ["a", "b", "c"]


def test_a_stream_of_marbles_is_on_virtual_time() -> None:
    """One that several were made to; one that asks somebody runs in real time, and is refused."""
    watched = seen(ops.race(cold_chunks("-----a-|"), cold_chunks("-----b---|"), cold_chunks("--c--|")))
    assert (watched.items, watched.times) == ([of("c")], [2])
    with pytest.raises(TypeError, match="real time"):
        VirtualTime().watch(as_stream([of("a")]))


def test_timers_of_operators_run_on_virtual_time() -> None:
    """Of reactivex's and of the library's, however long they take."""
    time = VirtualTime()
    slow = time.watch(cold_chunks("a-|", timespan=3600).pipe(rx_ops.delay(86_400.0)))
    smooth = time.watch(cold_chunks("(one two three|)").pipe(ops.smooth_text(0.25)))
    time.advance(100_000)
    assert slow.times == [86_400]
    assert smooth.ended_at is not None
    assert (slow.ended_at, time.clock) == (86_400 + 7200, 100_000)


names = st.text(st.characters(exclude_characters="-|#^()"), min_size=1, max_size=8).filter(lambda it: it == it.strip())


@given(st.lists(st.tuples(st.integers(1, 5), names), max_size=8), st.integers(1, 5))
def test_whatever_is_drawn_comes(parts: list[tuple[int, str]], last: int) -> None:
    """Any texts, any pauses."""
    drawing, times = "", list[float]()
    for pause, name in parts:
        drawing += "-" * pause
        times.append(len(drawing))
        drawing += name
    drawing += "-" * last + "|"
    lookup = {name: name for _, name in parts}
    watched = seen(cold_chunks(drawing, lookup), 1000)
    assert watched.items == [name for _, name in parts]
    assert (watched.times, watched.ended_at) == (times, len(drawing) - 1)
