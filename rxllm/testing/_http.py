"""As much of HTTP/1.1 as a server of tests speaks."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["LAST_PIECE", "RequestHead", "piece", "read_body", "read_head", "response_head"]

LAST_PIECE = b"0\r\n\r\n"


@dataclass(frozen=True)
class RequestHead:
    """The beginning of a request; the names of its headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]


async def read_head(reader: asyncio.StreamReader) -> RequestHead | None:
    """The next request's head; None where the client closed the connection instead."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return RequestHead(method, path, headers)


async def read_body(reader: asyncio.StreamReader, head: RequestHead) -> bytes:
    """The body that belongs to the head; what there is of it where the client leaves."""
    body = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        if "chunked" not in head.headers.get("transfer-encoding", "").lower():
            return await reader.readexactly(int(head.headers.get("content-length", 0)))
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    return body


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """The status and the headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1")


def piece(data: bytes) -> bytes:
    """A piece of a body whose length nobody knows yet."""
    return b"%x\r\n%b\r\n" % (len(data), data)
