"""What an answer looks like in a notebook: nothing that a model says becomes markup, and all of it can be read."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rxllm._display_code import coloured
from rxllm._display_html import (
    body,
    calls_table,
    code_block,
    folded,
    formulas_in,
    members_table,
    rendered,
    side_by_side,
    warning,
)
from rxllm.types import ChatCompletionMessageToolCall, Function, PartialToolCall, ToolResult

# What may stand in an output: nothing that runs, loads or reaches out of it.
HARMLESS = frozenset(
    "a b blockquote br code del details div em h1 h2 h3 h4 h5 h6 hr i li ol p pre s small span strong summary "
    "table tbody td th thead tr ul".split()
)
NO_CONTENT = frozenset({"br", "hr"})
_ATTRIBUTES = frozenset("class style href title open start align valign width".split())


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
        assert {name for name, _ in attrs} <= _ATTRIBUTES, attrs
        assert dict(attrs).get("class") in {None, "tex2jax_ignore mathjax_ignore", "tex2jax_process mathjax_process"}
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
        body(warning(text)),
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


class Formulas(HTMLParser):
    """The formulas that a front end typesets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.alone: list[str] = []
        self.inline: list[str] = []
        self._open: list[str] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """What is to be typeset begins."""
        if "mathjax_process" in (dict(attrs).get("class") or ""):
            self._open = {"p": self.alone, "span": self.inline}[tag]

    def handle_endtag(self, tag: str) -> None:
        """Nothing stands within a formula."""
        self._open = None

    def handle_data(self, data: str) -> None:
        """The formula as it stands."""
        if self._open is not None:
            self._open.append(data)


@pytest.mark.parametrize(
    ("markdown", "formulas"),
    [
        (r"So \( a_1*b*c < d_2 \), \(x\).", [r"\( a_1*b*c < d_2 \)", r"\(x\)"]),
        (r"the $n$th of $x_1, x_2$, and 3$\times$", [r"\(n\)", r"\(x_1, x_2\)", r"\(\times\)"]),
        (r"a $$ x_1 $$ b \[ y_1 \] c", [r"\[ x_1 \]", r"\[ y_1 \]"]),
        (r"escaped twice: \\( x_1 \\), \\[ y_1 \\]", [r"\( x_1 \)", r"\[ y_1 \]"]),
        (r"**bold $a_1$** and [link \(b\)](https://example.org)", [r"\(a_1\)", r"\(b\)"]),
        ("| $a_1$ |\n|---|\n| \\(b_1\\) costs $5 |", [r"\(a_1\)", r"\(b_1\)"]),
        (r"an amount of $x=\$5$ in it", [r"\(x=\$5\)"]),
        ("$5 and $10, $20k-$30k, US$5 and A$6, $HOME/$PATH, $ 1 $", []),
        (r"\$a$ b and $$$$", []),
        ("`$x$` and `\\(y\\)`\n\n    \\(z\\)\n\n```\n$$\na\n$$\n```\n", []),
        (r"\(\) and \[ \] and \( open", []),
    ],
)
def test_formulas_within_a_line(markdown: str, formulas: list[str]) -> None:
    """They reach the front end as the model wrote them; money, code and what never closes are no formulas."""
    html = rendered(markdown)
    assert Formulas(html).inline == formulas
    assert (Formulas(html).alone, formulas_in(html)) == ([], len(formulas))


@pytest.mark.parametrize(
    ("markdown", "formula"),
    [
        ("So:\n\\[\na\n- b_1\n\\]\nAnd", "\\[\na\n- b_1\n\\]"),
        ("$$\na_1\n===\n$$", "\\[\na_1\n===\n\\]"),
        ("$$ a_1 $$", r"\[ a_1 \]"),
        ("- one:\n  \\[\n  a\n  - b\n  \\]\n- two", "\\[\na\n- b\n\\]"),
        ("> \\[\n> a_1\n> \\]\n> b", "\\[\na_1\n\\]"),
        ("\\\\[\na_1\n\\\\]", "\\[\na_1\n\\]"),
        ("\\begin{align*}\na &= b \\\\\n- c_1\n\\end{align*}", "\\begin{align*}\na &= b \\\\\n- c_1\n\\end{align*}"),
    ],
)
def test_formulas_that_stand_alone(markdown: str, formula: str) -> None:
    """Wherever they stand, nothing in them begins a list or a heading."""
    assert Formulas(rendered(markdown)).alone == [formula]


