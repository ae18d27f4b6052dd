"""The text of chunks, rewritten as it comes: a pure accumulator for operators that move, cut or replace text.

How the text of one field of one choice is rewritten, a ``TextRewriter`` says. ``ChunkRewriter`` does everything around
it: choices and fields told apart, chunks that lose their text and keep the rest, and the order in which all comes.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from rxllm._tool_calls import join_text
from rxllm.types import BlankChoices, Delta, ModelResponseStream, StreamingChoices

__all__ = ["TEXT_FIELDS", "ChunkRewriter", "Segment", "TextRewriter", "bare_chunk", "is_text"]

TEXT_FIELDS: Final[tuple[str, ...]] = ("reasoning_content", "content", "refusal")
"""The fields of a delta that hold text, in the order in which a model writes them."""

Segment = tuple[str, str]
"""A field of a delta, and text for it."""

_TEXTS: Final = frozenset(TEXT_FIELDS)
_PLACE: Final = frozenset({"index", "delta"})
_Shape = TypeVar("_Shape", ModelResponseStream, StreamingChoices, Delta)


class TextRewriter:
    """Rewrites one text that comes in pieces. As it stands here, it gives them as they come.

    Once ``finish`` is set, the choice ends: it is what the last chunk of the choice says in place of what would follow.
    """

    finish: StreamingChoices | None = None

    def __init__(self, field: str) -> None:
        self.field = field

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives what is decided."""
        return [(self.field, text)]

    def flush(self) -> list[Segment]:
        """Gives what was held back: the text is interrupted, by its end or by something that is no text."""
        return []


class _Choice:
    """One choice: the field that text came for last, and what rewrites each."""

    __slots__ = ("ended", "field", "finished", "halves", "rewriters")

    def __init__(self, make: Callable[[str], TextRewriter]) -> None:
        self.rewriters = {field: make(field) for field in TEXT_FIELDS}
        self.halves: dict[str, str] = dict.fromkeys(TEXT_FIELDS, "")
        self.field = "content"
        # By this rewriter's making, and by the provider's.
        self.ended = self.finished = False

    def take(self, choice: StreamingChoices) -> tuple[list[Segment], bool]:
        """The text of the choice, rewritten, and whether it is another."""
        delta = choice.delta
        segments: list[Segment] = []
        came: list[Segment] = []
        for field in TEXT_FIELDS:
            text = getattr(delta, field)
            if not text:
                continue
            came.append((field, text))
            if field != self.field:
                segments += self.flush()
                self.field = field
            half = self.halves[field]
            if half or text[-1] > "\ud7ff":
                # Half of a surrogate pair waits for the other.
                text = join_text([half, text])
                text, self.halves[field] = (text[:-1], text[-1]) if "\ud800" <= text[-1] <= "\udbff" else (text, "")
            if text:
                rewriter = self.rewriters[field]
                segments += rewriter.feed(text)
                if rewriter.finish is not None:
                    return segments, True
        if choice.finish_reason or delta.tool_calls:
            segments += self.flush()
        return segments, segments != came

    def flush(self) -> list[Segment]:
        rewriter, half = self.rewriters[self.field], self.halves[self.field]
        self.halves[self.field] = ""
        return [*(rewriter.feed(half) if half else ()), *rewriter.flush()]

    def finish(self) -> StreamingChoices | None:
        return self.rewriters[self.field].finish


