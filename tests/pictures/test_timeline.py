"""When the chunks came: of streams, of recordings, of what others have collected."""

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
import reactivex as rx
from hypothesis import given, settings
from hypothesis import strategies as st

import rxllm
from rxllm import Stream, as_stream
from rxllm import operators as ops
from rxllm._accumulators._arrivals import Arrivals
from rxllm._accumulators._measurement import Measurement
from rxllm._pictures import timeline, timeline_of
from rxllm.exceptions import IncompleteStreamError
from rxllm.types import ModelResponseStream, Usage
from tests.pictures.reading import SVG, interrupted_in_ipython, texts_in, tree
from tests.server import Answering, Server

CALL = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]


def echo(text: str, model: str = "sim/echo") -> Stream[ModelResponseStream]:
    """A stream of the simulator."""
    asked: Stream[ModelResponseStream] = rxllm.completion(
        model, [{"role": "user", "content": text}], stream=True, extra_body={"delay": 0}
    )
    return asked


def collected(label: str, *chunks: ModelResponseStream, gap: float = 0.25) -> Arrivals:
    """Chunks that came at even distances."""
    arrivals = Arrivals(label, "gpt-4", begun=0.0)
    for number, chunk in enumerate(chunks, 1):
        arrivals.add(chunk, number * gap)
    arrivals.end(len(chunks) * gap, "completed")
    return arrivals


def words(count: int) -> list[ModelResponseStream]:
    """Chunks of one token each."""
    return [ModelResponseStream.of(" word") for _ in range(count)]


@pytest.mark.parametrize(("kind", "beginning"), {".svg": b"<svg", ".png": b"\x89PNG\r\n", ".pdf": b"%PDF-"}.items())
def test_it_is_saved_as(kind: str, beginning: bytes, tmp_path: Path) -> None:
    """Three kinds, by the file's name."""
    path = tmp_path / f"picture{kind}"
    timeline(echo("Hello there")).save(path)
    assert path.read_bytes().startswith(beginning)


def test_other_kind_is_refused(tmp_path: Path) -> None:
    """The error says which there are."""
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf"):
        timeline_of([collected("a")]).save(tmp_path / "picture.jpg")


def test_figures_are_told() -> None:
    """Tokens, their rate, the first of them, and the gaps; each kind of chunk in the legend."""
    chunks = [
        ModelResponseStream.of(role="assistant"),
        ModelResponseStream.of(reasoning_content=" word"),
        *words(3),
        ModelResponseStream.of(tool_calls=CALL),
        ModelResponseStream(usage=Usage(completion_tokens=9)),
    ]
    written = "\n".join(texts_in(timeline_of([collected("mine", *chunks)])))
    for each in (
        "mine",
        "first after 0.5 s",
        "median 0.25 s, p99 0.25 s",
        "reasoning",
        "tool calls",
        "usage",
        "first token",
    ):
        assert each in written
    rate = collected("mine", *chunks).tokens_per_second
    assert f"{rate:.1f} tokens/s" in written


def test_streams_run_side_by_side_and_once(ask: Callable[..., Stream[ModelResponseStream]], server: Server) -> None:
    """Each sends one request, and neither waits for the other's end."""
    both = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.number == 2:
            both.open()
        await both.wait()
        await answering.stream("Hel", "lo")

    server.script = answer
    written = texts_in(timeline(ask(), ask()))
    assert len(server.requests) == 2
    assert {"gpt-4", "gpt-4 #2"} <= set(written)


def test_failure_is_told_at_the_label() -> None:
    """One that fails at once takes nothing from the others, and is not raised."""
    written = "\n".join(texts_in(timeline(echo("Hi"), echo("Hi", "sim/nothing"))))
    assert "sim/nothing\nNotFoundError" in written
    assert "no tokens" in written
    assert "\n1 token, first" in written


def test_failure_alone_and_nothing_at_all() -> None:
    """Pictures all the same."""
    assert "NotFoundError" in "\n".join(texts_in(timeline(echo("Hi", "sim/nothing"))))
    empty: Stream[Any] = rxllm.as_stream([])
    assert "no gaps" in texts_in(timeline(empty))
    assert "no gaps" in texts_in(timeline_of([Arrivals("a", begun=0.0)]))


