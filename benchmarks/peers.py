"""Who rxllm is measured beside: a raw socket, httpx with json.loads, openai-python and LiteLLM.

Each is made for the address of the server, and is then a function that reads one stream: to its end, or until so many
chunks have come. It gives how many came, and when, by ``time.monotonic()``, the last of them was there.
"""

import json
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.wire import QUESTION, WIRES

__all__ = [
    "AsyncRead",
    "Read",
    "httpx_async",
    "httpx_loop",
    "litellm_async",
    "litellm_loop",
    "openai_async",
    "openai_loop",
    "socket_async",
    "socket_loop",
]

Read = Callable[[str, int], tuple[int, float]]
"""Reads the stream of a model until there are so many chunks, 0 for all."""
AsyncRead = Callable[[str, int], Awaitable[tuple[int, float]]]

# With a thousand streams at once it may take longer until one has its turn.
_PATIENCE = 60.0
_MESSAGES: Any = [{"role": "user", "content": QUESTION}]


class _Events:
    """The least that reading OpenAI's events takes, where the end of an event is never that of anything else."""

    def __init__(self) -> None:
        self.over = False
        self._tail = b""

    def feed(self, data: bytes) -> list[Any]:
        """The JSON of the events that ``data`` completes."""
        *events, self._tail = (self._tail + data).split(b"\n\n")
        if events and events[-1].endswith(b"[DONE]"):
            events.pop()
            self.over = True
        return [json.loads(event[event.index(b"data: ") + 6 :]) for event in events]

    @property
    def whole(self) -> bool:
        """Whether the response is over, and not only the stream in it."""
        return self.over and self._tail.endswith(b"0\r\n\r\n")


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").partition(":")
    return host, int(port)


def _raw(address: str, model: str) -> bytes:
    path, fields = WIRES["openai"].request(model)
    body = json.dumps(fields).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address[7:]}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def socket_loop(address: str) -> Read:
    """A socket, a split and json.loads: what no client does without, though a quicker parser than json's may be had.

    It takes the server at its word in all else.
    """
    idle: list[socket.socket] = []

    def read(model: str, most: int) -> tuple[int, float]:
        sock = idle.pop() if idle else socket.create_connection(_place(address))
        sock.sendall(_raw(address, model))
        events, count = _Events(), 0
        while not events.whole:
            for _ in events.feed(sock.recv(2**16)):
                count += 1
                if count == most:
                    left = time.monotonic()
                    sock.close()
                    return count, left
        idle.append(sock)
        return count, time.monotonic()

    return read


def socket_async(address: str) -> AsyncRead:
    """The same with asyncio's streams."""
    import asyncio

    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def read(model: str, most: int) -> tuple[int, float]:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(*_place(address))
        writer.write(_raw(address, model))
        events, count = _Events(), 0
        while not events.whole:
            for _ in events.feed(await reader.read(2**16)):
                count += 1
                if count == most:
                    left = time.monotonic()
                    writer.transport.abort()
                    return count, left
        idle.append((reader, writer))
        return count, time.monotonic()

    return read


def httpx_loop(address: str, provider: str = "openai") -> Read:
    """What one writes without a library for it: the lines of the response, and what follows ``data:`` as JSON."""
    import httpx

    client = httpx.Client(timeout=_PATIENCE)

    def read(model: str, most: int) -> tuple[int, float]:
        path, body = WIRES[provider].request(model)
        count = 0
        with client.stream("POST", address + path, json=body) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    json.loads(line[6:])
                    count += 1
                    if count == most:
                        return count, time.monotonic()
        return count, time.monotonic()

    return read


def httpx_async(address: str, provider: str = "openai") -> AsyncRead:
    """The same on an event loop, with as many connections as are wanted: by default there are 100.

    One is kept for the next request. Its pool goes through all that it keeps for each request that begins or ends: with
    300 kept, 300 streams cost up to ten times as much as with one.
    """
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1)
    client = httpx.AsyncClient(timeout=_PATIENCE, limits=limits)

    async def read(model: str, most: int) -> tuple[int, float]:
        path, body = WIRES[provider].request(model)
        count = 0
        async with client.stream("POST", address + path, json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    json.loads(line[6:])
                    count += 1
                    if count == most:
                        return count, time.monotonic()
        return count, time.monotonic()

    return read


def openai_loop(address: str, *, close: bool = True) -> Read:
    """openai-python. Without ``close`` the loop is left, and the stream left to itself."""
    import openai

    client = openai.OpenAI(base_url=address + WIRES["openai"].base, api_key="none", timeout=_PATIENCE, max_retries=0)

    def read(model: str, most: int) -> tuple[int, float]:
        stream = client.chat.completions.create(model=model, messages=_MESSAGES, stream=True)
        return _counted(stream, most, close=close)

    return read


def openai_async(address: str, *, close: bool = True) -> AsyncRead:
    """The same on an event loop."""
    import openai

    client = openai.AsyncOpenAI(
        base_url=address + WIRES["openai"].base, api_key="none", timeout=_PATIENCE, max_retries=0
    )

    async def read(model: str, most: int) -> tuple[int, float]:
        stream = await client.chat.completions.create(model=model, messages=_MESSAGES, stream=True)
        count = 0
        async for _ in stream:
            count += 1
            if count == most:
                break
        left = time.monotonic()
        if close:
            await stream.close()
        return count, left

    return read


def litellm_loop(address: str, *, close: bool = True) -> Read:
    """LiteLLM. Without ``close`` the loop is left, and the stream left to itself."""
    import litellm

    base = address + WIRES["openai"].base

    def read(model: str, most: int) -> tuple[int, float]:
        stream = litellm.completion(
            f"openai/{model}", _MESSAGES, stream=True, api_base=base, api_key="none", timeout=_PATIENCE, max_retries=0
        )
        return _counted(stream, most, close=close)

    return read


def litellm_async(address: str, *, close: bool = True) -> AsyncRead:
    """The same on an event loop."""
    import litellm

    base = address + WIRES["openai"].base

    async def read(model: str, most: int) -> tuple[int, float]:
        stream = await litellm.acompletion(
            f"openai/{model}", _MESSAGES, stream=True, api_base=base, api_key="none", timeout=_PATIENCE, max_retries=0
        )
        count = 0
        async for _ in stream:
            count += 1
            if count == most:
                break
        left = time.monotonic()
        if close:
            await stream.aclose()
        return count, left

    return read


def _counted(stream: Any, most: int, *, close: bool) -> tuple[int, float]:
    count = 0
    for _ in stream:
        count += 1
        if count == most:
            break
    left = time.monotonic()
    if close:
        stream.close()
    return count, left
