from collections.abc import Callable

from reactivex import Observable, abc

from rxllm.operators._shared import append_text, check_choice, split_half
from rxllm.types import ModelResponseStream, Restart

__all__ = ["text_deltas"]


def text_deltas(choice: int = 0) -> Callable[[Observable[ModelResponseStream]], Observable[str]]:
    """Gives the text that each content chunk adds.

    ::

        chunks  --role--"Hel"--"lo"--stop--|
                       text_deltas()
        texts   --------"Hel"--"lo"--------|

    Chunks that add no text to the choice, as those with a role, a tool call, a finish reason or, with ``n > 1``, the
    text of another choice, give nothing; a stream without text completes empty. An error passes. Where the answer
    begins anew (``chunk.restart``), as below ``fallback_to(on_partial="restart")``, after text was given, an empty text
    says that it is void, the only one that is empty: a loop that prints it prints nothing, and one that has to know
    asks ``isinstance(text, Restart)``, of ``rxllm.types``; its ``restart`` says why. Nothing is held but, where a chunk
    ends in the middle of a surrogate pair, that half until the other comes.

    Args:
        choice: the index of the choice.

    Raises:
        TypeError, ValueError: ``choice`` is no index; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hel"), ModelResponseStream.of("lo"))
    >>> _ = chunks.pipe(text_deltas()).subscribe(print)
    Hel
    lo
    """
    check_choice(choice)

    def text_deltas_of(source: Observable[ModelResponseStream]) -> Observable[str]:
        def subscribe(
            observer: abc.ObserverBase[str], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            half = ""
            any_given = False

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal half, any_given
                if not chunk.choices and chunk.restart is not None:
                    half = ""
                    if any_given:
                        any_given = False
                        deliver(Restart(chunk.restart))
                for entry in chunk.choices:
                    if entry.index == choice:
                        text = entry.delta.content
                        if text:
                            if half or text[-1] > "\ud7ff":
                                text, half = split_half(append_text(half, text))
                                if not text:
                                    continue
                            any_given = True
                            deliver(text)

            def on_error(error: Exception) -> None:
                if half:
                    deliver(half)
                observer.on_error(error)

            def on_completed() -> None:
                if half:
                    deliver(half)
                observer.on_completed()

            return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return text_deltas_of
