"""Events that are alike: of a stream's thousands, nearly all differ from the one before in a text alone.

To validate such an event is to find again what is known. Where its bytes are those of an event that was validated,
except within the one string that holds the text (and, at some providers, within another value: padding, or usage so
far), its chunk is that event's chunk with another text: the JSON of the string is still read, by the same parser, and
everything else about it has been checked. That there is such a string, and what it becomes, is not guessed but tried,
with a text that nothing else in the event can be.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json

from rxllm.types import Delta, ModelResponseStream, StreamingChoices

__all__ = ["Alike", "Likeness"]

_TEXTS: Final = ("content", "reasoning_content")
_PADDINGS: Final = ("obfuscation", "p")
_STRING: Final = rb'"(?:[^"\\]|\\.)+"'
_TEXT: Final = re.compile(rb'"(?:content|reasoning_content|reasoning|text|thinking)": ?(%b)' % _STRING, re.DOTALL)
_PADDING: Final = re.compile(rb'"(obfuscation|p)": ?(%b)' % _STRING, re.DOTALL)
# Which no event holds, and which is no part of another.
_TRIED: Final = ("\x00text\x00", "\x00padding\x00")
_TRIED_JSON: Final = tuple(b'"\\u0000%b\\u0000"' % name for name in (b"text", b"padding"))

# Instances are made as pydantic makes them, whose __setattr__ would look at each of these names.
_new: Final = object.__new__
_set_fields: Final = vars(BaseModel)["__dict__"].__set__
_set_fields_set: Final = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra: Final = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private: Final = vars(BaseModel)["__pydantic_private__"].__set__


class Alike:
    """Makes the chunks of events that are like the one it was made for.

    Attributes:
        beside: finds what else differs, and its name.
        kind: what that has to be.
    """

    beside: ClassVar[re.Pattern[bytes]] = _PADDING
    kind: ClassVar[type[Any]] = str

    __slots__ = (
        "_after",
        "_before",
        "_choice",
        "_choice_parts",
        "_chunk",
        "_chunk_parts",
        "_delta",
        "_delta_parts",
        "_end",
        "_name",
        "_padding",
    )

    def __init__(self, parts: tuple[bytes, bytes, bytes], chunk: ModelResponseStream, name: str, padding: str) -> None:
        self._before, self._after, self._end = parts
        self._name, self._padding = name, padding
        [choice] = chunk.choices
        self._chunk, self._choice, self._delta = dict(vars(chunk)), dict(vars(choice)), dict(vars(choice.delta))
        self._chunk_parts = _parts(chunk)
        self._choice_parts = _parts(choice)
        self._delta_parts = _parts(choice.delta)

    def chunk(self, event: Any) -> ModelResponseStream | None:
        """The chunk of an event, if it is alike."""
        before, end = self._before, self._end
        start, stop = len(before), len(event) - len(end)
        if event[:start] != before or event[stop:] != end or stop <= start:
            return None
        string, padding = event[start:stop], None
        try:
            if self._padding:
                string, _, padding = string.partition(self._after)
                padding = from_json(padding)
                if type(padding) is not self.kind:
                    return None
            text = from_json(string)
        except ValueError:
            return None
        if type(text) is not str or not text:  # an empty one may mean something else: that there is none
            return None
        return self.made(event, text, padding)

    def as_chunk(self, event: bytes, text: str, padding: Any) -> ModelResponseStream:
        """The chunk with this text."""
        delta: Delta = _new(Delta)
        fields = self._delta.copy()
        fields[self._name] = text
        _set_fields(delta, fields)
        fields_set, extra = self._delta_parts
        _set_fields_set(delta, fields_set.copy())
        _set_extra(delta, extra.copy())
        _set_private(delta, None)
        choice: StreamingChoices = _new(StreamingChoices)
        fields = self._choice.copy()
        fields["delta"] = delta
        _set_fields(choice, fields)
        fields_set, extra = self._choice_parts
        _set_fields_set(choice, fields_set.copy())
        _set_extra(choice, extra.copy())
        _set_private(choice, None)
        chunk: ModelResponseStream = _new(ModelResponseStream)
        fields = self._chunk.copy()
        fields["choices"] = [choice]
        _set_fields(chunk, fields)
        fields_set, extra = self._chunk_parts
        extra = extra.copy()
        if padding is not None:
            extra[self._padding] = padding
        _set_fields_set(chunk, fields_set.copy())
        _set_extra(chunk, extra)
        _set_private(chunk, None)
        return chunk

    # What becomes of an event that is alike.
    made = as_chunk


_Kind = TypeVar("_Kind", bound=Alike)


class Likeness(Generic[_Kind]):
    """Learns from the events of one stream what the others are like.

    ``known`` makes the chunks of those that are; it is for as long as nothing else changes what chunks are made of, and
    whoever sees that, forgets it. To learn costs as much as to read three events: where events turn out to be all
    different, that is done ever more rarely.
    """

    __slots__ = ("_different", "_kind", "_patience", "_read", "known")

    def __init__(self, read: Callable[[bytes], ModelResponseStream | None], kind: type[_Kind]) -> None:
        """``read`` makes a chunk of an event, leaving all else as it is, or raises a ``ValueError``."""
        self.known: _Kind | None = None
        self._read = read
        self._kind = kind
        self._different = 0  # events in a row that were not alike
        self._patience = 1

    def learn(self, event: bytes, chunk: ModelResponseStream, *, matched: bool) -> None:
        """An event that has come, and what it became; ``matched`` says whether any before it were alike."""
        if matched:
            self._different, self._patience = 0, 1
        self._different += 1
        if self._different >= self._patience:
            self._different, self._patience = 0, self._patience * 2
            self.known = self._alike(event, chunk)

    def forget(self) -> None:
        """What has come changes what the next chunks are made of."""
        self.known = None

    def _alike(self, event: bytes, chunk: ModelResponseStream) -> _Kind | None:
        found = _TEXT.search(event)
        if found is None or not _can_be_shared(chunk):
            return None
        before, after, end = event[: found.start(1)], b"", event[found.end(1) :]
        padding = ""
        tried = before + _TRIED_JSON[0]
        padded = self._kind.beside.search(end)
        if padded is not None:
            padding = padded[1].decode()
            after, end = end[: padded.start(2)], end[padded.end(2) :]
            tried += after + _TRIED_JSON[1]
        try:
            trial = self._read(tried + end)
        except ValueError:
            return None
        if trial is None or len(trial.choices) != 1:
            return None
        delta = trial.choices[0].delta
        for name in _TEXTS:
            if getattr(delta, name) == _TRIED[0]:
                ours = self._kind((before, after, end), chunk, name, padding)
                made = ours.as_chunk(event, _TRIED[0], _TRIED[1] if padding else None)
                return ours if made == trial else None
        return None


def _parts(model: BaseModel) -> tuple[set[str], dict[str, Any]]:
    return set(model.__pydantic_fields_set__), dict(model.__pydantic_extra__ or {})


def _can_be_shared(chunk: ModelResponseStream) -> bool:
    """Whether there is one choice, and beside it and its delta nothing that could be changed in one chunk for all."""
    if len(chunk.choices) != 1:
        return False
    [choice] = chunk.choices
    values: list[object] = []
    for model in (chunk, choice, choice.delta):
        values += vars(model).values()
        values += (model.__pydantic_extra__ or {}).values()
    return sum(not isinstance(value, str | int | float | None) for value in values) == len(("choices", "delta"))
