"""measure: one record in the end, however it comes."""

import threading
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rx_ops
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import as_stream
from rxllm import operators as ops
from rxllm._accumulators._measurement import Measurement
from rxllm.exceptions import IncompleteStreamError
from tests.consume import WAYS
from tests.operators.sources import asked, call_piece, calling, collect, failure, of, reported, text_chunks
from tests.server import PATIENCE, Answering, Server, chunk

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


def timed(*messages: Any, disposed: float = 1000, **arguments: Any) -> tuple[list[Measurement], Any]:
    """What is told of a source on virtual time, and when what came out."""
    records: list[Measurement] = []
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(*messages)
    result = scheduler.start(
        lambda: source.pipe(ops.measure(records.append, model="gpt-4", **arguments)), disposed=disposed
    )
    return records, result.messages


def test_virtual_time_is_measured() -> None:
    """By the clock of the scheduler, from the subscription on."""
    chunks = [on_next(time, of(" word")) for time in (210, 220, 225, 265)]
    (record,), messages = timed(*chunks, on_completed(300), stall=10)
    assert messages == [*chunks, on_completed(300)]
    assert (record.ended, record.duration, record.time_to_first_token) == ("completed", 100, 10)
    assert (record.gap_p50, record.gap_p99, record.gap_max) == (10, 40, 40)
    assert (record.stalls, record.stalled, record.tokens, record.tokens_per_second) == (1, 40, 4, 3 / 55)


def test_an_error_has_a_record() -> None:
    """With the error on it."""
    error = RuntimeError("broken")
    (record,), _ = timed(on_next(210, of("word")), on_error(230, error))
    assert (record.ended, record.error, record.duration, record.chunks) == ("failed", error, 30, 1)


def test_leaving_has_a_record() -> None:
    """At the time of leaving."""
    (record,), _ = timed(on_next(210, of("word")), on_completed(300), disposed=250)
    assert (record.ended, record.duration, record.chunks) == ("cancelled", 50, 1)


def test_progress_is_told_at_most_once_an_interval() -> None:
    """At chunks, and with the record so far."""
    progress: list[Measurement] = []
    timed(
        *(on_next(time, of(" word")) for time in (210, 215, 225, 300)),
        on_completed(400),
        on_progress=progress.append,
        interval=10,
    )
    assert [(record.duration, record.chunks, record.ended) for record in progress] == [
        (10, 1, None),
        (25, 3, None),
        (100, 4, None),
    ]


def test_there_is_one_record_before_the_end_is_known_below() -> None:
    """And none after it, whoever leaves then."""
    seen: list[Any] = []
    rx.of(of("word")).pipe(ops.measure(lambda record: seen.append(record.ended))).subscribe(
        on_completed=lambda: seen.append("end")
    ).dispose()
    assert seen == ["completed", "end"]


def test_the_model_is_named() -> None:
    """As it answered, else as it was asked for."""
    records: list[Measurement] = []
    answered = of("word")
    answered.model = "gpt-4o-2024"
    for chunks in ([of("word")], [answered]):
        collect(asked(rx.of(*chunks)).pipe(ops.measure(records.append)))
    assert [record.model for record in records] == ["openai/gpt-4o", "gpt-4o-2024"]


def test_of_several_answers_all_tokens_are_told() -> None:
    """As below run_tools(), where each answer reports its own."""
    records: list[Measurement] = []
    call = calling(call_piece('{"a": 1}', index=0, id="call_1", name="add"), finish_reason="tool_calls")
    first = rx.of(call, reported(completion_tokens=20))
    second = [of("It is 1", finish_reason="stop"), reported(completion_tokens=30)]
    tools = ops.run_tools({"add": abs}, send=lambda _: rx.of(*second), messages=[])
    # On a loop: the function runs beside it.
    as_stream(first.pipe(tools, ops.measure(records.append))).run()
    assert [record.tokens for record in records] == [50]


def fail(_record: Measurement) -> None:
    """A function that raises."""
    raise LookupError("nowhere to write")


def test_what_the_functions_raise_ends_the_stream() -> None:
    """Where it has not ended otherwise."""
    seen, error = failure(rx.of(*text_chunks(["a", "b"])).pipe(ops.measure(fail)))
    assert (len(seen), type(error)) == (2, LookupError)
    records: list[Measurement] = []
    seen, error = failure(
        rx.of(*text_chunks(["a", "b"])).pipe(ops.measure(records.append, on_progress=fail, interval=0))
    )
    assert (len(seen), type(error)) == (0, LookupError)
    assert [record.ended for record in records] == ["failed"]


def test_where_it_has_ended_otherwise_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The error that came is the one that passes, and leaving raises nothing."""
    seen, error = failure(rx.concat(rx.of(of("a")), rx.throw(RuntimeError("broken"))).pipe(ops.measure(fail)))
    assert (len(seen), str(error)) == (1, "broken")
    rx.never().pipe(ops.measure(fail)).subscribe().dispose()
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_over_a_real_connection(server: Server, ask: Any, way: str, end: str) -> None:
    """Each end is told once, in every way to consume."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Once"), chunk(" upon"), chunk(" a"))
        if end == "completed":
            await answering.event(chunk(finish="stop"), "[DONE]")
        elif end == "cancelled":
            await answering.closed()
        await answering.end()

    server.script = script
    told = threading.Event()
    records: list[Measurement] = []

    def tell(record: Measurement) -> None:
        records.append(record)
        told.set()

    stream = ask().pipe(ops.measure(tell), rx_ops.take(2) if end == "cancelled" else rx_ops.take(100))
    if end == "failed":
        with pytest.raises(IncompleteStreamError):
            WAYS[way](stream)
    else:
        WAYS[way](stream)
    assert told.wait(PATIENCE)
    (record,) = records
    assert record.ended == end
    assert record.tokens == (2 if end == "cancelled" else 3)
    assert record.time_to_first_token is not None
    assert 0 <= record.time_to_first_token <= record.duration


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"on_record": 5}, TypeError),
        ({"on_progress": 5}, TypeError),
        ({"interval": -1}, ValueError),
        ({"interval": "1"}, TypeError),
        ({"stall": float("nan")}, ValueError),
        ({"stall": True}, TypeError),
        ({"model": 5}, TypeError),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    given: dict[str, Any] = {"on_record": print, **arguments}
    with pytest.raises(error):
        ops.measure(**given)
