"""Code in colours that can be read on a light ground and on a dark one, since nobody tells us which it is. Pure."""

from functools import cache, lru_cache
from html import escape
from typing import Any, Final

from pygments import formatters, highlight, lexers, style, token, util

__all__ = ["coloured"]

_LONGEST: Final = 20_000
"""Characters: longer code has no colours, which take a second for 100,000 and ten times the room."""


class _Colours(style.Style):
    """Of middling brightness: a contrast of 4 to white and to what dark themes take for black."""

    styles = {  # noqa: RUF012  pygments has it as an attribute of the class
        token.Comment: "italic #808080",
        token.Keyword: "#a05fd6",
        token.Name.Builtin: "#0b8a8f",
        token.Name.Class: "bold #1f7fd1",
        token.Name.Decorator: "#1f7fd1",
        token.Name.Exception: "#0b8a8f",
        token.Name.Function: "#1f7fd1",
        token.Name.Tag: "#1f7fd1",
        token.Name.Attribute: "#0b8a8f",
        token.Number: "#b8700a",
        token.Operator.Word: "#a05fd6",
        token.String: "#2f8f4e",
    }


@lru_cache(64)  # blocks that are closed do not change while the answer grows
def coloured(code: str, language: str) -> str:
    """Code as HTML, in colours where the language is known.

    >>> coloured("<b>", "")
    '&lt;b&gt;'
    >>> coloured("# hi", "python").strip()
    '<span style="color: #808080; font-style: italic"># hi</span>'
    """
    if not language or len(code) > _LONGEST:
        return escape(code, quote=False)
    try:
        lexer = lexers.get_lexer_by_name(language, stripnl=False)  # pyright: ignore[reportUnknownMemberType]
    except util.ClassNotFound:
        return escape(code, quote=False)
    html: str = highlight(code, lexer, _formatter())
    return html


@cache
def _formatter() -> Any:
    return formatters.HtmlFormatter[str](noclasses=True, style=_Colours, nowrap=True)
