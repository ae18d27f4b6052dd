"""How much may be spent, by one stream or by many: a live count, and what an answer spends as it comes."""

import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from rxllm._accumulators._prices import EXACT, Price
from rxllm._token_counter import TokenCounter
from rxllm._tokens import FALLBACK, encoding_for, estimate_usage, get_encoding
from rxllm.types import CompletionTokensDetails, Delta, ModelResponse, ModelResponseStream, Usage

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["Budget", "Spending"]


class Budget:
    """How many tokens may be generated, or how much may be paid, by all that draw from it, from any thread.

    Attributes:
        tokens: the most tokens of completions; None where the cost is what counts.
        cost: the most that may be paid, in the currency of the prices; None where tokens are what counts.

    >>> budget = Budget(tokens=100)
    >>> budget.spend(60), budget.left, budget.spend(40), budget.exhausted
    (True, Decimal('40'), False, True)
    """

    def __init__(self, *, tokens: int | None = None, cost: "float | str | Decimal | None" = None) -> None:
        if (tokens is None) == (cost is None):
            raise TypeError("A budget is of tokens or of a cost: give one of them")
        given: Any = tokens if cost is None else cost
        if isinstance(given, bool) or not isinstance(given, int if cost is None else int | float | str | Decimal):
            raise TypeError(f"A budget is a number{' of tokens' if cost is None else ''}, not {given!r}")
        try:
            self._limit = Decimal(str(given))
        except ArithmeticError:
            self._limit = Decimal("NaN")
        if not self._limit.is_finite() or self._limit < 0:
            raise ValueError(f"A budget is 0 or more, not {given!r}")
        self.tokens = tokens
        self.cost = None if cost is None else self._limit
        self._spent = Decimal(0)
        self._mutex = threading.Lock()

    @property
    def spent(self) -> Decimal:
        """What has been spent so far."""
        return self._spent

    @property
    def left(self) -> Decimal:
        """What is left; 0 where more than there was has been spent."""
        return max(EXACT.subtract(self._limit, self._spent), Decimal(0))

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        return self._spent >= self._limit

    def spend(self, amount: "int | Decimal") -> bool:
        """Takes that much out, or puts it back where it is negative; gives whether anything is left then."""
        with self._mutex:
            self._spent = EXACT.add(self._spent, amount)
            return self._spent < self._limit

    def __repr__(self) -> str:
        return f"<Budget: {self.spent} of {self._limit}{' tokens' if self.cost is None else ''} spent>"


class Spending:
    """What one answer spends, counted as it comes: its text, reasoning, refusal and tool calls, over all choices.

    Exact at any time for each of these texts. Held are the last words of each.

    >>> spending = Spending("gpt-4", [{"role": "user", "content": "Greet me"}])
    >>> spending.add(ModelResponseStream.of("Hello"))
    >>> usage = spending.usage()
    >>> usage.prompt_tokens, usage.completion_tokens
    (10, 1)
    """

    def __init__(
        self, model: str | None, messages: Iterable[Mapping[str, Any] | BaseModel] | None = None, tools: Any = None
    ) -> None:
        self._encoding = _encoding(model)
        self._prompt = estimate_usage(model, messages, ModelResponse(), tools).prompt_tokens
        self._counters: dict[tuple[int, str], TokenCounter] = {}
        self._completion = self._reasoning = 0
        self._unfinished: dict[int, bool] = {}
        self.reported: Usage | None = None

    @property
    def counted(self) -> int:
        """How many tokens of completions have been counted, whatever was reported."""
        return self._completion

    @property
    def unfinished(self) -> list[int]:
        """The choices that have begun and not finished."""
        return [index for index in sorted(self._unfinished) if self._unfinished[index]]

    def has_ended(self, n: int) -> bool:
        """Whether all of ``n`` choices have finished."""
        return len(self._unfinished) >= n and not self.unfinished

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk in."""
        for choice in chunk.choices:
            self._unfinished[choice.index] = not choice.finish_reason and self._unfinished.get(choice.index, True)
            for kind, text in _texts(choice.delta):
                counter = self._counters.get((choice.index, kind))
                if counter is None:
                    counter = self._counters[choice.index, kind] = TokenCounter(self._encoding)
                before = counter.total
                self._completion += counter.add(text) - before
                if kind == "reasoning":
                    self._reasoning += counter.total - before
        self.reported = chunk.usage or chunk.reported_usage or self.reported

    def usage(self) -> Usage:
        """What has been spent: as reported, else as counted, and ``estimated``."""
        if self.reported is not None:
            return self.reported
        return Usage(
            prompt_tokens=self._prompt,
            completion_tokens=self._completion,
            total_tokens=self._prompt + self._completion,
            completion_tokens_details=CompletionTokensDetails(reasoning_tokens=self._reasoning)
            if self._reasoning
            else None,
            estimated=True,
        )

    def amount(self, price: Price | None) -> "int | Decimal":
        """The same as a budget counts it: by its price, else the completion's tokens."""
        if self.reported is not None:
            return self.reported.completion_tokens if price is None else price.cost(self.reported)
        if price is None:
            return self._completion
        return price.total(self._prompt, self._completion - self._reasoning, reasoning=self._reasoning)


def _texts(delta: Delta) -> Iterable[tuple[str, str]]:
    """What was generated, each text with a name of what it goes on with."""
    if delta.content:
        yield "content", delta.content
    if delta.reasoning_content:
        yield "reasoning", delta.reasoning_content
    if delta.refusal:
        yield "refusal", delta.refusal
    for call in delta.tool_calls or ():
        if call.function.name:
            yield f"name of {call.index} {call.id}", call.function.name
        if call.function.arguments:
            yield f"arguments of {call.index}", call.function.arguments


def _encoding(model: str | None) -> "Encoding":
    try:
        return encoding_for(model or "")
    except ValueError:
        return get_encoding(FALLBACK)
