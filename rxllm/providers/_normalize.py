"""What all dialects share: the chunks a provider sends become the chunks that rxllm promises.

The role comes once a choice; a finish reason is one of four, comes once a choice and is on the choice's last chunk; the
usage rides on the last chunk; the calls of a choice are numbered from 0 on.
"""

from typing import Final

from rxllm._tool_calls import ToolCallIndexer
from rxllm.types import BlankChoices, Delta, ModelResponseStream, Request, StreamingChoices, Usage

__all__ = ["BrokenAnswer", "Normalizer", "WholeMessage", "finish_reason"]

# What providers call their finish reasons, in lower case and with underscores, by what they come to.
_FINISH_REASONS: Final[dict[str, str]] = {
    name: reason
    for reason, names in {
        "stop": "stop eos end_turn stop_sequence complete",
        "length": "length max_tokens model_length max_output_tokens token_limit model_context_window_exceeded",
        "tool_calls": "tool_calls tool_call tool_use function_call",
        "content_filter": "content_filter content_filtered safety refusal recitation blocklist prohibited_content spii"
        " sensitive guardrail_intervened",
    }.items()
    for name in names.split()
}

# What providers call the text of the reasoning, where they do not call it reasoning_content.
_REASONING: Final = ("reasoning", "reasoning_text", "thinking")

_CONTENT_ALONE: Final = {"content"}

# What some servers write for no finish reason yet.
_NO_FINISH: Final = frozenset({"", "null", "none", "None"})

# Finish reasons that say that the answer was broken off on the provider's side. OpenRouter says "error", and beside it
# what its upstream said.
_BROKEN: Final = frozenset({"error", "network_error", "abort", "insufficient_system_resource"})


class BrokenAnswer(Exception):  # noqa: N818  it never leaves the dialect
    """The provider said within a choice that it failed. ``said`` is its error, or one in OpenAI's shape."""

    def __init__(self, said: object) -> None:
        super().__init__()
        self.said = said


class WholeMessage(Exception):  # noqa: N818  it never leaves the dialect
    """A choice has a ``message`` and no ``delta``: it has to be made one of a chunk. Nothing was taken in."""


def finish_reason(native: str, *, called: bool) -> str:
    """The finish reason that a provider's own comes to; one that is not known is a ``stop``.

    Args:
        native: what the provider said.
        called: tools were called in this choice, so that a ``stop`` is ``tool_calls``.

    >>> finish_reason("MAX_TOKENS", called=False), finish_reason("eos", called=True), finish_reason("new", called=False)
    ('length', 'tool_calls', 'stop')
    """
    reason = _FINISH_REASONS.get(native) or _FINISH_REASONS.get(native.lower().replace("-", "_"), "stop")
    return "tool_calls" if called and reason == "stop" else reason


class _Choice:
    """What is known of one choice."""

    __slots__ = ("called", "delivered", "finish", "indexer", "native")

    def __init__(self) -> None:
        self.indexer: ToolCallIndexer | None = None
        self.called = False
        self.finish: str | None = None  # as the provider said it, last
        self.native: str | None = None  # where the provider names its upstream's own beside it
        self.delivered = False  # a chunk with the finish reason has been given


