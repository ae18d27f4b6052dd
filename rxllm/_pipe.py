"""The types of ``Stream.pipe()``: what goes in, what comes out, for up to nine operators.

What an operator gives decides: an Observable becomes a Stream, a ConnectableObservable stays one, and anything else (the
future of ``to_future()``) is handed out as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

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

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], ConnectableObservable[_A]],
    ) -> ConnectableObservable[_A]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
    ) -> Stream[_A]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], _A],
    ) -> _A: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], ConnectableObservable[_B]],
    ) -> ConnectableObservable[_B]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
    ) -> Stream[_B]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], _B],
    ) -> _B: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], ConnectableObservable[_C]],
    ) -> ConnectableObservable[_C]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
    ) -> Stream[_C]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], _C],
    ) -> _C: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], ConnectableObservable[_D]],
    ) -> ConnectableObservable[_D]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
    ) -> Stream[_D]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], _D],
    ) -> _D: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], ConnectableObservable[_E]],
    ) -> ConnectableObservable[_E]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
    ) -> Stream[_E]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], _E],
    ) -> _E: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], ConnectableObservable[_F]],
    ) -> ConnectableObservable[_F]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
    ) -> Stream[_F]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], _F],
    ) -> _F: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], ConnectableObservable[_G]],
    ) -> ConnectableObservable[_G]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
    ) -> Stream[_G]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], _G],
    ) -> _G: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], ConnectableObservable[_H]],
    ) -> ConnectableObservable[_H]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], Observable[_H]],
    ) -> Stream[_H]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], _H],
    ) -> _H: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], Observable[_H]],
        __op9: Callable[[Stream[_H]], ConnectableObservable[_I]],
    ) -> ConnectableObservable[_I]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], Observable[_H]],
        __op9: Callable[[Stream[_H]], Observable[_I]],
    ) -> Stream[_I]: ...

    @overload
    def pipe(
        self,
        __op1: Callable[[Stream[_T_co]], Observable[_A]],
        __op2: Callable[[Stream[_A]], Observable[_B]],
        __op3: Callable[[Stream[_B]], Observable[_C]],
        __op4: Callable[[Stream[_C]], Observable[_D]],
        __op5: Callable[[Stream[_D]], Observable[_E]],
        __op6: Callable[[Stream[_E]], Observable[_F]],
        __op7: Callable[[Stream[_F]], Observable[_G]],
        __op8: Callable[[Stream[_G]], Observable[_H]],
        __op9: Callable[[Stream[_H]], _I],
    ) -> _I: ...

    def pipe(self, *operators: Callable[[Any], Any]) -> Any:
        """Composes operators from left to right, each of them a function from one Observable to another."""
        raise NotImplementedError
