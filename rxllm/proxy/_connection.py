"""A connection of a client's, within bounds that uvicorn's own has not."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Connection"]

_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's; whoever sends a request's head has to come to its end, in bytes and in seconds.

    Before that nobody is asked for a key, and who is waited for has a descriptor, and memory for what has come.
    """

    head_within: ClassVar[float] = 60.0
    """For how many seconds a head is waited for, from its first byte, or from the beginning of the connection."""

    longest_head: ClassVar[int] = 1 << 16
    """How many bytes it may have that do not come with its end."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """There is a client."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """There is none any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head's last."""
        self._in_head = False
        self._size = 0
        self._wait_no_more()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes, of whatever."""
        super().data_received(data)
        if self._in_head:
            self._size += len(data)
            if self._size > self.longest_head:
                self._refuse(_TOO_LONG)
                return
        # The rest of a body too that has been answered already.
        if (self._in_head or not self._answers) and self._timer is None:
            self._wait()

    @property
    def _answers(self) -> bool:
        """Whether a request is being answered."""
        return bool(self.cycle) and not self.cycle.response_complete  # there is none before the first

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.head_within, self._late)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._answers:
            self._wait()  # this one is the next
        else:
            self.transport.close()

    def _refuse(self, response: bytes) -> None:
        if not self._answers:
            self.transport.write(response)
        self.transport.close()
