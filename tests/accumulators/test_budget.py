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
from rxllm._accumulators._prices import Prices
from rxllm._accumulators._usage_sum import usage_of_all
from rxllm.types import ModelResponseStream, Usage
from tests.operators.sources import call_piece, calling, collect, of, reported


def test_a_budget_of_tokens() -> None:
    """It is exhausted once as much as it was has been spent; what is put back is there again."""
    budget = Budget(tokens=10)
    assert [budget.spend(4), budget.spend(6), budget.exhausted, budget.left] == [True, False, True, 0]
    assert [budget.spend(5), budget.left, budget.spent] == [False, 0, 15]
    assert budget.spend(-6)
    assert repr(budget) == "<Budget: 9 of 10 tokens spent>"
    assert repr(Budget(tokens=1)) == "<Budget: 0 of 1 token spent>"
    assert repr(Budget(cost="1.50")) == "<Budget: 0 of 1.50 spent>"


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


def test_whether_all_have_finished() -> None:
    """Some have begun and not finished, some have not begun."""
    spending = Spending(None)
    assert not spending.has_ended(1)
    spending.add(of("a"))
    spending.add(of("b", index=1, finish_reason="stop"))
    assert not spending.has_ended(2)
    spending.add(of(finish_reason="stop"))
    spending.add(of(""))
    assert (spending.has_ended(2), spending.has_ended(3)) == (True, False)


def named(name: str, *chunks: ModelResponseStream, **fields: Any) -> list[ModelResponseStream]:
    """The chunks of one answer."""
    return [chunk.model_copy(update={"id": name, **fields}) for chunk in chunks]


def spent(*chunks: ModelResponseStream) -> Usage:
    """What they have spent together."""
    spending = Spending("gpt-4", [{"role": "user", "content": "Hi"}])
    for chunk in chunks:
        spending.add(chunk)
    usage = spending.usage()
    assert spending.amount(None) == usage.completion_tokens
    price = Prices({"input": 1_000_000, "output": 1_000_000}).of()
    assert spending.amount(price) == usage.prompt_tokens + usage.completion_tokens
    return usage


def public(prompt: int, completion: int) -> ModelResponseStream:
    """The chunk that ``include_usage`` asks for, which tells of what was reported before."""
    chunk = reported(prompt_tokens=prompt, completion_tokens=completion)
    chunk.usage = chunk.reported_usage
    return chunk


def test_answers_are_added_up() -> None:
    """Where the usage comes on the last chunk, on one of its own, on both, or first on every chunk."""
    last = of(finish_reason="stop")
    last.reported_usage = Usage(prompt_tokens=3, completion_tokens=4)
    early = of("Hel")
    early.usage = Usage(prompt_tokens=3, completion_tokens=1)
    endings = [[last], [of(finish_reason="stop"), public(3, 4)], [last, public(3, 4)], [early, last]]
    for one in endings:
        for other in endings:
            usage = spent(of("Hel"), of("lo"), *one, of("Hello"), *other)
            assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (6, 8, False)


def test_an_answer_without_a_report_is_counted() -> None:
    """Beside those that have one, and the sum is an estimate; the next one's text is counted by itself."""
    usage = spent(of("un"), of("able", finish_reason="stop"), of("un", finish_reason="stop"), public(3, 40))
    assert (usage.completion_tokens, usage.estimated) == (1 + 40, True)
    spending = Spending("gpt-4")
    for chunk in (of("un", finish_reason="stop"), of("able")):
        spending.add(chunk)
    assert spending.counted == spending.usage().completion_tokens == 2


def test_choices_that_follow_each_other_are_one_answer() -> None:
    """With n > 1, also where the first is whole before the second begins."""
    usage = spent(of("a", finish_reason="stop"), of("b", index=1), of(index=1, finish_reason="stop"), public(3, 40))
    assert (usage.completion_tokens, usage.estimated) == (40, False)


def test_what_is_void_stays_spent() -> None:
    """A marker ends an answer that had not finished, its prompt paid for, and another begins."""
    prompt = spent().prompt_tokens
    usage = spent(of("Hello"), ModelResponseStream.restarting("broke"), of("Hello", finish_reason="stop"), public(3, 4))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (prompt + 3, 5, True)
    assert spent(of("Hello"), ModelResponseStream.restarting("broke")).prompt_tokens == 2 * prompt