def test_recording_is_read_and_not_replayed(tmp_path: Path) -> None:
    """Its times are those of the file, and its label the file's stem."""
    path = tmp_path / "slow answer.jsonl"
    path.write_text(
        '{"rxllm_recording": 1, "request": null}\n'
        '{"at": 100.0, "chunk": {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}}\n'
        '{"at": 4000.0, "chunk": {"choices": [{"index": 0, "delta": {"content": "lo"}}]}}\n'
        '{"at": 4001.0, "end": "completed"}\n'
    )
    written = "\n".join(texts_in(timeline(path, str(path))))
    assert "slow answer\n" in written
    assert "slow answer #2" in written
    assert "first after 100 s" in written
    assert "median 3,900 s" in written


def test_recording_of_a_stream(tmp_path: Path) -> None:
    """What ``record()`` has written of it, beside a stream."""
    list(echo("Hello there").pipe(ops.record(tmp_path / "hello.jsonl")))
    written = texts_in(timeline(tmp_path / "hello.jsonl", echo("Hi")))
    assert {"hello", "sim/echo"} <= set(written)


def test_recording_that_breaks_off(tmp_path: Path) -> None:
    """It is drawn as far as it goes, and its label tells."""
    path = tmp_path / "half.jsonl"
    path.write_text('{"rxllm_recording": 1}\n{"at": 1.0, "chunk": {"choices": []}}\n{"at": 2')
    assert "half\nIncompleteStreamError" in "\n".join(texts_in(timeline(path)))


def test_recording_whose_consumer_had_left(tmp_path: Path) -> None:
    """Its label tells that it was cancelled; an error that was recorded stays one, whatever its code."""
    chunks = as_stream([ModelResponseStream.of("Hel"), ModelResponseStream.of("lo")])
    chunks.pipe(ops.record(tmp_path / "short.jsonl"), ops.take_chunks(1)).run()
    written = "\n".join(texts_in(timeline(tmp_path / "short.jsonl")))
    assert "short\ncancelled" in written
    assert "IncompleteStreamError" not in written
    broken: Stream[ModelResponseStream] = as_stream(rx.throw(IncompleteStreamError("No end", code="left")))
    with pytest.raises(IncompleteStreamError):
        broken.pipe(ops.record(tmp_path / "broken.jsonl")).run()
    assert "broken\nIncompleteStreamError" in "\n".join(texts_in(timeline(tmp_path / "broken.jsonl")))


