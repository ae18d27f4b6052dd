from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reactivex import Observable, abc

from rxllm._token_counter import TokenCounter
from rxllm._tokens import encoding_for, get_encoding
from rxllm.operators._shared import check_choice, request_of
from rxllm.types import ModelResponseStream

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["count_tokens"]


def count_tokens(
    model: str | None = None, *, encoding: "str | Encoding | None" = None, choice: int = 0
) -> Callable[[Observable[ModelResponseStream]], Observable[int]]:
    """Gives the exact token count of the text so far at each content chunk.

    ::

        chunks  --role--"hap"--"pin"--"ess"--stop--|
                    count_tokens("gpt-4")
        counts  --------1------3------2------------|

    It is the count of the whole text, not a sum over chunks, whose cuts need not be those of tokens; it can go down
    when a word is finished. Chunks that add no text to the choice give nothing; a stream without text, an empty one
    too, gives 0 once, when it completes. An error passes. Where the answer begins anew (``chunk.restart``) after text
    was counted, 0 is given, and the count begins anew. Held is the last word or so. cl100k_base and o200k_base need no
    network, and take 0.1 and 0.3 seconds to load, once.

    A chunk costs what is new in it, not what has been before: some 4 microseconds for a word, 10 to 30 in a run of
    white space, in one endless word and the like. Where a text has neither boundary nor run, as emoji on end, letters
    with nothing but apostrophes between them or an uncommon script without spaces, a chunk costs 0.1 to 0.2
    microseconds more for each character since the last boundary; with an encoding of one's own, for each character of
    the text.

    Args:
        model: the model whose encoding counts, with or without a provider's prefix; without it and without an encoding,
            the model of the request that the stream sends.
        encoding: the encoding to count with, by name or a ``tiktoken.Encoding``; goes before the model.
        choice: the index of the choice.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: the model's encoding is not known or cannot be had; raised when the operator is made. Raised when it
            is applied where no model was given and the source has no request to take one from.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("hap", "pin", "ess")))
    >>> _ = chunks.pipe(count_tokens("gpt-4")).subscribe(print)
    1
    3
    2
    """
    check_choice(choice)
    given = _encoding(model, encoding)

    def counts_of(source: Observable[ModelResponseStream]) -> Observable[int]:
        known = given
        if known is None:
            request = request_of(source)
            if request is None:
                raise ValueError(
                    "count_tokens() does not know what to count with: its source has no request to take the model from;"
                    ' pass a model, as count_tokens("gpt-4o"), or an encoding='
                )
            known = encoding_for(request.model)
        counts_with = known

        def subscribe(
            observer: abc.ObserverBase[int], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            counter = TokenCounter(counts_with)
            add = counter.add

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal counter, add
                if not chunk.choices and chunk.restart is not None and counter.total:
                    counter = TokenCounter(counts_with)
                    add = counter.add
                    deliver(0)
                for entry in chunk.choices:
                    if entry.index == choice:
                        text = entry.delta.content
                        if text:
                            try:
                                total = add(text)
                            except Exception as error:  # noqa: BLE001  the encoding may be the caller's own
                                observer.on_error(error)
                                return
                            deliver(total)

            def on_completed() -> None:
                if not counter.total:
                    deliver(0)
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return counts_of


def _encoding(model: str | None, encoding: "str | Encoding | None") -> "Encoding | None":
    """The encoding that the arguments name."""
    checked: Any = model
    if not isinstance(checked, str | None):
        raise TypeError(f"model is a model's name, not {model!r}")
    if encoding is None:
        return None if model is None else encoding_for(model)
    if isinstance(encoding, str):
        return get_encoding(encoding)
    from tiktoken import Encoding

    given: Any = encoding
    if not isinstance(given, Encoding):
        raise TypeError(f"encoding is the name of an encoding or a tiktoken.Encoding, not {given!r}")
    return encoding
