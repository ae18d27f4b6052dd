"""What is shown of a Stream of any items."""

from collections.abc import Iterable
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from reactivex import Observable
from reactivex import operators as rx_ops
from reactivex.subject import Subject

from rxllm import operators as ops
from rxllm._shown import Shown
from rxllm.exceptions import RateLimitError
from rxllm.types import ChatCompletionMessageToolCall, CodeBlock, Function, ModelResponseStream, ToolResult
from tests.operators.sources import call_piece, calling, of, text_chunks


def shown(source: Observable[Any]) -> Shown:
    """All of a source, to its end."""
    made = Shown("a stream", "gpt-4")
    ticks: list[None] = []
    failures: list[Exception] = []
    made.over(source).subscribe(ticks.append, failures.append)
    assert ticks
    assert not failures, "errors are shown, and go no further"
    return made


def of_items(items: Iterable[Any]) -> Shown:
    """Of these items."""
    return shown(rx.from_iterable(items))


def test_each_item_and_the_end_is_a_tick() -> None:
    """So that whoever draws knows."""
    ticks: list[object] = []
    Shown("a", None).over(rx.of(1, 2)).subscribe(ticks.append, ticks.append, lambda: ticks.append("end"))
    assert ticks == [None, None, None, "end"]


def test_chunks() -> None:
    """Are an answer: its text, reasoning, refusal, calls and figures."""
    made = of_items(
        [
            of(reasoning_content="I *think*."),
            of("So: **yes**"),
            of(refusal="But no"),
            calling(call_piece('{"a": 1}', index=0, id="call_1", name="add"), finish_reason="tool_calls"),
            ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(id="call_1"), content="two")),
        ]
    )
    html = made.html()
    places = [
        html.index(part)
        for part in ("<em>think</em>", "<strong>yes</strong>", "Refused", "But no", "add", "two", "5 chunks")
    ]
    assert places == sorted(places)
    assert made.said() == "So: **yes**"
    assert made.markdown() == 'So: **yes**\n\n~~~~\nadd({"a": 1})\n~~~~'
    assert made.plain().startswith('So: **yes**\nadd({"a": 1})\n(5 chunks, ')


def test_cited_pages_are_listed() -> None:
    """Below what was said, each once, and those alone that a browser opens as a page."""

    def cited(url: str, title: str | None) -> dict[str, Any]:
        return {"type": "url_citation", "url_citation": {"url": url, "title": title}}

    pages = [("https://a.example/?a&b", "A <page>"), ("javascript:alert(1)", "No"), ("http://b.example", None)]
    annotations = [cited(url, title) for url, title in [*pages, pages[0]]]
    html = of_items([of("It is so."), of(annotations=[*annotations, {"type": "file_citation"}])]).html()
    assert html.index("It is so.") < html.index("Sources:") < html.index("2 chunks")
    links = [
        '<a href="https://a.example/?a&amp;b">A &lt;page&gt;</a>',
        '<a href="http://b.example">http://b.example</a>',
    ]
    assert f"<ol><li>{'</li><li>'.join(links)}</li></ol>" in html
    assert "Sources:" not in of_items([of("It is so.")]).html()


def test_reasoning_is_open_while_it_is_the_newest() -> None:
    """Until the answer begins, or the end."""
    source: Subject[ModelResponseStream] = Subject()
    made = Shown("a", None)
    made.over(source).subscribe()
    source.on_next(of(reasoning_content="Hm"))
    assert "<details open>" in made.html()
    source.on_next(of("Yes"))
    assert "<details>" in made.html()
    assert "<details>" in of_items([of(reasoning_content="Hm")]).html()


def test_what_began_anew_is_shown_anew() -> None:
    """Texts, however few have come, and answers side by side, of which the marker names none."""
    anew = ModelResponseStream.restarting("broke")
    chunks = [of("Once upon"), anew, of("Hel"), of("lo")]
    for make in (ops.text_deltas, ops.accumulate_text):
        assert shown(rx.of(*chunks).pipe(make())).markdown() == "Hello"
    tagged = [rx.of(of("no")).pipe(ops.tag(source)) for source in ("a", "b")]
    made = shown(rx.concat(*tagged, rx.of(anew, of("yes"))))
    assert made.markdown() == "yes"


