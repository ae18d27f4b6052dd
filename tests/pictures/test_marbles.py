"""A pipeline is run once, and what went through each of its stages is drawn."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import weakref
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
from rxllm import Stream, as_stream
from rxllm import operators as ops
from rxllm._pictures import marbles
from rxllm._pictures._diagram import RADIUS
from rxllm._pictures._items import told
from rxllm._pictures._marbles import marbles_of
from rxllm._pictures._stages import Stage, watched
from rxllm.exceptions import RateLimitError
from rxllm.testing import LLMServer
from rxllm.types import ModelResponseStream, ToolResult, Usage
from tests.pictures.reading import SVG, marbles_in, texts_in, tips_in, tree
from tests.server import PATIENCE, Answering, Server

Pipeline = Callable[[Stream[ModelResponseStream]], Stream[Any]]


def echo(text: str, **extra: Any) -> Stream[ModelResponseStream]:
    """A stream of the simulator."""
    asked: Stream[ModelResponseStream] = rxllm.completion(
        "sim/echo", [{"role": "user", "content": text}], stream=True, extra_body={"delay": 0, **extra}
    )
    return asked


def tips(items: list[Any]) -> list[str]:
    """What is told of items that came one after the other."""
    return [told(item, before).tip for before, item in zip([None, *items], items, strict=False)]


def parts_of(pipeline: Any) -> list[Any]:
    """The Streams that a pipeline consists of, from its beginning."""
    parts = [pipeline]
    while getattr(parts[0], "made_of", None) is not None:
        parts.insert(0, parts[0].made_of[0])
    return parts


def connected(stream: Any) -> Stream[Any]:
    """What makes a ConnectableObservable, and what makes an Observable of it again, are one stage."""
    made: Stream[Any] = stream.pipe(ops.text_deltas(), rx_ops.publish(), rx_ops.ref_count(), rx_ops.to_list())
    return made


def composed(stream: Any) -> Stream[Any]:
    """An operator that is put together of others is one stage."""

    def loud_texts(source: Observable[ModelResponseStream]) -> Observable[str]:
        return source.pipe(ops.text_deltas(), rx_ops.map(str.upper))

    made: Stream[Any] = stream.pipe(loud_texts, rx_ops.count())
    assert len(parts_of(made)) == 3
    return made


def above_two(count: int) -> bool:
    """Whether it is."""
    return count > 2


PIPELINES: list[Pipeline] = [
    lambda s: s,
    lambda s: s.pipe(ops.take_chunks(3), ops.accumulate_text()),
    lambda s: s.pipe(ops.text_deltas()).pipe(rx_ops.map(len), rx_ops.buffer_with_count(2)),
    connected,
    composed,
    lambda s: s.pipe(ops.build_response()),
    lambda s: s.pipe(ops.count_tokens(encoding="o200k_base"), rx_ops.filter(above_two)),
]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_each_lane_holds_what_its_stage_gives(pipeline: Pipeline) -> None:
    """One request is sent, and what came out of each stage is what looping over it gives."""
    with LLMServer() as server:
        for _ in range(10):
            server.answer("One two three four five")
        stream = rxllm.completion(
            "gpt-4", [{"role": "user", "content": "Count"}], stream=True, api_base=server.url, api_key="test"
        )
        piped = pipeline(stream)
        run, stages = watched(piped, lambda: 0.0)
        came = list(run)
        assert len(server.requests) == 1
        assert run.request == stream.request
        assert len(stages) == len(parts_of(piped))
        whole: list[str] = []
        for place, stage in enumerate(stages):
            # Made anew: what publish() has made runs but once.
            whole = tips(list(parts_of(pipeline(stream))[place]))
            assert [it.told.tip for it in stage.came] == whole[: len(stage.came)]
            assert [end.how for end in stage.ends] == ["completed" if len(stage.came) == len(whole) else "left"]
        assert [it.told.tip for it in stages[-1].came] == tips(came) == whole
    rxllm.close()


def test_one_request_is_sent(ask: Callable[..., Stream[ModelResponseStream]], server: Server) -> None:
    """However many stages there are."""
    server.script = lambda answering: answering.stream("Hel", "lo")
    picture = marbles(ask().pipe(ops.accumulate_text()).pipe(rx_ops.map(str.upper), rx_ops.map(len)))
    assert len(server.requests) == 1
    assert [text for text in texts_in(picture) if "(" in text] == ["accumulate_text()", "map(upper)", "map(len)"]


def test_operators_and_lanes_stand_in_order() -> None:
    """Each operator in a box, each lane with what its items are called, and the title above."""
    picture = marbles(echo("Hi you").pipe(ops.take_chunks(2), ops.accumulate_text()), title="A <title> & more")
    texts = texts_in(picture)
    assert texts[0] == "A <title> & more"
    places = [texts.index(name) for name in ("chunks", "take_chunks(2)", "accumulate_text()", "texts", "0")]
    assert places == sorted(places)


def test_error_is_drawn_and_not_raised() -> None:
    """Its name and message are the tip of the cross."""
    failing = as_stream(rx.concat(rx.of("a"), rx.throw(RateLimitError("slow <down>"))))
    picture = marbles(failing.pipe(rx_ops.map(str.upper)))
    assert [tip for tip in tips_in(picture) if "slow" in tip] == ["RateLimitError: slow <down>"] * 2


def test_error_of_an_operators_function_is_drawn_where_it_was_raised() -> None:
    """The lane above was left."""
    stages = watched(as_stream(["a", "b"]).pipe(rx_ops.map(lambda text: 1 // (text == "a"))), lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        list(stages[0])
    assert [end.how for end in stages[1][0].ends] == ["left"]
    assert [end.how for end in stages[1][1].ends] == ["failed"]
    assert any("ZeroDivisionError" in tip for tip in tips_in(marbles_of(stages[1])))


def test_each_try_is_drawn() -> None:
    """A stage that is subscribed to again has an end for each time."""
    run, stages = watched(as_stream(rx.concat(rx.of(1), rx.throw(ValueError("x")))).pipe(rx_ops.retry(3)), lambda: 0.0)
    with pytest.raises(ValueError, match="x"):
        list(run)
    assert [end.how for end in stages[0].ends] == ["failed"] * 3
    assert len(stages[1].came) == 3


def test_empty_and_never_subscribed() -> None:
    """Nothing came: lanes without marbles; what nobody subscribed to has no line."""
    assert marbles_in(marbles(as_stream([])), "other") == 0
    run, stages = watched(as_stream([1]).pipe(rx_ops.take(0)), lambda: 0.0)
    assert list(run) == []
    assert stages[0].begun is None
    assert "nothing" in texts_in(marbles_of(stages))


def test_roots_of_many_streams() -> None:
    """A merge, models side by side, a hedge and a plain Observable are drawn by what comes of them."""
    merged = ops.merge_models(echo("Hi"), echo("Bye"))
    picture = marbles(merged.pipe(rx_ops.filter(lambda _: True)))
    assert sum("sim/echo #2: " in tip for tip in tips_in(picture)) >= 1
    hedged = marbles(echo("Hi").pipe(ops.hedge(echo("Bye"), after=5)))
    assert "hedge(Stream of sim/echo, 5)" in texts_in(hedged) or "hedge(Stream of sim/echo, after=5)" in texts_in(
        hedged
    )
    assert "numbers" in texts_in(marbles(as_stream(rx.merge(rx.of(1), rx.of(2)))))
    assert "numbers" in texts_in(marbles(rx.of(1, 2)))


@pytest.mark.parametrize("given", [3, [1], None, rx.of(1).pipe(rx_ops.publish())])
def test_what_is_no_pipeline_is_refused(given: Any) -> None:
    """What would never begin, too."""
    with pytest.raises(TypeError, match="marbles"):
        marbles(given)


def test_positions_are_exact() -> None:
    """On virtual time: what came at a quarter of the time stands at a quarter of the way."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        ReactiveTest.on_next(300, "a"), ReactiveTest.on_next(400, "b"), ReactiveTest.on_completed(600)
    )
    stage = Stage(())
    scheduler.start(lambda: stage.watch(source, lambda: scheduler.clock))
    assert [it.at for it in stage.came] == [300, 400]
    assert [(end.at, end.how) for end in stage.ends] == [(600, "completed")]
    picture = marbles_of([stage])
    rects = [it for it in tree(picture).iter(f"{SVG}rect") if it.get("class") == "rxllm-text"]
    first, second = (float(it.get("x", "")) for it in rects)
    bar = next(it for it in tree(picture).iter(f"{SVG}path") if it.get("class") == "rxllm-bar")
    end = float(bar.get("d", "").split()[0][1:]) - RADIUS
    assert second - first == pytest.approx((end - first) / 3, abs=0.2)