@pytest.mark.parametrize("markdown", ["\\[\na\n\nb\n\\]", "\\[\na\n\\] and", "- \\[\n\nb", "\\[\n" * 200, "$$", "$$$$"])
def test_what_only_begins_like_a_formula_is_text(markdown: str) -> None:
    """And nothing of it is lost."""
    html = rendered(markdown)
    assert Formulas(html).alone == []
    assert all(letter in Page(html).text for letter in set("ab") & set(markdown))


def test_a_formula_under_way_is_text_so_far() -> None:
    """Nothing of it flickers as a list or in italics until it closes."""
    page = Page(rendered("So:\n\\[\n- a_1*b*c"))
    assert page.elements == ["p", "p"]
    assert page.text == "So:\n\\[\n- a_1*b*c\n"
    assert formulas_in(rendered("So:\n\\[\n- a_1*b*c")) == 0


@pytest.mark.parametrize(
    "formula",
    [
        *(r"\href{javascript:alert(1)}{x}", r"\style{position:fixed}{x}", r"\def\alpha{\beta}", r"\require{html}"),
        *(r"\bbox[background:url(https://example.org)]{x}", r"\mmlToken{mi}[href=https://example.org]{x}"),
    ],
)
def test_formulas_reach_out_to_nothing(formula: str) -> None:
    """A link, a style or a new meaning of what others write is shown, and not carried out."""
    for markdown in (f"$x{formula}$", f"\\[\n{formula}\n\\]"):
        html = rendered(markdown)
        assert formulas_in(html) == 0
        assert formula in Page(html).text
    assert formulas_in(rendered(r"$\leftarrow \default \hrefs$")) == 1


def test_what_is_no_markdown_has_no_formulas() -> None:
    """An argument with money in it is no formula: all that is shown is closed to the front end's search for them."""
    call = ChatCompletionMessageToolCall(function=Function(name="f", arguments='{"a": "$x$ or $y$"}'))
    for html in (body(calls_table([call])), side_by_side([("$x$", calls_table([call]))])):
        assert html.startswith('<div class="tex2jax_ignore mathjax_ignore"')
        assert formulas_in(html) == 0


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


def test_it_can_stand_in_markdown() -> None:
    """Where a blank line would end it: code with some keeps its lines, and nothing in it is taken for Markdown."""
    code = "a\n\n# b\n   \n\n\tc\n"
    html = body(code_block(code, ""))
    assert Page(html).text.startswith(code)
    assert "\n\n" not in html.replace(" ", "").replace("\t", "")
    markdown = MarkdownIt("commonmark").render(f"x\n\n{html}\n\ny")
    assert markdown == f"<p>x</p>\n{html}\n<p>y</p>\n"


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


def test_tables_keep_their_shape_without_styles() -> None:
    """A code host takes these away: columns stand at the same width, and cells begin at the top left."""
    html = re.sub(' style="[^"]*"', "", side_by_side([("a", "x"), ("b", members_table({"c": 1}))]))
    assert html.count("<table") == 2
    assert '<table width="100%">' in html
    assert html.count('<th width="50%" align="left" valign="top">') == html.count("<th") == 2
    assert html.count('<td align="left" valign="top">') == html.count("<td") == 4


def test_long_cells_are_cut() -> None:
    """And say so."""
    html = members_table({"a": "x" * 100_000})
    assert len(html) < 3_000
    assert "x…" in html


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 20_000, "*a " * 20_000, "x" * 1_000_000, "`a" * 20_000, "[a](" * 20_000, "| a " * 20_000),
        *("\\(a " * 20_000, "\\[\n" * 20_000, "$a " * 20_000, "$$\na\n" * 20_001, "\\begin{align}\n" * 20_000),
    ],
    ids="brackets stars line ticks links bars inline alone dollars doubled environments".split(),
)
def test_text_of_any_length_is_rendered(text: str) -> None:
    """What nests, opens and never closes takes no longer than other text, or this would not end."""
    assert len(Page(rendered(text)).text) > len(text) // 10
