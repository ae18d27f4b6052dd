"""What tokens cost, by a table of the caller's own."""

from decimal import ROUND_UP, Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._prices import Prices
from rxllm.types import Usage

ALL = {"input": 2, "output": 10, "cached_input": 1, "cache_write": 3, "reasoning": 20}


def cost(table: dict[str, Any], **usage: Any) -> Decimal:
    """What the usage costs."""
    price = Prices(table).of()
    assert price is not None
    return price.cost(Usage.model_validate(usage))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1_000_000}, 2),
        ({"completion_tokens": 1_000_000}, 10),
        ({"prompt_tokens": 1_000_000, "prompt_tokens_details": {"cached_tokens": 400_000}}, Decimal("1.6")),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}}, Decimal("0.00001")),
        (
            {
                "prompt_tokens": 1_000_000,
                "prompt_tokens_details": {"cached_tokens": 100_000},
                "cache_creation_input_tokens": 200_000,
            },
            Decimal("2.1"),
        ),
        (
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 1, "cache_creation_tokens": 2}},
            Decimal("0.000021"),
        ),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cache_write_tokens": 2}}, Decimal("0.000022")),
        ({"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 4}}, Decimal("0.00014")),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 10,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            Decimal("0.000182"),
        ),
        ({}, 0),
    ],
)
def test_each_kind_of_token_has_its_price(usage: dict[str, Any], expected: Any) -> None:
    """And none is counted twice, wherever providers say it."""
    assert cost(ALL, **usage) == expected


def test_prices_that_are_not_given() -> None:
    """The cache's tokens cost what the prompt's do, and reasoning what the completion's do."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 50, "cache_creation_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 50},
    }
    assert cost({"input": 2, "output": 10}, **usage) == Decimal("0.0012")


counts = st.integers(0, 10**12)
amounts = st.decimals(0, 10**6, places=8)


@given(st.lists(counts, min_size=5, max_size=5), st.lists(amounts, min_size=5, max_size=5))
def test_the_cost_is_exact(tokens: list[int], prices: list[Decimal]) -> None:
    """Nothing is rounded, whatever the precision of the caller's thread."""
    fresh, cached, written, spoken, thought = tokens
    table: dict[str, Any] = dict(
        zip(("input", "cached_input", "cache_write", "output", "reasoning"), prices, strict=True)
    )
    with localcontext(Context(prec=3, rounding=ROUND_UP)):
        found = cost(
            table,
            prompt_tokens=fresh + cached + written,
            completion_tokens=spoken + thought,
            prompt_tokens_details={"cached_tokens": cached, "cache_creation_tokens": written},
            completion_tokens_details={"reasoning_tokens": thought},
            total_tokens=sum(tokens),
        )
    assert Fraction(found) == sum(
        Fraction(count) * Fraction(price) / 10**6 for count, price in zip(tokens, prices, strict=True)
    )


def test_a_float_means_what_it_prints_as() -> None:
    """0.1 is a tenth."""
    table = {"input": 0.1, "output": "0.2"}
    assert cost(table, prompt_tokens=3_000_000, completion_tokens=1_000_000) == Decimal("0.5")


def test_models_are_found_by_any_of_their_names() -> None:
    """The first that has a price."""
    prices = Prices({"a": {"input": 1, "output": 1}, "openai/a": {"input": 2, "output": 2}})
    assert [price and price.input for price in (prices.of("openai/a", "a"), prices.of("x/a", "a"), prices.of())] == [
        *(Decimal(2), Decimal(1)),
        None,
    ]
    assert prices.names() == "'a', 'openai/a'"


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        ([], TypeError, "prices"),
        ({}, TypeError, "prices"),
        ({"input": 1}, ValueError, "'output' is missing"),
        ({"a": {"input": 1}}, ValueError, "of 'a' 'output' is missing"),
        ({"input": 1, "output": 1, "image": 1}, ValueError, "'image' is none of"),
        ({"a": {"input": 1, "output": 1}, "b": 5}, ValueError, "'a' is none of"),
        ({"input": -1, "output": 1}, ValueError, "'input'"),
        ({"input": "much", "output": 1}, ValueError, "'input'"),
        ({"input": float("inf"), "output": 1}, ValueError, "'input'"),
        ({"input": True, "output": 1}, TypeError, "'input'"),
        ({"input": None, "output": 1}, TypeError, "'input'"),
    ],
)
def test_what_is_no_table(table: Any, error: type[Exception], match: str) -> None:
    """It says what is wrong where."""
    with pytest.raises(error, match=match):
        Prices(table)
