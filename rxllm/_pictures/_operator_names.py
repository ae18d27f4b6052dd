"""What the operators of a pipeline are called, as far as it can be known from the functions that they are.

An operator is a function that some call made, as ``take_chunks(10)`` did, and it keeps what it needs of the arguments.
What it does not keep, or keeps in another form, is told as an ellipsis.
"""

import ast
import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Final

from reactivex import Observable
from reactivex.internal.utils import NotSet

from rxllm._pictures._source import lambda_source
from rxllm._pictures._text import shortened

__all__ = ["operator_name"]

_LONGEST: Final = 84
_LONGEST_LAMBDA: Final = 48
_NOT_GIVEN: Final = object()
# What these of reactivex's are, underneath.
_ALIASES: Final = {
    "to_iterable": "to_list",
    "first_or_default_async": "first_or_default",
    "single_or_default_async": "single_or_default",
}


def operator_name(operator: Callable[[Any], Any], written: ast.expr | None = None) -> str:
    """The call that made ``operator``, or its name; where that is not known in full, the call as it was ``written``.

    >>> from reactivex import operators as rx_ops
    >>> from rxllm import operators as ops
    >>> operator_name(ops.take_chunks(10)), operator_name(rx_ops.buffer_with_count(2)), operator_name(str.upper)
    ('take_chunks(10)', 'buffer_with_count(2)', 'upper')
    """
    name = _name(operator)
    if isinstance(written, ast.Call) and isinstance(written.func, ast.Attribute | ast.Name):
        called = written.func.attr if isinstance(written.func, ast.Attribute) else written.func.id
        text = ast.unparse(ast.Call(ast.Name(called), written.args, written.keywords))
        in_full = name.startswith(f"{called}(") and not any(it in name for it in ("…", "Stream of", "Observable"))
        if not in_full and len(text) <= _LONGEST:
            return text
    return shortened(name, _LONGEST)


def _name(operator: Any) -> str:
    if isinstance(operator, partial):
        made: partial[Any] = operator  # pyright: ignore[reportUnknownVariableType]
        return f"{_own_name(made.func)}({_arguments(made.args, made.keywords)})"
    if not isinstance(operator, FunctionType):
        return _own_name(operator)
    kept = _kept_by(operator)
    if operator.__qualname__.startswith("curry_flip.") and "fun" in kept:
        given = kept.get("args", ())
        while given and _is_nothing(given[-1]):
            given = given[:-1]  # reactivex hands on what was not given
        named = {name: value for name, value in kept.get("kwargs", {}).items() if not _is_nothing(value)}
        return f"{_called(kept['fun'])}({_arguments(given, named)})"
    if operator.__qualname__ == "compose.<locals>._compose":
        return " · ".join(_name(part) for part in kept.get("operators", ()))
    maker = _maker(operator, kept)
    if maker is not None:
        return f"{_called(maker)}({_recalled(maker, kept)})"
    return _own_name(operator)


def _called(function: FunctionType) -> str:
    name = function.__name__.strip("_")
    return _ALIASES.get(name, name)


def _own_name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return _lambda(function) if name == "<lambda>" else str(name)


def _lambda(function: FunctionType) -> str:
    """As it was written, if that is short and known."""
    written = lambda_source(function)
    if written is not None and len(written) <= _LONGEST_LAMBDA:
        return written
    return f"lambda {', '.join(inspect.signature(function).parameters)}: …".replace("lambda :", "lambda:")


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
    """The function whose call gave ``operator``."""
    if operator.__qualname__ != "accumulated.<locals>.accumulated_of":
        return _returning(operator)
    make = kept["make"]
    if not isinstance(make, FunctionType):
        return next((it for it in _public() if make in vars(sys.modules[it.__module__]).values()), None)
    told = _kept_by(make).get("operator", make.__qualname__.partition(".")[0])  # accumulated_texts() is told
    return next((it for it in _public() if it.__name__ == told), None)


def _public() -> Iterator[FunctionType]:
    from rxllm import operators

    return (getattr(operators, name) for name in operators.__all__)


def _returning(operator: FunctionType) -> FunctionType | None:
    """The function of its module that ``operator`` is defined in, if that is what it returns."""
    outer, within, _ = operator.__qualname__.partition(".<locals>.")
    found = operator.__globals__.get(outer)
    maker: Any = inspect.unwrap(found) if inspect.isfunction(found) else None
    if not within or not isinstance(maker, FunctionType) or operator.__code__ not in maker.__code__.co_consts:
        return None
    before = ""
    for it in dis.get_instructions(maker):
        if it.opname == "RETURN_VALUE" and before in {operator.__name__, "MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE"}:
            return maker
        # Either a variable is returned, or at once what has been made.
        before = it.argval if it.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) else it.opname
    return None


def _recalled(maker: FunctionType, kept: Mapping[str, Any]) -> str:
    """The arguments of the call, but those that were left to their defaults."""
    changed = {it.argval for it in dis.get_instructions(maker) if it.opname in {"STORE_DEREF", "STORE_FAST"}}
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
        elif parameter.kind is parameter.VAR_KEYWORD:
            shown += [f"{name}={_value(each)}" for name, each in value.items()]
        elif value is parameter.default or (type(value) in {int, float, str} and value == parameter.default):
            by_name = True
        elif by_name or parameter.kind is parameter.KEYWORD_ONLY:
            shown.append(f"{parameter.name}={_value(value)}")
        else:
            shown.append(_value(value))
    return ", ".join(shown)


def _arguments(given: Sequence[Any], named: Mapping[str, Any]) -> str:
    return ", ".join([*map(_value, given), *(f"{name}={_value(value)}" for name, value in named.items())])


def _is_nothing(value: Any) -> bool:
    return value is None or value is NotSet or isinstance(value, NotSet)


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
    if isinstance(value, FunctionType):
        return _own_name(value)
    return str(getattr(value, "__name__", type(value).__name__))
