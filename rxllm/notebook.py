"""Streams in a notebook: what the extra ``notebook`` is for.

A Stream as the last line of a cell sends its request, and shows the answer as it comes: rendered Markdown with its
formulas, reasoning folded away, tool calls as tables, and a line of figures; while nothing comes, for how long. It is
drawn at most thirty times a second, however fast the chunks come, and less often the more there is to draw. A Stream of
other items shows these: texts as one text, tool calls as a table, of objects the newest.

Interrupting the kernel cancels the request, and the saved notebook keeps what had come. (A cell that awaits, Jupyter
interrupts when the next chunk comes.) An error of this library's is shown below what had come, and does not end the run
of the notebook; ``stream.run()`` raises it. Any other, as one of a function of yours in a pipeline, is raised as well.

Nothing else that shows a Stream sends a request: no ``repr``, no completion by Tab, no debugger. A Stream that is shown
a second time sends a second one. On a terminal, IPython prints the text as it comes. A front end that shows nothing
anew, as the Qt console, shows how it began: loop over the Stream there.

``marbles(pipeline)`` runs a pipeline and draws what went through each of its operators; ``timeline(stream, ...)``
plots when the chunks came. Both give a picture, which a cell shows; ``picture.save("picture.svg")`` makes a file of it.
"""

from collections.abc import Sequence
from typing import Any

from reactivex import Observable

from rxllm._display import display_streams
from rxllm._pictures import marbles, timeline

__all__ = ["marbles", "show", "timeline"]


def show(*streams: Observable[Any], labels: Sequence[str] | None = None) -> None:
    """Shows several Streams side by side as they come, each with its figures: all requests are sent at once.

    One that fails tells of it in its own column, and the others go on; what is no ``APIError`` is raised in the end.
    Interrupting the kernel cancels all, and what had come stays. Outside a notebook they are printed, one after the
    other, when all have ended.

    Args:
        streams: one or more Streams, or any Observables.
        labels: what stands above each; by default the model.

    Raises:
        ImportError: in a notebook, the extra ``notebook`` is not installed; before anything is sent.
        TypeError: one of them is no Observable, or there is none.
        ValueError: there are not as many labels as streams.
        Exception: what a Stream ended with that is no ``APIError``.

    >>> from rxllm import completion
    >>> def ask(text):
    ...     return completion("sim/echo", [{"role": "user", "content": text}], stream=True, extra_body={"delay": 0})
    >>> show(ask("Hi"), ask("Bye"), labels=["one", "two"])  # doctest: +ELLIPSIS
    one
    Hi
    (3 chunks, ...
    """
    __tracebackhide__ = True
    given: Any = streams
    for stream in given:
        if not isinstance(stream, Observable):
            raise TypeError(f"show() takes Streams or Observables, not {stream!r}")
    if not streams:
        raise TypeError("show() takes one Stream or more")
    if labels is not None and len(labels) != len(streams):
        raise ValueError(f"there are {len(streams)} streams and {len(labels)} labels")
    display_streams(streams, labels)
