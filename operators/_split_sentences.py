from collections.abc import Callable

from reactivex import Observable

from rxllm._accumulators._sentences import SentenceSplitter
from rxllm.operators._shared import accumulated_texts

__all__ = ["split_sentences"]


def split_sentences() -> Callable[[Observable[str]], Observable[str]]:
    r"""Gives the sentences of a text that comes in pieces, each as soon as it is known to be over.

    ::

        texts      --"Dr. W"--"ho left. H"----"e is ba"--"ck."--|
                             split_sentences()
        sentences  ----------"Dr. Who left. "-------------------"He is back."|

    To be spoken, translated or checked, below ``text_deltas()``. A sentence ends with a stop and what closes behind it
    (quotation marks, brackets, emphasis), where white space and no lower-case letter follow; with a stop of a script
    that writes no spaces, such as Chinese, at once; and with the line, so that headings, items and lines of code are
    sentences too. Abbreviations that something follows (``Dr.``, ``e.g.``, ``No. 5``), initials, numbers and the number
    of an item end none. These are rules, not understanding: of two sentences with ``etc.`` or ``U.S.`` between them,
    some are taken for one.

    Each has the white space that follows it, so that all of them, joined, are the text, and none is blank unless the
    text is; the indentation of a line stays with it. What follows has to be seen before a sentence is over: it comes
    with the next one's first letter, the last one at the end of the stream or before an error. An empty stream
    completes empty. Of ``n > 1`` choices ``text_deltas(choice=1)`` gives the one that is wanted. Where the text begins
    anew (``chunk.restart``), the sentence so far is void, and the empty text that ``text_deltas()`` gives there is
    passed on; no sentence is empty. Held is the sentence so far.

    Raises:
        TypeError: what comes is no text, as where ``text_deltas()`` is missing; the stream ends with it.

    >>> import reactivex as rx
    >>> texts = rx.of("Dr. W", "ho left. H", "e is ba", "ck.")
    >>> _ = texts.pipe(split_sentences()).subscribe(lambda sentence: print(repr(sentence)))
    'Dr. Who left. '
    'He is back.'
    """
    return accumulated_texts("split_sentences", SentenceSplitter)
