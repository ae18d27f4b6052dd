"""The rest of the checklist, for every operator: ends, disposal, re-entrancy, sources that emit inside subscribe."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as rx_ops
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxllm import Stream, as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError
from rxllm.types import ModelResponse, ModelResponseStream
from tests.operators.cases import CASES
from tests.operators.sources import Operator, asked, call_piece, calling, of

CALL = calling(call_piece('{"x": 1}', index=0, id="a", name="f"))
WHOLE = [of("", role="assistant"), of("Hel"), of("lo"), CALL, of(finish_reason="tool_calls")]
each_operator = pytest.mark.parametrize("name", CASES)
Outcome = list[tuple[str, Any]]


class Watched:
    """A source that emits inside its subscribe, or later as it is told to, and counts how often it was let go of."""

    def __init__(self, *within: ModelResponseStream, completes: bool = False) -> None:
        self.subscribed = self.disposed = 0
        self._observers: list[abc.ObserverBase[ModelResponseStream]] = []
        self._within, self._completes = within, completes

    def observable(self) -> Observable[ModelResponseStream]:
        """It, to be subscribed to."""

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], _scheduler: abc.SchedulerBase | None = None
        ) -> Disposable:
            self.subscribed += 1
            self._observers.append(observer)
            for chunk in self._within:
                observer.on_next(chunk)
            if self._completes:
                observer.on_completed()
            return Disposable(self._let_go)

        return Observable(subscribe)

    def emit(self, *chunks: ModelResponseStream, completes: bool = False) -> None:
        """Gives these to all."""
        for observer in list(self._observers):
            for chunk in chunks:
                observer.on_next(chunk)
            if completes:
                observer.on_completed()

    def _let_go(self) -> None:
        self.disposed += 1


def recorder() -> tuple[Outcome, tuple[Callable[[Any], None], Callable[[Exception], None], Callable[[], None]]]:
    """What came, in order, and what writes it down."""
    outcome: Outcome = []

    def on_next(item: Any) -> None:
        is_model = isinstance(item, (ModelResponse, ModelResponseStream))
        outcome.append(("N", item.model_dump() if is_model else item))

    return outcome, (
        on_next,
        lambda error: outcome.append(("E", f"{type(error).__name__}: {error}")),
        lambda: outcome.append(("C", None)),
    )


def of_synchronous(operator: Operator[Any], *chunks: ModelResponseStream) -> Outcome:
    """What comes of a source that gives all inside its subscribe."""
    outcome, observer = recorder()
    Watched(*chunks, completes=True).observable().pipe(operator).subscribe(*observer)
    return outcome


@each_operator
@pytest.mark.parametrize("chunks", [WHOLE[1:2], [of("Hello", finish_reason="stop")], WHOLE, []])
def test_the_same_inside_subscribe_and_after_it(name: str, chunks: list[ModelResponseStream]) -> None:
    """Of none, of one chunk and of many: with one end, which is the last, and the source let go of once."""
    source = Watched()
    outcome, observer = recorder()
    source.observable().pipe(CASES[name].make()).subscribe(*observer)
    source.emit(*chunks, completes=True)
    assert outcome == of_synchronous(CASES[name].make(), *chunks)
    assert [kind for kind, _ in outcome if kind != "N"] == [outcome[-1][0]]
    assert (source.subscribed, source.disposed) == (1, 1)


@each_operator
def test_nothing_comes_after_the_end(name: str) -> None:
    """Not of a source that goes on after its own."""
    source = Watched()
    outcome, observer = recorder()
    source.observable().pipe(CASES[name].make()).subscribe(*observer)
    source.emit(*WHOLE, completes=True)
    before = list(outcome)
    source.emit(*WHOLE, completes=True)
    assert outcome == before


@each_operator
def test_nothing_comes_after_the_consumer_has_left(name: str) -> None:
    """However often it leaves, and whatever the source does then; it is let go of once."""
    source = Watched()
    outcome, observer = recorder()
    subscription = source.observable().pipe(CASES[name].make()).subscribe(*observer)
    source.emit(*WHOLE[:2])
    assert source.disposed == 0
    subscription.dispose()
    assert source.disposed == 1
    subscription.dispose()
    before = list(outcome)
    source.emit(*WHOLE, completes=True)
    assert outcome == before
    assert source.disposed == 1


@each_operator
@pytest.mark.parametrize("at", range(1, 4))
def test_a_consumer_may_leave_at_an_item(name: str, at: int) -> None:
    """It gets no more, not even of what was ready, and the source is let go of once."""
    source = Watched()
    seen: list[Any] = []
    left = SingleAssignmentDisposable()

    def on_next(item: Any) -> None:
        seen.append(item)
        if len(seen) == at:
            left.dispose()

    ended: list[Any] = []
    left.disposable = (
        source.observable().pipe(CASES[name].make()).subscribe(on_next, ended.append, lambda: ended.append(1))
    )
    source.emit(*WHOLE)
    assert source.disposed == (1 if len(seen) == at else 0)
    source.emit(completes=True)
    assert len(seen) <= at
    assert source.disposed == 1
    if len(seen) == at:
        assert ended == []


@each_operator
def test_a_consumer_may_subscribe_again_at_an_item(name: str) -> None:
    """To the same pipeline, while it is being delivered to; both get all that they would alone."""
    pipeline = Watched(*WHOLE, completes=True).observable().pipe(CASES[name].make())
    (outer, outer_observer), (inner, inner_observer) = recorder(), recorder()
    begun = False

    def on_next(item: Any) -> None:
        nonlocal begun
        if not begun:
            begun = True
            pipeline.subscribe(*inner_observer)
        outer_observer[0](item)

    pipeline.subscribe(on_next, *outer_observer[1:])
    alone = of_synchronous(CASES[name].make(), *WHOLE)
    assert outer == alone
    if not CASES[name].shares:
        assert inner == alone
    elif begun:
        assert inner[-1] == alone[-1]


@each_operator
def test_a_raising_consumer_lets_a_stream_go(name: str) -> None:
    """The exception is its own, and what is read is closed, though there would be more. reactivex alone closes none."""
    closed: list[bool] = []

    def chunks() -> Iterator[ModelResponseStream]:
        try:
            yield from WHOLE
        finally:
            closed.append(True)

    came: list[object] = []
    with pytest.raises(LookupError):
        for item in as_stream(chunks()).pipe(CASES[name].make()):
            came.append(item)
            boom()
        # Of some nothing has come, the end alone.
        boom()
    assert len(came) <= 1
    assert closed == [True]


@each_operator
@pytest.mark.parametrize("leaves", [True, False], ids=["left", "completed"])
def test_nothing_keeps_a_source_that_is_over(name: str, leaves: bool) -> None:
    """Not the subscription, which a caller may hold for long; not the operator, which may be used again."""
    operator = CASES[name].make()
    source = Watched()
    observable = source.observable()
    gone = weakref.ref(observable), weakref.ref(source)
    outcome, observer = recorder()
    subscription = observable.pipe(operator).subscribe(*observer)
    source.emit(*WHOLE, completes=not leaves)
    if leaves:
        subscription.dispose()
    del source, observable
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    assert outcome is not None
    assert subscription is not None
    assert operator is not None


@each_operator
def test_a_stream_stays_a_stream_and_keeps_its_request(name: str) -> None:
    """Where an operator is on one stream; the same on a bare Observable makes an Observable."""
    stream: Stream[Any] = asked(as_stream(WHOLE))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    piped: Stream[Any] = stream.pipe(CASES[name].make())
    assert type(piped) is Stream
    assert piped.request is stream.request
    again: Stream[Any] = as_stream(piped)
    assert again is piped
    assert not isinstance(rx.of(*WHOLE).pipe(CASES[name].make()), Stream)


def boom(*_arguments: object) -> Any:
    """A function of the user's that fails."""
    raise LookupError("the user's own")