def test_an_answer_that_says_nothing_counts_by_its_name() -> None:
    """Its role or its finish reason is enough where its id is another."""
    first = named("a", of("Hello", finish_reason="stop"), public(3, 4))
    assert spent(*first, *named("b", of(finish_reason="stop"), public(3, 5))).completion_tokens == 9
    assert spent(*first, *named("b", of("", role="assistant"), public(3, 5))).completion_tokens == 9
    assert spent(*first, *named("a", of("", role="assistant"), public(3, 5))).completion_tokens == 5


def test_answers_side_by_side_are_told_apart_by_their_source() -> None:
    """However they are interleaved, and one that begins anew alone."""
    one = [*named("", of("Hel"), of("lo", finish_reason="stop"), public(3, 4), source="one")]
    other = [*named("", of("Hel"), of("lo", finish_reason="stop"), source="other")]
    for order in ([0, 3, 1, 4, 2], [3, 0, 4, 1, 2], [0, 1, 3, 2, 4]):
        usage = spent(*([*one, *other][at] for at in order))
        assert (usage.completion_tokens, usage.estimated) == (5, True)
    anew = ModelResponseStream.restarting("broke")
    usage = spent(one[0], other[0], *named("", anew, source="one"), *one, other[1])
    assert usage.completion_tokens == 1 + 4 + 1
    spending = Spending("gpt-4")
    for chunk in (one[0], other[0], anew, of("Hello", finish_reason="stop")):
        spending.add(chunk)
    assert (spending.has_ended(1), spending.counted) == (True, 3)


def test_a_usage_that_is_late_is_that_of_its_answer() -> None:
    """Where streams without a name of their own were merged, its id tells."""
    a, b = named("a", of("Hello", finish_reason="stop")), named("b", of("Hello", finish_reason="stop"))
    for first, second in (("a", "b"), ("b", "a")):
        usage = spent(*a, *b, *named(first, public(3, 5)), *named(second, public(3, 7)))
        assert (usage.completion_tokens, usage.prompt_tokens, usage.estimated) == (12, 6, False)


def test_usages_are_added_up_kind_by_kind() -> None:
    """Details and what a provider tells beside them, too; a cost only if each has one."""
    one = Usage.model_validate({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}, "cost": 0.5, "a": 1})
    other = Usage.model_validate({"prompt_tokens": 2, "cost": Decimal("0.25"), "tier": "flex", "a": 2})
    both = usage_of_all([one, other])
    assert both.model_dump(exclude_defaults=True) == {
        "prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}, "cost": Decimal("0.75"), "tier": "flex",
        "a": 3, "answers": 2,
    }  # fmt: skip
    assert usage_of_all([one, other, Usage()]).cost is None
    assert usage_of_all([one]) is one


def test_a_sum_from_above_is_not_added_up_again() -> None:
    """One that attach_usage() has made: of the answers of one source, or below a merge of all; the void stay spent."""
    price = Prices({"input": 0, "output": 1_000_000}).of("")
    total = ModelResponseStream(usage=Usage.model_validate({"completion_tokens": 7, "answers": 2}))
    one = [of("Hello", finish_reason="stop"), public(3, 4)]
    anew = ModelResponseStream.restarting("broke")
    sides = [*named("", *one, source="a"), *named("", *one, source="b")]
    for chunks, whole in (
        ([*one, *one, total], 7),
        ([*one, anew, *one, *one, total], 4 + 7),
        ([*one, *one, *one, total], 4 + 7),
        ([*one, *one, total, *one], 4 + 7),
        ([*sides, *named("", total, source="a")], 7),
        ([*sides, *named("", total, source="b")], 7),
    ):
        spending = Spending("gpt-4")
        for chunk in chunks:
            spending.add(chunk)
        assert spending.usage().completion_tokens == spending.amount(None) == spending.amount(price) == whole


def test_of_a_merge_without_names_what_is_reported_is_exact() -> None:
    """What is counted is not: nothing tells whose text a piece is. With names it is."""
    a = named("a", of("un"), of("able"), of(finish_reason="stop"))
    b = named("b", of("re"), of("do"), of(finish_reason="stop"))
    mixed = [chunk for pair in zip(a, b, strict=True) for chunk in pair]
    usage = spent(*mixed, *named("a", public(3, 5)), *named("b", public(3, 7)))
    assert usage.completion_tokens == 12
    assert spent(*mixed).completion_tokens == 4
    exact = [*named("a", *a, source="a"), *named("b", *b, source="b")]
    assert spent(*(exact[at] for at in (0, 3, 1, 4, 2, 5))).completion_tokens == 2
