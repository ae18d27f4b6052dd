"""What an answer looks like in a notebook: nothing that a model says becomes markup, and all of it can be read."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._display_code import coloured
from rxllm._display_html import calls_table, code_block, folded, members_table, rendered, side_by_side, warning
from rxllm.types import ChatCompletionMessageToolCall, Function, PartialToolCall, ToolResult

# What may stand in an output: nothing that runs, loads or reaches out of it.
HARMLESS = frozenset(
    "a b blockquote br code del details div em h1 h2 h3 h4 h5 h6 hr i li ol p pre s small span strong summary "
    "table tbody td th thead tr ul".split()
)
NO_CONTENT = frozenset({"br", "hr"})


class Page(HTMLParser):
    """The elements, links and text of an HTML text; open elements are closed in order, or it fails."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"{self._open} are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert {name for name, _ in attrs} <= {"style", "href", "title", "open", "start"}, attrs
        if tag not in NO_CONTENT:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        """Text between elements."""
        self.text += data


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<details open><summary>x</summary>",
        "</div></td></table><style>*{display:none}</style>",
        "```html\n<script>alert(1)</script>\n```",
        '```"><script>alert(1)</script>\nx\n```',
        "`<b>`",
        "| <b>a</b> |\n|---|\n| <i>b</i> |",
    ],
)
def test_html_stays_text(markdown: str) -> None:
    """It is shown as the model wrote it."""
    page = Page(rendered(markdown))
    assert HARMLESS.issuperset(page.elements)
    assert not {"script", "img", "style", "details", "b", "i"} & set(page.elements)
    for tag in ("<script>", "<img", "<details open>", "<style>", "<b>", "<i>"):
        assert (tag in page.text) == (tag in markdown and not markdown.startswith('```"'))


@given(st.text(alphabet=st.sampled_from("<>&\"'`*_[]()!|#-~\\/: \nab=\ud83d"), max_size=60))
def test_any_text_is_harmless(text: str) -> None:
    """Whatever is in it, as an answer, a name, an argument, a result or an error."""
    call = ChatCompletionMessageToolCall(id="1", function=Function(name=text, arguments=json.dumps({text: text})))
    html = [
        rendered(text),
        calls_table([call], [ToolResult(call=call, content=text)]),
        members_table({text: [text]}),
        code_block(text, text),
        folded(text, rendered(text), is_open=True),
        side_by_side([(text, rendered(text))]),
        warning(text),
    ]
    page = Page("".join(html))
    assert HARMLESS.issuperset(page.elements)
    assert all(not link.strip().lower().startswith(("javascript:", "data:", "vbscript:")) for link in page.links)
    "".join(html).encode()  # half a character could not be sent to a browser


def test_links_do_not_run_and_images_do_not_load() -> None:
    """An image becomes a link, which whoever reads may follow."""
    page = Page(rendered("[a](javascript:alert(1)) ![b](http://example.org/b.png) [c](https://example.org)"))
    assert page.links == ["http://example.org/b.png", "https://example.org"]
    assert "img" not in page.elements


def test_markdown() -> None:
    """Headings, lists, tables and code are what they are."""
    page = Page(rendered("# Title\n\n- **one**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n~~~\ncode\n~~~\n"))
    assert page.elements == (
        ["h1", "ul", "li", "strong", "table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "pre", "code"]
    )


def test_an_unclosed_fence_is_code_so_far() -> None:
    """While it streams: nothing of it flickers as a paragraph."""
    page = Page(rendered("So:\n\n```python\ndef f(x):\n    return"))
    assert page.elements[:3] == ["p", "pre", "code"]
    assert page.text.rstrip() == "So:\ndef f(x):\n    return"


def test_code_is_coloured_where_its_language_is_known() -> None:
    """By colours of its own, and on no ground of its own: the page's may be light or dark."""
    html = code_block("def f(): pass\n", "python")
    assert Page(html).text == "def f(): pass\n\n"
    assert html.count("color: #") >= 2
    assert "background: #" not in html
    assert "<span" not in code_block("def f(): pass\n", "no-such-language")


def _brightness(colour: str) -> float:
    """The relative luminance, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_colours_can_be_read_on_light_and_dark() -> None:
    """With a contrast of 3.9 at least to white and to the black of JupyterLab."""
    code = "# a\n@b\nclass A(ValueError):\n    def f(self): return len('x') and 1\n"
    colours = {part[:7] for part in coloured(code, "python").split("color: ")[1:]}
    assert len(colours) >= 5
    for colour in colours:
        for ground in ("#ffffff", "#111111"):
            dark, light = sorted((_brightness(colour), _brightness(ground)))
            assert (light + 0.05) / (dark + 0.05) >= 3.9, (colour, ground)


def test_arguments_so_far() -> None:
    """A call whose arguments are half there shows what there is of them."""
    call = PartialToolCall(function=Function(name="add", arguments='{"city": "Par'))
    assert Page(calls_table([call])).text.split() == ["functionarguments", "addcity:", "Par"]


@pytest.mark.parametrize("arguments", ["", "[1, 2]", "not JSON", '{"a": {"b": [1]}}'])
def test_arguments_of_any_kind(arguments: str) -> None:
    """Are shown, if they are JSON of any kind, and break nothing, if they are none."""
    Page(calls_table([ChatCompletionMessageToolCall(function=Function(name="f", arguments=arguments))]))


def test_results_stand_beside_their_calls() -> None:
    """By the call's id, else by its index, and what failed says so."""

    def call(**fields: Any) -> ChatCompletionMessageToolCall:
        return ChatCompletionMessageToolCall(function=Function(name="f"), **fields)

    calls = [call(id="a"), call(id="b", index=1), call(index=2), call(index=3)]
    results = [
        ToolResult(call=calls[1], content="two"),
        ToolResult(call=calls[0], content="one", failed=True),
        ToolResult(call=calls[3], content="four"),
    ]
    table = Page(calls_table(calls, results).replace("<tr>", "<tr>;").replace("<td", ",<td"))
    rows = [row.split(",")[-1].strip() for row in table.text.split(";")[2:]]
    assert rows == ["failed: one", "two", "", "four"]


def test_long_cells_are_cut() -> None:
    """And say so."""
    html = members_table({"a": "x" * 100_000})
    assert len(html) < 3_000
    assert "x…" in html


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, "*a " * 20_000, "x" * 1_000_000, "`a" * 20_000, "[a](" * 20_000, "| a " * 20_000],
    ids=["brackets", "stars", "one line", "ticks", "links", "bars"],
)
def test_text_of_any_length_is_rendered(text: str) -> None:
    """What nests, opens and never closes takes no longer than other text, or this would not end."""
    assert len(Page(rendered(text)).text) > len(text) // 10
