"""latest_every: the newest item, no more often than it may be, and always the last; ticking: also where none comes."""

import itertools
import queue
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import abc
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import as_stream
from rxllm._latest import latest_every, ticking
from tests.operators.sources import notifications
from tests.server import PATIENCE

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


def timed(*messages: Any, seconds: Any = 10, disposed: float = 1_000) -> list[tuple[float, str, Any]]:
    """What comes out of a source on virtual time, which is subscribed to at 200."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(*messages)
    return notifications(scheduler.start(lambda: source.pipe(latest_every(seconds)), disposed=disposed).messages)


def test_the_first_comes_at_once_and_then_the_newest() -> None:
    """The newest at each interval, and the last with the end."""
    messages = [on_next(time, time) for time in (210, 212, 214, 221, 229, 235)]
    assert timed(*messages, on_completed(236)) == [
        (210, "N", 210),
        (220, "N", 214),
        (230, "N", 229),
        (236, "N", 235),
        (236, "C", None),
    ]


def test_after_a_pause_the_next_comes_at_once() -> None:
    """An interval without an item ends the waiting."""
    assert timed(on_next(210, 1), on_next(250, 2), on_next(251, 3), on_completed(300)) == [
        (210, "N", 1),
        (250, "N", 2),
        (260, "N", 3),
        (300, "C", None),
    ]


def test_nothing_is_given_twice() -> None:
    """What has been given is not given again at the end."""
    assert timed(on_next(210, 1), on_completed(300)) == [(210, "N", 1), (300, "C", None)]


def test_a_source_that_never_emits() -> None:
    """Nothing comes."""
    assert timed() == []


def test_an_empty_source() -> None:
    """Stays empty."""
    assert timed(on_completed(210)) == [(210, "C", None)]


def test_the_newest_comes_before_an_error() -> None:
    """However soon after another."""
    error = RuntimeError("broken")
    seen = timed(on_next(210, 1), on_next(211, 2), on_error(212, error))
    assert [(time, kind) for time, kind, _ in seen] == [(210, "N"), (212, "N"), (212, "E")]
    assert seen[1][2] == 2


def test_leaving_early_cancels_the_timer() -> None:
    """What waits does not come any more, and nothing is left to wait for."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(on_next(210, 1), on_next(212, 2), on_completed(300))
    asked: list[float] = []

    def interval() -> float:
        asked.append(scheduler.to_seconds(scheduler.now))
        return 10

    result = scheduler.start(lambda: source.pipe(latest_every(interval)), disposed=215)
    assert notifications(result.messages) == [(210, "N", 1)]
    assert [(each.subscribe, each.unsubscribe) for each in source.subscriptions] == [(200, 215)]
    assert asked == [210], "the timer went on"


def test_subscriptions_share_nothing() -> None:
    """Each has a first item of its own."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(on_next(210, 1), on_next(215, 2), on_completed(300))
    latest = source.pipe(latest_every(10))
    late = scheduler.create_observer()

    def subscribe_late(_: abc.SchedulerBase, __: object = None) -> None:
        latest.subscribe(late, scheduler=scheduler)

    scheduler.schedule_absolute(212, subscribe_late)
    early = scheduler.start(lambda: latest)
    assert notifications(early.messages) == [(210, "N", 1), (220, "N", 2), (300, "C", None)]
    assert notifications(late.messages) == [(215, "N", 2), (300, "C", None)]


def test_the_interval_may_follow_what_an_item_costs() -> None:
    """It is asked for after each item."""
    seconds = iter((10, 50, 10))
    messages = [on_next(time, time) for time in range(210, 300, 2)]
    seen = timed(*messages, on_completed(299), seconds=lambda: next(seconds, 10))
    assert [time for time, kind, _ in seen if kind == "N"] == [210, 220, 270, 280, 290, 299]


@given(st.lists(st.integers(201, 400), unique=True), st.integers(1, 60))
def test_no_two_are_closer_but_the_last(times: list[int], seconds: int) -> None:
    """In order, none invented, the first and the last among them, and each the newest of its time."""
    seen = timed(*(on_next(time, time) for time in sorted(times)), on_completed(401), seconds=seconds)
    given_at = [time for time, kind, _ in seen if kind == "N"]
    assert all(after - before >= seconds for before, after in itertools.pairwise(given_at[:-1]))
    assert [item for _, kind, item in seen if kind == "N"] == [
        max(time for time in times if time <= at) for at in given_at
    ]
    assert bool(times) == bool(given_at)
    if times:
        assert seen[0][2] == min(times)
        assert seen[-2][2] == max(times)


def test_an_item_may_end_the_source() -> None:
    """Whoever takes the first item may be who ends it: the end comes after it, once."""
    subject: Subject[int] = Subject()
    seen: list[Any] = []

    def take(item: int) -> None:
        seen.append(item)
        subject.on_completed()

    subject.pipe(latest_every(60)).subscribe(take, seen.append, lambda: seen.append("end"))
    subject.on_next(1)
    assert seen == [1, "end"]


@pytest.mark.parametrize("on_a_loop", [True, False], ids=["on a loop", "on timers of its own"])
def test_on_a_clock(on_a_loop: bool) -> None:
    """What waits comes when it is time, though nothing more comes from the source."""
    arrived: queue.Queue[str] = queue.Queue()
    latest = rx.concat(rx.of("a", "b", "c"), rx.never()).pipe(latest_every(0.01))
    subscription = (as_stream(latest) if on_a_loop else latest).subscribe(arrived.put)
    assert [arrived.get(timeout=PATIENCE), arrived.get(timeout=PATIENCE)] == ["a", "c"]
    subscription.dispose()


@pytest.mark.parametrize(
    ("messages", "given"),
    [
        ([on_next(5, None), on_completed(25)], [(5, "N"), (10, "N"), (20, "N"), (25, "C")]),
        ([on_error(15, ValueError())], [(10, "N"), (15, "E")]),
        ([on_completed(0)], [(0, "C")]),
        ([], [(10, "N"), (20, "N"), (30, "N"), (40, "N")]),
    ],
    ids=["an end", "an error", "empty", "never"],
)
def test_it_ticks_where_nothing_comes(messages: list[Any], given: list[tuple[float, str]]) -> None:
    """At its own times, until the end, an error or the disposal; each subscription by itself."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(*messages)
    ticks = source.pipe(ticking(10))
    for _ in range(2):
        observer = scheduler.create_observer()
        begun = scheduler.clock
        subscription = ticks.subscribe(observer, scheduler=scheduler)
        scheduler.advance_by(45)
        subscription.dispose()
        scheduler.advance_by(45)
        assert [(at - begun, kind) for at, kind, _ in notifications(observer.messages)] == given
