"""The proxy as people meet it: behind a real server on a loopback port, in a thread or a process of its own."""

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from rxllm.proxy import create_app
from rxllm.testing import LLMServer
from tests.server import PATIENCE, Answering, Server, chunk

__all__ = [
    "QUESTION",
    "Process",
    "ask",
    "begun",
    "config_for",
    "endless",
    "events_in",
    "half",
    "served_by",
    "serving",
    "texts_of",
]

QUESTION: Any = [{"role": "user", "content": "Hello"}]


class _Server(uvicorn.Server):
    """uvicorn's, which stops as soon as it is told, and not when it next looks."""

    def __init__(self, configuration: uvicorn.Config) -> None:
        super().__init__(configuration)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()
        self._runs = threading.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._runs.set()
        await self.on_tick(0)
        await self._told.wait()

    def stop(self) -> None:
        """Tells it so, from another thread."""
        if self._runs.wait(PATIENCE) and self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)


@contextmanager
def serving(*arguments: Any, app: Any = None, http: Any = "auto", **options: Any) -> Generator[str]:
    """The address of a server of ``create_app(...)``, or of another ASGI application; ``http`` is uvicorn's."""
    application = create_app(*arguments, **options) if app is None else app
    configuration = uvicorn.Config(
        application,
        http=http,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(configuration)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            thread.join()


def ask(address: str, *, path: str = "/v1/chat/completions", headers: Any = None, **body: Any) -> httpx.Response:
    """The whole of what comes of a request."""
    body = {"model": "gpt-4", "messages": QUESTION, **body}
    return httpx.post(address + path, json=body, headers=headers, timeout=30)


@contextmanager
def begun(address: str) -> Generator[tuple[str, Iterator[str]]]:
    """A stream whose first event has come: its id, and its lines."""
    with httpx.stream(
        "POST",
        f"{address}/v1/chat/completions",
        json={"model": "gpt-4", "messages": QUESTION, "stream": True},
        timeout=PATIENCE,
    ) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        while "Hel" not in next(lines):
            pass
        yield response.headers["x-stream-id"], lines


def half(server: Server) -> Any:
    """A script that sends a half, and the other when the test says so."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await server.taken.wait()
        await answering.event(chunk("lo"), chunk(finish="stop"), "[DONE]")
        await answering.end()

    return script


def endless(server: Server) -> Any:
    """A script that sends one event, and waits until the client has gone."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.closed()

    return script


def events_in(text: str) -> list[Any]:
    """The events of a stream, parsed, in the end ``"[DONE]"``; comments are none."""
    found = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [event if event == "[DONE]" else json.loads(event) for event in found]


def texts_of(events: list[Any]) -> str:
    """The text of a stream's events."""
    chunks = (event for event in events if event != "[DONE]" and event.get("choices"))
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


class Process:
    """``rxllm serve`` as a process of its own: what it says is read while it runs, since a full pipe would hold it up.

    Attributes:
        process: the process.
        address: where it listens, such as ``http://127.0.0.1:4000``.
        lines: what it has said on standard error; all of it once it has ended.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.address = ""
        self.lines: list[str] = []
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def url(self) -> str:
        """What clients call the base."""
        return f"{self.address}/v1"

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._unread.put(line)
        self._unread.put(None)

    def _line(self, words: str) -> str:
        """Its next line with these words."""
        while (line := self._unread.get(timeout=PATIENCE)) is not None:
            if words in line:
                return line
        raise AssertionError(f"it has ended: {self.lines}")

    def begin(self) -> None:
        """Waits until it listens."""
        self.address = self._line("listening on ").partition("listening on ")[2].partition(",")[0]

    def access(self) -> Any:
        """Its next line of the access log."""
        return json.loads(self._line('"request_id"'))

    def stop(self) -> int:
        """Has it end in good order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Waits until it has ended; its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """Ends it at once, whatever it is doing, and with it whoever reads what it says."""
        self.process.kill()
        self.end()


@contextmanager
def served_by(*arguments: str, **environment: str) -> Generator[Process]:
    """``rxllm serve`` on a free port, in an environment that holds nothing but ``environment``."""
    command = [sys.executable, "-m", "rxllm", "serve", "--port", "0", *arguments]
    minimal = {"PATH": os.environ["PATH"], **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=minimal) as process:
        served = Process(process)
        try:
            served.begin()
            yield served
        finally:
            served.kill()


def config_for(path: Path, server: LLMServer | Server) -> str:
    """The path of a configuration with one model, gpt-4, which the server answers for."""
    file = path / "models.yaml"
    file.write_text(
        f"model_list:\n  - model_name: gpt-4\n    litellm_params:\n      model: openai/gpt-4\n"
        f"      api_base: {server.url}\n      api_key: sk-upstream-secret\n      max_retries: 0\n"
    )
    return str(file)