class Normalizer:
    """Makes one answer's chunks uniform.

    A chunk with a finish reason is held back until the next one shows whether it was the choice's last: further deltas
    of the choice take the finish reason over, and usage that comes by itself is put on the held chunk.

    >>> normalizer = Normalizer(Request(model="gpt-4", messages=[]))
    >>> chunks = []
    >>> normalizer.add(ModelResponseStream.of("Hi", finish_reason="eos"), chunks)
    >>> normalizer.add(ModelResponseStream(usage=Usage(prompt_tokens=1, completion_tokens=1)), chunks)
    >>> chunks
    []
    >>> [last] = normalizer.close()
    >>> last.choices[0].finish_reason, last.choices[0].native_finish_reason, last.reported_usage.total_tokens
    ('stop', 'eos', 2)
    """

    __slots__ = ("_choices", "_held", "_include_usage", "_n", "_unfinished", "_usage", "_usage_chunk")

    def __init__(self, request: Request) -> None:
        self._n = request.n
        self._include_usage = request.include_usage
        self._choices: dict[int, _Choice] = {}
        self._unfinished = 0  # of these, how many have no finish reason yet
        self._held: ModelResponseStream | None = None
        self._usage: Usage | None = None
        self._usage_chunk: ModelResponseStream | None = None  # what it came with

    @property
    def holds_back(self) -> bool:
        """Whether what came last waits for what may follow it."""
        return self._held is not None

    def is_told_nothing_by(self, chunk: ModelResponseStream) -> bool:
        """Whether a chunk that was added has changed nothing, and another like it would change nothing either."""
        if self._held is not None or len(chunk.choices) != 1:
            return False
        [choice] = chunk.choices
        known = self._choices.get(choice.index)
        if known is None or known.finish is not None or choice.finish_reason is not None:
            return False
        return choice.delta.role is None and not choice.delta.tool_calls

    @property
    def answered(self) -> bool:
        """Whether any choice has come."""
        return bool(self._choices)

    @property
    def finished(self) -> bool:
        """Whether every choice that was asked for, and every one that came, has its finish reason."""
        return len(self._choices) >= self._n and not self._unfinished

    def add(self, chunk: ModelResponseStream, out: list[ModelResponseStream]) -> None:
        """Takes a chunk in, and puts on ``out`` what can be given by now. The chunk may be changed.

        Raises:
            BrokenAnswer: the provider says that it failed; the chunk has been taken in.
            WholeMessage: a choice is one of a whole completion; the chunk has not been taken in.
        """
        usage = chunk.usage
        choices = chunk.choices
        if usage is None and self._held is None and len(choices) == 1:
            # Nearly all chunks: one choice, known and not finished, and content and nothing else in its delta.
            [choice] = choices
            if choice.finish_reason is None and choice.delta.__pydantic_fields_set__ == _CONTENT_ALONE:
                known = self._choices.get(choice.index)
                if known is not None and known.finish is None:
                    extra = choice.__pydantic_extra__
                    if not extra or not extra.get("error"):
                        out.append(chunk)
                        return
        for choice in choices:
            extra = choice.__pydantic_extra__
            if extra and "message" in extra and "delta" not in choice.__pydantic_fields_set__:
                raise WholeMessage
        if usage is not None:
            vars(chunk)["usage"] = None
            if usage.model_fields_set:
                self._usage = usage
                self._usage_chunk = chunk
        if not choices:
            chunk.choices = BlankChoices()
            if usage is None:
                out.append(chunk)
            return
        finishes = False
        failed: StreamingChoices | None = None
        for choice in choices:
            delta = choice.delta
            known = self._choices.get(choice.index)
            if known is None:
                known = self._choices[choice.index] = _Choice()
                self._unfinished += 1
                _tidy(delta, known)
                delta.role = delta.role or "assistant"
            elif delta.__pydantic_fields_set__ != _CONTENT_ALONE:
                # Most deltas have content and nothing else: one look instead of three.
                _tidy(delta, known)
                if delta.role is not None:
                    # Providers repeat it on each chunk; writing to vars() is a tenth of pydantic's setattr.
                    vars(delta)["role"] = None
            if choice.finish_reason is not None or known.finish is not None:
                if choice.finish_reason in _NO_FINISH:
                    choice.finish_reason = None
                if choice.finish_reason in _BROKEN or choice.native_finish_reason in _BROKEN:
                    failed = choice
                if known.finish is None and choice.finish_reason is not None:
                    self._unfinished -= 1
                finishes = _settle(choice, known) or finishes
            if choice.__pydantic_extra__ and choice.__pydantic_extra__.get("error"):
                failed = choice
        held = self._held
        if held is not None:
            self._release(held, choices)
            out.append(held)
            self._held = None
        if finishes:
            self._held = chunk
        else:
            out.append(chunk)
        if failed is not None:
            raise _broken(failed)

    def close(self) -> list[ModelResponseStream]:
        """The answer is over: what was held back, with the usage, and the public usage chunk if that was asked for."""
        out: list[ModelResponseStream] = []
        held, usage, usage_chunk = self._held, self._usage, self._usage_chunk
        self._held = self._usage = self._usage_chunk = None
        if held is not None:
            held.reported_usage = usage
            out.append(held)
        if usage is None or usage_chunk is None:
            return out
        if not usage.total_tokens:
            total = usage.prompt_tokens + usage.completion_tokens
            if total.bit_length() < 64:  # of a number without reason the sum may be too long to be written
                usage.total_tokens = total
        if held is None or self._include_usage:
            out.append(self._carrier(usage_chunk, usage))
        elif not usage_chunk.choices and usage_chunk.__pydantic_extra__:
            # Timings and the like came beside the usage.
            held.__pydantic_extra__ = {**usage_chunk.__pydantic_extra__, **(held.__pydantic_extra__ or {})}
        return out

    def _carrier(self, usage_chunk: ModelResponseStream, usage: Usage) -> ModelResponseStream:
        """The chunk without a choice that carries the usage: the provider's own where it sent one."""
        carrier = usage_chunk
        if usage_chunk.choices:
            carrier = ModelResponseStream()
            carrier.id, carrier.created, carrier.model = usage_chunk.id, usage_chunk.created, usage_chunk.model
            carrier.system_fingerprint = usage_chunk.system_fingerprint
        carrier.reported_usage = usage
        carrier.usage = usage if self._include_usage else None
        return carrier

    def _release(self, held: ModelResponseStream, choices: list[StreamingChoices]) -> None:
        """Decides, now that more has come, which finish reasons the held chunk may keep."""
        further = {choice.index for choice in choices}
        for choice in held.choices:
            if choice.finish_reason is None:
                continue
            if choice.index in further:
                choice.finish_reason = choice.native_finish_reason = None
            else:
                self._choices[choice.index].delivered = True


