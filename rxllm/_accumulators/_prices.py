"""What tokens cost, by a table of the caller's own: exact, in whatever currency the table is in. Pure."""

from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any, Final, NamedTuple, cast

from rxllm.types import Request, Usage

__all__ = ["EXACT", "Price", "Prices", "check_prices"]

_PRICED: Final = ("input", "output", "cached_input", "cache_write", "reasoning")
_MILLION: Final = Decimal(1_000_000)
# Enough for any count times any price: nothing is rounded, whatever the context of the caller's thread.
EXACT: Final = Context(prec=80, traps=[])
# What providers call the tokens that were written to the cache: with the details, then beside them.
_WRITTEN_DETAILS: Final = ("cache_creation_tokens", "cache_write_tokens")
_WRITTEN: Final = ("cache_creation_input_tokens", "cacheWriteInputTokens")


class Price(NamedTuple):
    """The prices of a model, per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    cache_write: Decimal
    reasoning: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """What ``usage`` costs.

        Of the prompt's tokens, those that the cache gave or took have prices of their own; of the completion's, those
        of reasoning. A provider that does not count these among the completion's is told by its total.

        >>> usage = Usage(prompt_tokens=1000, completion_tokens=100)
        >>> Prices({"input": 2.5, "output": 10}).of().cost(usage)
        Decimal('0.0035')
        """
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        told, completed = usage.prompt_tokens_details, usage.completion_tokens_details
        cached = _part(told.cached_tokens if told else 0, prompt)
        written = _part(_written(usage), prompt - cached)
        reasoning = (completed.reasoning_tokens if completed else 0) or 0
        if reasoning and usage.total_tokens == prompt + completion + reasoning:
            completion += reasoning
        reasoning = _part(reasoning, completion)
        return self.total(prompt - cached - written, completion - reasoning, cached, written, reasoning)

    def total(self, fresh: int, spoken: int, cached: int = 0, written: int = 0, reasoning: int = 0) -> Decimal:
        """What so many tokens of each kind cost, none of which is also of another kind."""
        with localcontext(EXACT):
            total = (
                fresh * self.input
                + cached * self.cached_input
                + written * self.cache_write
                + spoken * self.output
                + reasoning * self.reasoning
            )
            return total / _MILLION


class Prices:
    """A table of prices: one mapping for all models, or one for each model's name.

    >>> prices = Prices({"gpt-4o": {"input": 2.5, "output": 10}})
    >>> prices.of("openai/gpt-4o", "gpt-4o").output, prices.of("gpt-5")
    (Decimal('10'), None)
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        given: Any = table
        if not isinstance(given, Mapping) or not given:
            raise TypeError(f"prices is a mapping of models to prices, or one of prices, not {given!r}")
        entries = cast("Mapping[Any, Any]", table)
        self._one = None if all(isinstance(entry, Mapping) for entry in entries.values()) else _price(entries, "")
        self._by_model = {} if self._one else {name: _price(entry, f" of {name!r}") for name, entry in entries.items()}

    def of(self, *models: str) -> Price | None:
        """The price of the first of these names of one model that has any."""
        if self._one is not None:
            return self._one
        return next((self._by_model[model] for model in models if model in self._by_model), None)

    def names(self) -> str:
        """The models that have a price, for messages."""
        return ", ".join(map(repr, self._by_model))


def check_prices(prices: Prices, model: str | None, request: Request | None, operator: str) -> Price | None:
    """The price of the model that is known before anything is sent; None where none is known.

    Raises:
        ValueError: a model is known, and has no price.
    """
    names = (model,) if model is not None else (request.model, request.wire_model) if request is not None else ()
    price = prices.of(*names)
    if price is None and names:
        raise ValueError(f"{operator}() has no price for the model {names[0]!r}; there are: {prices.names()}")
    return price


def _price(entry: Any, whose: str) -> Price:
    if not isinstance(entry, Mapping):
        raise TypeError(f"The prices{whose} are a mapping such as {{'input': 2.5, 'output': 10}}, not {entry!r}")
    given = cast("Mapping[Any, Any]", entry)  # type: ignore[redundant-cast]
    unknown = [name for name in given if name not in _PRICED]
    missing = [name for name in _PRICED[:2] if name not in given]
    if unknown or missing:
        wrong = f"{unknown[0]!r} is none of {', '.join(_PRICED)}" if unknown else f"{missing[0]!r} is missing"
        raise ValueError(f"Among the prices{whose} {wrong}")
    amounts = {name: _amount(value, f"{name!r}{whose}") for name, value in given.items()}
    return Price(
        input=amounts["input"],
        output=amounts["output"],
        cached_input=amounts.get("cached_input", amounts["input"]),
        cache_write=amounts.get("cache_write", amounts["input"]),
        reasoning=amounts.get("reasoning", amounts["output"]),
    )


def _amount(value: Any, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError(f"The price {name} is a number, not {value!r}")
    try:
        # Of a float the shortest number that it prints as: 0.15 means 0.15.
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"The price {name} is a number of 0 or more, not {value!r}")
    return amount


def _part(count: int | None, whole: int) -> int:
    return max(0, min(count or 0, whole))


def _written(usage: Usage) -> int:
    """How many tokens of the prompt were written to the cache."""
    details = usage.prompt_tokens_details
    told = [details.get(name) for name in _WRITTEN_DETAILS] if details is not None else []
    counts = (count for count in (*told, *map(usage.get, _WRITTEN)) if isinstance(count, int))
    return next((count for count in counts if count > 0), 0)
