"""How many files this process may have open, of which each connection is one."""

from typing import Final

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

__all__ = ["room_for_connections"]

_OTHERS: Final = 64  # what is open beside them


def room_for_connections(count: int) -> int | None:
    """Raises the limit so far that there may be so many; where that is not allowed, how many there may be instead."""
    if resource is None:
        return None
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHERS
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return None
    if most != resource.RLIM_INFINITY and most < wanted:
        room = max(most - _OTHERS, 1)
        if room < count:
            return room
        wanted = most
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return None
