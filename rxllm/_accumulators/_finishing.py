"""Where one answer ends and the next begins, in a stream that has several: a pure accumulator."""

from rxllm._accumulators._content import has_content
from rxllm.types import ModelResponseStream

__all__ = ["Finishing"]


class Finishing:
    """Which choices of an answer have begun and which have finished.

    The answer has ended when all have; what a finished choice says then is said by the next answer.

    Attributes:
        id: the answer's id, that of its first chunk that has one.

    >>> finishing = Finishing()
    >>> for chunk in (ModelResponseStream.of("Hel"), ModelResponseStream.of("lo", finish_reason="stop")):
    ...     finishing.add(chunk)
    >>> finishing.is_followed_by(ModelResponseStream.of("")), finishing.is_followed_by(ModelResponseStream.of("Good"))
    (False, True)
    """

    __slots__ = ("_unfinished", "id")

    def __init__(self) -> None:
        self._unfinished: dict[int, bool] = {}
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

        With content it does. Without any, as with a role, its id has to be another: some servers go on after the end
        with chunks that say nothing.
        """
        if not self._unfinished or any(self._unfinished.values()):
            return False
        again = [choice for choice in chunk.choices if choice.index in self._unfinished]
        if not again:
            return False
        says_so = chunk.id and self.id and chunk.id != self.id
        return bool(says_so and any(it.finish_reason or it.delta.role for it in again)) or has_content(chunk)

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk of this answer in."""
        if not self.id:
            self.id = chunk.id
        for choice in chunk.choices:
            self._unfinished[choice.index] = not choice.finish_reason and self._unfinished.get(choice.index, True)
