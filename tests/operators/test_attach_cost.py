"""attach_cost: the last chunk's usage has its cost."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

import rxllm
from rxllm import as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError
from rxllm.types import ModelResponseStream, Usage
from tests.consume import WAYS
from tests.operators.sources import asked, failure, items, never_subscribed, of, reported
from tests.server import Answering, Server, chunk

PRICES = {"input": 1, "output": 2}
TABLE = {"gpt-4o": {"input": 10, "output": 20}, "openai/gpt-4": {"input": 1, "output": 2}}


def cost_of(usage: Any) -> Decimal:
    """The cost on it."""
    assert isinstance(usage["cost"], Decimal)
    return usage["cost"]


def test_what_was_reported_is_priced() -> None:
    """On the last chunk alone; the chunks themselves stay as they were."""
    last = reported(prompt_tokens=1_000_000, completion_tokens=500_000)
    chunks = [of("Hel"), of("lo", finish_reason="stop"), last]
    seen = items(ops.attach_cost(PRICES), *chunks)
    assert [c.usage is None for c in seen] == [True, True, False]
    usage = seen[-1].usage
    assert usage is not None
    assert (cost_of(usage), usage.estimated) == (Decimal(2), False)
    assert usage.model_dump(mode="json")["cost"] == "2"
    assert last.usage is None
    assert "cost" not in (last.reported_usage or Usage())


def test_what_was_not_reported_is_estimated() -> None:
    """And says so."""
    usage = items(ops.attach_cost(PRICES, "gpt-4", [{"role": "user", "content": "Greet me"}]), of("Hello"))[-1].usage
    assert usage is not None
    assert (cost_of(usage), usage.estimated) == (Decimal("0.000012"), True)


def test_every_choice_costs() -> None:
    """n > 1."""
    chunks = [of("Hello"), of("Hello", index=1), of(finish_reason="stop"), of(index=1, finish_reason="stop")]
    usage = items(ops.attach_cost(PRICES, "gpt-4"), *chunks)[-1].usage
    assert usage is not None
    assert cost_of(usage) == 2 * Decimal("0.000002")


@pytest.mark.parametrize(
    ("request_names", "model", "answered", "expected"),
    [
        ({"model": "openai/gpt-4o", "wire_model": "gpt-4o"}, None, "gpt-4o-2024-08-06", 10),
        ({"model": "openai/gpt-4", "wire_model": "gpt-4"}, None, "gpt-4o", 1),
        ({"model": "x", "wire_model": "y"}, "gpt-4o", "", 10),
        (None, None, "gpt-4o", 10),
        (None, "openai/gpt-4", "gpt-4o", 1),
    ],
)
def test_which_price(request_names: Any, model: str | None, answered: str, expected: int) -> None:
    """That of the model named, else asked for, else of the one that answered."""
    chunk = reported(prompt_tokens=1_000_000)
    chunk.model = answered
    source = asked(rx.of(chunk), **request_names) if request_names else rx.of(chunk)
    seen: list[ModelResponseStream] = []
    source.pipe(ops.attach_cost(TABLE, model)).subscribe(seen.append)
    assert cost_of(seen[-1].usage) == expected


def test_a_model_without_a_price() -> None:
    """It is told before anything is sent, where it is known by then; else the stream ends with it."""
    with pytest.raises(ValueError, match=r"'openai/gpt-5'; there are: 'gpt-4o'"):
        asked(never_subscribed(), model="openai/gpt-5", wire_model="gpt-5").pipe(ops.attach_cost(TABLE))
    with pytest.raises(ValueError, match="'gpt-5'"):
        never_subscribed().pipe(ops.attach_cost(TABLE, "gpt-5"))
    chunk = reported(prompt_tokens=1)
    chunk.model = "gpt-5"
    seen, error = failure(rx.of(of("Hello"), chunk).pipe(ops.attach_cost(TABLE)))
    assert (len(seen), type(error)) == (2, ValueError)
    assert all(c.usage is None for c in seen)


def test_an_answer_that_is_cut_short_has_a_cost() -> None:
    """Below and above what cuts it."""
    chunks = [of("Hello"), of(" world"), of("!")]
    below = items(lambda s: s.pipe(ops.take_chunks(2), ops.attach_cost(PRICES, "gpt-4")), *chunks)
    above = items(lambda s: s.pipe(ops.attach_cost(PRICES, "gpt-4"), ops.take_chunks(2)), *chunks)
    assert [cost_of(seen[-1].usage) for seen in (below, above)] == [Decimal("0.000004")] * 2
    assert [sum(c.usage is not None for c in seen) for seen in (below, above)] == [1, 1]


def test_a_cost_that_comes_from_a_recording_is_a_number(tmp_path: Path) -> None:
    """Though JSON knows no Decimal; and it is added up as one."""
    path = tmp_path / "answer.jsonl"
    chunks = [of("Hello", finish_reason="stop"), reported(prompt_tokens=3, completion_tokens=1)]
    answer = rx.from_iterable(chunks).pipe(ops.attach_cost(PRICES, "gpt-4"))
    list(as_stream(answer.pipe(ops.record(path))))
    once = list(ops.replay(path))[-1].usage
    both = list(as_stream(rx.concat(ops.replay(path), answer)).pipe(ops.attach_usage()))[-1].usage
    assert once is not None
    assert both is not None
    assert (once.cost, both.cost, both.answers) == (Decimal("0.000005"), Decimal("0.00001"), 2)
    assert Usage.model_validate({"cost": "nobody knows"}).cost is None


def test_an_error_tells_what_had_come_by_then() -> None:
    """On its usage; one for whose model there is no price passes as it is."""
    for table, priced in ((PRICES, True), (TABLE, False)):
        source = rx.concat(rx.of(of("Hello")), rx.throw(APIConnectionError("broken")))
        _, error = failure(source.pipe(ops.attach_cost(table)))
        assert isinstance(error, APIConnectionError)
        assert error.usage is not None
        assert ("cost" in error.usage) is priced


@pytest.mark.parametrize("way", WAYS)
def test_over_a_real_connection(server: Server, ask: Any, way: str) -> None:
    """What the provider reports, cached and reasoning tokens with it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hello"), chunk(finish="stop"))
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 30},
        }
        await answering.last({**chunk(), "choices": [], "usage": usage}, "[DONE]")

    server.script = script
    prices = {"gpt-4": {"input": 1, "output": 10, "cached_input": 0.5, "reasoning": 20}}
    last = WAYS[way](ask().pipe(ops.attach_cost(prices)))[-1]
    assert cost_of(last.usage) == Decimal("0.00088")
    rxllm.close()
