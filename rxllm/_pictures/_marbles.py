"""A pipeline is run, and drawn."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reactivex import ConnectableObservable, Observable

from rxllm._pictures._diagram import RADIUS, Diagram, End, Lane, Marble, Operator, pill_width
from rxllm._pictures._diagram_svg import DOT, diagram_svg
from rxllm._pictures._items import Told
from rxllm._pictures._operator_names import operator_name
from rxllm._pictures._picture import Picture
from rxllm._pictures._stages import Came, Stage, watched
from rxllm._pictures._text import shortened
from rxllm._pictures._ticks import round_times, seconds

__all__ = ["marbles", "marbles_of"]

_ACROSS: Final = 840.0
_FARTHEST: Final = _ACROSS + 4 * RADIUS
_APART: Final = 11.0
"""How far the middles of two marbles are from each other at least; what is nearer is one."""
_ROOM: Final = 3.0
_TICKS: Final = 8
_FEWEST: Final = 5
"""Of a text that is cut, how many characters are shown at least."""
_TOGETHER: Final = 3
"""Of how many items one marble says what they are, and not only how many."""
_TOLD: Final = 12
"""Of how many one tells more."""
_AT_ONCE: Final = 0.001
_TIPS: Final = 60_000
"""How many characters all tips together have at most."""


def marbles(pipeline: Observable[Any], *, title: str | None = None) -> Picture:
    """Runs a pipeline once, and draws what went through each of its stages against time, in a notebook or a file.

    There is a lane for what it begins with, and one for what comes out of each operator. The items are marbles: a chunk
    says what it adds, reasoning is in italics, and each tells more to who points at it. What came too close together to
    be told apart is one marble, with the number of its items. The bar is the completion, a red cross an error, an empty
    circle where the lane was left by what is below it.

    It blocks until the pipeline ends, and sends the requests that the pipeline sends: end one that goes on for ever
    with ``take_chunks()``, or reactivex's ``take()``. An error is drawn, not raised; Ctrl-C ends all and is raised. The
    operators are applied anew to the same source: a ``share()`` among them shares nothing with other subscribers. Inner
    streams, as those of a merge, are drawn by what comes of them.

    Args:
        pipeline: a Stream, or any Observable; only what a Stream's ``pipe()`` made has stages.
        title: what stands above the picture.

    Raises:
        TypeError: it is no Observable, or one that waits for ``connect()``.

    >>> from rxllm import completion, operators as ops
    >>> stream = completion("sim/echo", [{"role": "user", "content": "Hi"}], stream=True, extra_body={"delay": 0})
    >>> marbles(stream.pipe(ops.take_chunks(3), ops.accumulate_text()))
    <Picture: take_chunks(3), accumulate_text()>
    """
    given: Any = pipeline
    if not isinstance(given, Observable):
        raise TypeError(f"marbles() takes a Stream, or any Observable, not {given!r}")
    if isinstance(given, ConnectableObservable):
        raise TypeError(
            "marbles() takes what runs when it is subscribed to: add ref_count() to a connectable Observable"
        )
    stream, stages = watched(pipeline, time.monotonic)
    try:
        for _ in stream:
            pass
    except Exception as error:
        if not any(end.error is error for end in stages[-1].ends):
            raise
    return marbles_of(stages, title=title)


def marbles_of(stages: Sequence[Stage], *, title: str | None = None) -> Picture:
    """The picture of what has gone through the stages, on one axis of time."""
    begun = min((stage.begun for stage in stages if stage.begun is not None), default=0.0)
    last = max((at for stage in stages for at in _times(stage)), default=begun) - begun
    scale = _Scale(begun, _ACROSS / last if last > 0 else 0.0)
    clusters = [list(_clusters(stage.came, scale)) for stage in stages]
    tip = max(_TIPS // max(sum(map(len, clusters)), 1), 40)
    names = [operator_name(operator) for stage in stages for operator in stage.operators]
    rows: list[Lane | Operator] = []
    for stage, items in zip(stages, clusters, strict=True):
        rows += [Operator(operator_name(operator)) for operator in stage.operators]
        rows.append(_lane(stage, items, scale, tip))
    of = ", ".join(names) or "a stream"
    diagram = Diagram(
        title=title or f"marbles of {of}",
        heading=title or "",
        width=_ACROSS + 2 * RADIUS,
        rows=rows,
        ticks=[(RADIUS + at * scale.factor, seconds(at)) for at in round_times(last, _TICKS)],
    )
    return Picture(diagram_svg(diagram), title or shortened(of, 80))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where in the picture a time is."""

    begun: float
    factor: float

    def x(self, at: float) -> float:
        """In pixels."""
        return RADIUS + (at - self.begun) * self.factor


def _times(stage: Stage) -> Iterator[float]:
    if stage.came:
        yield stage.came[-1].at
    for end in stage.ends[-1:]:
        yield end.at


