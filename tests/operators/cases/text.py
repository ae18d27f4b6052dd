"""The operators that cut, move, pace and watch text."""

from collections.abc import Callable
from functools import partial
from typing import Any

from reactivex import Observable
from reactivex import operators as rx_ops

from rxllm import operators as ops
from tests.operators.cases.case import Case
from tests.operators.sources import Operator

__all__ = ["CASES"]


def _of_texts(make: Callable[[], Callable[[Observable[str]], Observable[Any]]]) -> Operator[Any]:
    """An operator on texts, below those of the first choice."""
    return lambda source: source.pipe(ops.text_deltas(), make())


def _anything(_text: str) -> bool:
    """Passes."""
    return True


def _fenced() -> Operator[Any]:
    """Each text is a block of code of its own."""
    return lambda source: source.pipe(ops.text_deltas(), rx_ops.map("```\n{}\n```\n".format), ops.extract_code_blocks())


CASES = {
    "extract_code_blocks": Case(_fenced),
    "guard": Case(partial(ops.guard, _anything)),
    "redact": Case(partial(ops.redact, r"\d{4}"), passes=True),
    "smooth_text": Case(ops.smooth_text),
    "split_lines": Case(partial(_of_texts, ops.split_lines)),
    "split_reasoning": Case(ops.split_reasoning, passes=True),
    "split_sentences": Case(partial(_of_texts, ops.split_sentences)),
    "stop_at": Case(partial(ops.stop_at, "END"), passes=True),
}
