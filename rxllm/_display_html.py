"""What an answer looks like in a notebook: Markdown as HTML, calls as tables. Pure.

Colours are inherited, so that it is legible on any background; nothing that a model says becomes markup, loads anything
or runs. What a code host strips, styles, is not needed to read it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import BaseModel

from rxllm._extras import missing_extra
from rxllm.types import ChatCompletionMessageToolCall, PartialToolCall, ToolResult

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = [
    "body", "calls_table", "code_block", "folded", "formulas_in", "heading", "members_table", "rendered", "shortened",
    "side_by_side", "small", "sources", "warning", "wellformed",
]  # fmt: skip

# MathJax, by its versions 2 and 3: what it does not look at, and what it typesets within that.
_IGNORED: Final = "tex2jax_ignore mathjax_ignore"
_TYPESET: Final = "tex2jax_process mathjax_process"
# For front ends whose own styles say otherwise, and for code hosts, which strip styles.
_LEFT: Final = ' align="left" valign="top" style="text-align:left;vertical-align:top"'
_SUMMARY: Final = "display:list-item;cursor:pointer"
"""With the triangle that says that it opens, which the classic notebook takes away."""
_LONGEST: Final = 2_000
"""Characters that one cell of a table, or one line, shows at most."""


def rendered(markdown: str) -> str:
    r"""Markdown as HTML.

    Raises:
        ImportError: markdown-it-py, of the extra ``notebook``, is not installed.

    >>> rendered("**Hi** <script>alert(1)</script>")
    '<p><strong>Hi</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n'
    """
    html: str = _markdown().render(wellformed(markdown))
    return html


def folded(title: str, html: str, *, is_open: bool) -> str:
    """What can be folded away, and is but while it is the newest."""
    summary = f'<summary style="{_SUMMARY}"><i>{_text(title)}</i></summary>'
    return f"<details{' open' if is_open else ''}>{summary}\n{html}</details>\n"


def calls_table(calls: Sequence[ChatCompletionMessageToolCall], results: Sequence[ToolResult] = ()) -> str:
    """Tool calls with their arguments as far as they have come, and what came of them.

    >>> call = PartialToolCall.model_validate({"function": {"name": "add", "arguments": '{"a": 1'}})
    >>> "<code>a</code>: 1" in calls_table([call])
    True
    """
    if not calls:
        return ""
    came = {result.call.id or result.call.index: result for result in results}
    head = ["function", "arguments", *(["result"] if came else [])]
    rows: list[list[str]] = []
    for call in calls:
        row = [f"<code>{_text(call.function.name)}</code>", _arguments(call)]
        if came:
            result = came.get(call.id or call.index)
            text = "" if result is None else _text(result.content)
            row.append(f"failed: {text}" if result is not None and result.failed else text)
        rows.append(row)
    return _table(head, rows)


def code_block(code: str, language: str) -> str:
    """Code as it stands, in colours where the language is known."""
    from rxllm._display_code import coloured

    return (
        '<pre style="margin:0.5em 0;padding:0.6em 0.8em;overflow:auto;background:rgba(128,128,128,0.12)">'
        f'<code style="background:none">{coloured(wellformed(code), language)}</code></pre>\n'
    )


def members_table(members: Mapping[str, Any]) -> str:
    """An object's members, a row each."""
    return _table(["", ""], [[f"<code>{_text(name)}</code>", _value(value)] for name, value in members.items()])


def side_by_side(columns: Sequence[tuple[str, str]]) -> str:
    """Columns, each with a heading and its HTML, at the same width."""
    width = f' width="{100 / max(len(columns), 1):.4g}%"'
    cells = "".join(f"<th{width}{_LEFT}>{_text(label)}</th>" for label, _ in columns)
    bodies = "".join(f"<td{_LEFT}>{html}</td>" for _, html in columns)
    whole = ' width="100%" style="width:100%;table-layout:fixed"'
    return body(f"<table{whole}><tr>{cells}</tr>\n<tr>{bodies}</tr></table>\n")


