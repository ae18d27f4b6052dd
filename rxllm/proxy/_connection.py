"""A connection of a client's, within bounds that uvicorn's own has not, and for clients of HTTP/1.0 too."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["Connection"]

_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """uvicorn's; who sends a request's head has to come to its end, in bytes and in seconds, and to read the answer.

    Before that end nobody is asked for a key, and who is waited for has a descriptor, and memory for what has come. Who
    does not read an answer holds its request upstream.
    """

    head_within: ClassVar[float] = 60.0
    """For how many seconds a head is waited for, from its first byte, or from the beginning of the connection."""

    longest_head: ClassVar[int] = 1 << 16
    """How many bytes it may have that do not come with its end."""

    read_within: ClassVar[float] = 60.0
    """For how many seconds a client may read nothing at all of what waits for it: then it counts as gone."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """There is a client."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """There is none any more."""
        self._wait_no_more()
        self._look_no_more()
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
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _Undelimited
            self.cycle.waiting_for_100_continue = False  # which it does not know either

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

    def pause_writing(self) -> None:
        """More waits for the client than should."""
        super().pause_writing()
        self._look_again()

    def resume_writing(self) -> None:
        """It has read enough of it."""
        self._look_no_more()
        super().resume_writing()

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

    def _look_again(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(self.read_within, self._look, waiting)

    def _look_no_more(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look(self, waiting: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() < waiting:
            self._look_again()  # it reads, if slowly
        else:
            self.transport.abort()

    def _refuse(self, response: bytes) -> None:
        if not self._answers:
            self.transport.write(response)
        self.transport.close()


class _Undelimited(RequestResponseCycle):
    """An answer to HTTP/1.0, which knows no chunks: where nothing says how long it is, it ends with the connection.

    uvicorn closes that, and says so, but would send chunks; it is told instead that each piece is all there is.
    """

    _undelimited = False

    async def send(self, message: Any) -> None:
        """Sends a part of the answer."""
        if message["type"] == "http.response.start":
            if not any(name.lower() == b"content-length" for name, _ in message.get("headers", ())):
                self.chunked_encoding = False
                self._undelimited = True
        elif self._undelimited:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
