"""A picture of marbles as an SVG.

It has a background of its own and follows the reader's preference for a dark one. The colours of a light one are
attributes, so that it is right, too, where styles are taken away; those of a dark one are a style of classes whose
names no page has.
"""

from collections.abc import Iterator
from typing import Final

from rxllm._pictures._diagram import RADIUS, Diagram, End, Lane, Marble, Operator, Space, pill_width
from rxllm._pictures._text import CODE, SANS, code_width, width_of, xml_text

__all__ = ["DOT", "diagram_svg"]

DOT: Final = 4.5
"""The radius of a marble without a text."""
_MARGIN: Final = 18.0
_LANE: Final = 42.0
_OPERATOR: Final = 44.0
_BOX: Final = 28.0
_SPACE: Final = 16.0
_BEYOND: Final = 30.0
"""How far the arrows go beyond the last thing."""

# Of each: what fills it and its rim, in light and in dark.
_PAINT: Final = {
    "text": ("#dbeafe", "#3b82f6", "#16335c", "#60a5fa"),
    "reasoning": ("#ede9fe", "#8b5cf6", "#33255e", "#a78bfa"),
    "call": ("#fef3c7", "#d97706", "#4a3208", "#f0b040"),
    "finish": ("#dcfce7", "#16a34a", "#11402a", "#4ade80"),
    "value": ("#ccfbf1", "#0d9488", "#0c403d", "#2dd4bf"),
    "other": ("#f1f5f9", "#94a3b8", "#2a323d", "#8b98a9"),
    "error": ("#fee2e2", "#dc2626", "#571c1c", "#f87171"),
    "box": ("#f8fafc", "#64748b", "#21262d", "#8b949e"),
    "card": ("#ffffff", "#d8dee6", "#151b23", "#30363d"),
}
_INK, _PALE, _LINE = ("#1f2937", "#e6edf3"), ("#64748b", "#9aa6b5"), ("#64748b", "#8b949e")
_DARK: Final = "".join(
    [f".rxllm-{name}{{fill:{fill};stroke:{rim}}}" for name, (_, _, fill, rim) in _PAINT.items()]
    + [f".rxllm-ink{{fill:{_INK[1]}}}.rxllm-bar{{stroke:{_INK[1]}}}"]
    + [f".rxllm-pale{{fill:{_PALE[1]}}}.rxllm-line{{stroke:{_LINE[1]}}}.rxllm-cross{{stroke:#f87171}}"]
)


def diagram_svg(diagram: Diagram) -> str:
    """The SVG, which stands by itself as a file."""
    labels = [row.label for row in diagram.rows if isinstance(row, Lane)]
    margin = max((width_of(label, 13) for label in labels), default=0.0)
    left = _MARGIN + margin + (16.0 if margin else 0.0)
    boxes = [_box_width(row) for row in diagram.rows if isinstance(row, Operator)]
    width = max(diagram.width + _BEYOND, *boxes, 0.0)
    y = _MARGIN + (26.0 if diagram.heading else -4.0)
    body: list[str] = []
    for row in diagram.rows:
        match row:
            case Lane():
                body += _lane(row, left, width, y + _LANE / 2)
                y += _LANE
            case Operator():
                body.append(_operator(row, left, width, y + _OPERATOR / 2))
                y += _OPERATOR
            case Space():
                y += _SPACE
    body += _axis(diagram, left, y)
    height = y + _MARGIN + (22.0 if diagram.ticks else -4.0)
    across = left + width + _MARGIN
    size = f'width="{across:.0f}" height="{height:.0f}" viewBox="0 0 {across:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{SANS}" font-size="12">',
            f"<title>{xml_text(diagram.title)}</title>",
            f"<style>@media (prefers-color-scheme:dark){{{_DARK}}}</style>",
            f'<rect x=".5" y=".5" width="{across - 1:.0f}" height="{height - 1:.0f}" rx="10"{_paint("card")}/>',
            *([_text(diagram.heading, _MARGIN, _MARGIN + 12, "ink", size=14, weight=600)] if diagram.heading else ()),
            *body,
            "</svg>\n",
        ]
    )


def _lane(lane: Lane, left: float, width: float, y: float) -> Iterator[str]:
    stroke = f'class="rxllm-line" stroke="{_LINE[0]}" stroke-width="1.6" fill="none"'
    if lane.label:
        yield _text(lane.label, left - 16, y + 4.5, "ink", size=13, anchor="end")
    last = lane.ends[-1] if lane.ends else None
    ends = left + width
    if lane.begins is not None:
        begins = left + lane.begins
        if last is None:
            stops = ends if lane.stops is None else min(left + lane.stops, ends)
            yield f'<path d="M{begins:.1f} {y:g}H{stops:.1f}m-6-4l6 4l-6 4" {stroke}/>'
        else:
            if last.how != "left":
                beyond = f"M{left + last.x:.1f} {y:g}H{ends:.1f}m-6-4l6 4l-6 4"
                yield f'<path d="{beyond}" opacity=".35" {stroke}/>'
            yield f'<path d="M{begins:.1f} {y:g}H{left + last.x:.1f}" {stroke}/>'
        if lane.begins > 0 and not (lane.marbles and lane.marbles[0].left < lane.begins + 6):
            yield f'<path d="M{begins:.1f} {y - 5:g}v10" {stroke}/>'
    for end in lane.ends:
        if end.how != "failed":
            yield _end(end, left, y)
    for marble in lane.marbles:
        yield _marble(marble, left, y)
    for end in lane.ends:
        if end.how == "failed":
            yield _end(end, left, y)


