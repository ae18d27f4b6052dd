"""A pipeline is run, and drawn."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reactivex import ConnectableObservable, Observable

from rxllm._accumulators._names import numbered
from rxllm._pictures._diagram import RADIUS, Diagram, End, Lane, Marble, Operator, pill_width
from rxllm._pictures._diagram_svg import diagram_html, diagram_svg
from rxllm._pictures._items import Told
from rxllm._pictures._picture import Picture, shown_if_interrupted
from rxllm._pictures._scale import Scale
from rxllm._pictures._stages import Came, Stage, Watched
from rxllm._pictures._text import shortened
from rxllm._pictures._ticks import seconds

__all__ = ["marbles", "marbles_of"]

_ACROSS: Final = 840.0
_FARTHEST: Final = _ACROSS + 4 * RADIUS
_APART: Final = 2 * RADIUS
"""How far the middles of two marbles are from each other at least; what is nearer is one."""
_MANY: Final = 40
"""Of so many in a lane that there is no room for texts, half as far."""
_ROOM: Final = 3.0
_CLEAR: Final = {"completed": 4.0, "failed": 11.0, "left": 6.5}
"""How far from the middle of an end a marble has to be, in pixels."""
_OTHERS: Final = 6
"""How many lanes there are of streams that one operator has opened."""
_FEWEST: Final = 4
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
    be told apart is one marble, with the number of its items where there is room for it, and else a dot, the larger the
    more they are. The bar is the completion, a red cross an error, an empty circle where the lane was left by what is
    below it. The streams that an operator opens besides, as those of a merge or a hedge, have lanes above its box.
    Where for long nothing happens, the axis is broken, and says for how long.

    It blocks until the pipeline ends, and sends the requests that the pipeline sends: end one that goes on for ever
    with ``take_chunks()``, or reactivex's ``take()``. An error is drawn, not raised. Ctrl-C ends all and is raised; a
    notebook shows what had come. The operators are applied anew to the same source: a ``share()`` among them shares
    nothing with other subscribers.

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
    watched = Watched(pipeline, time.monotonic)
    with shown_if_interrupted(lambda: marbles_of(watched.stages, title=title)):
        try:
            for _ in watched.run():
                pass
        except Exception as error:
            if not any(end.error is error for end in watched.stages[-1].ends):
                raise
    return marbles_of(watched.stages, title=title)


def marbles_of(stages: Sequence[Stage], *, title: str | None = None) -> Picture:
    """The picture of what has gone through the stages, on one axis of time."""
    lanes = [each for stage in stages for each in (*_others_of(stage), stage)]
    scale = Scale([at for lane in lanes for at in _times(lane)], _ACROSS, left=RADIUS)
    clusters = [list(_clusters(lane.came, scale)) for lane in lanes]
    tip = max(_TIPS // max(sum(map(len, clusters)), 1), 40)
    drawn = iter([_lane(lane, items, scale, tip) for lane, items in zip(lanes, clusters, strict=True)])
    names = [operator for stage in stages for operator in stage.operators]
    models = iter(numbered(each.model or "chunks" for stage in stages for each in _others_of(stage)))
    rows: list[Lane | Operator] = []
    for stage in stages:
        rows += [replace(next(drawn), label=shortened(next(models), 24)) for _ in _others_of(stage)]
        rows += _boxes(stage)
        rows.append(next(drawn))
    of = ", ".join(names) or "a stream"
    diagram = Diagram(
        title=title or f"marbles of {of}",
        heading=title or "",
        width=_ACROSS + 2 * RADIUS,
        rows=rows,
        ticks=list(scale.ticks()),
        breaks=scale.breaks,
    )
    return Picture(diagram_svg(diagram), title or shortened(of, 80), html=lambda: diagram_html(diagram))


def _opened(stage: Stage) -> Sequence[Stage]:
    """The streams of chunks besides the one above; where a pipeline begins, one alone is the same as what comes."""
    opened = [it for it in stage.others if it.name in {"", "chunks"}]
    return opened if stage.operators or len(opened) > 1 else ()


def _others_of(stage: Stage) -> Sequence[Stage]:
    """Those that are drawn."""
    return _opened(stage)[:_OTHERS]


def _boxes(stage: Stage) -> Iterator[Operator]:
    opened, drawn = len(_opened(stage)), len(_others_of(stage))
    remark = f"and {opened - drawn} more streams" if opened > drawn else ""
    if opened and not stage.operators:
        yield Operator(f"{drawn} streams", remark)
    for number, operator in enumerate(stage.operators):
        yield Operator(operator, "" if number else remark)


def _times(stage: Stage) -> Iterator[float]:
    """When something happened in a lane."""
    if stage.begun is not None:
        yield stage.begun
    yield from (it.at for it in stage.came)
    yield from (it.at for it in stage.ends)


def _clusters(came: Sequence[Came], scale: Scale) -> Iterator[list[Came]]:
    """The items that are one marble."""
    cluster: list[Came] = []
    apart = _APART if len(came) <= _MANY else _APART / 2
    for it in came:
        if cluster and scale.x(it.at) - scale.x(cluster[0].at) >= apart:
            yield cluster
            cluster = []
        cluster.append(it)
    if cluster:
        yield cluster


def _lane(stage: Stage, clusters: Sequence[Sequence[Came]], scale: Scale, tip: int) -> Lane:
    ends = [End(scale.x(end.at), end.how, _ending(end.error, end.how)) for end in stage.ends]
    row = _Row(clusters, ends, scale, tip)
    marbles = row.marbles(in_short=False)
    # Either all say which of several they come of, or none.
    pairs = zip(marbles, clusters, strict=True)
    if any(marble.text != _together(cluster) for marble, cluster in pairs if any(it.told.short for it in cluster)):
        marbles = row.marbles(in_short=True)
    # Which of them is subscribed to first is no matter of time.
    late = stage.begun is not None and scale.since(stage.begun) >= _AT_ONCE
    begins = None if stage.begun is None else scale.x(stage.begun) if late else 0.0
    return Lane(stage.name or "nothing", marbles, [_behind(end, marbles) for end in ends], begins)


def _behind(end: End, marbles: Sequence[Marble]) -> End:
    """An end stands behind what came with it, and neither hides it nor is hidden."""
    clear = _CLEAR[end.how]
    in_the_way = [it.right for it in marbles if it.left <= end.x and it.right > end.x - clear]
    return replace(end, x=max((right + clear for right in in_the_way), default=end.x))


@dataclass(frozen=True, slots=True)
class _Row:
    """The marbles of a lane, each with as much of a text as there is room for."""

    clusters: Sequence[Sequence[Came]]
    ends: Sequence[End]
    scale: Scale
    tip: int

    def marbles(self, *, in_short: bool) -> list[Marble]:
        placed: list[Marble] = []
        edge = -RADIUS
        places = [self.scale.x(cluster[0].at) for cluster in self.clusters]
        for number, (x, cluster) in enumerate(zip(places, self.clusters, strict=True), 1):
            following = places[number] - RADIUS if number < len(places) else _FARTHEST
            end = min((it for it in self.ends if it.x >= x), key=lambda it: it.x, default=None)
            until = _FARTHEST if end is None else end.x - _CLEAR[end.how]
            room = _Room(x, edge + _ROOM, until, following - _ROOM)
            marble = room.fitting(cluster, in_short=in_short)
            marble = replace(marble, kind=_telling(cluster).kind, tip=self._tip(cluster), count=len(cluster))
            edge = marble.right
            placed.append(marble)
        return placed

    def _tip(self, cluster: Sequence[Came]) -> str:
        lines = [f"{seconds(self.scale.since(it.at))}: {it.told.tip}" for it in cluster[:_TOLD]]
        if len(cluster) > _TOLD:
            lines = [f"{len(cluster)} items", *lines, "…"]
        return shortened("\n".join(lines), self.tip)


@dataclass(frozen=True, slots=True)
class _Room:
    """The room for what came at ``x``: ``after`` what is before it, before an ``end``, and what is ``following``."""

    x: float
    after: float
    end: float
    following: float

    def fitting(self, cluster: Sequence[Came], *, in_short: bool) -> Marble:
        """The marble with the best text that there is room for, or a dot."""
        left = self.x - RADIUS
        texts = list(_texts(cluster, in_short=in_short))
        at_end = self.end - left <= 3 * RADIUS
        for text in texts:
            width = pill_width(text)
            if left >= self.after and left + width <= min(self.end, self.following):
                return Marble(self.x, text, "other")
            # What comes with an end may stand before it.
            if at_end and self.end - width >= self.after and self.end <= self.following:
                return Marble(self.end - width + RADIUS, text, "other")
        if left >= self.after and len(cluster) == 1:
            text = _cut(texts[0], min(self.end, self.following) - left)
            if text:
                return Marble(self.x, text, "other")
        for text in texts:
            # Or the end behind it.
            if at_end and left >= self.after and left + pill_width(text) <= self.following:
                return Marble(self.x, text, "other")
        return Marble(self.x, "", "other")


def _texts(cluster: Sequence[Came], *, in_short: bool) -> Iterator[str]:
    """What may stand on a marble, the best first."""
    if len(cluster) <= _TOGETHER:
        yield _together(cluster, in_short=in_short)
    if len(cluster) > 1:
        yield f"×{len(cluster)}"


def _together(cluster: Sequence[Came], *, in_short: bool = False) -> str:
    return " · ".join((in_short and it.told.short) or it.told.text for it in cluster)


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
