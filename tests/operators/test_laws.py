"""What holds for every operator: the checklist, on virtual time."""

from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as rx_ops
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from rxllm import as_stream
from rxllm import operators as ops
from rxllm.types import ModelResponse, ModelResponseStream
from tests.consume import WAYS
from tests.operators.cases import CASES, CREATIONS
from tests.operators.sources import call_piece, calling, items, notifications, of

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


WHOLE = [
    of("", role="assistant"),
    of("Hel"),
    of("lo"),
    calling(call_piece('{"x"', index=0, id="a", name="f")),
    calling(call_piece(": 1}", index=0)),
    of(finish_reason="tool_calls"),
]
each_operator = pytest.mark.parametrize("name", CASES)


def recorded(times: range, chunks: list[ModelResponseStream]) -> list[Recorded[ModelResponseStream]]:
    """The chunks, one at each time."""
    return [on_next(time, chunk) for time, chunk in zip(times, chunks, strict=False)]


def plain(values: list[Any]) -> list[Any]:
    """Items that compare by what they say."""
    return [
        value.model_dump() if isinstance(value, (ModelResponse, ModelResponseStream)) else value for value in values
    ]


def test_all_is_sorted_and_whole() -> None:
    """The package exports these operators and no others, and each is held to the laws."""
    assert ops.__all__ == sorted([*CASES, *CREATIONS])
    assert all(callable(getattr(ops, name)) for name in ops.__all__)


@each_operator
def test_never(name: str) -> None:
    """A source that says nothing gives nothing, and stays subscribed until the consumer leaves."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(list[Recorded[ModelResponseStream]]())
    result = scheduler.start(lambda: source.pipe(CASES[name].make()))
    assert result.messages == []
    assert source.subscriptions == [ReactiveTest.subscribe(200, 1000)]


@each_operator
def test_empty(name: str) -> None:
    """An empty source completes at its time; the text and count operators say so with an item."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(on_completed(250))
    result = scheduler.start(lambda: source.pipe(CASES[name].make()))
    assert result.messages[-1] == on_completed(250)
    values = [item for _, _, item in notifications(result.messages[:-1])]
    if name == "build_response":
        (response,) = values
        assert response.choices == []
        assert response.usage.estimated
    else:
        assert values == list(CASES[name].of_nothing)
    assert source.subscriptions == [ReactiveTest.subscribe(200, 250)]


@each_operator
def test_error_at_once(name: str) -> None:
    """An error is all that comes of a source that fails at once."""
    error = RuntimeError("broken")
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(on_error(250, error))
    result = scheduler.start(lambda: source.pipe(CASES[name].make()))
    assert result.messages == [on_error(250, error)]


@each_operator
def test_error_after_chunks(name: str) -> None:
    """An error passes at its time, the last of what comes, after the chunks that operators pass on."""
    error = RuntimeError("broken")
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(*recorded(range(210, 300, 10), WHOLE), on_error(300, error))
    result = scheduler.start(lambda: source.pipe(CASES[name].make()))
    assert result.messages[-1] == on_error(300, error)
    before = notifications(result.messages[:-1])
    assert all(kind == "N" for _, kind, _ in before)
    if CASES[name].passes:
        # The last of them may carry the usage of what has come.
        assert [item.model_copy(update={"usage": None}) for _, _, item in before] == WHOLE


@each_operator
def test_early_disposal(name: str) -> None:
    """A consumer who leaves cancels the source at once and gets nothing more."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(*recorded(range(210, 300, 10), WHOLE), on_completed(300))
    result = scheduler.start(lambda: source.pipe(CASES[name].make()), disposed=235)
    assert source.subscriptions == [ReactiveTest.subscribe(200, 235)]
    assert all(time < 235 and kind == "N" for time, kind, _ in notifications(result.messages))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.shares])
def test_two_subscriptions_at_once_share_nothing(name: str) -> None:
    """Two consumers of one pipeline, interleaved, each get what one alone would."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(*recorded(range(10, 100, 10), WHOLE), on_completed(100))
    pipeline = source.pipe(CASES[name].make())
    first, second = scheduler.create_observer(), scheduler.create_observer()
    for time, observer in ((200, first), (225, second)):

        def begin(_scheduler: abc.SchedulerBase, _state: object = None, observer: Any = observer) -> abc.DisposableBase:
            subscription: abc.DisposableBase = pipeline.subscribe(observer)
            return subscription

        scheduler.schedule_absolute(time, begin)
    scheduler.start()
    values = [
        plain([item for _, kind, item in notifications(seen.messages) if kind == "N"]) for seen in (first, second)
    ]
    assert values[0] == values[1] == plain(items(CASES[name].make(), *WHOLE))
    assert [seen.messages[-1] for seen in (first, second)] == [on_completed(300), on_completed(325)]