def _clusters(came: Sequence[Came], scale: _Scale) -> Iterator[list[Came]]:
    """The items that are one marble."""
    cluster: list[Came] = []
    for it in came:
        if cluster and scale.x(it.at) - scale.x(cluster[0].at) >= _APART:
            yield cluster
            cluster = []
        cluster.append(it)
    if cluster:
        yield cluster


def _lane(stage: Stage, clusters: Sequence[Sequence[Came]], scale: _Scale, tip: int) -> Lane:
    ends = [End(scale.x(end.at), end.how, _ending(end.error, end.how)) for end in stage.ends]
    row = _Row(clusters, ends, scale, tip)
    marbles = row.marbles(in_short=False)
    # Either all say which of several they come of, or none.
    pairs = zip(marbles, clusters, strict=True)
    if any(marble.text != _together(cluster) for marble, cluster in pairs if any(it.told.short for it in cluster)):
        marbles = row.marbles(in_short=True)
    ends = [_behind(end, marbles) if end.how == "failed" else end for end in ends]
    # Which of them is subscribed to first is no matter of time.
    late = stage.begun is not None and stage.begun - scale.begun >= _AT_ONCE
    begins = None if stage.begun is None else scale.x(stage.begun) if late else 0.0
    return Lane(stage.name or "nothing", marbles, ends, begins)


def _behind(end: End, marbles: Sequence[Marble]) -> End:
    """An error stands behind what came with it, and does not hide it."""
    near = [marble for marble in marbles if 0 <= end.x - marble.x <= 2 * RADIUS]
    return replace(end, x=max([end.x, *((it.right if it.text else it.x + DOT) + 10 for it in near)]))


@dataclass(frozen=True, slots=True)
class _Row:
    """The marbles of a lane, each with as much of a text as there is room for."""

    clusters: Sequence[Sequence[Came]]
    ends: Sequence[End]
    scale: _Scale
    tip: int

    def marbles(self, *, in_short: bool) -> list[Marble]:
        placed: list[Marble] = []
        edge = -RADIUS
        places = [self.scale.x(cluster[0].at) for cluster in self.clusters]
        for number, (x, cluster) in enumerate(zip(places, self.clusters, strict=True), 1):
            until = min((end.x - RADIUS / 2 for end in self.ends if end.x > x + RADIUS), default=_FARTHEST)
            if number < len(places):
                until = min(until, places[number] - RADIUS)
            # What comes with an end may stand before it.
            at_end = number == len(places) or any(0 <= end.x - x <= RADIUS for end in self.ends)
            text, rightwards = _fitting(x, cluster, until - _ROOM, edge + _ROOM, at_end=at_end, in_short=in_short)
            marble = Marble(x, text, _telling(cluster).kind, self._tip(cluster), rightwards)
            edge = marble.right if text else x + RADIUS / 2
            placed.append(marble)
        return placed

    def _tip(self, cluster: Sequence[Came]) -> str:
        lines = [f"{seconds(it.at - self.scale.begun)}: {it.told.tip}" for it in cluster[:_TOLD]]
        if len(cluster) > _TOLD:
            lines = [f"{len(cluster)} items", *lines, "…"]
        return shortened("\n".join(lines), self.tip)


def _fitting(
    x: float, cluster: Sequence[Came], until: float, after: float, *, at_end: bool, in_short: bool
) -> tuple[str, bool]:
    """The best text that there is room for, and whether it goes to the right; "" if there is none."""
    for text in _texts(cluster, in_short=in_short):
        width = pill_width(text)
        if x - RADIUS + width <= until and x - RADIUS >= after:
            return text, True
        if at_end and x + RADIUS - width >= after:
            return text, False
    if len(cluster) > 1 or x - RADIUS < after:
        return "", True
    return _cut(_together(cluster, in_short=in_short), until - x + RADIUS), True


def _texts(cluster: Sequence[Came], *, in_short: bool) -> Iterator[str]:
    """What may stand on a marble, the best first."""
    if len(cluster) <= _TOGETHER:
        yield _together(cluster, in_short=in_short)
    if len(cluster) > 1:
        yield f"×{len(cluster)}"


def _together(cluster: Sequence[Came], *, in_short: bool = False) -> str:
    return ", ".join((in_short and it.told.short) or it.told.text for it in cluster)


def _telling(cluster: Sequence[Came]) -> Told:
    """What gives the marble of several its colour: the first that is more than a role."""
    return next((it.told for it in cluster if it.told.kind != "other"), cluster[0].told)


def _cut(text: str, room: float) -> str:
    """As much of it as there is room for, if it is worth it."""
    for length in range(len(text) - 1, _FEWEST - 1, -1):
        if pill_width(shortened(text, length)) <= room:
            return shortened(text, length)
    return ""


def _ending(error: Exception | None, how: str) -> str:
    if error is not None:
        return shortened(f"{type(error).__name__}: {error}", 320)
    return "completed" if how == "completed" else "left by what is below"
