"""split_sentences: whole sentences, as soon as each is over."""

from collections.abc import Callable

import pytest
import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import Stream
from rxllm import operators as ops
from tests.consume import WAYS
from tests.operators.sources import collect, failure, items, notifications, of
from tests.server import Answering, Server

on_next = ReactiveTest.on_next


def test_sentences_come_when_they_are_over() -> None:
    """Each at the time of the letter that shows it, the last at the completion."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        on_next(210, "It is. "), on_next(220, "So it"), on_next(230, " was"), ReactiveTest.on_completed(240)
    )
    result = scheduler.start(lambda: source.pipe(ops.split_sentences()))
    assert notifications(result.messages) == [(220, "N", "It is. "), (240, "N", "So it was"), (240, "C", None)]


def test_what_is_left_comes_before_an_error() -> None:
    """Nothing that came is lost."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of("It is. So"), rx.throw(error)).pipe(ops.split_sentences()))
    assert (seen, raised) == (["It is. ", "So"], error)


def test_an_empty_text_has_no_sentence() -> None:
    """Nor has one of empty pieces."""
    assert collect(rx.of("", "").pipe(ops.split_sentences())) == []


def test_below_the_text_of_one_choice() -> None:
    """Of several choices, the one that is asked for."""
    chunks = [of("One. "), of("Two. ", index=1), of("Three", index=1), of("Four")]
    assert items(lambda source: source.pipe(ops.text_deltas(1), ops.split_sentences()), *chunks) == ["Two. ", "Three"]


@pytest.mark.parametrize("way", WAYS)
def test_over_a_real_connection(
    way: str, server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]
) -> None:
    """However it is consumed."""

    async def speaking(answering: Answering) -> None:
        await answering.stream("It is", ". S", "o it", " was.")

    server.script = speaking
    assert WAYS[way](ask().pipe(ops.text_deltas(), ops.split_sentences())) == ["It is. ", "So it was."]