class ChunkRewriter:
    """Rewrites the text of chunks, choice by choice, as a ``TextRewriter`` for each text field says.

    Chunks whose text stays as it is pass as they are. A chunk without text any more that says nothing else is left out.
    Text that is held back is given before what is no text (a tool call, a finish reason, the usage); a marker that the
    answer begins anew makes it void.

    >>> class Upper(TextRewriter):
    ...     def feed(self, text):
    ...         return [(self.field, text.upper())]
    >>> (chunk,) = ChunkRewriter(Upper).feed(ModelResponseStream.of("Hello"))
    >>> chunk.choices[0].delta.content
    'HELLO'
    """

    def __init__(
        self,
        make: Callable[[str], TextRewriter],
        *,
        joins: bool = True,
        keeps_logprobs: bool = True,
        expected: int = 1,
    ) -> None:
        """Made for one subscription.

        Args:
            make: makes what rewrites the text of a field, for each choice.
            joins: whether segments of one field in a row are one text, else each gets a chunk of its own.
            keeps_logprobs: whether log probabilities stay, which spell the text out as it came.
            expected: how many choices there will be at least.
        """
        self.over = False
        """Whether nothing more is to come, and the request is to be cancelled: all choices have come to an end, and of
        one of them the provider does not know."""
        self._make = make
        self._expected = expected
        self._any_ended = False
        self._joins = joins
        self._keeps_logprobs = keeps_logprobs
        self._choices: dict[int, _Choice] = {}
        self._last = ModelResponseStream()

    def feed(self, chunk: ModelResponseStream) -> list[ModelResponseStream]:
        """Takes the next chunk, and gives what is decided."""
        if not chunk.choices:
            if chunk.restart is not None:
                self._choices.clear()
                self._any_ended = False
            elif chunk.usage or chunk.reported_usage or chunk.tool_result:
                return [*self.flush(), chunk]
            return [chunk]
        self._last = chunk
        before: list[ModelResponseStream] = []
        after: list[ModelResponseStream] = []
        kept: list[StreamingChoices] = []
        changed = False
        for choice in chunk.choices:
            state = self._choices.get(choice.index)
            if state is None:
                state = self._choices[choice.index] = _Choice(self._make)
            state.finished = state.finished or bool(choice.finish_reason)
            if state.ended:
                changed = True
                continue
            segments, rewritten = state.take(choice)
            if choice.logprobs and not self._keeps_logprobs:
                choice, rewritten = _with(choice, logprobs=None), True  # noqa: PLW2901  the same choice, without them
            finish = state.finish()
            if finish is not None:
                state.ended = self._any_ended = rewritten = True
                choice = StreamingChoices(index=choice.index, delta=Delta(role=choice.delta.role))  # noqa: PLW2901
                after.append(bare_chunk(chunk, _with(finish, index=choice.index)))
            if not rewritten:
                kept.append(choice)
                continue
            changed = True
            *earlier, last = self._grouped(segments) or [{}]
            for group in earlier:
                before.append(bare_chunk(chunk, StreamingChoices(index=choice.index, delta=Delta(**group))))
                if choice.delta.role:
                    # It is said once, and first.
                    before[-1].choices[0].delta.role = choice.delta.role
                    choice = _with(choice, delta=_with(choice.delta, role=None))  # noqa: PLW2901
            if last or _says_more(choice):
                texts = {field: last.get(field) for field in TEXT_FIELDS}
                kept.append(_with(choice, delta=_with(choice.delta, **texts)))
        self._look_whether_over()
        if not changed:
            return [chunk]
        headers = chunk.response_headers
        if before and headers:
            # What the first chunk of an answer bears is on the first of what becomes of it, as the role is.
            before[0].response_headers, headers = headers, None
        if kept or chunk.usage or chunk.reported_usage or headers:
            before.append(_with(chunk, choices=kept or BlankChoices(), response_headers=headers))
        return before + after

    def flush(self) -> list[ModelResponseStream]:
        """Gives what was held back, on chunks of its own: the stream is at its end."""
        return [
            bare_chunk(self._last, StreamingChoices(index=index, delta=Delta(**group)))
            for index, state in sorted(self._choices.items())
            if not state.ended
            for group in self._grouped(state.flush())
        ]

    def end(self, index: int) -> None:
        """Ends a choice: what still comes of it is left out."""
        self._choices[index].ended = self._any_ended = True
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if self._any_ended:
            states = self._choices.values()
            self.over = (
                len(states) >= self._expected
                and all(state.ended or state.finished for state in states)
                and any(state.ended and not state.finished for state in states)
            )

    def _grouped(self, segments: Iterable[Segment]) -> list[dict[str, Any]]:
        """The segments as the fields of as few deltas as keep their order."""
        groups: list[dict[str, Any]] = []
        last = ""
        for field, text in segments:
            if field == last and self._joins:
                groups[-1][field] += text
            elif not last or TEXT_FIELDS.index(field) <= TEXT_FIELDS.index(last):
                groups.append({field: text})
            else:
                groups[-1][field] = text
            last = field
        return groups


def _with(shape: _Shape, **fields: Any) -> _Shape:
    """A copy with other fields: a source may be shared, and its chunks are not changed."""
    return shape.model_copy(update=fields)


def bare_chunk(chunk: ModelResponseStream, choice: StreamingChoices) -> ModelResponseStream:
    """One more chunk of the same answer, for this choice alone."""
    return _with(chunk, choices=[choice], usage=None, reported_usage=None, response_headers=None)


def is_text(chunk: ModelResponseStream) -> bool:
    """Whether the chunk says nothing but more text of one choice."""
    return (
        len(chunk.choices) == 1
        and any(chunk.choices[0].delta[field] for field in TEXT_FIELDS)
        and not _says_more(chunk.choices[0])
        and not (chunk.usage or chunk.reported_usage or chunk.response_headers)
    )


def _says_more(choice: StreamingChoices) -> bool:
    """Whether the choice says anything beside its text."""
    delta = choice.delta
    return any(getattr(choice, name) for name in choice.model_fields_set - _PLACE) or any(
        getattr(delta, name) for name in delta.model_fields_set - _TEXTS
    )
