"""A pipeline is run once, and what went through each of its stages is drawn."""

import _thread
import asyncio
import base64
import gc
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

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
from rxllm._pictures._stages import Came, Ended, Stage, Watched
from rxllm.exceptions import RateLimitError
from rxllm.testing import LLMServer
from rxllm.types import ModelResponseStream, ToolResult, Usage
from tests.pictures.reading import SVG, interrupted_in_ipython, marbles_in, texts_in, tips_in, tree
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
        watched = Watched(piped, lambda: 0.0)
        stages = watched.stages
        came = list(watched.run())
        assert len(server.requests) == 1
        assert watched.stream.request == stream.request
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
    assert (texts[0], texts.count(texts[0])) == ("A <title> & more", 1)
    places = [texts.index(name) for name in ("chunks", "take_chunks(2)", "accumulate_text()", "texts", "0")]
    assert places == sorted(places)


def test_error_is_drawn_and_not_raised() -> None:
    """Its name and message are the tip of the cross."""
    failing = as_stream(rx.concat(rx.of("a"), rx.throw(RateLimitError("slow <down>"))))
    picture = marbles(failing.pipe(rx_ops.map(str.upper)))
    assert [tip for tip in tips_in(picture) if "slow" in tip] == ["RateLimitError: slow <down>"] * 2


