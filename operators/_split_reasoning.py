from collections.abc import Callable
from typing import Any

from reactivex import Observable

from rxllm._accumulators._rewriting import ChunkRewriter
from rxllm._accumulators._thinking import ReasoningSplitter
from rxllm.operators._shared import accumulated
from rxllm.types import ModelResponseStream

__all__ = ["split_reasoning"]


def split_reasoning(
    tags: tuple[str, str] = ("<think>", "</think>"), *, inside: bool = False
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    r"""Moves thinking that a model writes into its text, between ``tags``, to ``reasoning_content``, without the tags.

    ::

        chunks  --"<th"--"ink>Greet."--"</think>\n\nHel"--"lo"--stop--|
                             split_reasoning()
        chunks  ---------reasoning:"Greet."---"Hel"-------"lo"--stop--|

    As servers do that are told to, such as vLLM and SGLang, for those that are not. Tags may be cut anywhere, and stand
    anywhere: a model that thinks again in the midst of its answer has several blocks, with a newline between them.
    White space at both ends of a block is dropped, and so is white space around blocks before the answer's first text.
    Thinking that is never closed is reasoning to its end. Chunks in which nothing changes pass as they are; reasoning
    that the provider told apart itself, calls, log probabilities and all else pass.

    An empty stream completes empty, and an error passes, after what was held back. With ``n > 1`` each choice is split
    by itself. Where the answer begins anew (``chunk.restart``), so does the splitting, outside or ``inside``. Held back
    is text that a tag may begin with, until it cannot, and white space that a tag may follow; both are given before a
    tool call and at the end.

    Args:
        tags: what stands before the thinking and what after it.
        inside: whether the text begins inside the thinking, as with templates that write the opening tag into the
            prompt (DeepSeek-R1, QwQ): all up to the closing tag is reasoning then, and an opening tag at the beginning
            is dropped.

    Raises:
        TypeError: ``tags`` are no two strings, or ``inside`` is no bool; raised, as the other, when the operator is
            made.
        ValueError: a tag is empty.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("<th", "ink>Greet.", "</think>\n\nHel", "lo")))
    >>> split = chunks.pipe(split_reasoning())
    >>> _ = split.subscribe(lambda chunk: print(chunk.choices[0].delta.model_dump(exclude_none=True)))
    {'reasoning_content': 'Greet.'}
    {'content': 'Hel'}
    {'content': 'lo'}
    """
    given: Any = tags
    if not isinstance(given, tuple | list) or [type(tag) for tag in given] != [str, str]:  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        raise TypeError(f"tags are two strings, what stands before the thinking and what after it, not {given!r}")
    given = inside
    if not isinstance(given, bool):
        raise TypeError(f"inside is True or False, not {given!r}")
    opening, closing = tags
    if not (opening and closing):
        raise ValueError(f"tags are two strings, neither of them empty, not {tags!r}")

    def rewriter() -> ChunkRewriter:
        return ChunkRewriter(lambda field: ReasoningSplitter(field, (opening, closing), inside=inside))

    return accumulated(rewriter)
