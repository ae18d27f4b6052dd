"""take_chunks: up to the n-th chunk that carries content, then the request is cancelled."""

from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.operators.sources import collect, items, never_subscribed, of

CHUNKS = [of("", role="assistant"), of("a"), of(), of("b", index=1), of("c"), of(finish_reason="stop")]


@pytest.mark.parametrize(("n", "count"), [(1, 2), (2, 4), (3, 5), (4, 6), (100, 6)])
def test_content_of_any_choice_counts_and_all_chunks_pass(n: int, count: int) -> None:
    """Chunks without content pass in between, but not after the last."""
    assert items(ops.take_chunks(n), *CHUNKS) == CHUNKS[:count]


def test_none_sends_no_request() -> None:
    """0 completes at once, and the source is never asked."""
    assert collect(never_subscribed().pipe(ops.take_chunks(0))) == []


@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (1.0, TypeError), ("2", TypeError), (True, TypeError)])
def test_the_number_is_checked_when_the_operator_is_made(n: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match="take_chunks"):
        ops.take_chunks(n)


def test_the_request_is_cancelled_before_the_last_chunk_is_delivered() -> None:
    """However long the consumer takes over it, nothing more is paid for."""
    events: list[str] = []

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _scheduler: object = None) -> Disposable:
        later.append(observer)
        return Disposable(lambda: events.append("cancelled"))

    later: list[abc.ObserverBase[ModelResponseStream]] = []
    source: Observable[ModelResponseStream] = Observable(subscribe)
    source.pipe(ops.take_chunks(2)).subscribe(
        lambda chunk: events.append(chunk.choices[0].delta.content or ""), on_completed=lambda: events.append("done")
    )
    for text in "abc":
        later[0].on_next(of(text))
    assert events == ["a", "cancelled", "b", "done"]


def test_a_source_that_emits_inside_its_subscribe_is_cut_off_too() -> None:
    """What it still sends is dropped, and it is disposed of as soon as that is possible."""
    disposed: list[bool] = []

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _scheduler: object = None) -> Disposable:
        for chunk in CHUNKS:
            observer.on_next(chunk)
        return Disposable(lambda: disposed.append(True))

    assert collect(Observable(subscribe).pipe(ops.take_chunks(1))) == CHUNKS[:2]
    assert disposed == [True]


def test_a_consumer_that_makes_the_source_emit_gets_no_more_than_it_asked_for() -> None:
    """The count stands before the chunk is delivered."""
    subject: rx.Subject[ModelResponseStream] = rx.Subject()
    seen: list[ModelResponseStream] = []

    def feed(chunk: ModelResponseStream) -> None:
        seen.append(chunk)
        subject.on_next(of("more"))

    subject.pipe(ops.take_chunks(2)).subscribe(feed)
    subject.on_next(of("first"))
    assert len(seen) == 2


def test_cancelling_on_virtual_time() -> None:
    """The subscription to the source ends with the last chunk, and so does the stream."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, chunk) for at, chunk in enumerate(CHUNKS)), ReactiveTest.on_completed(300)
    )
    result = scheduler.start(lambda: source.pipe(ops.take_chunks(1)))
    assert result.messages == [
        ReactiveTest.on_next(210, CHUNKS[0]),
        ReactiveTest.on_next(220, CHUNKS[1]),
        ReactiveTest.on_completed(220),
    ]
    assert source.subscriptions == [ReactiveTest.subscribe(200, 220)]
