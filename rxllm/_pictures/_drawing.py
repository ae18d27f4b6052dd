"""The marble drawings of docstrings: texts become pictures."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rxllm._pictures._diagram import RADIUS, Diagram, End, Kind, Lane, Marble, Operator, Space, pill_width
from rxllm._pictures._diagram_svg import diagram_html, diagram_svg
from rxllm._pictures._picture import Picture
from rxllm._pictures._text import legible

__all__ = ["drawing_picture"]

_NARROWEST: Final = 7.5
_OPERATOR: Final = re.compile(r"\s*[A-Za-z_][\w.]*\(")
_QUOTED: Final = re.compile(r"""((?:[\w.-]+:)?)(["'])(.*)\2""", re.DOTALL)
_FINISHES: Final = ("stop", "length", "tool_calls", "content_filter")
_TIME, _END, _ERROR, _TOGETHER = "-", "|", "X", ","


@dataclass(frozen=True, slots=True)
class _Item:
    """What a lane has in a column: an item, or an end."""

    column: int
    text: str
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """A lane as it is drawn, in columns from the first of the lanes."""

    label: str
    begins: int
    items: Sequence[_Item]
    stops: int


def drawing_picture(text: str) -> Picture:
    r"""The picture of a marble drawing, as the docstrings of the operators have it.

    ::

        chunks  --"Hel"--"lo"--stop--|
                 finish_reason()
        reason  ---------------------"stop"|

    Each line is a lane with its name at the left, or an operator with its arguments and, two spaces after it, a
    remark. In a lane a dash is time, ``|`` the completion, ``X`` an error, and a comma stands between what comes
    together; what begins with quotes is a text. The names of other lanes may stand before an item, with a colon. A
    lane that begins with spaces begins later. An empty line stands between two drawings.

    Args:
        text: the drawing.

    Raises:
        ValueError: it cannot be understood; says the line and why.

    >>> drawing_picture('chunks  --"Hel"--"lo"--|\n        text_deltas()\ntexts   --"Hel"--"lo"--|')
    <Picture: text_deltas()>
    """
    blocks = [block for block in re.split(r"\n[ \t]*\n", text.rstrip().expandtabs()) if block.strip()]
    if not blocks:
        raise ValueError("There is nothing in the drawing")
    rows: list[_Line | Operator | Space] = []
    for block in blocks:
        rows += [*([Space()] if rows else ()), *_parsed(block)]
    names = [row.text for row in rows if isinstance(row, Operator)]
    lines = [row for row in rows if isinstance(row, _Line)]
    column = max(_room_for(lines), default=_NARROWEST)
    column = max(column, _NARROWEST)
    diagram = Diagram(
        title="\n".join(block for block in blocks),
        width=max((line.stops for line in lines), default=0) * column + RADIUS,
        rows=[_lane(row, column) if isinstance(row, _Line) else row for row in rows],
    )
    return Picture(diagram_svg(diagram), ", ".join(names) or "marbles", html=lambda: diagram_html(diagram))


def _parsed(block: str) -> list[_Line | Operator | Space]:
    lines = [line for line in block.split("\n") if line.strip()]
    lanes = [line for line in lines if not _OPERATOR.match(line)]
    starts = [found.end() for line in lanes if (found := re.match(r"(?:\S.*?(?: +)|\s*)(?=--|-\S)", line))]
    if not starts:
        # No lane begins with time: each begins with what comes at once.
        starts = [found.end() for line in lanes if (found := re.match(r"\S.*?  +(?=\S)", line))]
    if lanes and not starts:
        raise ValueError(f"Neither dashes nor two spaces tell where the lane begins: {lanes[0]!r}")
    start = min(starts, default=0)
    labels = [line[:start].strip() for line in lanes]
    tags = sorted({label for label in labels if label}, key=len, reverse=True)
    return [_operator(line) if _OPERATOR.match(line) else _line(line, start, tags) for line in lines]


def _operator(line: str) -> Operator:
    text = line.strip()
    at = _closing(text, text.index("("), line)
    remark = text[at:]
    if remark and not remark.startswith("  "):
        raise ValueError(f"After an operator there are two spaces and a remark, or nothing: {line!r}")
    return Operator(text[:at], remark.strip())


def _line(line: str, start: int, tags: Sequence[str]) -> _Line:
    label, body = line[:start], line[start:].rstrip()
    if label and not label.endswith(" "):
        raise ValueError(f"The lanes begin in column {start + 1}, and this one does not: {line!r}")
    if not body:
        raise ValueError(f"Nothing is in the lane {line!r}")
    begins = len(body) - len(body.lstrip())
    return _Line(label.strip(), begins, list(_items(body, begins, tags, line)), len(body))


def _items(body: str, at: int, tags: Sequence[str], line: str) -> Iterator[_Item]:
    while at < len(body):
        character = body[at]
        if character in {_TIME, _TOGETHER}:
            at += 1
            continue
        if character == " ":
            raise ValueError(
                f"In a lane there is no space but in quotes and within a name, as in column {at + 1} of {body!r}"
            )
        end = at + 1 if character == _END else _item_end(body, at, tags, line)
        text = body[at:end]
        if text in {_END, _ERROR}:
            yield _Item(at, text, is_end=True)
            if body[end:].strip():
                raise ValueError(f"After its end there is something more in the lane: {line!r}")
            return
        yield _Item(at, text)
        at = end


def _item_end(body: str, at: int, tags: Sequence[str], line: str) -> int:
    """Where the item that begins here ends: quotes and brackets may hold anything."""
    tag = next((tag for tag in tags if body.startswith(f"{tag}:", at)), "")
    at += len(tag)
    before = ":"
    while at < len(body) and body[at] not in {_TIME, _END, _TOGETHER}:
        character = body[at]
        if character == '"' or (character == "'" and not before.isalnum()):
            at = _unquoted(body, at, line)
        elif character == "(":
            at = _closing(body, at, line)
        elif character == " " and body[at : at + 2] == "  ":
            break
        else:
            at += 1
        before = character
    return at


def _closing(text: str, at: int, line: str) -> int:
    """Behind the bracket that closes the one which stands here."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = _unquoted(text, at, line)
            continue
        depth += (character in "([{") - (character in ")]}")
        at += 1
        if not depth:
            return at
    raise ValueError(f"A bracket is not closed in {line!r}")


def _unquoted(text: str, at: int, line: str) -> int:
    """Behind the quote that closes the one which stands here."""
    found = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1""").match(text, at)
    if found is None:
        raise ValueError(f"A quote is not closed in {line!r}")
    return found.end()


