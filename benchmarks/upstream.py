"""The provider of the benchmarks, in a process of its own: streams made beforehand, sent as fast as they are read.

The path says whose wire format is spoken, and the model's name what comes: ``2000x16`` is 2,000 chunks, sixteen events
a packet. A packet is a chunk of HTTP's transfer coding, which is what httpx hands on at a time. The kernel has all of
them at once and cuts them into TCP segments as it likes, so that a client never waits for the server: what is measured
is what reading costs, and not how often there was something to be read.

``500x1@2`` waits for 2 milliseconds between packets. Then each is a segment of its own, as from a provider that is
still thinking; and when the client leaves meanwhile, ``next_left`` tells when the server saw it.
"""

import json
import multiprocessing
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import unquote

from benchmarks.wire import WIRES

__all__ = ["next_left", "upstream"]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_LEFT = "/left"
_PATIENCE = 2.0


@contextmanager
def upstream() -> Generator[str, None, None]:
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


def next_left(address: str, since: float) -> float | None:
    """When the server saw a client leave in the middle of a stream, as ``time.monotonic()`` has it.

    Each is told once, and those before ``since`` are passed over; ``None`` if there is none within two seconds.
    """
    moment: float | None = 0.0
    while moment is not None and moment < since:
        with urllib.request.urlopen(address + _LEFT) as response:  # noqa: S310  our own server
            moment = json.load(response)
    return moment


def _serve(connection: Any) -> None:
    server = _Server()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    connection.send(listener.getsockname()[1])
    while True:
        threading.Thread(target=server.answer, args=(listener.accept()[0],), daemon=True).start()


class _Server:
    def __init__(self) -> None:
        self._made: dict[tuple[str, str], list[bytes]] = {}
        self._left: queue.SimpleQueue[float] = queue.SimpleQueue()

    def answer(self, sock: socket.socket) -> None:
        """The requests of one connection, one after the other."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock, sock.makefile("rb") as file:
            while (asked := _request(file)) is not None:
                path, model = asked
                if path == _LEFT:
                    sock.sendall(self._told())
                    continue
                try:
                    _send(sock, self._pieces(path, model), float(model.partition("@")[2] or 0) / 1000)
                except OSError:
                    self._left.put(time.monotonic())
                    return

    def _pieces(self, path: str, model: str) -> list[bytes]:
        """What is sent: whole, or with a pause after each piece."""
        pieces = self._made.get((path, model))
        if pieces is None:
            wire = next((wire for wire in WIRES.values() if path == wire.request(model)[0]), None)
            if wire is None:
                return [_NOT_FOUND]  # LiteLLM's proxy asks for the list of models
            stream, pause, _ = model.partition("@")
            chunks, a_packet = map(int, stream.split("x"))
            pieces = [b"%x\r\n%b\r\n" % (len(packet), packet) for packet in wire.packets(chunks, a_packet)]
            pieces[0] = _HEAD + pieces[0]
            pieces[-1] += b"0\r\n\r\n"
            if not pause:
                pieces = [b"".join(pieces)]
            self._made[path, model] = pieces
        return pieces

    def _told(self) -> bytes:
        try:
            moment: float | None = self._left.get(timeout=_PATIENCE)
        except queue.Empty:
            moment = None
        body = json.dumps(moment).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _send(sock: socket.socket, pieces: list[bytes], pause: float) -> None:
    for piece in pieces[:-1]:
        sock.sendall(piece)
        sock.settimeout(pause)
        try:
            if not sock.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError
        except TimeoutError:
            pass
        sock.settimeout(None)
    sock.sendall(pieces[-1])


def _request(file: BinaryIO) -> tuple[str, str] | None:
    """The path that is asked for, and the model; ``None`` where the connection has ended."""
    try:
        line, length = file.readline(), 0
        if not line:
            return None
        path = unquote(line.split(b" ")[1].decode())
        while line not in (b"\r\n", b""):
            line = file.readline()
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
        fields = json.loads(file.read(length) or b"{}")
    except OSError:
        return None
    # Gemini's model stands in the path, as `models/NAME:streamGenerateContent`.
    return path, fields.get("model") or path.rpartition("/")[2].partition(":")[0]