def test_several_choices_stand_under_each_other() -> None:
    """Each under its heading; one alone has none."""
    html = of_items([of("two", index=1), of("one")]).html()
    places = [html.index(part) for part in ("choice 0", "one", "choice 1", "two")]
    assert places == sorted(places)
    assert "choice" not in of_items([of("one")]).html()


def test_merged_answers_are_told_apart() -> None:
    """By what merge_models() and tag() mark their chunks with, though they come interleaved."""
    one, two = (rx.from_iterable(text_chunks(texts)).pipe(ops.tag(name)) for name, texts in (("a", "xx"), ("b", "yyy")))
    made = shown(rx.zip(one, two).pipe(rx_ops.flat_map(rx.from_iterable)))
    assert made.markdown() == "**a**\n\nxx\n\n**b**\n\nyy"
    assert made.html().count("2 chunks, ") == 2
    assert made.figures.startswith("4 items, ")


def test_several_answers_stand_under_each_other() -> None:
    """One after the other, as run_tools() and concat give them."""
    made = of_items([of("one", finish_reason="stop"), of("two", finish_reason="stop")])
    assert made.markdown() == "one\n\ntwo"


@given(st.lists(st.text(alphabet="ab ", min_size=1), min_size=1, max_size=30))
def test_texts_that_grow_are_one_text(pieces: list[str]) -> None:
    """The newest, as accumulate_text() gives them."""
    texts = ["".join(pieces[: count + 1]) for count in range(len(pieces))]
    assert of_items(texts).markdown() == texts[-1]


@given(st.lists(st.sampled_from(["ha", "Hel", "lo", " there", "\n\n"]), min_size=2, max_size=30))
def test_texts_that_do_not_grow_are_put_together(pieces: list[str]) -> None:
    """As text_deltas() gives them, repetitions too."""
    assert of_items(pieces).markdown() == "".join(pieces)


def test_a_text_that_grows_may_begin_anew() -> None:
    """As after a restart: then what came before is not shown."""
    pieces = [*("abcdefghijkl"[:end] for end in range(1, 13)), "x", "xy"]
    assert of_items(pieces).markdown() == "xy"


def test_sentences_are_paragraphs() -> None:
    """As split_sentences() gives them."""
    assert of_items(["It is so.", "Is it not?"]).markdown() == "It is so.\n\nIs it not?"


def test_tool_calls_are_a_table() -> None:
    """Each as far as it came, though it came many times."""
    calls = [
        ChatCompletionMessageToolCall(id="1", index=0, function=Function(name="f", arguments=arguments))
        for arguments in ("", '{"a', '{"abc": 1}')
    ]
    made = of_items([*calls, ChatCompletionMessageToolCall(id="2", index=1, function=Function(name="g"))])
    assert made.html().count("<tr>") == 3
    assert "<code>abc</code>: 1" in made.html()
    assert made.plain().startswith('f({"abc": 1})\ng()\n(4 items, ')


def test_a_whole_response_is_its_message() -> None:
    """As build_response() gives it."""
    made = shown(rx.from_iterable(text_chunks(["**Hel", "lo**"])).pipe(ops.build_response()))
    assert "<strong>Hello</strong>" in made.html()
    assert made.markdown() == "**Hello**"
    assert made.figures.startswith("1 item, ")


class City(BaseModel):
    """An object of a user's."""

    name: str
    places: dict[str, Any]


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_of_objects_the_newest_is_a_table(as_dictionary: bool) -> None:
    """Its members, those within as JSON."""
    inner = City(name="Louvre", places={})
    cities = [City(name=name, places={"in": inner}) for name in ("Par", "Paris")]
    html = of_items([dict(city) if as_dictionary else city for city in cities]).html()
    assert "<code>name</code></td>" in html
    assert ">Paris</td>" in html
    assert ">Par</td>" not in html
    assert "{&quot;in&quot;: {&quot;name&quot;: &quot;Louvre&quot;, &quot;places&quot;: {}}}" in html


