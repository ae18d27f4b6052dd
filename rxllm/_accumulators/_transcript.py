"""What an answer says and comes to, so far: for whoever shows it. No clock in it, and no I/O."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rxllm._accumulators._figures import figure
from rxllm._accumulators._finishing import Finishing
from rxllm._accumulators._measurement import Measurement, Meter
from rxllm._assembly import ResponseBuilder
from rxllm.types import ChatCompletionMessageToolCall, ModelResponse, ModelResponseStream, ToolResult, Usage

__all__ = ["Round", "Said", "Transcript", "said_in"]

_STALL: Final = 2.0
"""Seconds: what ``measure()`` takes for a stall by default."""


@dataclass(frozen=True)
class Said:
    """What one choice has said so far."""

    index: int
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[ChatCompletionMessageToolCall] = field(default_factory=list[ChatCompletionMessageToolCall])
    annotations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    finish_reason: str | None = None


@dataclass(frozen=True)
class Round:
    """One answer among several in a stream, as ``run_tools()`` and ``concat`` make it, and what came of its calls."""

    choices: dict[int, Said]
    results: list[ToolResult]


class Transcript:
    """Puts together what an answer says, and measures how it comes, by the times that it is told, in seconds.

    Held is the text of the answer.

    >>> transcript = Transcript("gpt-4", begun=0.0)
    >>> for now, text in ((0.5, "Hel"), (1.0, "lo")):
    ...     transcript.add(ModelResponseStream.of(text), now)
    >>> transcript.add(ModelResponseStream.of(finish_reason="stop"), 1.0)
    >>> transcript.end(1.0, "completed")
    >>> transcript.choices[0].text
    'Hello'
    >>> transcript.figures(1.0)
    '3 chunks, about 1 token, first token after 0.50 s, finish reason: stop'
    """

    def __init__(self, model: str | None = None, *, begun: float) -> None:
        self._meter = Meter(model, begun=begun, stall=_STALL)
        self._rounds: list[tuple[ResponseBuilder, list[ToolResult]]] = [(ResponseBuilder(), [])]
        self._finishing = Finishing()
        self._ended: Literal["completed", "failed", "cancelled"] | None = None
        self._error: Exception | None = None
        self._at = begun

    def add(self, chunk: ModelResponseStream, now: float) -> None:
        """Takes a chunk in, which came now."""
        self._meter.add(chunk, now)
        if not chunk.choices:
            if chunk.restart is not None:
                # Of all rounds: whoever asks again begins at the first.
                self._rounds, self._finishing = [(ResponseBuilder(), [])], Finishing()
                return
            if chunk.tool_result is not None:
                self._rounds[-1][1].append(chunk.tool_result)
                self._finishing.add(chunk)
                return
        elif self._finishing.is_followed_by(chunk):
            # Not where a result has come: a tool runs while the rest of its answer streams.
            self._rounds.append((ResponseBuilder(), []))
            self._finishing = Finishing()
        self._rounds[-1][0].add(chunk)
        self._finishing.add(chunk)

    def end(
        self, now: float, ended: Literal["completed", "failed", "cancelled"], error: Exception | None = None
    ) -> None:
        """The answer is over, in this way; what comes after that is not looked at."""
        if self._ended is None:
            self._ended, self._error, self._at = ended, error, now

    @property
    def rounds(self) -> list[Round]:
        """All that was said, in order: one round, but where the stream has several answers."""
        return [Round(said_in(builder.response()), list(results)) for builder, results in self._rounds]

    @property
    def choices(self) -> dict[int, Said]:
        """What was said in the last round, by the index of the choice."""
        return said_in(self._rounds[-1][0].response())

    @property
    def tool_results(self) -> list[ToolResult]:
        """What came of all calls."""
        return [result for _, results in self._rounds for result in results]

    @property
    def usage(self) -> Usage:
        """The usage of all that came, of each answer as it was reported, else counted and marked as estimated."""
        return self._meter.usage()

    def measurement(self, now: float) -> Measurement:
        """How fast it came, until now or to its end."""
        return self._meter.record(now if self._ended is None else self._at, self._ended, self._error)

    def figures(self, now: float) -> str:
        """The figures in one line, until now or to the end, and how it ended."""
        measured, usage = self.measurement(now), self.usage
        figures = [figure(measured.chunks, "chunk")]
        if usage.completion_tokens or not usage.estimated:
            figures.append(f"{'about ' if usage.estimated else ''}{figure(usage.completion_tokens, 'token')}")
        if measured.time_to_first_token is not None:
            figures.append(f"first token after {measured.time_to_first_token:.2f} s")
        if measured.tokens_per_second:
            figures.append(f"{measured.tokens_per_second:.1f} tokens/s")
        if self._ended == "failed":
            figures.append(f"failed: {type(self._error).__name__}")
        elif self._ended == "cancelled":
            figures.append("cancelled")
        elif reasons := {said.finish_reason: None for said in self.choices.values() if said.finish_reason}:
            figures.append(f"finish reason: {', '.join(reasons)}")
        elif self._ended == "completed":
            figures.append("no finish reason")
        return ", ".join(figures)


def said_in(response: ModelResponse) -> dict[int, Said]:
    """What the choices of a response say, by their index."""
    return {
        choice.index: Said(
            index=choice.index,
            text=choice.message.content or "",
            reasoning=choice.message.reasoning_content or "",
            refusal=choice.message.refusal or "",
            calls=choice.message.tool_calls or [],
            annotations=choice.message.annotations or [],
            finish_reason=choice.finish_reason,
        )
        for choice in response.choices
    }
