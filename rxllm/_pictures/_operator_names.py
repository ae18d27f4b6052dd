"""What the operators of a pipeline are called, as far as it can be known from the functions that they are.

An operator is a function that some call made, as ``take_chunks(10)`` did, and it keeps what it needs of the arguments.
What it does not keep, or keeps in another form, is told as an ellipsis.
"""

import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Final

from reactivex import Observable

from rxllm._pictures._text import shortened

__all__ = ["operator_name"]

_LONGEST: Final = 72
_OURS: Final = "rxllm.operators."
_NOT_GIVEN: Final = object()


def operator_name(operator: Callable[[Any], Any]) -> str:
    """The call that made ``operator``, or its name.

    >>> from reactivex import operators as rx_ops
    >>> from rxllm import operators as ops
    >>> operator_name(ops.take_chunks(10)), operator_name(rx_ops.buffer_with_count(2)), operator_name(lambda it: it)
    ('take_chunks(10)', 'buffer_with_count(2)', 'lambda it: …')
    """
    return shortened(_name(operator), _LONGEST)


def _name(operator: Any) -> str:
    if isinstance(operator, partial):
        made: partial[Any] = operator  # pyright: ignore[reportUnknownVariableType]
        return f"{_own_name(made.func)}({_arguments(made.args, made.keywords)})"
    if not isinstance(operator, FunctionType):
        return _own_name(operator)
    kept = _kept_by(operator)
    if operator.__qualname__.startswith("curry_flip.") and "fun" in kept:
        given = kept.get("args", ())
        while given and given[-1] is None:
            given = given[:-1]  # reactivex hands on what was not given as None
        named = {name: value for name, value in kept.get("kwargs", {}).items() if value is not None}
        return f"{kept['fun'].__name__.strip('_')}({_arguments(given, named)})"
    if operator.__qualname__ == "compose.<locals>._compose":
        return " · ".join(_name(part) for part in kept.get("operators", ()))
    maker = _maker(operator, kept)
    if maker is not None:
        return f"{maker.__name__.strip('_')}({_recalled(maker, kept)})"
    if operator.__module__.startswith("reactivex."):
        return f"{operator.__qualname__.partition('.')[0].strip('_')}(…)"
    return _own_name(operator)


def _own_name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        return f"lambda {', '.join(inspect.signature(function).parameters)}: …"
    return str(name)


def _kept_by(function: FunctionType) -> Mapping[str, Any]:
    """What a function remembers of where it was made."""
    kept: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            kept[name] = cell.cell_contents
        except ValueError:
            continue
    return kept


def _maker(operator: FunctionType, kept: Mapping[str, Any]) -> FunctionType | None:
    """The operator of this library that made it."""
    if not operator.__module__.startswith(_OURS):
        return None
    make = kept.get("make")
    if operator.__qualname__ == "accumulated.<locals>.accumulated_of":
        if not isinstance(make, FunctionType):
            return next((it for it in _public() if make in vars(sys.modules[it.__module__]).values()), None)
        told = _kept_by(make).get("operator")  # which accumulated_texts() is told
        return _named(told) if isinstance(told, str) else _maker(make, {})
    return _named(operator.__qualname__.partition(".")[0])


def _named(name: str) -> FunctionType | None:
    return next((it for it in _public() if it.__name__ == name), None)


def _public() -> Iterator[FunctionType]:
    from rxllm import operators

    return (getattr(operators, name) for name in operators.__all__)


def _recalled(maker: FunctionType, kept: Mapping[str, Any]) -> str:
    """The arguments of the call, but those that were left to their defaults."""
    changed = {it.argval for it in dis.get_instructions(maker) if it.opname == "STORE_DEREF"}
    shown: list[str] = []
    by_name = False
    for parameter in inspect.signature(maker).parameters.values():
        value: Any = kept.get(parameter.name, _NOT_GIVEN)
        if value is _NOT_GIVEN or parameter.name in changed:
            if "…" not in shown:
                shown.append("…")
            by_name = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            shown += map(_value, value)
        elif value is parameter.default or (type(value) in {int, float, str} and value == parameter.default):
            by_name = True
        elif by_name or parameter.kind is parameter.KEYWORD_ONLY:
            shown.append(f"{parameter.name}={_value(value)}")
        else:
            shown.append(_value(value))
    return ", ".join(shown)


def _arguments(given: Sequence[Any], named: Mapping[str, Any]) -> str:
    return ", ".join([*map(_value, given), *(f"{name}={_value(value)}" for name, value in named.items())])


def _value(value: Any) -> str:
    """A short form, for which no code of anybody else's runs."""
    if value is None or type(value) in {bool, int, float}:
        return shortened(repr(value), 24)
    if type(value) is str:
        return repr(shortened(value, 24))
    if type(value) in {list, tuple} and len(value) <= 2:
        inner = ", ".join(map(_value, value))
        return f"[{inner}]" if type(value) is list else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, Observable):
        request = getattr(value, "request", None)  # pyright: ignore[reportUnknownArgumentType]
        return "Observable" if request is None else f"Stream of {request.model}"
    if isinstance(value, FunctionType | type):
        return "lambda" if value.__name__ == "<lambda>" else value.__name__
    return str(getattr(value, "__name__", type(value).__name__))
