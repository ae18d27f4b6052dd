"""When the chunks of an answer came, of what kind they were, and how many tokens there were then. No clock in it."""

from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal

from rxllm._accumulators._budget import Spending
from rxllm.types import ModelResponseStream

__all__ = ["KINDS", "Arrivals", "Kind", "kind_of"]

Kind = Literal["text", "reasoning", "tool call", "usage", "other"]

KINDS: Final[tuple[Kind, ...]] = ("text", "reasoning", "tool call", "usage", "other")
_WITH_TOKENS: Final = frozenset({0, 1, 2})


class Arrivals:
    """Keeps when each chunk came, in seconds of any clock, its kind, and the tokens counted by then.

    Tokens are counted as ``measure()`` does: exactly at any time, whatever is reported in the end. Of each chunk it
    holds 17 bytes, and of the answer the last words; the work for a chunk does not grow.

    Attributes:
        label: what the answer is called among others.
        begun: when it was asked for.
        ended: how it has ended; None of one that is under way.
        ended_at: when; None before.
        error: what it failed with.
        times: when the chunks came, since ``begun``.
        tokens: how many tokens had been counted then.

    >>> arrivals = Arrivals("mine", "gpt-4", begun=10.0)
    >>> for now, text in ((10.5, "Hello"), (10.75, " there"), (12.0, " you")):
    ...     arrivals.add(ModelResponseStream.of(text), now)
    >>> arrivals.end(12.0, "completed")
    >>> list(arrivals.times), list(arrivals.tokens), list(arrivals.gaps()), arrivals.time_to_first_token
    ([0.5, 0.75, 2.0], [1, 2, 3], [0.25, 1.25], 0.5)
    """

    def __init__(self, label: str, model: str | None = None, *, begun: float) -> None:
        self.label = label
        self.begun = begun
        self.ended: Literal["completed", "failed", "cancelled"] | None = None
        self.ended_at: float | None = None
        self.error: Exception | None = None
        self.times = array("d")
        self.tokens = array("q")
        self._kinds = bytearray()
        self._spending = Spending(model)

    def add(self, chunk: ModelResponseStream, now: float) -> None:
        """Takes a chunk in, which came now."""
        self._spending.add(chunk)
        self.times.append(now - self.begun)
        self.tokens.append(self._spending.counted)
        self._kinds.append(KINDS.index(kind_of(chunk)))

    def end(
        self, now: float, ended: Literal["completed", "failed", "cancelled"], error: Exception | None = None
    ) -> None:
        """It has ended now, and how."""
        self.ended, self.ended_at, self.error = ended, now - self.begun, error

    @property
    def duration(self) -> float:
        """Until the end, or until the last chunk of one that is under way; in seconds."""
        if self.ended_at is not None:
            return self.ended_at
        return self.times[-1] if self.times else 0.0

    @property
    def time_to_first_token(self) -> float | None:
        """Until the first chunk with tokens, in seconds; None where none came."""
        return next((at for at, _ in self.with_tokens()), None)

    @property
    def tokens_per_second(self) -> float | None:
        """The tokens that came after the first chunk with tokens, by the time from that to the last one."""
        come = list(self.with_tokens())
        if len(come) < 2 or come[-1][0] <= come[0][0]:
            return None
        return (come[-1][1] - come[0][1]) / (come[-1][0] - come[0][0])

    def of_kind(self, kind: Kind) -> list[float]:
        """When the chunks of this kind came."""
        code = KINDS.index(kind)
        return [at for at, it in zip(self.times, self._kinds, strict=True) if it == code]

    def with_tokens(self) -> Iterator[tuple[float, int]]:
        """When the chunks with text, reasoning or tool calls came, and how many tokens there were then."""
        for at, tokens, kind in zip(self.times, self.tokens, self._kinds, strict=True):
            if kind in _WITH_TOKENS:
                yield at, tokens

    def gaps(self) -> Iterator[float]:
        """The times between two chunks with tokens, in seconds."""
        return (later - earlier for (earlier, _), (later, _) in pairwise(self.with_tokens()))


def kind_of(chunk: ModelResponseStream) -> Kind:
    """What a chunk brings, of any choice: the first of ``KINDS`` that it has; a refusal is text.

    >>> kind_of(ModelResponseStream.of("Hel")), kind_of(ModelResponseStream.of(role="assistant"))
    ('text', 'other')
    """
    deltas = [choice.delta for choice in chunk.choices]
    if any(delta.content or delta.refusal for delta in deltas):
        return "text"
    if any(delta.reasoning_content for delta in deltas):
        return "reasoning"
    if any(delta.tool_calls for delta in deltas):
        return "tool call"
    return "usage" if chunk.usage is not None or chunk.reported_usage is not None else "other"
