"""The types of ``Stream.pipe()``: what goes in, what comes out, for up to nine operators.

What the last operator gives decides: an Observable becomes a Stream, a ConnectableObservable stays one, and anything
else (the future of ``to_future()``) is handed out as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from reactivex import ConnectableObservable, Observable

if TYPE_CHECKING:
    from rxllm._stream import Stream

__all__ = ["Pipeable"]

_T_co = TypeVar("_T_co", covariant=True)
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")
_D = TypeVar("_D")
_E = TypeVar("_E")
_F = TypeVar("_F")
_G = TypeVar("_G")
_H = TypeVar("_H")
_I = TypeVar("_I")


class Pipeable(Observable[_T_co]):
    """An Observable whose ``pipe()`` gives Streams."""

    # Of what ``pipe()`` made: what it was applied to, and the operators that were. So that its stages can be shown.
    made_of: tuple[Observable[Any], tuple[Callable[[Any], Any], ...]] | None = None
    # And by what call: the code that called ``pipe()``, where in it, and which of its arguments is the first of these.
    made_by: tuple[CodeType, int, int] | None = None

    # From the narrow to the wide: a ConnectableObservable is an Observable, and an Observable is anything.
    @overload  # type: ignore[override]
    def pipe(self) -> Self: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], ConnectableObservable[_A]],
    ) -> ConnectableObservable[_A]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], Observable[_A]],
    ) -> Stream[_A]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
    ) -> _A: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], ConnectableObservable[_B]],
    ) -> ConnectableObservable[_B]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], Observable[_B]],
    ) -> Stream[_B]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
    ) -> _B: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], ConnectableObservable[_C]],
    ) -> ConnectableObservable[_C]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], Observable[_C]],
    ) -> Stream[_C]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
    ) -> _C: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], ConnectableObservable[_D]],
    ) -> ConnectableObservable[_D]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], Observable[_D]],
    ) -> Stream[_D]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
    ) -> _D: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], ConnectableObservable[_E]],
    ) -> ConnectableObservable[_E]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], Observable[_E]],
    ) -> Stream[_E]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
    ) -> _E: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], ConnectableObservable[_F]],
    ) -> ConnectableObservable[_F]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], Observable[_F]],
    ) -> Stream[_F]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
    ) -> _F: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], ConnectableObservable[_G]],
    ) -> ConnectableObservable[_G]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], Observable[_G]],
    ) -> Stream[_G]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
    ) -> _G: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], ConnectableObservable[_H]],
    ) -> ConnectableObservable[_H]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], Observable[_H]],
    ) -> Stream[_H]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], _H],
    ) -> _H: ...

    @overload
    def pipe(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], _H],
        __op9: Callable[[_H], ConnectableObservable[_I]],
    ) -> ConnectableObservable[_I]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], _H],
        __op9: Callable[[_H], Observable[_I]],
    ) -> Stream[_I]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Observable[_T_co]], _A],
        __op2: Callable[[_A], _B],
        __op3: Callable[[_B], _C],
        __op4: Callable[[_C], _D],
        __op5: Callable[[_D], _E],
        __op6: Callable[[_E], _F],
        __op7: Callable[[_F], _G],
        __op8: Callable[[_G], _H],
        __op9: Callable[[_H], _I],
    ) -> _I: ...

    def pipe(self, *operators: Callable[[Any], Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Composes operators from left to right; what comes out is a Stream wherever it is an Observable.

        Each stage carries the Stream's ``request`` on. A ConnectableObservable stays what it is.

        Raises:
            TypeError: one of them is no function, or returned nothing to go on with, as without its ``return``.

        >>> import rxllm
        >>> from rxllm import operators as ops
        >>> stream = rxllm.completion("sim/echo", [{"role": "user", "content": "Hi"}], stream=True)
        >>> stream.pipe(ops.accumulate_text()).run()
        'Hi'
        """
        result: Any = self
        before: Any = self
        applied: tuple[Callable[[Any], Any], ...] = ()
        called = _caller()
        for number, operator in enumerate(operators, 1):
            if not callable(operator):
                raise TypeError(f"pipe() takes operators, which are functions from an Observable, not {operator!r}")
            if result is None:
                raise TypeError(f"pipe() cannot go on with {operator!r}: what is before it returned None")
            applied = (*applied, operator)
            given: Any = operator(result)
            result = self._carry(given)
            # Those that an operator has itself put together with pipe() are one stage: its own.
            if result is not given or _comes_of(result, before):
                result.made_of = (before, applied)
                result.made_by = None if called is None else (*called, number - len(applied))
            if isinstance(given, Pipeable) or result is not given:
                before, applied = result, ()
        return result

    def _carry(self, result: Any) -> Any:
        """What a stage hands on, given what its operator made."""
        raise NotImplementedError


def _caller() -> tuple[CodeType, int] | None:
    """The code that calls ``pipe()``, or a fluent method of reactivex's, and where in it; None if it is no Python."""
    frame = sys._getframe(1).f_back  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("reactivex."):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def _comes_of(stage: Any, source: Any) -> bool:
    """Whether ``pipe()`` has made one of the other, over any number of stages."""
    made = getattr(stage, "made_of", None)
    while made is not None:
        if made[0] is source:
            return True
        made = getattr(made[0], "made_of", None)
    return False