def _room_for(lines: Sequence[_Line]) -> Iterator[float]:
    """How wide a column has to be, so that each marble has room before what follows it."""
    for line in lines:
        for item, following in pairwise(line.items):
            room = RADIUS - 8 if following.text == _ERROR else RADIUS if following.is_end else 0
            touching = "," if following.column - item.column <= len(item.text) + 1 else "-"
            yield (pill_width(_shown(item.text)) + (3 if touching == "," else 8) - room) / (
                following.column - item.column
            )
        if line.items and not line.items[-1].is_end:
            yield (pill_width(_shown(line.items[-1].text)) + 10) / (line.stops - line.items[-1].column + 1)


def _lane(line: _Line, column: float) -> Lane:
    marbles: list[Marble] = []
    ends: list[End] = []
    for item in line.items:
        x = item.column * column + RADIUS
        if item.is_end:
            ends.append(End(x, "failed" if item.text == _ERROR else "completed"))
        else:
            marbles.append(Marble(x, _shown(item.text), _kind(item.text), item.text))
    return Lane(line.label, marbles, ends, line.begins * column, line.stops * column + RADIUS)


def _shown(text: str) -> str:
    """Of a text, what it says: its marble needs no quotes."""
    quoted = _QUOTED.fullmatch(text)
    return f"{quoted[1]}{legible(quoted[3])}" if quoted is not None else text


def _kind(text: str) -> Kind:
    tag, colon, bare = text.rpartition(":") if not _QUOTED.fullmatch(text) else ("", "", text)
    if _QUOTED.fullmatch(text):
        return "reasoning" if text.startswith("reasoning:") else "text"
    if bare == _ERROR:
        return "error"
    if bare == "role":
        return "other"
    if bare.startswith(_FINISHES):
        return "finish"
    if (colon and (tag == "call" or bare.endswith("}"))) or "{" in bare or "}" in bare or bare.endswith(" result"):
        return "call"
    return "value"
