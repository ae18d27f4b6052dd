"""Publishing a stream, without any I/O: what to ask the store for, and when a chunk may be passed on."""

import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

from rxllm._stores._entries import LEFT, ending_of, entry_of, incomplete, outcome_of
from rxllm._stores._protocol import LONGEST_PAGE, Append, Command, Create, Finish, Renew, StreamStore, Verdict
from rxllm.exceptions import APIConnectionError, ConflictError
from rxllm.types import ModelResponseStream

__all__ = ["READY", "Come", "Publishing", "Wait"]

# How soon a publisher sees that its stream was stopped, in seconds.
_LOOKS_EVERY: Final = 0.5


class _Ready:
    """The store has the stream: upstream may begin."""


READY: Final = _Ready()


@dataclass
class Come:
    """What has come from upstream since somebody last asked.

    Attributes:
        chunks: the chunks.
        over: whether it is over with them.
        error: what it has failed with.
        left: whether nobody wants it any more.
    """

    chunks: list[ModelResponseStream] = field(default_factory=list[ModelResponseStream])
    over: bool = False
    error: Exception | None = None
    left: bool = False

    def add(self, other: "Come") -> None:
        """Takes what came later."""
        self.chunks += other.chunks
        self.over |= other.over
        self.error = self.error or other.error
        self.left |= other.left


@dataclass(frozen=True)
class Wait:
    """Wait for what comes from upstream, that many seconds at most."""

    seconds: float


class Publishing:
    """One stream that is being published.

    ``steps()`` yields what to do next: a ``Command`` for the store, whose ``Verdict`` it wants to be sent; a ``Wait``,
    for a ``Come``; a list to deliver, for nothing. It returns at the end, and raises the error that upstream had, or
    that the store gives reason for.

    Attributes:
        renew_every: how often the store is told that the publisher is alive, in seconds.
    """

    def __init__(self, store: StreamStore, key: str) -> None:
        self._key = key
        self._token = secrets.token_hex(8)
        self.renew_every = min(store.lease / 3, _LOOKS_EVERY)
        self._count = 0

    def steps(self) -> Generator["Command | Wait | list[Any]", Any, None]:
        """The steps."""
        self._judge((yield Create(self._key, self._token)))
        yield [READY]
        while True:
            come: Come = yield Wait(self.renew_every)
            if come.left:
                yield self.farewell()
                return
            if not come.chunks and not come.over:
                self._judge((yield Renew(self._key, self._token)))
            for start in range(0, len(come.chunks), LONGEST_PAGE):
                chunks = come.chunks[start : start + LONGEST_PAGE]
                entries = [entry_of(chunk) for chunk in chunks]
                self._judge((yield Append(self._key, self._token, self._count + 1, entries)))
                self._count += len(chunks)
                yield chunks
            if come.over:
                ending = ending_of(come.error)
                verdict: Verdict = yield Finish(self._key, self._token, self._count, ending)
                # Where its acknowledgement was lost, it is asked for again, and is there.
                if verdict != Verdict("over", ending):
                    self._judge(verdict)
                if come.error is not None:
                    raise come.error
                return

    def farewell(self) -> Finish:
        """What to tell the store where the consumer leaves."""
        return Finish(self._key, self._token, self._count, LEFT)

    def _judge(self, verdict: Verdict) -> None:
        error: Exception | None
        match verdict.kind:
            case "done":
                return
            case "taken":
                error = ConflictError(f"There is a stream {self._key!r} already: each needs a key of its own")
            case "over":
                error = outcome_of(self._key, verdict.ending)
            case _:
                error = None
        error = error or incomplete(self._key, "lost")
        if isinstance(error, APIConnectionError):
            error.chunks = self._count
        raise error