def test_many_of_one_instant_are_one_marble() -> None:
    """With their number on it."""
    stage = Stage(())
    list(as_stream(stage.watch(rx.range(12), lambda: 5.0)))
    assert "×12" in texts_in(marbles_of([stage]))


def test_size_is_bounded() -> None:
    """Ten thousand items in five lanes, with texts that grow when they are escaped: below 300 kB."""
    chunks = as_stream(rx.range(10_000)).pipe(
        rx_ops.map(lambda n: ModelResponseStream.of(f"<&\x00{n}\U0001f30a>" * 20))
    )
    picture = str(marbles(chunks.pipe(ops.text_deltas(), rx_ops.map(len))))
    assert len(picture.encode()) < 300_000
    tree(picture)


@given(
    st.lists(st.text(st.characters(exclude_categories=())), max_size=8), st.text(st.characters(exclude_categories=()))
)
def test_any_text_gives_well_formed_xml(texts: list[str], title: str) -> None:
    """Whatever a model says, and whatever the title is."""
    chunks = [ModelResponseStream.of(text, reasoning_content=text, refusal=text) for text in texts]
    tree(marbles(as_stream(chunks), title=title))
    tree(marbles(as_stream(texts), title=title))


def test_chunks_say_what_they_bring() -> None:
    """Text, reasoning, pieces of tool calls, reasons, usage, roles, restarts and results of tools."""
    call = [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a"'}}]
    result = ToolResult.model_validate({"call": {"id": "c1", "function": {"name": "add"}}, "content": "3"})
    labels = {
        "role": ModelResponseStream.of(role="assistant"),
        "␣Hi": ModelResponseStream.of(" Hi"),
        "hm": ModelResponseStream.of(reasoning_content="hm"),
        'add({"a"': ModelResponseStream.of(tool_calls=call),
        "stop": ModelResponseStream.of(finish_reason="stop"),
        "1:b": ModelResponseStream.of("b", index=1),
        "usage": ModelResponseStream(usage=Usage(completion_tokens=3)),
        "restart": ModelResponseStream.restarting("again"),
        "3": ModelResponseStream.of_tool(result),
        "empty": ModelResponseStream.of(),
    }
    assert [told(chunk).text for chunk in labels.values()] == list(labels)
    kinds = ["other", "text", "reasoning", "call", "finish", "text", "finish", "other", "call", "other"]
    assert [told(chunk).kind for chunk in labels.values()] == kinds


def test_item_that_cannot_be_shown_is_told() -> None:
    """A ``repr`` that raises takes nothing with it."""

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert told(Rude()).tip == "Rude, whose repr() raised RuntimeError"


def test_interrupt_ends_it_and_is_raised(ask: Callable[..., Stream[ModelResponseStream]], server: Server) -> None:
    """Ctrl-C cancels the request."""
    begun = threading.Event()

    async def answer(answering: Answering) -> None:
        await answering.start()
        begun.set()
        await answering.closed()

    server.script = answer

    def interrupt() -> None:
        if begun.wait(PATIENCE):  # else it would hit another test
            # A blocked read wakes where the signal goes to its own thread.
            signal.pthread_kill(main, signal.SIGINT)

    main = threading.get_ident()
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        marbles(ask())
    interrupting.join()
    assert server.closed.get(timeout=PATIENCE) == 1


def test_it_runs_where_an_event_loop_runs() -> None:
    """As in the main thread of a notebook's kernel."""

    async def cell() -> object:
        return marbles(echo("Hi there").pipe(ops.accumulate_text()))

    assert "accumulate_text()" in texts_in(asyncio.run(cell()))


def test_stages_go_with_their_stream() -> None:
    """A pipeline is held by nothing of its own: no cycle has to be found."""
    gc.collect()
    gc.disable()
    try:
        piped = echo("Hi").pipe(ops.text_deltas()).pipe(rx_ops.map(len))
        assert piped.made_of is not None
        parts: list[weakref.ref[Any]] = [weakref.ref(piped), weakref.ref(piped.made_of[0])]
        del piped
        assert [part() for part in parts] == [None, None]
    finally:
        gc.enable()


def test_operator_that_gives_its_source_or_another_stream() -> None:
    """The one is no stage; the other is where the picture begins, and knows of no operator."""
    stream: Any = echo("Hi")
    same: Any = stream.pipe(lambda source: source)  # pyright: ignore[reportUnknownLambdaType]
    assert (same, same.made_of) == (stream, None)
    other = echo("Bye")
    piped = stream.pipe(lambda _: other, ops.text_deltas())  # pyright: ignore[reportUnknownLambdaType]
    assert piped.made_of[0] is other
    assert other.made_of is None


def test_library_stays_light() -> None:
    """Neither the pictures nor matplotlib come with ``import rxllm``; with the notebook's module, no matplotlib."""
    code = "import sys, rxllm; print([m for m in sys.modules if 'matplotlib' in m or m.startswith('rxllm._pictures')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    code = "import sys, rxllm.notebook; print('matplotlib' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_observable_of_ones_own_is_one_lane() -> None:
    """What reactivex's ``pipe()`` made of it is not known."""
    own: Observable[Any] = rx.of(1, 2).pipe(rx_ops.map(str))
    assert len(watched(own, lambda: 0.0)[1]) == 1
