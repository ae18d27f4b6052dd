"""What the laws are tried on: each operator as it is made for them, by family.

A case's operator takes chunks; one that takes texts is made with ``text_deltas()`` before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.operators.sources import Operator

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """How an operator is made for the laws.

    Attributes:
        make: makes it, so that it lets through whatever the laws send.
        of_nothing: what comes out of an empty source, before its completion.
        passes: whether it passes every chunk on as it came, but for its usage.
        takes_choice: whether it takes ``choice=``, the index of the choice whose text it looks at.
        shares: whether its subscribers share one subscription to the source.
    """

    make: Callable[..., Operator[Any]]
    of_nothing: tuple[Any, ...] = ()
    passes: bool = False
    takes_choice: bool = False
    shares: bool = False
