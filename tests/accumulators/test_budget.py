"""How much may be spent: a live count, and what an answer spends as it comes."""

import threading
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st

from rxllm import operators as ops
from rxllm._accumulators._budget import Budget, Spending
from rxllm.types import ModelResponseStream, Usage
from tests.operators.sources import call_piece, calling, collect, of, reported


def test_a_budget_of_tokens() -> None:
    """It is exhausted once as much as it was has been spent; what is put back is there again."""
    budget = Budget(tokens=10)
    assert [budget.spend(4), budget.spend(6), budget.exhausted, budget.left] == [True, False, True, 0]
    assert [budget.spend(5), budget.left, budget.spent] == [False, 0, 15]
    assert budget.spend(-6)
    assert repr(budget) == "<Budget: 9 of 10 tokens spent>"


def test_a_budget_of_money_is_exact() -> None:
    """Ten tenths are one, whatever the precision of the caller's thread."""
    budget = Budget(cost=1)
    with localcontext(Context(prec=1)):
        assert [budget.spend(Decimal("0.0999999")) for _ in range(10)] == [True] * 10
    assert budget.left == Decimal("0.000001")
    assert not budget.spend(Decimal("0.000001"))
    assert Budget(cost=0.1).cost == Budget(cost="0.1").cost == Decimal("0.1")


def test_many_threads_draw_from_one_budget() -> None:
    """Nothing is lost between them."""
    budget = Budget(tokens=1_000_000)

    def draw() -> None:
        for _ in range(2_000):
            budget.spend(1)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent == 8_000


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"tokens": 1, "cost": 1}, TypeError),
        ({"tokens": 1.5}, TypeError),
        ({"tokens": True}, TypeError),
        ({"cost": "much"}, ValueError),
        ({"cost": float("nan")}, ValueError),
        ({"cost": -1}, ValueError),
        ({"tokens": -1}, ValueError),
        ({"cost": []}, TypeError),
    ],
)
def test_what_is_no_budget(arguments: Any, error: type[Exception]) -> None:
    """It says so at once."""
    with pytest.raises(error):
        Budget(**arguments)


words = st.text(max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["text", "thought", "refusal", "arguments"]), st.integers(0, 1), words)))
def test_it_counts_what_attach_usage_counts(pieces: list[tuple[str, int, str]]) -> None:
    """At any time, however the deltas are cut and interleaved."""
    fields = {"text": "content", "thought": "reasoning_content", "refusal": "refusal"}
    chunks: list[ModelResponseStream] = []
    started: set[int] = set()
    for kind, index, text in pieces:
        if kind == "arguments":
            name = {} if index in started else {"id": "a", "name": "get_weather"}
            started.add(index)
            chunks.append(calling(call_piece(text, index=0, **name), index=index))
        else:
            chunks.append(of(index=index, **{fields[kind]: text}))
    spending = Spending("gpt-4", [{"role": "user", "content": "Hi"}])
    for chunk in chunks:
        spending.add(chunk)
    if chunks:
        counted = collect(rx.of(*chunks).pipe(ops.attach_usage("gpt-4", [{"role": "user", "content": "Hi"}])))[-1].usage
        assert spending.usage() == counted


def test_what_is_reported_counts() -> None:
    """It replaces what was counted."""
    spending = Spending("gpt-4")
    spending.add(of("Hello"))
    assert (spending.amount(None), spending.usage().estimated) == (1, True)
    spending.add(reported(completion_tokens=7))
    assert (spending.amount(None), spending.usage()) == (7, Usage(completion_tokens=7))


def test_which_choices_have_finished() -> None:
    """Some have begun and not finished, some have not begun."""
    spending = Spending(None)
    assert (spending.unfinished, spending.has_ended(1)) == ([], False)
    spending.add(of("a"))
    spending.add(of("b", index=1, finish_reason="stop"))
    assert (spending.unfinished, spending.has_ended(2)) == ([0], False)
    spending.add(of(finish_reason="stop"))
    spending.add(of(""))
    assert (spending.unfinished, spending.has_ended(2), spending.has_ended(3)) == ([], True, False)
