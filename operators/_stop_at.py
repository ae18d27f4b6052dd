from collections.abc import Callable
from typing import Any

from reactivex import Observable

from rxllm._accumulators._rewriting import ChunkRewriter
from rxllm._accumulators._sequences import Sequences
from rxllm._accumulators._stopping import StopCutter
from rxllm.operators._shared import accumulated, request_of
from rxllm.types import ModelResponseStream

__all__ = ["stop_at"]


def stop_at(
    *sequences: str,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    r"""Cuts the text exactly before the first of ``sequences``, wherever chunks are cut, and cancels the request.

    ::

        chunks  --"one\n"--"two E"---"ND thr"--"ee"--stop--|
                            stop_at("END")
        chunks  --"one\n"--"two "----stop|

    As a provider's own ``stop``, but for any provider, any number of sequences, and text that a provider's cannot see.
    The sequence that is complete first counts, and of several that are complete with the same character the longest.
    The request is cancelled before the last chunk is delivered: one without text, with the finish reason ``stop``, the
    native one ``stop_sequence``, and the sequence as ``stop_sequence`` among its ``provider_specific_fields``. Below
    ``attach_usage()`` it carries the usage of what came until then; the provider's own is lost.

    A stream without any of the sequences passes whole, and an empty one empty. An error passes, after what was held
    back. With ``n > 1`` each choice stops by itself, and the request is cancelled once all have stopped or finished: as
    many as were asked for, or, without a request, all that have come. Only ``content`` is searched; reasoning, tool
    calls, log probabilities and all else pass. Where the answer begins anew (``chunk.restart``), so does the search.
    Held back is the end of the text that a sequence may begin with, at most
    a character less than the longest has; it is given as soon as it cannot, before a tool call, and at the end.

    Args:
        sequences: the strings to stop at, one or more.

    Raises:
        TypeError: a sequence is no string; raised, as the other, when the operator is made.
        ValueError: there is none, or one is empty.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("one\n", "two E", "ND thr", "ee")))
    >>> _ = chunks.pipe(stop_at("END")).subscribe(lambda chunk: print(repr(chunk.choices[0].delta.content)))
    'one\n'
    'two '
    None
    """
    given: tuple[Any, ...] = sequences
    for sequence in given:
        if not isinstance(sequence, str):
            raise TypeError(f"stop_at() takes strings to stop at, not {sequence!r}")
    if not all(sequences) or not sequences:
        raise ValueError("stop_at() takes one string or more to stop at, and none of them empty")
    wanted = Sequences(sequences)

    def stopped(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        expected = request.n if request else 1

        return accumulated(lambda: ChunkRewriter(lambda field: StopCutter(field, wanted), expected=expected))(source)

    return stopped