def _settle(choice: StreamingChoices, known: _Choice) -> bool:
    """Writes the finish reason of a choice that has finished, now or before; whether there is one to hold back."""
    if choice.finish_reason:
        known.finish = choice.finish_reason
        known.native = choice.native_finish_reason
    if known.finish is None or known.delivered:
        choice.finish_reason = choice.native_finish_reason = None
        return False
    reason = finish_reason(known.finish, called=known.called)
    choice.finish_reason = reason
    native = known.native or known.finish
    choice.native_finish_reason = native if native != reason else None
    return True


def _broken(choice: StreamingChoices) -> BrokenAnswer:
    """The provider failed in this choice: it has not finished, and its own error may stand beside."""
    native, choice.finish_reason = choice.native_finish_reason or choice.finish_reason, None
    error = (choice.__pydantic_extra__ or {}).get("error")
    words = {"message": f"The provider broke the answer off (finish_reason {native!r})", "type": "server_error"}
    return BrokenAnswer({"error": error or words})


def _tidy(delta: Delta, known: _Choice) -> None:
    """Reasoning under one name, and the calls by their places among the calls of the choice."""
    extra = delta.__pydantic_extra__
    if extra and not delta.reasoning_content:
        for name in _REASONING:
            reasoning = extra.get(name, ...)
            if reasoning is None or isinstance(reasoning, str):
                del extra[name]
                if reasoning:
                    delta.reasoning_content = reasoning
                    break
    calls = delta.tool_calls
    if calls:
        known.called = True
        if known.indexer is None:
            known.indexer = ToolCallIndexer()
        for call in calls:
            position = known.indexer.position(call)
            if call.index != position or "index" not in call.model_fields_set:
                call.index = position
