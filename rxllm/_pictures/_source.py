"""What the source says of lambdas, which have no other name, and of operators, where it is still to be found."""

import ast
import linecache
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import TypeVar

__all__ = ["lambda_source", "written_operators"]

_Place = tuple[int, int]
_Expression = TypeVar("_Expression", bound=ast.expr)


def lambda_source(function: FunctionType) -> str | None:
    """A lambda as it was written, in one line; None where its source is kept nowhere, or has changed.

    >>> lambda_source(eval("lambda text: text.upper()")) is None
    True
    """
    code = function.__code__
    places = list(_places(code))
    if not places:
        return None
    starts, ends = zip(*places, strict=True)
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = [
        it
        for it in _all(ast.Lambda, code.co_filename)
        if _start(it.body) <= min(starts) and max(ends) <= _end(it.body)
        if tuple(each.arg for each in (*it.args.posonlyargs, *it.args.args, *it.args.kwonlyargs)) == parameters
    ]
    # Of those that it stands within, the innermost is the one that begins last.
    innermost = max(found, key=lambda it: _start(it.body), default=None)
    return ast.unparse(innermost) if innermost is not None and _names(innermost) == _known(code) else None


def written_operators(code: CodeType, instruction: int) -> list[ast.expr]:
    """The operators in a call of ``pipe()``, or of a fluent method, as they were written; none where that is not known.

    Args:
        code: what has called it.
        instruction: where in it.
    """
    _, line, _, column = list(code.co_positions())[instruction // 2]
    for call in _all(ast.Call, code.co_filename):
        if _end(call) == (line, column) and isinstance(call.func, ast.Attribute):
            return call.args if call.func.attr == "pipe" else [call]
    return []


def _names(written: ast.Lambda) -> set[str]:
    """What a lambda speaks of, beside its own parameters: what it would be if it stood alone."""
    alone = compile(ast.fix_missing_locations(ast.Expression(written)), "<lambda>", "eval")
    return _known(next(it for it in alone.co_consts if isinstance(it, CodeType)))


def _known(code: CodeType) -> set[str]:
    return {*code.co_names, *code.co_freevars}


def _places(code: CodeType) -> Iterator[tuple[_Place, _Place]]:
    """Where the parts of a function's body begin and end: lines, and bytes in them."""
    for line, end_line, column, end_column in code.co_positions():
        if line is not None and end_line is not None and column is not None and end_column:
            yield (line, column), (end_line, end_column)


def _all(kind: type[_Expression], filename: str) -> list[_Expression]:
    """The expressions of a kind in a file."""
    try:
        module = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):  # it has changed, or is no source
        return []
    return [it for it in ast.walk(module) if isinstance(it, kind)]


def _start(expression: ast.expr) -> _Place:
    return expression.lineno, expression.col_offset


def _end(expression: ast.expr) -> _Place:
    return expression.end_lineno or 0, expression.end_col_offset or 0
