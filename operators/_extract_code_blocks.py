from collections.abc import Callable

from reactivex import Observable

from rxllm._accumulators._code_blocks import CodeBlocks
from rxllm.operators._shared import accumulated_texts
from rxllm.types import CodeBlock

__all__ = ["extract_code_blocks"]


def extract_code_blocks() -> Callable[[Observable[str]], Observable[CodeBlock]]:
    r"""Gives each fenced block of code of a text that comes in pieces, as soon as it is closed.

    ::

        texts   --"So:\n```py\nx"--" = 1\n``"--"`\nAnd"--"..."--|
                          extract_code_blocks()
        blocks  ---------------------------------CodeBlock------|

    It stands below ``text_deltas()``. A ``CodeBlock`` has the ``language``, the ``code``, its ``index`` among the
    blocks of the text, and as ``info`` all that stands behind the opening fence. Fences are CommonMark's: three
    backticks or tildes or more, closed by one of the same kind that is no shorter, so that a longer fence holds shorter
    ones; indented by three spaces at most, or as far as the item of a list that the block stands in, and the code loses
    as much indentation. Code that is only indented, or stands within a line, is none.

    A block that is still open at the end of the stream, or at an error, is given then, and its ``closed`` is false. An
    empty stream completes empty, as does a text without code. Of ``n > 1`` choices ``text_deltas(choice=1)`` gives the
    one that is wanted. Where the text begins anew (``chunk.restart``), a block that is open is void, and so are those
    that were given: the next has the ``index`` 0 again. Held are the block and the line so far.

    Raises:
        TypeError: what comes is no text, as where ``text_deltas()`` is missing; the stream ends with it.

    >>> import reactivex as rx
    >>> blocks = rx.of("So:\n```py\nx", " = 1\n``", "`\nAnd").pipe(extract_code_blocks())
    >>> _ = blocks.subscribe(lambda block: print(block.index, block.language, repr(block.code)))
    0 py 'x = 1\n'
    """
    return accumulated_texts("extract_code_blocks", CodeBlocks, marks=False)