def _marble(marble: Marble, left: float, y: float) -> str:
    tip = f"<title>{xml_text(marble.tip)}</title>" if marble.tip else ""
    if not marble.text:
        return f'<circle cx="{left + marble.x:.1f}" cy="{y:g}" r="{DOT}"{_paint(marble.kind)}>{tip}</circle>'
    width, at = pill_width(marble.text), left + marble.left
    text = _text(
        marble.text, at + width / 2, y + 4.2, "ink", anchor="middle", italic=marble.kind == "reasoning", spaced=True
    )
    box = f'<rect x="{at:.1f}" y="{y - RADIUS:g}" width="{width:.1f}" height="22" rx="11"{_paint(marble.kind)}/>'
    return f"<g>{tip}{box}{text}</g>"


def _end(end: End, left: float, y: float) -> str:
    x = left + end.x
    tip = f"<title>{xml_text(end.tip)}</title>" if end.tip else ""
    match end.how:
        case "completed":
            shape = f'<path d="M{x:.1f} {y - 15:g}v30" class="rxllm-bar" stroke="{_INK[0]}" stroke-width="2.4">'
        case "failed":
            shape = (
                f'<path d="M{x - 7:.1f} {y - 7:g}l14 14m0-14l-14 14" class="rxllm-cross" stroke="#dc2626" '
                'stroke-width="2.8" stroke-linecap="round" fill="none">'
            )
        case "left":
            shape = f'<circle cx="{x:.1f}" cy="{y:g}" r="3.4" stroke-width="1.6"{_paint("card", rim="line")}>'
    return f"{shape}{tip}</{'circle' if end.how == 'left' else 'path'}>"


def _operator(operator: Operator, left: float, width: float, y: float) -> str:
    box = f'<rect x="{left:.1f}" y="{y - _BOX / 2:g}" width="{width:.1f}" height="{_BOX:g}" rx="6"{_paint("box")}/>'
    name = f'<tspan font-family="{CODE}" font-size="12.5" font-weight="600">{xml_text(operator.text)}</tspan>'
    remark = (
        f'<tspan dx="14" class="rxllm-pale" fill="{_PALE[0]}" font-style="italic">{xml_text(operator.remark)}</tspan>'
        if operator.remark
        else ""
    )
    return (
        f'<g>{box}<text x="{left + width / 2:.1f}" y="{y + 4.5:g}" text-anchor="middle" class="rxllm-ink" '
        f'fill="{_INK[0]}" xml:space="preserve">{name}{remark}</text></g>'
    )


def _box_width(operator: Operator) -> float:
    return code_width(operator.text, 12.5) + (width_of(operator.remark) + 14 if operator.remark else 0) + 32


def _axis(diagram: Diagram, left: float, y: float) -> Iterator[str]:
    for x, text in diagram.ticks:
        yield (
            f'<path d="M{left + x:.1f} {y + 2:g}v6" class="rxllm-line" stroke="{_LINE[0]}"/>'
            + _text(text, left + x, y + 21, "pale", size=11, anchor="middle")
        )


def _text(
    text: str,
    x: float,
    y: float,
    ink: str,
    *,
    size: float = 12,
    weight: int = 400,
    anchor: str = "start",
    italic: bool = False,
    spaced: bool = False,
) -> str:
    said = {
        "font-size": "" if size == 12 else f"{size:g}",
        "font-weight": "" if weight == 400 else str(weight),
        "text-anchor": "" if anchor == "start" else anchor,
        "font-style": "italic" if italic else "",
        "xml:space": "preserve" if spaced and "  " in text else "",
    }
    more = "".join(f' {name}="{value}"' for name, value in said.items() if value)
    fill = _INK[0] if ink == "ink" else _PALE[0]
    return f'<text x="{x:.1f}" y="{y:g}" class="rxllm-{ink}" fill="{fill}"{more}>{xml_text(text)}</text>'


def _paint(name: str, *, rim: str = "") -> str:
    fill, stroke, *_ = _PAINT[name]
    return f' class="rxllm-{name}{f" rxllm-{rim}" if rim else ""}" fill="{fill}" stroke="{_LINE[0] if rim else stroke}"'
