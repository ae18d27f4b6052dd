from collections.abc import Callable

from reactivex import Observable, abc

from rxllm.operators._shared import append_text, check_choice
from rxllm.types import ModelResponseStream, Restart

__all__ = ["accumulate_text"]


def accumulate_text(choice: int = 0) -> Callable[[Observable[ModelResponseStream]], Observable[str]]:
    """Gives the text so far at each content chunk.

    ::

        chunks  --role--"Hel"--"lo"-----stop--|
                     accumulate_text()
        texts   --------"Hel"--"Hello"--------|

    Chunks that add no text to the choice give nothing. A stream without text, an empty one too, gives ``""`` once, when
    it completes, so that its ``run()`` has a last item. An error passes. With ``n > 1`` the other choices are left out.
    Where the answer begins anew (``chunk.restart``) after text was given, an empty text is given, a ``Restart`` of
    ``rxllm.types`` that says why, and the text begins anew. Held is the text so far; every text given is a string of
    its own, so collecting them all takes the square of it.

    Args:
        choice: the index of the choice.

    Raises:
        TypeError, ValueError: ``choice`` is no index; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hel"), ModelResponseStream.of("lo"))
    >>> _ = chunks.pipe(accumulate_text()).subscribe(print)
    Hel
    Hello
    """
    check_choice(choice)

    def accumulate_text_of(source: Observable[ModelResponseStream]) -> Observable[str]:
        def subscribe(
            observer: abc.ObserverBase[str], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            so_far = ""

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal so_far
                if not chunk.choices and chunk.restart is not None and so_far:
                    so_far = ""
                    deliver(Restart(chunk.restart))
                for entry in chunk.choices:
                    if entry.index == choice:
                        text = entry.delta.content
                        if text:
                            so_far = append_text(so_far, text)
                            deliver(so_far)

            def on_completed() -> None:
                if not so_far:
                    deliver("")
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return accumulate_text_of
