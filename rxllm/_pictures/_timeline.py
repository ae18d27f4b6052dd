"""When the chunks came, of one stream or of several."""

import time
from collections.abc import Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import reactivex as rx
from reactivex import Observable, abc

from rxllm._accumulators._arrivals import Arrivals
from rxllm._accumulators._measurement import Measurement
from rxllm._accumulators._names import numbered
from rxllm._extras import missing_extra
from rxllm._pictures._picture import Picture, image_html, shown_if_interrupted
from rxllm._recording import RecordingReader
from rxllm._stream import Stream, as_stream
from rxllm.types import ModelResponseStream

__all__ = ["timeline", "timeline_of"]


def timeline(
    *streams_or_recordings: "Observable[ModelResponseStream] | str | PathLike[str]", labels: Sequence[str] | None = None
) -> Picture:
    """Plots when the chunks came, the tokens by then, and the gaps between them, of one answer or of several.

    The Streams are run once each, side by side, and it blocks until all have ended: each sends its request. Of a
    recording, a file that ``record()`` wrote, the times are read from it. An error is told at the label, and not
    raised. Ctrl-C ends all and is raised; a notebook shows what had come. In a notebook the picture shows itself; it
    can be saved as ``.svg``, ``.png`` and ``.pdf``.

    The time to the first token, tokens per second, and the median and the 99th percentile of the gaps are marked and
    told; they are as ``measure()`` gives them. A recording whose consumer had left is told to be cancelled, one that
    breaks off is an error. Of each chunk 17 bytes are held.

    Args:
        streams_or_recordings: one or more Streams or Observables of chunks, or paths of recordings. A Stream's label is
            its model, and that of a second one ends in ``#2``; a recording's is the file's name without its ending.
        labels: what each is called instead.

    Raises:
        ImportError: the extra ``notebook`` is not installed; before anything is sent.
        OSError: a recording cannot be read; before anything is sent.
        TypeError: one of them is none of these, or gives something else than chunks; or there is none.
        ValueError: a file is no recording, or there are not as many labels; before anything is sent.

    >>> from rxllm import completion
    >>> def ask(text):
    ...     return completion("sim/echo", [{"role": "user", "content": text}], stream=True, extra_body={"delay": 0})
    >>> timeline(ask("Hi"), ask("Bye"))
    <Picture: timeline of sim/echo, sim/echo #2>
    """
    given: Any = streams_or_recordings
    for it in given:
        if isinstance(it, Measurement):
            raise TypeError(
                "A Measurement does not say when each chunk came: timeline() takes the Stream, or what record() wrote"
            )
        if not isinstance(it, Observable | str | PathLike):
            raise TypeError(f"timeline() takes Streams, and paths of recordings, not {it!r}")
    if not given:
        raise TypeError("timeline() takes one Stream or recording, or more")
    if labels is not None and len(labels) != len(given):
        raise ValueError(f"there are {len(given)} streams and recordings, and {len(labels)} labels")
    _check_extra()
    collected = [
        Arrivals(label, _model_of(it), begun=0.0) if isinstance(it, Observable) else _read(label, Path(it))
        for label, it in zip(labels or numbered(_name(it) for it in given), given, strict=True)
    ]
    pairs = zip(given, collected, strict=True)
    running: list[Observable[Any]] = [_watched(it, arrivals) for it, arrivals in pairs if hasattr(it, "subscribe")]
    with shown_if_interrupted(lambda: timeline_of(_left(collected))):
        for _ in as_stream(rx.merge(*running)):
            pass
    return timeline_of(collected)


def timeline_of(arrivals: Sequence[Arrivals]) -> Picture:
    """The same picture of what others have collected.

    Raises:
        ImportError: the extra ``notebook`` is not installed.
        ValueError: there is none.
    """
    if not arrivals:
        raise ValueError("A timeline is of one answer or more")
    _check_extra()
    from rxllm._pictures._timeline_plot import TimelinePlot

    plot = TimelinePlot(arrivals)
    title = f"timeline of {', '.join(it.label for it in arrivals)}"
    others = {f".{kind}": lambda kind=kind: plot.rendered(kind) for kind in ("png", "pdf")}
    svg = plot.svg()
    return Picture(svg, title, others, html=lambda: image_html(svg, title))


def _check_extra() -> None:
    try:
        import_module("matplotlib.figure")
    except ImportError:
        raise missing_extra("timeline()", "notebook") from None


def _left(collected: Sequence[Arrivals]) -> Sequence[Arrivals]:
    """Those that have not ended have been cancelled now."""
    for it in collected:
        if it.ended is None:
            it.end(time.monotonic() if it.begun else 0.0, "cancelled")
    return collected


def _model_of(stream: Any) -> str | None:
    request = getattr(stream, "request", None)
    return None if request is None else request.model


def _name(it: Any) -> str:
    return (_model_of(it) or "stream") if isinstance(it, Observable) else Path(it).stem


def _read(label: str, path: Path) -> Arrivals:
    """What a recording tells, which is read at once."""
    reader = RecordingReader(path)
    try:
        arrivals = Arrivals(label, reader.request.model if reader.request is not None else None, begun=0.0)
        while True:
            at, it = reader.next()
            if isinstance(it, ModelResponseStream):
                arrivals.add(it, at)
                continue
            # One that breaks off does not say when.
            ended_at = max(at, arrivals.duration)
            if reader.left:
                arrivals.end(ended_at, "cancelled")
            else:
                arrivals.end(ended_at, "completed" if it is None else "failed", it)
            return arrivals
    finally:
        reader.close()


def _watched(stream: Observable[Any], arrivals: Arrivals) -> Stream[Any]:
    """Runs ``stream``, and gives nothing but the end, which is never an error of its own."""

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None) -> abc.DisposableBase:
        arrivals.begun = time.monotonic()

        def on_next(chunk: object) -> None:
            if isinstance(chunk, ModelResponseStream):
                arrivals.add(chunk, time.monotonic())
            else:
                observer.on_error(
                    TypeError(f"timeline() takes streams of chunks, and {arrivals.label} gives {type(chunk).__name__}")
                )

        def on_error(error: Exception) -> None:
            arrivals.end(time.monotonic(), "failed", error)
            observer.on_completed()

        def on_completed() -> None:
            arrivals.end(time.monotonic(), "completed")
            observer.on_completed()

        return stream.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

    return Stream(subscribe)
