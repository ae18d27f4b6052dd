"""What stands behind the server that real clients ask."""

import queue
from typing import Any

from rxllm.testing import LLMServer
from rxllm.testing._llm_server import LLMRequest
from tests.server import PATIENCE

__all__ = ["KEY", "UPSTREAMS_KEY", "Upstream"]

KEY = "sk-master-secret"
UPSTREAMS_KEY = "sk-upstream-secret"


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
