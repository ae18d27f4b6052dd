"""What a batch comes to."""

import textwrap
import time
from collections import Counter
from typing import Any, Final

from rxllm import BatchResult
from rxllm._accumulators._figures import figure

__all__ = ["Tally"]

_LONGEST_REASON: Final = 200


class Tally:
    """Counts the results of a run, beside those that are kept from an earlier one."""

    def __init__(self, total: int, *, kept: int) -> None:
        self.kept = kept
        self.interrupted = False
        self._total = total
        self._answered = 0
        self._failures: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}  # what the first of each kind says
        self._prompt_tokens = self._completion_tokens = 0
        self._estimated = False
        self._begun = time.monotonic()
        self._seconds = 0.0

    @property
    def done(self) -> int:
        """How many prompts have a result."""
        return self.kept + self._answered + self.failed

    @property
    def missing(self) -> int:
        """How many have none yet."""
        return self._total - self.done

    @property
    def failed(self) -> int:
        """How many have an error for a result."""
        return self._failures.total()

    @property
    def complete(self) -> bool:
        """Whether every prompt has a response."""
        return self.kept + self._answered == self._total

    def add(self, result: BatchResult) -> None:
        """Takes account of a result."""
        if result.error is not None:
            kind = type(result.error).__name__
            self._failures[kind] += 1
            self._reasons.setdefault(kind, " ".join(str(result.error).split()))
            return
        self._answered += 1
        usage = result.response.usage if result.response is not None else None
        if usage is not None:
            self._prompt_tokens += usage.prompt_tokens
            self._completion_tokens += usage.completion_tokens
            self._estimated = self._estimated or usage.estimated

    def stop(self) -> None:
        """The run is over."""
        self._seconds = time.monotonic() - self._begun

    def figures(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "prompts": self._total,
            "responses": self.kept + self._answered,
            "kept": self.kept,
            "failed": dict(self._failures),
            "interrupted": self.interrupted,
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "estimated": self._estimated,
            "seconds": round(self._seconds, 3),
            "requests_per_second": round(self._rate, 1),
        }

    def __str__(self) -> str:
        about = "about " if self._estimated else ""
        responses = self.kept + self._answered
        tokens = f"{about}{figure(self._prompt_tokens, 'token')} in, {about}{self._completion_tokens} out"
        prompts = f"{responses} of {figure(self._total, 'prompt')} {'has' if responses == 1 else 'have'}"
        lines = [
            f"{prompts} a response: {self._answered} new, {self.kept} kept from before",
            f"{tokens}; {self._seconds:.1f} s, {self._rate:.1f} requests/s",
        ]
        for kind, number in self._failures.most_common():
            reason = self._reasons[kind]
            lines.append(f"{number} failed: {kind}: {textwrap.shorten(reason, _LONGEST_REASON, placeholder=' ...')}")
        if self.interrupted:
            lines.append("interrupted; the same command goes on from here")
        elif self._failures:
            lines.append("the same command asks what failed again")
        return "\n".join(lines)

    @property
    def _rate(self) -> float:
        return (self._answered + self.failed) / self._seconds if self._seconds else 0.0
