"""What several operators share: text that comes in pieces, the request of a source, checked arguments."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rxllm.types import Request, Restart

__all__ = [
    "accumulated",
    "accumulated_texts",
    "append_text",
    "check_choice",
    "check_count",
    "check_seconds",
    "request_of",
    "split_half",
]

_In_contra = TypeVar("_In_contra", contravariant=True)
_Out_co = TypeVar("_Out_co", covariant=True)
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Accumulator(Protocol[_In_contra, _Out_co]):
    """What takes items one by one, and gives others when it can.

    Once it is ``over``, what it gave is the last.
    """

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        ...

    def feed(self, item: _In_contra, /) -> Iterable[_Out_co]:
        """Takes the next item."""
        ...

    def flush(self) -> Iterable[_Out_co]:
        """Gives what is left at the end."""
        ...


def accumulated(
    make: Callable[[], Accumulator[_In, _Out]],
) -> Callable[[Observable[_In]], Observable[_Out]]:
    """An operator that gives what an accumulator gives, one of its own for each subscription.

    What is left comes before the completion, and before an error too. Once the accumulator is over, upstream is
    cancelled before the last items are delivered. What it raises, as where it calls a function of the user's, cancels
    upstream and is the error.
    """

    def accumulated_of(source: Observable[_In]) -> Observable[_Out]:
        def subscribe(
            observer: abc.ObserverBase[_Out], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            accumulator = make()
            upstream = SingleAssignmentDisposable()

            def on_next(item: _In) -> None:
                if upstream.is_disposed:
                    # The source emits inside its subscribe, where it cannot be stopped yet.
                    return
                try:
                    given = accumulator.feed(item)
                except Exception as error:  # noqa: BLE001  whatever the user's function raises
                    upstream.dispose()
                    observer.on_error(error)
                    return
                if not accumulator.over:
                    for each in given:
                        deliver(each)
                    return
                upstream.dispose()
                for each in given:
                    deliver(each)
                observer.on_completed()

            def on_error(error: Exception) -> None:
                try:
                    given = accumulator.flush()
                except Exception:  # noqa: BLE001  the source's own error is the one that came first
                    given = ()
                for each in given:
                    deliver(each)
                observer.on_error(error)

            def on_completed() -> None:
                try:
                    given = accumulator.flush()
                except Exception as error:  # noqa: BLE001  whatever the user's function raises
                    observer.on_error(error)
                    return
                for each in given:
                    deliver(each)
                observer.on_completed()

            upstream.disposable = source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
            return upstream

        return Observable(subscribe)

    return accumulated_of


class _Texts(Generic[_Out]):
    """An accumulator of texts, made anew where they begin anew."""

    over = False

    def __init__(self, operator: str, make: Callable[[], Accumulator[str, _Out]], *, marks: bool) -> None:
        self._operator = operator
        self._make = make
        self._marks = marks
        self._current = make()

    def feed(self, text: Any) -> Iterable[_Out]:
        if not isinstance(text, str):
            raise TypeError(
                f"{self._operator}() takes texts, and was given a {type(text).__name__}: put text_deltas() before it"
            )
        if isinstance(text, Restart):
            self._current = self._make()
            return (cast("_Out", text),) if self._marks else ()
        return self._current.feed(text)

    def flush(self) -> Iterable[_Out]:
        return self._current.flush()


def accumulated_texts(
    operator: str, make: Callable[[], Accumulator[str, _Out]], *, marks: bool = True
) -> Callable[[Observable[str]], Observable[_Out]]:
    """The same of texts, for an operator below ``text_deltas()``, whose name it is told.

    What is no text is a ``TypeError``. Where the text begins anew, what the accumulator holds is void, and another
    takes its place; with ``marks`` what says so is passed on.
    """
    return accumulated(lambda: _Texts(operator, make, marks=marks))


def append_text(text: str, delta: str) -> str:
    r"""``text`` and what follows it; the halves of a surrogate pair that came apart are one character again.

    >>> append_text("a\ud83d", "\ude00") == "a\U0001f600"
    True
    """
    if text and "\udc00" <= delta[:1] <= "\udfff" and _is_high_surrogate(text[-1]):
        pair = (text[-1] + delta[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return text[:-1] + pair + delta[1:]
    return text + delta


def split_half(text: str) -> tuple[str, str]:
    r"""``text`` without the half of a surrogate pair that it ends with, and that half, whose other half is to come.

    >>> split_half("a\ud83d") == ("a", "\ud83d"), split_half("a")
    (True, ('a', ''))
    """
    return (text[:-1], text[-1]) if _is_high_surrogate(text[-1:]) else (text, "")


def _is_high_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udbff"


def check_choice(choice: int) -> None:
    """Raises unless ``choice`` can be the index of a choice."""
    # What typing already excludes comes from untyped code all the same.
    given: Any = choice
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"choice is the index of a choice, an int, not {given!r}")
    if choice < 0:
        raise ValueError(f"choice is the index of a choice, 0 or more, not {choice}")


def check_count(name: str, value: int) -> None:
    """Raises unless ``value``, the argument ``name``, is a whole number from 0 on."""
    given: Any = value
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} is a whole number, an int, not {given!r}")
    if value < 0:
        raise ValueError(f"{name} is a whole number, 0 or more, not {value}")


def check_seconds(name: str, value: float) -> None:
    """Raises unless ``value``, the argument ``name``, is a finite number of seconds from 0 on."""
    given: Any = value
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"{name} is a number of seconds, not {given!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is a number of seconds, 0 or more, not {value}")


def request_of(source: Observable[Any]) -> Request | None:
    """The request that a source sends; None where it is no Stream, or several were merged."""
    request = getattr(source, "request", None)
    return request if isinstance(request, Request) else None
