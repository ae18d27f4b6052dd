"""``rxllm serve`` as a process of its own, which real clients ask."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rxllm.testing import LLMServer
from rxllm.testing._llm_server import LLMRequest
from tests.server import PATIENCE

__all__ = ["KEY", "UPSTREAMS_KEY", "Served", "Upstream", "served"]

KEY = "sk-master-secret"
UPSTREAMS_KEY = "sk-upstream-secret"


@dataclass
class Served:
    """A server that runs, and what it has said on standard error.

    Attributes:
        address: such as ``http://127.0.0.1:4000``.
        log: its lines, complete once it has ended.
    """

    address: str
    log: list[str] = field(default_factory=list[str])

    @property
    def url(self) -> str:
        """What clients call the base."""
        return f"{self.address}/v1"


@contextmanager
def served(*arguments: str, **environment: str) -> Generator[Served]:
    """Runs ``rxllm serve`` on a free port, in an environment that holds nothing but ``environment``."""
    command = [sys.executable, "-m", "rxllm", "serve", "--port", "0", "--shutdown-timeout", "1", *arguments]
    minimal = {"PATH": os.environ["PATH"], **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=minimal) as process:
        assert process.stderr is not None
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "listening on " in line:
                break
        alarm.cancel()
        assert said, "it has ended without a word"
        assert "listening on " in said[-1], "".join(said)
        running = Served(said[-1].partition("listening on ")[2].partition(",")[0], said)
        # A full pipe would hold the server up.
        reader = threading.Thread(target=said.extend, args=(process.stderr,))
        reader.start()
        try:
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                reader.join(PATIENCE)


class Upstream:
    """A provider behind the server, whose answers are for one test alone.

    Attributes:
        model: under which name the server has it.
    """

    def __init__(self, server: LLMServer, name: str) -> None:
        self.model = f"upstream/{name}"
        self._server = server
        self._name = name
        self._arrived: queue.SimpleQueue[LLMRequest] = queue.SimpleQueue()

    def answer(self, *parts: Any, **options: Any) -> None:
        """Gives an answer, as ``LLMServer.answer()`` does."""
        self._server.answer(*parts, when=self._takes, **options)

    @property
    def requests(self) -> list[LLMRequest]:
        """What it was asked."""
        return [request for request in self._server.requests if self._is_ours(request)]

    def next_request(self) -> LLMRequest:
        """The next request that it has an answer to; waits for it."""
        return self._arrived.get(timeout=PATIENCE)

    def _takes(self, request: LLMRequest) -> bool:
        ours = self._is_ours(request)
        if ours:
            self._arrived.put(request)
        return ours

    def _is_ours(self, request: LLMRequest) -> bool:
        asked: Any = request.json
        return bool(asked["model"] == self._name)
