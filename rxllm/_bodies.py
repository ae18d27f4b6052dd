"""The bodies of answers, read past httpcore where that pays.

httpcore and h11 take some ten microseconds for each event of a stream that comes in a chunk of its own. What they are
there for, requests, heads, the body's end and whatever is wrong, stays theirs; the plain middle of a chunked body is
read straight from the network. For that, a network stream gives what comes up to the end of a head and *holds back*
the rest, and gets back what is not plain, so that h11 takes it for the whole of the body.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeVar

import anyio
import httpx

from rxllm._decoders._chunked import ChunkedDecoder

__all__ = ["AsyncChunkedBody", "ChunkedBody", "HeldBack", "body_of"]

_T = TypeVar("_T")

# Whatever their heads say.
_WITHOUT_BODY: Final = (204, 304)
# As h11 has it.
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_LONGEST_END: Final = 3

# How much is read at a time, in bytes: some fifty events, so that the first is not kept waiting for many others.
_PIECE: Final = 1 << 14


class HeldBack:
    r"""What a network stream has received and not given yet.

    >>> received = HeldBack()
    >>> received.expect_head()
    >>> received.cut(b"HTTP/1.1 200 OK\r\n\r"), received.cut(b"\nHello")
    (b'HTTP/1.1 200 OK\r\n\r', b'\n')
    >>> received.take(3), received.take(3)
    (b'Hel', b'lo')
    """

    __slots__ = ("_held", "_seam", "expects_head")

    def __init__(self) -> None:
        self.expects_head = False
        self._held = self._seam = b""

    def __bool__(self) -> bool:
        return bool(self._held)

    def expect_head(self) -> None:
        """A request has been sent: what comes next is cut where a head ends."""
        self.expects_head = True
        self._seam = b""

    def cut(self, data: bytes) -> bytes:
        """What of these bytes can be given; the others are held back."""
        if not self.expects_head:
            return data
        seam = self._seam + data
        end = _END_OF_HEAD.search(seam)
        if end is None:
            self._seam = seam[1 - _LONGEST_END :]
            return data
        position = end.end() - len(self._seam)
        self._seam = b""
        self._held = data[position:]
        return data[:position]

    def take(self, most: int) -> bytes:
        """What is held back and can be given now, and at most so many bytes of it."""
        data, self._held = self._held[:most], self._held[most:]
        if data and self.expects_head:
            further, self._held = self._held, b""
            data = self.cut(data)
            self._held += further
        return data

    def give_back(self, data: bytes) -> None:
        """These bytes were taken, and are for somebody else."""
        self._held = data + self._held


class _Chunked:
    """A body in chunked coding. ``rest`` is httpcore's stream of it, which reads from where it is not plain."""

    def __init__(self, network: Any, received: HeldBack, rest: Any, timeout: float | None) -> None:
        self._network = network
        self._received = received
        self._rest = rest
        self._timeout = timeout
        self._decoder = ChunkedDecoder()

    def _decoded(self, data: bytes) -> bytes:
        decoder = self._decoder
        body = b""
        if data:
            body = decoder.feed(data)
        else:
            decoder.end()
        if decoder.rest is not None:
            self._received.give_back(decoder.rest)
        return body


class ChunkedBody(_Chunked, httpx.SyncByteStream):
    """Reads one, blocking."""

    _others: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while self._decoder.rest is None:
            if body := self._decoded(self._network.read(_PIECE, self._timeout)):
                return body
        if self._others is None:
            self._others = iter(self._rest)
        return next(self._others)

    def close(self) -> None:
        """Ends it; the connection can be used again if the body has been read to its end."""
        self._rest.close()


class AsyncChunkedBody(_Chunked, httpx.AsyncByteStream):
    """Reads one on an event loop."""

    _others: AsyncGenerator[bytes, None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self._decoder.rest is None:
            if body := self._decoded(await self._network.read(_PIECE, self._timeout)):
                return body
        if self._others is None:
            self._others = aiter(self._rest)
        return await anext(self._others)

    async def aclose(self) -> None:
        """Ends it; the connection can be used again if the body has been read to its end."""
        # As httpcore does where its own reading is left: in a scope that was cancelled its lock would not be had.
        with anyio.CancelScope(shield=True):
            if self._others is not None:
                await self._others.aclose()
            await self._rest.aclose()


def body_of(request: Any, response: Any, kind: Callable[..., _T]) -> Any:
    """The body of an answer whose head has been read: one of ``kind`` where it is chunked, else httpcore's own."""
    network = response.extensions["network_stream"]
    received: HeldBack | None = getattr(network, "received", None)
    if received is None:  # no stream of ours
        return response.stream
    received.expects_head = False
    chunked = any(name.lower() == b"transfer-encoding" for name, _ in response.headers)
    if not chunked or request.method == b"HEAD" or response.status in _WITHOUT_BODY:
        return response.stream
    return kind(network, received, response.stream, request.extensions["timeout"].get("read"))
