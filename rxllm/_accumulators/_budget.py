"""How much may be spent, by one stream or by many: a live count, and what a stream spends as it comes."""

import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from rxllm._accumulators._answer_spending import AnswerSpending
from rxllm._accumulators._figures import figure
from rxllm._accumulators._prices import EXACT, Price
from rxllm._accumulators._usage_sum import counted_once, usage_of_all
from rxllm._tokens import FALLBACK, encoding_for, estimate_usage, get_encoding
from rxllm.types import ModelResponse, ModelResponseStream, Usage

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
        limit = self._limit if self.tokens is None else figure(self.tokens, "token")
        return f"<Budget: {self.spent} of {limit} spent>"


class Spending:
    """What the answers of one stream spend together, counted as they come.

    An answer ends when all its choices have finished, with the next one's content, and with a marker that it begins
    anew: what it had spent stays spent. Answers that come side by side are told apart by their ``source``, as ``tag()``
    and ``merge_models()`` set it. Of each answer counts what was reported, else what was counted; of one that follows
    another, the prompt is then taken to be the same.

    Held are the last words of each text, and of each answer before its usage.

    >>> spending = Spending("gpt-4", [{"role": "user", "content": "Greet me"}])
    >>> spending.add(ModelResponseStream.of("Hello", finish_reason="stop"))
    >>> usage = spending.usage()
    >>> usage.prompt_tokens, usage.completion_tokens
    (10, 1)
    >>> spending.add(ModelResponseStream.of("Good day"))
    >>> spending.usage().completion_tokens, spending.counted
    (3, 3)
    """

    def __init__(
        self, model: str | None, messages: Iterable[Mapping[str, Any] | BaseModel] | None = None, tools: Any = None
    ) -> None:
        self._encoding = _encoding(model)
        self._prompt = estimate_usage(model, messages, ModelResponse(), tools).prompt_tokens
        self._current: dict[str | None, AnswerSpending] = {None: self._answer()}
        self._past: list[tuple[str | None, AnswerSpending]] = []
        self._void: list[AnswerSpending] = []
        # Where the provider tells of an answer after its end, while another is under way.
        self._past_by_id: dict[str, AnswerSpending] = {}
        self._past_amount: tuple[Price | None, int | Decimal] | None = None
        self.counted = 0
        """How many tokens of completions have been counted, whatever was reported."""

    @property
    def current(self) -> Mapping[str | None, AnswerSpending]:
        """The answers that are under way or have come last, by their source."""
        return self._current

    def has_ended(self, n: int) -> bool:
        """Whether all of ``n`` choices of every answer have finished."""
        return not any(answer.finishing.missing(n) for answer in self._current.values())

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk in."""
        tag: Any = (chunk.model_extra or {}).get("source")
        source = tag if isinstance(tag, str) else None
        if not chunk.choices and chunk.restart is not None:
            self._begin_anew(source)
            return
        answer = self._current.get(source) or self._begun(source)
        if not chunk.choices:
            usage = chunk.usage or chunk.reported_usage
            if usage is not None and chunk.id != answer.finishing.id and chunk.id in self._past_by_id:
                self._past_by_id[chunk.id].reported = usage
                self._past_amount = None
                return
        elif answer.finishing.is_followed_by(chunk):
            self._close(answer)
            self._past.append((source, answer))
            answer = self._current[source] = self._answer()
        before = answer.counted
        answer.add(chunk)
        self.counted += answer.counted - before
        if answer.reported is not None and answer.reported.answers > 1:
            # Those that it takes in may be of other sources, and are before it then.
            self._current[source] = self._current.pop(source)

    def usage(self) -> Usage:
        """What has been spent: as reported, else as counted, and ``estimated``."""
        return usage_of_all(answer.usage() for answer in self._spent())

    def amount(self, price: Price | None) -> "int | Decimal":
        """The same as a budget counts it: by its price, else the completions' tokens."""
        if any(answer.reported is not None and answer.reported.answers > 1 for answer in self._current.values()):
            return _sum(answer.amount(price) for answer in self._spent())
        if self._past_amount is None or self._past_amount[0] is not price:
            past = self._spent(of_past=True)
            self._past_amount = price, _sum(answer.amount(price) for answer in past)
        return _sum((self._past_amount[1], *(answer.amount(price) for answer in self._current.values())))

    def _spent(self, *, of_past: bool = False) -> list[AnswerSpending]:
        """All answers but those that another one's usage takes in."""
        standing = [*self._past, *(() if of_past else self._current.items())]
        counts = [(source, 1 if it.reported is None else it.reported.answers) for source, it in standing]
        return [*self._void, *(standing[place][1] for place in counted_once(counts))]

    def _answer(self) -> AnswerSpending:
        return AnswerSpending(self._encoding, self._prompt)

    def _begun(self, source: str | None) -> AnswerSpending:
        """The first answer of this source, which is the one that was waited for if none has come yet."""
        waited_for = self._current.pop(None) if None in self._current and self._current[None].last is None else None
        answer = self._current[source] = waited_for or self._answer()
        return answer

    def _begin_anew(self, source: str | None) -> None:
        """Whoever asks again begins at the first answer: that of this source, or of all where none is told."""
        void = {source} if source in self._current else set(self._current)
        self._void += [answer for of, answer in self._past if of in void]
        self._past = [(of, answer) for of, answer in self._past if of not in void]
        for each in void:
            answer = self._current.pop(each)
            self._close(answer)
            self._void.append(answer)
        self._current[source] = self._answer()

    def _close(self, answer: AnswerSpending) -> None:
        """It is over: another takes its place."""
        answer.close()
        if answer.finishing.id:
            self._past_by_id[answer.finishing.id] = answer
        self._past_amount = None


def _sum(amounts: "Iterable[int | Decimal]") -> "int | Decimal":
    total: int | Decimal = 0
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _encoding(model: str | None) -> "Encoding":
    try:
        return encoding_for(model or "")
    except ValueError:
        return get_encoding(FALLBACK)
