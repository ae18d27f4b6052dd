"""An answer that broke off, for another model to go on from: a pure accumulator."""

from typing import Any

from rxllm.types import ModelResponseStream, StreamingChoices

__all__ = ["PartialAnswer"]


class PartialAnswer:
    """The text that has been given, the message to go on from, and what of a continuation is new.

    White space at the end is not sent: Anthropic refuses it, and other models go on better without. What the
    continuation repeats of it is left out, as is its role.

    >>> partial = PartialAnswer()
    >>> partial.add(ModelResponseStream.of("Once upon "))
    >>> partial.message
    {'role': 'assistant', 'content': 'Once upon'}
    >>> partial.begin_continuation()
    >>> [partial.new_in(ModelResponseStream.of(text)).choices[0].delta.content for text in (" a", " time")]
    ['a', ' time']
    """

    __slots__ = ("_is_text", "_pieces", "_repeated", "_role_came")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._is_text = True
        self._repeated = ""
        self._role_came = False

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes in a chunk that is given; a marker that the answer begins anew makes the text before it void."""
        if not chunk.choices and chunk.restart is not None:
            self._pieces.clear()
            self._is_text, self._repeated, self._role_came = True, "", False
        for choice in chunk.choices:
            delta = choice.delta
            if delta.content:
                self._pieces.append(delta.content)
            if choice.index or delta.tool_calls or delta.refusal or delta.audio:
                self._is_text = False

    @property
    def message(self) -> dict[str, Any] | None:
        """The message so far; ``None`` where there is no text, or something else than text, as calls or choices."""
        text = "".join(self._pieces).rstrip()
        return {"role": "assistant", "content": text} if text and self._is_text else None

    def begin_continuation(self) -> None:
        """The chunks from here on go on from ``message``."""
        text = "".join(self._pieces)
        self._pieces = [text]
        self._repeated = text[len(text.rstrip()) :]
        self._role_came = True

    def new_in(self, chunk: ModelResponseStream) -> ModelResponseStream:
        """The chunk, or a copy without what had been given before."""
        if not self._role_came or not any(self._is_old(choice) for choice in chunk.choices):
            return chunk
        return chunk.model_copy(update={"choices": [self._new_choice(choice) for choice in chunk.choices]})

    def _is_old(self, choice: StreamingChoices) -> bool:
        return choice.delta.role is not None or bool(self._repeated and choice.delta.content)

    def _new_choice(self, choice: StreamingChoices) -> StreamingChoices:
        changes: dict[str, Any] = {"role": None}
        text = choice.delta.content
        if text and self._repeated:
            same = 0
            while same < min(len(text), len(self._repeated)) and text[same] == self._repeated[same]:
                same += 1
            self._repeated = self._repeated[same:] if same == len(text) else ""
            changes["content"] = text[same:]
        return choice.model_copy(update={"delta": choice.delta.model_copy(update=changes)})
