"""What counts as content of a chunk, for those who have to know whether anything of an answer has been given yet."""

from typing import Any

from rxllm.types import Delta, ModelResponseStream

__all__ = ["Opening", "has_content"]


class Opening:
    """Holds the chunks of an answer until one has content, so that until then another answer can take its place.

    >>> opening = Opening()
    >>> opening.add(ModelResponseStream.of("", role="assistant"))
    []
    >>> [chunk.choices[0].delta.content for chunk in opening.add(ModelResponseStream.of("Hel"))], opening.over
    (['', 'Hel'], True)
    """

    __slots__ = ("_held", "over")

    def __init__(self) -> None:
        self._held: list[ModelResponseStream] = []
        self.over = False
        """Whether content has come: every chunk after it is to be passed on as it is."""

    def add(self, chunk: ModelResponseStream) -> list[ModelResponseStream]:
        """Takes a chunk in; gives what can be passed on: none, or with the first content all."""
        self._held.append(chunk)
        if not has_content(chunk):
            return []
        return self.take()

    def take(self) -> list[ModelResponseStream]:
        """What is held, which is passed on: the answer stands."""
        self.over = True
        held, self._held = self._held, []
        return held


def has_content(chunk: ModelResponseStream) -> bool:
    """Whether a chunk has text, reasoning, a refusal, a tool call, audio or the like, of any choice.

    A role, a finish reason, usage and log probabilities are none.

    >>> has_content(ModelResponseStream.of("Hel")), has_content(ModelResponseStream.of("", role="assistant"))
    (True, False)
    """
    return any(_adds(choice.delta) for choice in chunk.choices)


def _adds(delta: Delta) -> bool:
    extra: dict[str, Any] = delta.model_extra or {}
    return bool(
        delta.content
        or delta.reasoning_content
        or delta.tool_calls
        or delta.refusal
        or delta.thinking_blocks
        or delta.audio
        or delta.annotations
        # Images, details of the reasoning, the function_call of old.
        or any(isinstance(value, (list, dict)) and bool(value) for value in extra.values())  # pyright: ignore[reportUnknownArgumentType]
    )