def test_error_of_an_operators_function_is_drawn_where_it_was_raised() -> None:
    """The lane above was left."""
    watched = Watched(as_stream(["a", "b"]).pipe(rx_ops.map(lambda text: 1 // (text == "a"))), lambda: 0.0)
    with pytest.raises(ZeroDivisionError):
        list(watched.run())
    assert [[end.how for end in stage.ends] for stage in watched.stages] == [["left"], ["failed"]]
    assert any("ZeroDivisionError" in tip for tip in tips_in(marbles_of(watched.stages)))


def test_each_try_is_drawn() -> None:
    """A stage that is subscribed to again has an end for each time."""
    watched = Watched(as_stream(rx.concat(rx.of(1), rx.throw(ValueError("x")))).pipe(rx_ops.retry(3)), lambda: 0.0)
    with pytest.raises(ValueError, match="x"):
        list(watched.run())
    assert [end.how for end in watched.stages[0].ends] == ["failed"] * 3
    assert len(watched.stages[1].came) == 3


def test_empty_and_never_subscribed() -> None:
    """Nothing came: lanes without marbles; what nobody subscribed to has no line."""
    assert marbles_in(marbles(as_stream([])), "other") == 0
    watched = Watched(as_stream([1]).pipe(rx_ops.take(0)), lambda: 0.0)
    assert list(watched.run()) == []
    assert watched.stages[0].begun is None
    assert "nothing" in texts_in(marbles_of(watched.stages))


ONE_MORE = ["chunks", "gpt-4", "merge", "chunks"]
DELAYED = ["chunks", "delay", "chunks", "gpt-4", "concat", "chunks"]
# What is made of a function that asks, how many requests that sends, and the lanes and boxes of the picture.
OTHERS: list[tuple[Callable[[Callable[[], Stream[Any]]], Stream[Any]], int, list[str]]] = [
    (lambda ask: ask().pipe(rx_ops.merge(ask().pipe(rx_ops.skip(0)))), 2, ONE_MORE),
    (lambda ask: ask().pipe(rx_ops.concat(ask())), 2, ["chunks", "gpt-4", "concat", "chunks"]),
    (lambda ask: ask().pipe(rx_ops.flat_map(lambda _: ask())), 4, ["chunks", *["gpt-4"] * 3, "flat_map", "chunks"]),
    (
        lambda ask: ask().pipe(rx_ops.delay(0), rx_ops.concat(ask())),
        2,
        ["chunks", "delay", "chunks", *ONE_MORE[1:2], "concat", "chunks"],
    ),
    (lambda ask: as_stream(rx.merge(ask(), ask())), 2, ["gpt-4", "gpt-4", "2 streams", "chunks"]),
    (lambda ask: as_stream(rx.defer(lambda _: ask())), 1, ["chunks"]),
    (lambda ask: (twice := ask()).pipe(rx_ops.merge(twice)), 2, ONE_MORE),
    (lambda ask: ask().pipe(ops.share_replay()), 1, ["chunks", "share_replay", "chunks"]),
    (lambda ask: ask().pipe(ops.guard(lambda _: True)), 1, ["chunks", "guard", "chunks"]),
    (lambda ask: ask().pipe(rx_ops.repeat(2)), 2, ["chunks", "repeat", "chunks"]),
]


@pytest.mark.parametrize(("pipeline", "requests", "rows"), OTHERS)
def test_streams_that_operators_open_have_lanes_above_them(
    pipeline: Callable[[Any], Stream[Any]],
    requests: int,
    rows: list[str],
    ask: Callable[..., Stream[ModelResponseStream]],
    server: Server,
) -> None:
    """Whether they were given, or made by a function; each request is sent once; what is drawn already is not again."""
    server.script = lambda answering: answering.stream("One", " two")
    picture = marbles(pipeline(ask))
    assert len(server.requests) == requests
    texts = [text.partition("(")[0].partition(" #")[0] for text in texts_in(picture)]
    assert [text for text in texts if text in {*rows}] == rows


def test_stream_that_is_opened_later_is_known_whose_it_is() -> None:
    """A hedge opens it by a timer."""
    picture = marbles(echo("Hi", delay=5).pipe(ops.hedge(echo("Bye"), after=0.01), ops.text_deltas()))
    texts = texts_in(picture)
    assert texts.index("chunks") < texts.index("echo") < texts.index("hedge(echo('Bye'), after=0.01)")


def test_streams_that_wait_for_functions_are_known_too() -> None:
    """What ``run_tools()`` sends when its functions have answered."""

    def get_weather(location: str) -> str:
        return f"Rain in {location}"

    parameters = {"type": "object", "properties": {"location": {"type": "string"}}}
    tools: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]

    def send(messages: Any) -> Stream[ModelResponseStream]:
        return rxllm.completion("sim/story", messages, stream=True, tools=tools, extra_body={"delay": 0})

    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    texts = texts_in(marbles(send(question).pipe(ops.run_tools([get_weather], send=send))))
    assert texts.index("chunks") < texts.index("story") < texts.index("run_tools([get_weather], send=send)")


def test_operators_are_called_as_they_were_written() -> None:
    """Where their functions do not say it all; what is known of the values stays."""
    end, first = "jumps", ops.tag("a")
    words = as_stream([ModelResponseStream.of("The quick fox jumps")])
    piped = words.pipe(
        ops.stop_at(end, "x"), ops.redact("fox|dog"), first, ops.take_chunks(len(end)), rx_ops.merge(words)
    ).map(lambda chunk: chunk)
    named = ["stop_at(end, 'x')", "redact('fox|dog')", "tag(…)", "take_chunks(5)", "merge(words)"]
    assert [text for text in texts_in(marbles(piped)) if "(" in text] == [*named, "map(lambda chunk: chunk)"]


def test_pipe_may_be_called_by_what_is_no_python() -> None:
    """Where nobody has written the call, the operators are called what they call themselves."""
    kept: list[Stream[Any]] = []
    called = threading.Event()

    def keep(stream: Stream[Any]) -> Stream[Any]:
        kept.append(stream)
        called.set()
        return stream

    pipe: Callable[..., Any] = echo("Hi").pipe
    _thread.start_new_thread(pipe, (ops.take_chunks(1), keep))
    assert called.wait(PATIENCE)
    assert "take_chunks(1)" in texts_in(marbles(kept[0]))


def test_no_more_lanes_than_can_be_looked_at() -> None:
    """Of twenty streams, six are drawn, and it says that there are more."""
    picture = marbles(as_stream(range(20)).pipe(rx_ops.flat_map(lambda _: echo("Hi")), ops.text_deltas()))
    texts = texts_in(picture)
    assert "flat_map(lambda _: echo('Hi'))and 14 more streams" in texts
    assert texts.count("echo #6") == 1
    assert "echo #7" not in texts


def test_roots_of_many_streams() -> None:
    """Models side by side, and plain Observables."""
    merged = ops.merge_models(echo("Hi"), echo("Bye"))
    picture = marbles(merged.pipe(rx_ops.filter(lambda _: True)))
    assert sum("sim/echo #2: " in tip for tip in tips_in(picture)) >= 1
    assert "2 streams" in texts_in(picture)
    assert "numbers" in texts_in(marbles(as_stream(rx.merge(rx.of(1), rx.of(2)))))
    assert "numbers" in texts_in(marbles(rx.of(1, 2)))
    assert "items" in texts_in(marbles(as_stream([1, "a"])))


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


def lane_at(times: list[float], end: float) -> Stage:
    """A stage that had a text at each of these times, and an end."""
    came = [Came(at, told(f"word {number}")) for number, at in enumerate(sorted(times))]
    return Stage((), "texts", begun=0.0, came=came, ends=[Ended(end, "completed")])


def boxes_in(picture: object) -> list[tuple[float, float]]:
    """Where each marble of a text begins and ends."""
    rects = [it for it in tree(picture).iter(f"{SVG}rect") if it.get("class") == "rxllm-text"]
    dots = [it for it in tree(picture).iter(f"{SVG}circle") if it.get("class") == "rxllm-text"]
    return sorted(
        [(float(it.get("x", "")), float(it.get("x", "")) + float(it.get("width", ""))) for it in rects]
        + [(float(it.get("cx", "")) - 1, float(it.get("cx", "")) + 1) for it in dots]
    )


def bars_in(picture: object) -> list[float]:
    """Where each completion stands."""
    paths = [it for it in tree(picture).iter(f"{SVG}path") if it.get("class") == "rxllm-bar"]
    return [float(it.get("d", "").split()[0][1:]) for it in paths]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.floats(0, 1))
def test_nothing_hides_anything(times: list[float], longer: float) -> None:
    """No two marbles with a text overlap, and none the completion, which comes after all."""
    picture = marbles_of([lane_at(times, max(times) + longer)])
    boxes = boxes_in(picture)
    for (_, right), (left, _) in pairwise(boxes):
        assert right <= left + 0.2
    (bar,) = bars_in(picture)
    assert max(right for _, right in boxes) < bar


def test_completions_at_one_time_stand_in_one_place() -> None:
    """Whatever came with them: the last marble stands before."""
    picture = marbles_of([lane_at([1.0, 2.0, 4.0], 4.0), lane_at([1.0], 4.0), lane_at([1.0, 3.999], 4.0)])
    assert len({*bars_in(picture)}) == 1


def test_dot_of_many_is_larger() -> None:
    """Where there is no room for their number."""
    times = [at / 10 for at in range(100)]
    radii: list[list[float]] = []
    for crowd in ([], [5.01 + at / 1000 for at in range(30)]):
        picture = marbles_of([lane_at([*times, *crowd], 10.0)])
        radii.append([float(it.get("r", "")) for it in tree(picture).iter(f"{SVG}circle")])
    assert max(radii[1]) > 1.5 * max(radii[0])


def test_axis_is_broken_where_nothing_happens() -> None:
    """All lanes are, and it says for how long."""
    times = [20 + at / 100 for at in range(30)]
    picture = marbles_of([lane_at(times, 20.3), lane_at(times, 20.3)])
    assert "+20 s" in texts_in(picture)
    assert sum(it.get("class") == "rxllm-gap" for it in tree(picture).iter()) == 2
    left, _ = boxes_in(picture)[0]
    assert left < 0.25 * float(tree(picture).get("width", ""))


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


def test_interrupt_in_ipython_shows_what_had_come() -> None:
    """The picture is displayed before the interrupt is raised."""
    printed = interrupted_in_ipython("marbles(stream.pipe(ops.text_deltas()))")
    assert "<Picture: text_deltas()>" in printed
    assert "KeyboardInterrupt" in printed


def test_html_holds_the_picture_and_its_tips() -> None:
    """As an image, with what is told laid over it: an image alone tells nothing to who points at it."""
    picture = marbles(echo('Hi <b> & "you"\nall').pipe(ops.text_deltas()))
    html = ET.fromstring(picture._repr_mimebundle_()["text/html"])  # noqa: S314  # pyright: ignore[reportPrivateUsage]
    image, *areas = html
    _, _, data = image.get("src", "").partition("data:image/svg+xml;base64,")
    svg = base64.b64decode(data).decode()
    assert texts_in(svg) == texts_in(picture)
    assert [it.get("title") for it in areas] == tips_in(picture)
    assert tips_in(svg) == []
    for area in areas:
        place = dict(part.split(":") for part in area.get("style", "").split(";"))
        assert all(0 <= float(place[name][:-1]) <= 100 for name in ("left", "top", "width", "height"))


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
    assert len(Watched(own, lambda: 0.0).stages) == 1
