"""A picture of marbles as an SVG.

It has a background of its own and follows the reader's preference for a dark one. The colours of a light one are
attributes, so that it is right, too, where styles are taken away; those of a dark one are a style of classes whose
names no page has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from rxllm._pictures._diagram import AXIS, RADIUS, Break, Diagram, End, Lane, Marble, Operator, Space
from rxllm._pictures._picture import image_html
from rxllm._pictures._text import CODE, SANS, code_width, width_of, without_unfit, xml_text

__all__ = ["diagram_html", "diagram_svg"]

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
    + [f".rxllm-gap{{fill:{_PAINT['card'][2]}}}.rxllm-ink{{fill:{_INK[1]}}}.rxllm-bar{{stroke:{_INK[1]}}}"]
    + [f".rxllm-pale{{fill:{_PALE[1]}}}.rxllm-line{{stroke:{_LINE[1]}}}.rxllm-cross{{stroke:#f87171}}"]
)


def diagram_svg(diagram: Diagram) -> str:
    """The SVG, which stands by itself as a file."""
    return _Drawn(diagram, with_tips=True).svg


def diagram_html(diagram: Diagram) -> str:
    """The same as an image with tips laid over it: JupyterLab makes an image of it, whose parts tell nothing."""
    drawn = _Drawn(diagram, with_tips=False)
    over = "".join(area.over(drawn.width, drawn.height) for area in drawn.areas)
    return image_html(drawn.svg, diagram.title, over)


@dataclass(frozen=True, slots=True)
class _Area:
    """What tells something to who points at it."""

    x: float
    y: float
    width: float
    height: float
    tip: str

    def over(self, width: float, height: float) -> str:
        """It as a part of an image of this size."""
        parts = (("left", self.x / width), ("top", self.y / height), ("width", self.width / width),
                 ("height", self.height / height))  # fmt: skip
        style = "".join(f";{name}:{100 * part:.2f}%" for name, part in parts)
        tip = escape(without_unfit(self.tip)).replace("\n", "&#10;")
        return f'<span title="{tip}" style="position:absolute{style}"></span>'


@dataclass
class _Drawn:
    """A diagram, drawn: its size, the SVG, and what has tips."""

    diagram: Diagram
    with_tips: bool
    areas: list[_Area] = field(default_factory=list[_Area])
    svg: str = ""
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        diagram = self.diagram
        labels = [row.label for row in diagram.rows if isinstance(row, Lane)]
        margin = max((width_of(label, 13) for label in labels), default=0.0)
        left = _MARGIN + margin + (16.0 if margin else 0.0)
        boxes = [_box_width(row) for row in diagram.rows if isinstance(row, Operator)]
        width = max(diagram.width + _BEYOND, *boxes, 0.0)
        y = _MARGIN + (26.0 if diagram.heading else -4.0)
        body: list[str] = []
        if diagram.heading:
            body.append(_text(diagram.heading, _MARGIN, _MARGIN + 12, "ink", size=14, weight=600))
        for row in diagram.rows:
            match row:
                case Lane():
                    body += self._lane(row, left, width, y + _LANE / 2)
                    y += _LANE
                case Operator():
                    body.append(_operator(row, left, width, y + _OPERATOR / 2))
                    y += _OPERATOR
                case Space():
                    y += _SPACE
        body += _axis(diagram, left, y)
        self.height = round(y + _MARGIN + (22.0 if diagram.ticks else -4.0))
        self.width = round(left + width + _MARGIN)
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        self.svg = "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{SANS}" font-size="12">',
                f"<title>{xml_text(diagram.title)}</title>",
                f"<style>@media (prefers-color-scheme:dark){{{_DARK}}}</style>",
                f'<rect x=".5" y=".5" width="{self.width - 1}" height="{self.height - 1}" rx="10"{_paint("card")}/>',
                *body,
                "</svg>\n",
            ]
        )

    def _lane(self, lane: Lane, left: float, width: float, y: float) -> Iterator[str]:
        if lane.label:
            yield _text(lane.label, left - 16, y + 4.5, "ink", size=13, anchor="end")
        yield from _line(lane, self.diagram.breaks, left, width, y)
        for end in lane.ends:
            yield self._end(end, left + end.x, y)
        for marble in lane.marbles:
            yield self._marble(marble, left, y)

    def _marble(self, marble: Marble, left: float, y: float) -> str:
        width = marble.right - marble.left
        tip = self._tip(left + marble.left, y - marble.radius, width, 2 * marble.radius, marble.tip)
        if not marble.text:
            at = f'cx="{left + marble.x:.1f}" cy="{y:g}" r="{marble.radius:.2g}"'
            return f"<circle {at}{_paint(marble.kind)}>{tip}</circle>"
        edge, italic = left + marble.left, marble.kind == "reasoning"
        text = _text(marble.text, edge + width / 2, y + 4.2, "ink", anchor="middle", italic=italic, spaced=True)
        box = f'<rect x="{edge:.1f}" y="{y - RADIUS:g}" width="{width:.1f}" height="22" rx="11"{_paint(marble.kind)}/>'
        return f"<g>{tip}{box}{text}</g>"

    def _end(self, end: End, x: float, y: float) -> str:
        tip = self._tip(x - 7, y - 14, 14, 28, end.tip)
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

    def _tip(self, x: float, y: float, width: float, height: float, tip: str) -> str:
        if tip:
            self.areas.append(_Area(x, y, width, height, tip))
        return f"<title>{xml_text(tip)}</title>" if tip and self.with_tips else ""


def _line(lane: Lane, breaks: Sequence[Break], left: float, width: float, y: float) -> Iterator[str]:
    if lane.begins is None:
        return
    stroke = f'class="rxllm-line" stroke="{_LINE[0]}" stroke-width="1.6" fill="none"'
    begins, ends = left + lane.begins, left + width
    last = lane.ends[-1] if lane.ends else None
    reaches = ends
    if last is None:
        stops = ends if lane.stops is None else min(left + lane.stops, ends)
        yield f'<path d="M{begins:.1f} {y:g}H{stops:.1f}m-6-4l6 4l-6 4" {stroke}/>'
    else:
        if last.how == "left":
            reaches = left + last.x
        else:
            beyond = f"M{left + last.x:.1f} {y:g}H{ends:.1f}m-6-4l6 4l-6 4"
            yield f'<path d="{beyond}" opacity=".35" {stroke}/>'
        yield f'<path d="M{begins:.1f} {y:g}H{left + last.x:.1f}" {stroke}/>'
    if lane.begins > 0 and not (lane.marbles and lane.marbles[0].left < lane.begins + 6):
        yield f'<path d="M{begins:.1f} {y - 5:g}v10" {stroke}/>'
    for it in breaks:
        x = left + it.x
        if begins < x < reaches:
            gap = f'<rect x="{x - 3.5:.1f}" y="{y - 2:g}" width="7" height="4" class="rxllm-gap" fill="#fff"/>'
            faded = ' opacity=".35"' if last is not None and x > left + last.x else ""
            yield f'{gap}<path d="M{x - 6:.1f} {y + 6:g}l5-12m2 12l5-12" {stroke}{faded}/>'


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
    for it in diagram.breaks:
        yield _text(it.text, left + it.x, y + 21, "pale", size=AXIS, anchor="middle", italic=True)
    for x, text in diagram.ticks:
        yield (
            f'<path d="M{left + x:.1f} {y + 2:g}v6" class="rxllm-line" stroke="{_LINE[0]}"/>'
            + _text(text, left + x, y + 21, "pale", size=AXIS, anchor="middle")
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
