"""One answer on standard output, as it comes."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from reactivex import operators as rx_ops

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.cli._output import Output, Thoughts, call_line, json_line, note
from rxllm.cli._timeline import timeline_of_all
from rxllm.cli._watching import Watch

__all__ = ["show"]


def show(
    stream: Stream[ModelResponseStream], *, as_json: bool, timeline: Path | None, refuse: Callable[[str], NoReturn]
) -> None:
    """Prints the stream as it comes, and its figures in the end; draws its timeline, where that is a path."""
    output = Output()
    model = stream.request.model if stream.request is not None else None
    watch = Watch(model or "answer", model, drawn=timeline is not None)
    chunks = watch.over(stream.pipe(ops.attach_usage()))
    if as_json:
        lines = chunks.pipe(rx_ops.map(json_line))
    else:
        lines = chunks.pipe(
            rx_ops.do_action(Thoughts().show),
            ops.print_text(output, end=""),
            ops.assemble_tool_calls(),
            rx_ops.map(call_line),
        )
    with timeline_of_all(timeline, [watch], refuse):
        try:
            for line in lines:
                output.line(line)
        except KeyboardInterrupt:
            watch.leave()
            output.end_line()
            note(watch.figures)
            raise
        except Exception:
            watch.leave()
            output.end_line()
            raise
        output.end_line()
        note(watch.figures)
