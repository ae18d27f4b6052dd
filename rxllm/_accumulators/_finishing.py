"""Where one answer ends and the next begins, in a stream that has several: a pure accumulator."""

from rxllm._accumulators._content import has_content
from rxllm.types import ModelResponseStream

__all__ = ["Finishing"]


class Finishing:
    """Which choices of an answer have begun and which have finished.

    The answer has ended when all have; what a finished choice says then is said by the next answer.

    Attributes:
        id: the answer's id, that of its first chunk that has one.
        ended: whether any choice has begun, and all that have, have finished.

    >>> finishing = Finishing()
    >>> for chunk in (ModelResponseStream.of("Hel"), ModelResponseStream.of("lo", finish_reason="stop")):
    ...     finishing.add(chunk)
    >>> finishing.is_followed_by(ModelResponseStream.of("")), finishing.is_followed_by(ModelResponseStream.of("Good"))
    (False, True)
    """

    __slots__ = ("_is_answered", "_unfinished", "ended", "id")

    def __init__(self) -> None:
        self._unfinished: dict[int, bool] = {}
        self._is_answered = False
        self.ended = False
        self.id = ""

    @property
    def unfinished(self) -> list[int]:
        """The choices that have begun and not finished."""
        return [index for index in sorted(self._unfinished) if self._unfinished[index]]

    def missing(self, n: int) -> list[int]:
        """Of ``n`` choices and all that have begun, those that have not finished."""
        return [index for index in sorted({*range(n), *self._unfinished}) if self._unfinished.get(index, True)]

    def is_followed_by(self, chunk: ModelResponseStream) -> bool:
        """Whether the answer has ended, and the chunk begins another.

        With content or a role and another id it does. With content and no id to tell by, too; where the id is the same,
        the result of a tool has to stand between: some servers go on after the end, with white space or nothing.
        """
        if not self.ended:
            return False
        again = [choice for choice in chunk.choices if choice.index in self._unfinished]
        if not again:
            return False
        if not chunk.id or not self.id or (chunk.id == self.id and self._is_answered):
            return has_content(chunk)
        return chunk.id != self.id and (any(it.finish_reason or it.delta.role for it in again) or has_content(chunk))

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk of this answer in, or what came of its calls."""
        if not chunk.choices and self.ended and chunk.tool_result is not None:
            self._is_answered = True
            return
        if not self.id:
            self.id = chunk.id
        for choice in chunk.choices:
            # Most chunks go on with what is under way.
            if choice.finish_reason or choice.index not in self._unfinished:
                self._unfinished[choice.index] = not choice.finish_reason
                self.ended = not any(self._unfinished.values())
