"""Figures as they are told to people. Pure."""

__all__ = ["figure"]


def figure(count: int, thing: str) -> str:
    """So many of a thing.

    >>> figure(0, "chunk"), figure(1, "chunk"), figure(12, "chunk")
    ('0 chunks', '1 chunk', '12 chunks')
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"