def body(html: str) -> str:
    """All that is shown: what has no place to break is broken anywhere, and no sum of money is taken for a formula."""
    # A blank line, as in code, would end the HTML where it stands in Markdown, as nbconvert writes it.
    whole = re.sub(r"\n(?=[ \t]*\n)", "&#10;", html)
    return f'<div class="{_IGNORED}" style="overflow-wrap:anywhere">{whole}</div>'


def formulas_in(html: str) -> int:
    """How many formulas a front end will typeset."""
    return html.count(_TYPESET)


def heading(text: str) -> str:
    """What stands above one part of several."""
    return f'<p style="margin:0.8em 0 0.4em 0"><b>{_text(text)}</b></p>\n'


def small(text: str) -> str:
    """A line of less weight."""
    return f'<p style="opacity:0.65;margin:0.4em 0 0 0"><small>{_text(text)}</small></p>\n'


def warning(text: str) -> str:
    """A line of more weight, with a mark of red: there is no red that can be read well on light and on dark."""
    return f'<p style="border-left:4px solid #d33;padding-left:0.6em"><b>{_text(text)}</b></p>\n'


def sources(annotations: Iterable[Mapping[str, Any]]) -> str:
    r"""The pages that an answer cites, in their order, each once.

    >>> sources([{"type": "url_citation", "url_citation": {"url": "https://example.org/", "title": "A page"}}])
    '<p><i>Sources:</i></p>\n<ol><li><a href="https://example.org/">A page</a></li></ol>\n'
    """
    titles: dict[str, str] = {}
    for annotation in annotations:
        cited: Any = annotation.get("url_citation")
        if isinstance(cited, dict):
            page = cast("dict[str, Any]", cited)
            titles.setdefault(str(page.get("url")), str(page.get("title") or page.get("url")))
    items = "".join(
        f'<li><a href="{escape(wellformed(url))}">{_text(title)}</a></li>'
        for url, title in titles.items()
        if url.startswith(("https://", "http://"))
    )
    return f"<p><i>Sources:</i></p>\n<ol>{items}</ol>\n" if items else ""


def shortened(text: str) -> str:
    """The beginning of what is too long for one cell of a table, or one line."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def wellformed(text: str) -> str:
    r"""The text with a mark in the place of half a character, which has no form in UTF-8.

    >>> wellformed("a\ud83d") == "a\ufffd"
    True
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@cache
def _markdown() -> "MarkdownIt":
    try:
        from markdown_it import MarkdownIt

        from rxllm._display_math import with_mathematics
    except ImportError:
        raise missing_extra("Showing a Stream in a notebook", "notebook") from None
    # Without images: those of somebody else would be loaded, and tell who reads.
    parser = MarkdownIt("commonmark", {"html": False, "highlight": _highlighted})
    return with_mathematics(parser.enable(["table", "strikethrough"]).disable("image"), _TYPESET)


def _highlighted(code: str, language: str, _: str) -> str:
    return code_block(code, language)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["".join(f"<th{_LEFT}>{cell}</th>" for cell in head)] if any(head) else []
    lines += ["".join(f"<td{_LEFT}>{cell}</td>" for cell in row) for row in rows]
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>\n"


def _arguments(call: ChatCompletionMessageToolCall) -> str:
    partial = call if isinstance(call, PartialToolCall) else PartialToolCall.of(call, complete=False)
    so_far: object = partial.so_far
    if not isinstance(so_far, dict):
        return _value(so_far)
    members = cast("dict[str, Any]", so_far)
    return "<br>".join(f"<code>{_text(name)}</code>: {_value(value)}" for name, value in members.items())


def _value(value: Any) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_jsonable))


def _jsonable(value: Any) -> Any:
    return vars(value) if isinstance(value, BaseModel) else repr(value)


def _text(text: str) -> str:
    return escape(wellformed(shortened(text))).replace("\n", "<br>")
