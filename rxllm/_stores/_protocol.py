"""What a store is asked, and what it says: the same for every store, in a thread and on an event loop."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

__all__ = [
    "BEGINNING",
    "LONGEST_PAGE",
    "LONGEST_WAIT",
    "Append",
    "AsyncSession",
    "ClosedSession",
    "Command",
    "Create",
    "Finish",
    "Page",
    "Read",
    "Renew",
    "Session",
    "Stop",
    "StreamStore",
    "Verdict",
]

BEGINNING: Final = "0"
"""The id before that of the first entry, which is "1"; they go on by one."""

LONGEST_WAIT: Final = 5.0
"""How long one ``Read`` waits at most, in seconds: after that it looks whether the publisher is still there."""

LONGEST_PAGE: Final = 512
"""How many entries one ``Read`` gives at most, and one ``Append`` adds."""


@dataclass(frozen=True)
class Create:
    """Begins a stream. ``token`` is the publisher's: who has another may not write; who asks again with it, may."""

    key: str
    token: str


@dataclass(frozen=True)
class Append:
    """Adds entries, of which the first has the number ``first``. Those that are there already are not added again."""

    key: str
    token: str
    first: int
    entries: list[bytes] = field(repr=False)


@dataclass(frozen=True)
class Renew:
    """The publisher is alive."""

    key: str
    token: str


@dataclass(frozen=True)
class Finish:
    """The stream has come to its end after ``count`` entries."""

    key: str
    token: str
    count: int
    ending: bytes


@dataclass(frozen=True)
class Stop:
    """The stream is to end now, says somebody who does not publish it."""

    key: str
    ending: bytes


@dataclass(frozen=True)
class Read:
    """Asks for what stands after an id; where that is nothing yet, waits for it that many seconds, or ``LONGEST_WAIT``.

    Where the publisher's lease is over, the stream ends with ``abandoned``, now and for all.
    """

    key: str
    after: str
    wait: float
    abandoned: bytes


Command = Create | Append | Renew | Finish | Stop | Read


@dataclass(frozen=True)
class Verdict:
    """What a store says to one who writes.

    Attributes:
        kind: ``"done"``; ``"taken"``: the key is another's; ``"over"``: the stream has ended before, with ``ending``;
            ``"missing"``: there is no such stream, or no more; ``"gap"``: entries before these are missing.
        ending: how it has ended.
    """

    kind: Literal["done", "taken", "over", "missing", "gap"]
    ending: bytes = b""


@dataclass(frozen=True)
class Page:
    """What a store says to one who reads.

    Attributes:
        kind: ``"open"``: more may come; ``"over"``: these are the last, and ``ending`` says how it has ended;
            ``"missing"``: there is no such stream; ``"beyond"``: the id to read after stands for no entry.
        entries: the entries, each with its id.
        ending: how it has ended.
        patience: for how many seconds the publisher need not be heard of, at most.
    """

    kind: Literal["open", "over", "missing", "beyond"]
    entries: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    ending: bytes = b""
    patience: float = LONGEST_WAIT


class ClosedSession(Exception):  # noqa: N818  nothing went wrong
    """The session was closed while it was used, or before."""


class Session(Protocol):
    """A store, used by one thread at a time."""

    def perform(self, command: Command) -> Any:
        """Does what is asked: gives a ``Page`` for a ``Read``, a ``Verdict`` for all else, once it is kept.

        Raises:
            APIConnectionError: the store cannot be reached, and was not for longer than its patience.
            ClosedSession: it was closed.
        """
        ...

    def close(self) -> None:
        """Ends what is being performed, from any thread."""
        ...


class AsyncSession(Protocol):
    """A store, used on one event loop. What is being performed ends where the task is cancelled."""

    async def perform(self, command: Command) -> Any:
        """As ``Session.perform()``."""
        ...


class StreamStore(Protocol):
    """What keeps published streams: for each key its entries, in their order, and how it has ended.

    ``publish_to()`` writes to it, ``observe_from()`` reads from it. A store of another kind than this library's has to
    understand the commands of ``rxllm._stores._protocol``, each of which it does wholly or not at all.

    Attributes:
        lease: how many seconds a publisher may be silent before its streams count as abandoned.
        keep: how many seconds a stream is kept after its end.
    """

    lease: float
    keep: float

    def open(self) -> Session:
        """For a thread."""
        ...

    def open_async(self) -> AsyncSession:
        """For the running event loop."""
        ...