class Refusing:
    """A file that takes nothing."""

    def write(self, _text: str) -> None:
        """Fails."""
        boom()

    def flush(self) -> None:
        """Is not asked."""


HI = [{"role": "user", "content": "Hi"}]
BROKEN = APIConnectionError("The line is down")
WITH_CALLBACKS: dict[str, Callable[[], Operator[Any]]] = {
    "fallback_to(stream)": lambda: ops.fallback_to(boom, messages=HI, on_partial="restart"),
    "fallback_to(when)": lambda: ops.fallback_to(rx.never(), when=boom, on_partial="restart"),
    "guard": lambda: ops.guard(boom),
    "measure(on_progress)": lambda: ops.measure(id, on_progress=boom, interval=0),
    "print_text": lambda: ops.print_text(Refusing()),
    "redact": lambda: ops.redact("Hel", boom),
    "retry_before_content(when)": lambda: ops.retry_before_content(when=boom),
    "run_tools(send)": lambda: ops.run_tools({}, send=boom, messages=HI),
}


@pytest.mark.parametrize("make", WITH_CALLBACKS.values(), ids=WITH_CALLBACKS)
def test_what_a_function_of_the_users_raises_ends_the_stream(make: Callable[[], Operator[Any]]) -> None:
    """It comes as the error, once, and the source is let go of."""
    source = Watched()
    outcome, observer = recorder()
    chunks = source.observable()
    if make in [WITH_CALLBACKS[name] for name in WITH_CALLBACKS if "when" in name or "stream" in name]:
        chunks = rx.concat(chunks.pipe(rx_ops.take(1)), rx.throw(BROKEN))
    chunks.pipe(make()).subscribe(*observer)
    source.emit(*WHOLE, completes=True)
    assert outcome[-1] == ("E", "LookupError: the user's own")
    assert [kind for kind, _ in outcome].count("E") == 1
    assert source.disposed == 1
