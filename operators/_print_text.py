import re
import sys
from collections.abc import Callable
from typing import Any, Protocol

from reactivex import Observable, abc

from rxllm.operators._shared import append_text, check_choice, split_half
from rxllm.types import ModelResponseStream

__all__ = ["print_text"]

_SURROGATE = re.compile("[\ud800-\udfff]")


class _TextFile(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


def print_text(
    file: _TextFile | None = None, choice: int = 0, end: str = "\n"
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Prints the text that each content chunk adds, as it comes, and passes every chunk on.

    ::

        chunks  --role--"Hel"--"lo"--stop--|
                       print_text()             prints Hello and a newline
        chunks  --role--"Hel"--"lo"--stop--|

    Each text is flushed at once, and printed before its chunk is passed on. When the stream completes and anything was
    printed, ``end`` is; an error passes without it. An exception of the file's, such as a broken pipe, ends the stream
    with ``on_error``. A refusal is printed as text is, below the text where there is any. With ``n > 1`` the other
    choices are passed on unprinted. After a restart (``chunk.restart``) the text begins anew, on a new line. Nothing is
    held but, where a chunk ends in the middle of a surrogate pair, that half; a half that stays alone is printed as
    U+FFFD.

    Args:
        file: what to print to, with ``write`` and ``flush``; by default what ``sys.stdout`` is at each subscription.
        choice: the index of the choice.
        end: what is printed in the end.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hel"), ModelResponseStream.of("lo"))
    >>> _ = chunks.pipe(print_text()).subscribe()
    Hello
    """
    check_choice(choice)
    checked_file: Any = file
    if file is not None and not (hasattr(checked_file, "write") and hasattr(checked_file, "flush")):
        raise TypeError(f"file is something with write() and flush(), not {checked_file!r}")
    checked_end: Any = end
    if not isinstance(checked_end, str):
        raise TypeError(f"end is a string, not {checked_end!r}")

    def printed(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            out: _TextFile = sys.stdout if file is None else file
            half = ""
            any_printed = refuses = False

            def show(text: str) -> bool:
                """Prints; False where the file raised, which ends the stream."""
                nonlocal any_printed
                try:
                    out.write(text)
                    out.flush()
                except Exception as error:  # noqa: BLE001  the file is the caller's
                    observer.on_error(error)
                    return False
                any_printed = True
                return True

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal half, any_printed, refuses
                if not chunk.choices and chunk.restart is not None:
                    half = ""
                    if any_printed and not show("\n"):
                        return
                    any_printed = refuses = False
                for entry in chunk.choices:
                    if entry.index == choice:
                        text = entry.delta.content
                        refusal = entry.delta.refusal
                        if refusal:
                            begins_line = (any_printed or text) and not refuses
                            text = (text or "") + ("\n" if begins_line else "") + refusal
                            refuses = True
                        if text:
                            text, half = split_half(append_text(half, text))
                            if text and not show(_SURROGATE.sub("\ufffd", text)):
                                return
                deliver(chunk)

            def on_completed() -> None:
                last = "\ufffd" if half else ""
                if (any_printed or last) and not show(last + end):
                    return
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return printed
