"""Names for what stands side by side. Pure."""

from collections import Counter
from collections.abc import Iterable

__all__ = ["numbered"]


def numbered(names: Iterable[str]) -> list[str]:
    """The names, each a name of one alone: a second ``gpt-4`` is ``gpt-4 #2``.

    >>> numbered(["gpt-4", "claude", "gpt-4"])
    ['gpt-4', 'claude', 'gpt-4 #2']
    """
    seen: Counter[str] = Counter()
    told: list[str] = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return told
