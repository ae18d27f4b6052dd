"""Mathematics in Markdown, as models write it: kept as it stands, for what typesets it in a notebook. Pure."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

__all__ = ["with_mathematics"]

_MOST: Final = 2_000
"""Characters of a formula within a line, so that one that never closes is given up soon."""
_MOST_LINES: Final = 100
"""Lines of one that stands alone, likewise."""

# Written twice where it is escaped for a Markdown that takes one away.
_INLINE: Final[Mapping[str, tuple[str, str, str]]] = {
    "\\\\(": ("\\\\)", "\\(", "\\)"),
    "\\\\[": ("\\\\]", "\\[", "\\]"),
    "\\(": ("\\)", "\\(", "\\)"),
    "\\[": ("\\]", "\\[", "\\]"),
    "$$": ("$$", "\\[", "\\]"),
}
# Sums of money and variables of a shell are none: no letter before, no space within, no digit nor capital behind.
_DOLLARS: Final = re.compile(rf"(?<![^\W\d_])\$(?!\s)((?:[^$\\]|\\.){{1,{_MOST}}})(?<!\s)\$(?![A-Z_\d])", re.DOTALL)
_OPENING: Final = re.compile(
    r"\$\$|\\{1,2}\[|\\begin\{(?P<name>(?:equation|align|alignat|flalign|gather|multline|eqnarray)\*?)\}"
)
# What makes links, styles the page, or gives other formulas another meaning.
_REACHING_OUT: Final = re.compile(
    r"\\(?:href|url|style|class|cssId|data|bbox|mmlToken|require|csname|let|[egx]?def|(?:re)?newcommand|providecommand"
    r"|(?:re)?newenvironment|DeclareMathOperator|includegraphics|unicode)(?![a-zA-Z])"
)


def with_mathematics(parser: MarkdownIt, kind: str) -> MarkdownIt:
    r"""The parser, which leaves formulas alone, and marks those that are whole as of this class.

    They stand between ``\(`` and ``\)``, ``\[`` and ``\]``, or dollars.

    >>> print(with_mathematics(MarkdownIt(), "math").render(r"\(a_1 < b_1\) for $5 or $6"))
    <p><span class="math">\(a_1 &lt; b_1\)</span> for $5 or $6</p>
    <BLANKLINE>
    """
    parser.inline.ruler.before("escape", "formula", _inline)
    parser.block.ruler.before("fence", "formula", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})

    def rendered(_: RendererHTML, tokens: Sequence[Token], index: int, *__: Any) -> str:
        token = tokens[index]
        is_typeset = not token.meta.get("is_open") and not _REACHING_OUT.search(token.content)
        attribute = f' class="{kind}"' if is_typeset else ""
        formula = escape(token.content, quote=False)
        return f"<p{attribute}>{formula}</p>\n" if token.block else f"<span{attribute}>{formula}</span>"

    parser.add_render_rule("formula", rendered)
    return parser


def _inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  as the parser calls it
    source, begin = state.src, state.pos
    if source[begin] not in "\\$":
        return False
    opening = next((each for each in _INLINE if source.startswith(each, begin)), None)
    if opening is not None:
        closing, before, behind = _INLINE[opening]
        start = begin + len(opening)
        formula, found, _ = source[start : start + _MOST].partition(closing)
        if not found or not formula.strip():
            return False
        end = start + len(formula) + len(closing)
    else:
        dollars = _DOLLARS.match(source, begin)
        if dollars is None:
            return False
        formula, before, behind, end = dollars[1], "\\(", "\\)", dollars.end()
    if not silent:
        state.push("formula", "", 0).content = f"{before}{formula}{behind}"
    state.pos = end
    return True


def _block(state: StateBlock, begin: int, end: int, silent: bool) -> bool:  # noqa: FBT001  as the parser calls it
    """A formula that stands alone: in it, what would begin a list or a heading does not."""
    opening = None if state.is_code_block(begin) else _OPENING.match(_line(state, begin))
    if opening is None:
        return False
    environment = opening["name"]
    closing = f"\\end{{{environment}}}" if environment else opening[0].replace("[", "]")
    for last in range(begin, min(end, begin + _MOST_LINES)):
        if state.isEmpty(last) or state.sCount[last] < state.blkIndent:
            return False
        line = _line(state, last).rstrip()
        before, found, behind = line[opening.end() if last == begin else 0 :].partition(closing)
        if found:
            break
        if opening[0] in before:
            return False
    else:
        # Under way, if this is all that there is.
        if end - begin > _MOST_LINES:
            return False
        last, found, before, behind = end - 1, "", "", ""
    if behind or (last == begin and not before.strip() and found):
        return False
    if not silent:
        text = state.getLines(begin, last + 1, state.sCount[begin], keepLastLF=False).strip()
        if found and not environment:
            text = f"\\[{text[len(opening[0]) : -len(closing)]}\\]"
        token = state.push("formula", "", 0)
        token.block, token.content, token.meta = True, text, {"is_open": not found}
    state.line = last + 1
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
