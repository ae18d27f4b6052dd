"""merge_models: several models side by side, told apart."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError, RateLimitError
from tests.consume import WAYS
from tests.operators.cases.resilience import bare
from tests.operators.sources import asked, notifications, of
from tests.server import PATIENCE, Answering, Server, chunk

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]


def merged(*streams: list[Any], disposed: int = 1000) -> tuple[list[Any], list[Any]]:
    """When what came of which, and when each was subscribed to."""
    scheduler = TestScheduler()
    sources: list[Any] = [scheduler.create_cold_observable(stream) for stream in streams]
    result = scheduler.start(lambda: bare(ops.merge_models(*sources)), disposed=disposed)
    seen = [
        (time, kind, value and (value["source"], value.get("error") or value.choices[0].delta.content))
        for time, kind, value in notifications(result.messages)
    ]
    return seen, [source.subscriptions for source in sources]


def test_chunks_as_they_come() -> None:
    """Each with its name; the end is that of the last."""
    seen, _ = merged(
        [on_next(10, of("a")), on_next(30, of("b")), on_completed(40)], [on_next(20, of("c")), on_completed(50)]
    )
    assert seen == [
        (210, "N", ("stream 1", "a")),
        (220, "N", ("stream 2", "c")),
        (230, "N", ("stream 1", "b")),
        (250, "C", None),
    ]


def test_one_that_fails_does_not_end_the_others() -> None:
    """A chunk tells of it, in a form that can be dumped."""
    busy = RateLimitError("Slow down", status_code=429)
    seen, _ = merged([on_next(10, of("a")), on_error(20, busy)], [on_next(30, of("b")), on_completed(40)])
    error: dict[str, Any] = {"class": "RateLimitError", "message": "Slow down", "status_code": 429, "headers": {}}
    assert seen == [
        (210, "N", ("stream 1", "a")),
        (220, "N", ("stream 1", error)),
        (230, "N", ("stream 2", "b")),
        (240, "C", None),
    ]


def test_all_fail() -> None:
    """Each is told of, and the last error passes with notes of the others."""
    first, last = APIConnectionError("down", model="a"), RateLimitError("busy", model="b")
    scheduler = TestScheduler()
    sources: list[Any] = [
        scheduler.create_cold_observable(on_error(time, error)) for time, error in ((10, first), (20, last))
    ]
    result = scheduler.start(lambda: bare(ops.merge_models(*sources)))
    *told, (time, kind, _) = notifications(result.messages)
    assert [(t, k, v["error"]["class"]) for t, k, v in told] == [
        (210, "N", "APIConnectionError"),
        (220, "N", "RateLimitError"),
    ]
    assert told[0][2].model_dump_json()
    assert (time, kind) == (220, "E")
    assert result.messages[-1] == on_error(220, last)
    assert last.__notes__ == ["Before it failed a: APIConnectionError: down"]


def test_a_fault_ends_all_at_once() -> None:
    """It is no model's failure."""
    seen, subscriptions = merged([on_error(10, TypeError("a fault"))], [on_next(30, of("no"))])
    assert [(time, kind) for time, kind, _ in seen] == [(210, "E")]
    assert subscriptions[1] == [ReactiveTest.subscribe(200, 210)]


def test_leaving_cancels_all() -> None:
    """At once."""
    _, subscriptions = merged([on_next(300, of("a"))], [on_next(300, of("b"))], disposed=250)
    assert subscriptions == [[ReactiveTest.subscribe(200, 250)]] * 2


def test_two_of_one_model_are_told_apart() -> None:
    """By a number; those without a request by their place."""
    model = asked(rx.of(of("a")), model="gpt-4")
    streams = (model, rx.of(of("b")), asked(rx.of(of("c")), model="gpt-4"), asked(rx.of(of("d")), model="claude"))
    assert {c.choices[0].delta.content: c["source"] for c in ops.merge_models(*streams)} == {
        "a": "gpt-4",
        "b": "stream 2",
        "c": "gpt-4 #2",
        "d": "claude",
    }


def test_sources_on_threads_of_their_own_never_deliver_at_once() -> None:
    """Nothing is lost, and the grammar holds."""

    def on_a_thread(text: str) -> Observable[ModelResponseStream]:
        def subscribe(observer: Any, _scheduler: object = None) -> None:
            def work() -> None:
                for _ in range(300):
                    observer.on_next(of(text))
                observer.on_completed()

            threading.Thread(target=work, daemon=True).start()

        return Observable(subscribe)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    inside = threading.Lock()
    got: list[str] = []
    done = threading.Event()

    def take(item: ModelResponseStream) -> None:
        assert inside.acquire(blocking=False)
        got.append(item["source"])
        inside.release()

    bare(ops.merge_models(*(on_a_thread(text) for text in "abcd"))).subscribe(take, on_completed=done.set)
    assert done.wait(PATIENCE)
    assert sorted(got) == sorted(f"stream {n}" for n in (1, 2, 3, 4) for _ in range(300))


@pytest.mark.parametrize("arguments", [(), ("gpt-4",), (rx.never(), None)])
def test_arguments_are_checked_at_once(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match="merge_models"):
        ops.merge_models(*arguments)


# -- on real sockets


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_models_on_a_server(server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """They run at the same time, one is refused, and the text of each is whole."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        model = answering.json["model"]
        if len(server.requests) == 3:
            gate.open()
        if model == "refused":
            await answering.json_answer(401, {"error": {"message": "No"}})
            return
        await gate.wait()
        await answering.stream(*(f"{model}{n} " for n in range(20)))

    server.script = script
    names = ("one", "refused", "two")
    chunks = consume(ops.merge_models(*(ask(model=f"openai/{name}") for name in names)))
    by_name: dict[str, str] = {}
    errors = {c["source"]: c["error"]["class"] for c in chunks if c.get("error")}
    for each in chunks:
        by_name[each["source"]] = by_name.get(each["source"], "") + (each.choices[0].delta.content or "")
    for name in ("one", "two"):
        assert by_name[f"openai/{name}"] == "".join(f"{name}{n} " for n in range(20))
    assert errors == {"openai/refused": "AuthenticationError"}
    assert len(server.requests) == 3


def test_each_is_a_stream_again(ask: Ask) -> None:
    """With reactivex's group_by."""

    def whole(group: Any) -> Observable[Any]:
        made: Observable[Any] = group.pipe(ops.build_response())
        return made

    def name(chunk: ModelResponseStream) -> str:
        found: str = chunk["source"]
        return found

    by_source: Any = ops.merge_models(ask(), ask()).group_by(name).flat_map(whole)
    assert sorted((r["source"], r.choices[0].message.content) for r in by_source) == [
        ("gpt-4", "Hello world"),
        ("gpt-4 #2", "Hello world"),
    ]


def test_leaving_closes_all(server: Server, ask: Ask) -> None:
    """Both connections."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        await answering.start()
        if answering.number == 1:
            await gate.wait()
            await answering.event(chunk("a"))
        else:
            gate.open()
        await answering.closed()

    server.script = script
    for _ in ops.merge_models(ask(), ask()):
        break
    assert {server.next_closed(), server.next_closed()} == {1, 2}