def test_code_blocks_are_code() -> None:
    """As extract_code_blocks() gives them."""
    made = of_items([CodeBlock(language="python", code="x = 1\n"), CodeBlock(code="<b>\n", index=1)])
    assert made.html().count("<pre") == 2
    assert "&lt;b&gt;" in made.html()
    assert made.markdown() == "~~~~python\nx = 1\n~~~~\n\n~~~~\n<b>\n~~~~"
    cut_off = CodeBlock(language="md", code="~~~~\nx\n~~~~", closed=False)
    assert of_items([cut_off]).markdown() == "~~~~~md\n~~~~\nx\n~~~~\n~~~~~"


def test_markdown_has_what_is_no_text() -> None:
    """Objects, calls, other items and the failure, as code that nothing in them ends: some front ends show no other."""
    call = ChatCompletionMessageToolCall(function=Function(name="add", arguments="{}"))
    items: list[tuple[Any, str]] = [({"a": "~~~~"}, "{'a': '~~~~'}"), (call, "add({})"), (1, "1")]
    for item, line in items:
        fence = "~" * (5 if "~" in line else 4)
        assert of_items([item]).markdown() == f"{fence}\n{line}\n{fence}"
    failed = shown(rx.concat(rx.of("- a"), rx.throw(RateLimitError("slow"))))
    assert failed.markdown() == "- a\n\n~~~~\nRateLimitError: slow\n~~~~"


def test_of_other_items_the_last_ten() -> None:
    """By their texts, those that are long cut, and how many there were."""
    made = of_items([*range(1_000, 1_021), ("y" * 10_000,)])
    assert "<pre" in made.html()
    assert ("1011" in made.html(), "1012" in made.html(), "1020" in made.html()) == (False, True, True)
    assert len(made.html()) < 4_000
    assert made.figures.startswith("22 items, ")


def test_until_something_comes_it_says_that_it_waits() -> None:
    """For which model, where it is known; and no longer, once it has ended."""
    for model, text in (("gpt-4", "waiting for gpt-4, 0 s"), (None, "waiting, 0 s")):
        made = Shown("a", model)
        made.over(rx.never()).subscribe()
        assert (made.figures, made.is_over) == (text, False)
        assert text in made.html()
        made.end("cancelled")
        assert (made.figures.split(",")[0], made.is_over) == ("0 items", True)


def test_nothing_came() -> None:
    """There are the figures alone."""
    made = shown(rx.empty())
    assert made.plain().startswith("(0 items, ")
    assert made.markdown() == ""


def test_an_error_stands_behind_what_had_come() -> None:
    """By its type and message, escaped."""
    made = shown(rx.concat(rx.of(of("Hel")), rx.throw(RateLimitError("Slow <down>"))))
    html = made.html()
    assert html.index("Hel") < html.index("RateLimitError: Slow &lt;down&gt;") < html.index("failed: RateLimitError")
    assert made.plain() == f"Hel\nRateLimitError: Slow <down>\n({made.figures})"


def test_leaving_is_told_once() -> None:
    """Of what is under way; what has ended stays as it is."""
    under_way, over = Shown("a", None), of_items([of("Hel", finish_reason="stop")])
    under_way.over(rx.never()).subscribe()
    for made in (under_way, over):
        made.end("cancelled", KeyboardInterrupt())
    assert under_way.figures.endswith(", cancelled")
    assert over.figures.endswith("finish reason: stop")
    assert (under_way.failure, over.error) == ("", None)


def test_of_merged_answers_those_that_ended_are_whole() -> None:
    """Where the others are left."""
    made = Shown("a", None)
    chunks = [of("one", finish_reason="stop"), of("tw")]
    tagged = [rx.of(chunk).pipe(ops.tag(name)) for chunk, name in zip(chunks, "ab", strict=True)]
    made.over(rx.concat(*tagged, rx.never())).subscribe()
    made.end("cancelled", KeyboardInterrupt())
    assert made.html().count("finish reason: stop") == 1
    assert made.html().count(", cancelled") == 2  # the other, and all


def test_halves_of_characters_are_replaced() -> None:
    """Wherever they stand: they could not be sent to a browser."""
    half = "\ud83d"
    made = of_items([of(half), calling(call_piece(half, index=0, name=half)), {half: half}, half])
    for text in (made.html(), made.markdown(), made.plain()):
        assert "\ufffd" in text
        text.encode()