@each_operator
@pytest.mark.parametrize("way", WAYS)
def test_the_same_however_consumed(name: str, way: str) -> None:
    """In a loop, on an event loop, on a worker, as a task: what comes on virtual time comes there too."""
    assert plain(WAYS[way](as_stream(WHOLE).pipe(CASES[name].make()))) == plain(items(CASES[name].make(), *WHOLE))


@each_operator
def test_the_scheduler_is_passed_on(name: str) -> None:
    """The scheduler of the subscription reaches the source: it is how a loop drives its stream."""
    seen: list[object] = []

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> Disposable:
        seen.append(scheduler)
        observer.on_completed()
        return Disposable()

    scheduler = TestScheduler()
    Observable(subscribe).pipe(CASES[name].make()).subscribe(scheduler=scheduler)
    assert seen == [scheduler]


@each_operator
def test_a_raising_consumer_stays_the_consumers(name: str) -> None:
    """What the consumer raises is not caught and does not become an on_error."""
    errors: list[Exception] = []

    def fail(_item: object) -> None:
        raise LookupError("the consumer's own")

    # Not rx.of, which turns whatever its consumers raise into an error of its own.
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    source.pipe(CASES[name].make()).subscribe(fail, errors.append)
    with pytest.raises(LookupError):
        for chunk in WHOLE:
            source.on_next(chunk)
        source.on_completed()
    assert errors == []


@each_operator
def test_the_source_is_not_asked_before_the_subscription(name: str) -> None:
    """Applying an operator sends nothing."""
    asked: list[object] = []

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        asked.append(observer)
        return Disposable()

    source: Observable[ModelResponseStream] = Observable(subscribe)
    pipeline = source.pipe(CASES[name].make())
    assert not asked
    pipeline.subscribe().dispose()  # some keep a timer
    assert asked


@each_operator
def test_chunks_are_not_changed(name: str) -> None:
    """A source may be shared: its chunks stay as they came."""
    chunks = [chunk.model_copy(deep=True) for chunk in WHOLE]
    items(CASES[name].make(), *chunks)
    assert chunks == WHOLE
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes_choice and not case.passes])
def test_choices_are_told_apart(name: str) -> None:
    """With n > 1 each choice gives what it would alone; of one that never comes there is nothing."""
    make = CASES[name].make
    first = [of("Hel"), of("lo"), of(finish_reason="stop")]
    second = [of("Good ", index=1), of("bye", index=1), of(index=1, finish_reason="length")]
    mixed = [chunk for pair in zip(first, second, strict=True) for chunk in pair]
    together = ModelResponseStream(choices=[*of("!").choices, *of("?", index=1).choices])
    for choice, alone in ((0, [*first, of("!")]), (1, [*second, of("?", index=1)]), (2, [])):
        assert items(make(choice=choice), *mixed, together) == items(make(choice=choice), *alone)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.takes_choice])
@pytest.mark.parametrize(
    ("choice", "error"), [(-1, ValueError), ("0", TypeError), (True, TypeError), (None, TypeError)]
)
def test_the_choice_is_checked_when_the_operator_is_made(name: str, choice: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match="choice"):
        CASES[name].make(choice=choice)


cuttings = st.text(st.characters(), max_size=30).flatmap(
    lambda text: st.lists(st.integers(0, len(text)), max_size=6).map(
        lambda cuts: [text[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True)]
    )
)


def paired(text: str) -> str:
    """The text with the halves of surrogate pairs joined."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(cuttings)
def test_any_cutting_gives_the_same_text_and_count(pieces: list[str]) -> None:
    """Text, count and whole message follow from the text alone, not from where it is cut."""
    chunks = [of(piece) for piece in pieces]
    whole = paired("".join(pieces))
    assert items(ops.accumulate_text(), *chunks)[-1] == whole
    assert "".join(items(ops.text_deltas(), *chunks)) == whole
    assert items(ops.count_tokens("gpt-4o"), *chunks)[-1] == items(ops.count_tokens("gpt-4o"), of("".join(pieces)))[-1]
    if chunks:
        assert items(ops.build_response(), *chunks)[0].choices[0].message.content == whole


def test_operators_compose_with_reactivex() -> None:
    """They stand in one pipe with the operators of reactivex, and types follow."""
    lengths: list[int] = []
    rx.of(*WHOLE).pipe(ops.accumulate_text(), rx_ops.map(len), rx_ops.take(2)).subscribe(lengths.append)
    assert lengths == [3, 5]
