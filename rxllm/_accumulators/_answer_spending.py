"""What one answer spends, as it comes: a pure accumulator."""

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from rxllm._accumulators._finishing import Finishing
from rxllm._accumulators._prices import Price
from rxllm._token_counter import TokenCounter
from rxllm.types import CompletionTokensDetails, Delta, ModelResponseStream, Usage

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["AnswerSpending"]


class AnswerSpending:
    """The tokens of one answer: its text, reasoning, refusal and tool calls, over all choices, and its prompt.

    Exact at any time for each of these texts. Held are the last words of each, until it is closed.

    Attributes:
        finishing: which of its choices have finished.
        counted: how many tokens of the completion have been counted, whatever was reported.
        last: the chunk that came last, of those with choices.
        reported: what the provider says.

    >>> from rxllm._tokens import encoding_for
    >>> answer = AnswerSpending(encoding_for("gpt-4"), 10)
    >>> answer.add(ModelResponseStream.of("Hello"))
    >>> answer.usage().prompt_tokens, answer.usage().completion_tokens
    (10, 1)
    """

    def __init__(self, encoding: "Encoding", prompt_tokens: int) -> None:
        self.finishing = Finishing()
        self.counted = 0
        self.last: ModelResponseStream | None = None
        self.reported: Usage | None = None
        self._encoding = encoding
        self._prompt = prompt_tokens
        self._counters: dict[tuple[int, str], TokenCounter] = {}
        self._reasoning = 0

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk in."""
        if chunk.choices:
            self.last = chunk
        self.finishing.add(chunk)
        for choice in chunk.choices:
            for kind, text in _texts(choice.delta):
                counter = self._counters.get((choice.index, kind))
                if counter is None:
                    counter = self._counters[choice.index, kind] = TokenCounter(self._encoding)
                before = counter.total
                self.counted += counter.add(text) - before
                if kind == "reasoning":
                    self._reasoning += counter.total - before
        self.reported = chunk.usage or chunk.reported_usage or self.reported

    def close(self) -> None:
        """Nothing more comes of it but, if late, its usage."""
        self._counters.clear()
        self.last = None

    def usage(self) -> Usage:
        """What has been spent: as reported, else as counted, and ``estimated``."""
        if self.reported is not None:
            return self.reported
        return Usage(
            prompt_tokens=self._prompt,
            completion_tokens=self.counted,
            total_tokens=self._prompt + self.counted,
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
            return self.counted
        return price.total(self._prompt, self.counted - self._reasoning, reasoning=self._reasoning)


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
