"""The provider of the benchmarks: OpenAI's chunks of about 300 bytes, made beforehand, as fast as they are read.

The model's name says what comes: ``2000x16`` is 2,000 chunks, sixteen events a packet.
"""

import json
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["upstream"]


@contextmanager
def upstream() -> Iterator[str]:
    """The address of one that runs in a process of its own, as a base URL without a path."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()


def _event(number: int) -> bytes:
    body = {
        "id": "chatcmpl-BDA7OEUOiPJr6S3fbWdwAE3GbR2n5",
        "object": "chat.completion.chunk",
        "created": 1742476858,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_eb9dce56a8",
        "choices": [
            {"index": 0, "delta": {"content": f" word{number % 100}"}, "logprobs": None, "finish_reason": None}
        ],
        "usage": None,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _stream(chunks: int, a_packet: int) -> bytes:
    parts = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
    for start in range(0, chunks, a_packet):
        data = b"".join(_event(number) for number in range(start, min(start + a_packet, chunks)))
        parts.append(b"%x\r\n%b\r\n" % (len(data), data))
    finish = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    parts.append(b"%x\r\n%b\r\n0\r\n\r\n" % (len(finish), finish))
    return b"".join(parts)


def _serve(connection: Any) -> None:
    """Sends as fast as it is read: the clients' own cost is what limits, and not how often they have to wait."""
    streams: dict[str, bytes] = {}

    def answer(sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as file:
            while head := file.readline():
                length = 0
                while head not in (b"\r\n", b""):
                    if head.lower().startswith(b"content-length"):
                        length = int(head.split(b":")[1])
                    head = file.readline()
                if not length:
                    return
                model = json.loads(file.read(length))["model"]
                if model not in streams:
                    streams[model] = _stream(*(int(part) for part in model.split("x")))
                try:
                    sock.sendall(streams[model])
                except OSError:
                    return

    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    connection.send(listener.getsockname()[1])
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