def test_what_cannot_be_drawn_is_refused_before_anything_is_sent(
    ask: Callable[..., Stream[ModelResponseStream]], server: Server, tmp_path: Path
) -> None:
    """No stream, no file, no recording, nothing."""
    (tmp_path / "note.txt").write_text("Dear diary\n")
    refused: list[tuple[Any, type[Exception]]] = [
        (3, TypeError),
        (tmp_path / "nowhere.jsonl", OSError),
        (tmp_path / "note.txt", ValueError),
    ]
    for given_, error in refused:
        with pytest.raises(error):
            timeline(ask(), given_)
    with pytest.raises(TypeError):
        timeline()
    with pytest.raises(TypeError, match="the Stream, or what record"):
        timeline(ask(), Measurement("completed", 1.0, 1, 1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="2 streams and recordings, and 1 labels"):
        timeline(ask(), ask(), labels=["one"])
    with pytest.raises(ValueError, match="one answer or more"):
        timeline_of([])
    assert server.requests == []


def test_stream_of_other_items_is_refused() -> None:
    """What it gives is named."""
    with pytest.raises(TypeError, match="sim/echo gives str"):
        timeline(echo("Hi").pipe(ops.text_deltas()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_missing_extra_is_told_before_anything_is_sent(
    ask: Callable[..., Stream[ModelResponseStream]], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ``ImportError`` that names the extra."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"timeline\(\) needs an extra: pip install 'rxllm\[notebook\]'"):
        timeline(ask())
    assert server.requests == []


def test_picture_is_the_same_each_time() -> None:
    """Without a date and without ids that change."""
    assert str(timeline_of([collected("a", *words(5))])) == str(timeline_of([collected("a", *words(5))]))


def test_users_style_is_neither_used_nor_changed() -> None:
    """What they have set for matplotlib stays as it is, and pyplot is not imported."""
    expected = str(timeline_of([collected("a", *words(5))]))
    style: Any = mpl
    with style.rc_context({"font.size": 30.0, "svg.fonttype": "path"}):
        before = dict(style.rcParams)
        assert str(timeline_of([collected("a", *words(5))])) == expected
        assert dict(style.rcParams) == before


def test_labels_are_what_was_said() -> None:
    """Instead of the models."""
    written = texts_in(timeline(echo("Hi"), echo("Hi"), labels=["short", "long"]))
    assert {"short", "long"} <= {*written}
    assert "sim/echo" not in "".join(written)


def test_chunks_of_one_instant_have_no_gaps() -> None:
    """They are told as what they are, though an axis of powers of ten has no place for nothing."""
    assert "median 0, p99 0" in "\n".join(texts_in(timeline_of([collected("a", *words(5), gap=0.0)])))


def test_times_of_the_axis_are_in_one_unit() -> None:
    """However long it is."""
    written = texts_in(timeline_of([collected("a", *words(5), gap=0.04)]))
    assert {"50 ms", "100 ms", "150 ms", "200 ms"} <= {*written}


def test_it_follows_the_preference_for_dark_pictures() -> None:
    """Every colour has one for the dark, by a name that is on all that is painted in it; no style is anybody else's."""
    picture = timeline_of([collected("a", *words(5)), collected("fill: #123456 class=*{", *words(9))])
    style = next(tree(picture).iter(f"{SVG}style")).text or ""
    painted = [(it, what, it.get(what, "")) for it in tree(picture).iter() for what in ("fill", "stroke")]
    colors = [each for each in painted if each[2].startswith("#")]
    assert len({color for _, _, color in colors}) >= 8
    for it, what, color in colors:
        name = f"rxllm-{what[0]}{color[1:]}"
        assert name in it.get("class", "").split()
        assert f".{name}{{{what}:#" in style
    assert all(selector.lstrip().startswith((".rxllm-", "@media")) for selector in re.findall(r"[^{}]+(?={)", style))


def test_it_needs_no_styles() -> None:
    """Where a code host takes them away, it is painted all the same: what they say of a light one are attributes."""
    picture = tree(timeline_of([collected("a", *words(5)), collected("*{fill: none}", *words(9))]))
    # Older versions of matplotlib write ``font``, which is no attribute.
    assert all(it.get("style", "font: ").startswith("font: ") for it in picture.iter())
    assert {"stroke-linejoin": "round", "stroke-linecap": "butt"}.items() <= picture.attrib.items()
    (heading,) = [it for it in picture.iter(f"{SVG}text") if it.text == "tokens so far"]
    assert heading.get("fill") == "#1f2937"


def test_page_is_never_too_narrow_for_it() -> None:
    """In HTML it is an image that shrinks with the page; an SVG in JupyterLab is cut off."""
    picture = timeline_of([collected("a", *words(5))])
    html = ET.fromstring(picture._repr_mimebundle_()["text/html"])  # noqa: S314  # pyright: ignore[reportPrivateUsage]
    (image,) = html
    assert "max-width:100%" in image.get("style", "")
    assert base64.b64decode(image.get("src", "").partition(",")[2]).decode() == str(picture)


def test_interrupt_in_ipython_shows_what_had_come() -> None:
    """The picture is displayed before the interrupt is raised."""
    printed = interrupted_in_ipython("timeline(stream)")
    assert "<Picture: timeline of stream>" in printed
    assert "KeyboardInterrupt" in printed


def test_size_is_bounded() -> None:
    """Ten thousand chunks make no picture of megabytes."""
    picture = str(timeline_of([collected("a", *words(10_000), gap=0.013)]))
    assert len(picture) < 500_000
    assert "10,000 tokens, first after 13 ms" in "\n".join(texts_in(picture))


@settings(max_examples=8)
@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_label_gives_well_formed_xml(label: str) -> None:
    """Formulas, markup, halves of surrogate pairs: a label is a text, and warns of nothing."""
    tree(timeline_of([collected(label, *words(2))]))


def test_observables_that_are_no_streams() -> None:
    """They have no model to be called by."""
    assert "stream" in texts_in(timeline(rx.of(*words(2))))
