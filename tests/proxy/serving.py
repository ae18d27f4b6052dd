"""The proxy as people meet it: behind a real server on a loopback port, in a thread of its own."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from rxllm.proxy import create_app
from rxllm.testing import LLMServer
from tests.server import PATIENCE, Server

__all__ = ["QUESTION", "Process", "ask", "config_for", "events_in", "served_by", "serving", "texts_of"]

QUESTION: Any = [{"role": "user", "content": "Hello"}]


@contextmanager
def serving(*arguments: Any, app: Any = None, **options: Any) -> Generator[str]:
    """The address of a server of ``create_app(...)``, or of another ASGI application."""
    application = create_app(*arguments, **options) if app is None else app
    configuration = uvicorn.Config(
        application, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(configuration)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def ask(address: str, *, path: str = "/v1/chat/completions", headers: Any = None, **body: Any) -> httpx.Response:
    """The whole of what comes of a request."""
    body = {"model": "gpt-4", "messages": QUESTION, **body}
    return httpx.post(address + path, json=body, headers=headers, timeout=30)


def events_in(text: str) -> list[Any]:
    """The events of a stream, parsed, in the end ``"[DONE]"``; comments are none."""
    found = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [event if event == "[DONE]" else json.loads(event) for event in found]


def texts_of(events: list[Any]) -> str:
    """The text of a stream's events."""
    chunks = (event for event in events if event != "[DONE]" and event.get("choices"))
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


class Process:
    """A server that was started by the command line, and what it has said."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.address = self._line("listening on ").partition("listening on ")[2].partition(",")[0]

    def _line(self, words: str) -> str:
        """Its next line with these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"it has ended: {self.lines}")

    def access(self) -> Any:
        """Its next line of the access log."""
        return json.loads(self._line('"request_id"'))

    def end(self) -> int:
        """Waits until it has ended; its exit code."""
        code = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return code


@contextmanager
def served_by(*arguments: str, **environment: str) -> Generator[Process]:
    """``rxllm serve``, as a process of its own."""
    command = [sys.executable, "-m", "rxllm", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        # Whatever happens in the test, the pipe ends.
        alarm = threading.Timer(60, process.kill)
        alarm.start()
        try:
            yield Process(process)
        finally:
            alarm.cancel()
            process.kill()


def config_for(path: Path, server: LLMServer | Server) -> str:
    """The path of a configuration with one model, gpt-4, which the server answers for."""
    file = path / "models.yaml"
    file.write_text(
        f"model_list:\n  - model_name: gpt-4\n    litellm_params:\n      model: openai/gpt-4\n"
        f"      api_base: {server.url}\n      api_key: sk-upstream-secret\n      max_retries: 0\n"
    )
    return str(file)
