"""split_lines: whole lines, with their ends."""

import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from tests.operators.sources import collect, failure, items, notifications, of

on_next = ReactiveTest.on_next


def test_lines_come_when_they_are_whole() -> None:
    """Each at the time of its end, the last at the completion."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        on_next(210, "one\ntw"), on_next(220, "o"), on_next(230, "\n\nx"), ReactiveTest.on_completed(240)
    )
    result = scheduler.start(lambda: source.pipe(ops.split_lines()))
    assert notifications(result.messages) == [
        (210, "N", "one\n"),
        (230, "N", "two\n"),
        (230, "N", "\n"),
        (240, "N", "x"),
        (240, "C", None),
    ]


def test_what_is_left_comes_before_an_error() -> None:
    """Nothing that came is lost."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of("one\ntwo"), rx.throw(error)).pipe(ops.split_lines()))
    assert (seen, raised) == (["one\n", "two"], error)


def test_an_empty_text_has_no_line() -> None:
    """Nor has one of empty pieces."""
    assert collect(rx.of("", "").pipe(ops.split_lines())) == []


def test_below_the_text_of_one_choice() -> None:
    """Of several choices, the one that is asked for."""
    chunks = [of("a\n"), of("b\n", index=1), of("c", index=1), of("d")]
    assert items(lambda source: source.pipe(ops.text_deltas(1), ops.split_lines()), *chunks) == ["b\n", "c"]


def test_leaving_early_cancels() -> None:
    """In the middle of several lines of one piece, too."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(on_next(210, "one\ntwo\nthree\n"), on_next(220, "x\n"))
    seen: list[str] = []

    def take(line: str) -> None:
        seen.append(line)
        if len(seen) == 2:
            subscription.dispose()

    subscription = source.pipe(ops.split_lines()).subscribe(take)
    scheduler.start()
    assert seen == ["one\n", "two\n"]
    assert source.subscriptions == [ReactiveTest.subscribe(0, 210)]
