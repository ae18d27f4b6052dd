"""What tells, among texts, that a text begins anew. Pure."""

from typing import Self

__all__ = ["Restart"]


class Restart(str):
    """An empty text that stands for ``chunk.restart``: what came before it is void.

    Whoever prints or joins texts passes over it; no other text that an operator gives is empty.

    Attributes:
        restart: why it begins anew.

    >>> marker = Restart("the connection broke")
    >>> marker, marker.restart
    ('', 'the connection broke')
    """

    __slots__ = ("restart",)

    restart: str

    def __new__(cls, reason: str) -> Self:
        """An empty text, with the reason."""
        marker = super().__new__(cls)
        marker.restart = reason
        return marker

    def __getnewargs__(self) -> tuple[str]:
        """What a copy is made of."""
        return (self.restart,)
