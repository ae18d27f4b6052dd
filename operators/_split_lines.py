from collections.abc import Callable

from reactivex import Observable

from rxllm._accumulators._lines import LineSplitter
from rxllm.operators._shared import accumulated_texts

__all__ = ["split_lines"]


def split_lines() -> Callable[[Observable[str]], Observable[str]]:
    r"""Gives the lines of a text that comes in pieces, each with its end, as soon as it is whole.

    ::

        texts  --"one\ntw"--"o\nth"--"ree"--|
                       split_lines()
        lines  --"one\n"----"two\n"---------"three"|

    It stands below ``text_deltas()``. A line ends with ``\n``, ``\r\n`` or ``\r``, and keeps that end: joined, the
    lines are the text. The last line comes at the end of the stream if it has no end of its own, and before an error.
    An empty stream completes empty, as does one without text. Of ``n > 1`` choices ``text_deltas(choice=1)`` gives the
    one that is wanted. Where the text begins anew (``chunk.restart``), the line so far is void, and the empty text that
    ``text_deltas()`` gives there is passed on; no line is empty. Held is the line so far.

    Raises:
        TypeError: what comes is no text, as where ``text_deltas()`` is missing; the stream ends with it.

    >>> import reactivex as rx
    >>> _ = rx.of("one\ntw", "o\nth", "ree").pipe(split_lines()).subscribe(lambda line: print(repr(line)))
    'one\n'
    'two\n'
    'three'
    """
    return accumulated_texts("split_lines", LineSplitter)
