"""Structure, usage and cost: tools, partial JSON, choices, prices, budgets, measurements."""

from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex import operators as rx_ops
from reactivex.disposable import Disposable

from rxllm import operators as ops
from rxllm.types import ModelResponseStream
from tests.operators.cases.case import Case
from tests.operators.sources import Operator

__all__ = ["CASES"]

QUESTION = [{"role": "user", "content": "Hello"}]


def _nothing(_messages: object) -> Observable[ModelResponseStream]:
    """An answer that is empty, at once."""

    def subscribe(observer: abc.ObserverBase[ModelResponseStream], _scheduler: object = None) -> Disposable:
        observer.on_completed()
        return Disposable()

    return Observable(subscribe)


def _as_json(chunk: ModelResponseStream) -> ModelResponseStream:
    """A chunk whose text is JSON, and stays JSON with that of others."""
    copied = chunk.model_copy(deep=True)
    for choice in copied.choices:
        if choice.delta.content:
            choice.delta.content = str(len(choice.delta.content))
    return copied


def _parse_partial(choice: int = 0) -> Operator[Any]:
    parse = ops.parse_partial(interval=0, choice=choice)
    return lambda source: source.pipe(rx_ops.map(_as_json), parse)


def _by_choice() -> Operator[ModelResponseStream]:
    # The choices' chunks together again: Observables do not compare.
    split = ops.by_choice()
    return lambda source: source.pipe(split, rx_ops.merge_all())


CASES = {
    "attach_cost": Case(partial(ops.attach_cost, {"input": 1, "output": 2}, "gpt-4"), passes=True),
    "by_choice": Case(_by_choice, passes=True),
    "measure": Case(partial(ops.measure, id, on_progress=id, interval=0, model="gpt-4"), passes=True),
    "parse_partial": Case(_parse_partial, takes_choice=True),
    "take_until_budget": Case(partial(ops.take_until_budget, tokens=1000, model="gpt-4"), passes=True),
    # No function is known, so that nothing waits for a thread.
    "run_tools": Case(partial(ops.run_tools, {}, send=_nothing, messages=QUESTION)),
}
