"""What the tests share: a loopback server, and an environment without keys and proxies."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import rxllm
from rxllm import Stream
from tests.server import Server

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

# A busy machine fails no property: how long an example takes is not what it states. For once in a while there is
# pytest --hypothesis-profile=long --timeout=0
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "HOSTED_VLLM_API_KEY", "HOSTED_VLLM_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    """A scripted HTTP server."""
    with Server() as running:
        yield running
    rxllm.close()


@pytest.fixture
def ask(server: Server) -> Callable[..., Stream[rxllm.ModelResponseStream]]:
    """``completion(stream=True)`` of the server's model."""

    def ask(**parameters: Any) -> Stream[rxllm.ModelResponseStream]:
        settings: dict[str, Any] = {"api_base": server.url, "api_key": "sk-secret-key", **parameters}
        messages = settings.pop("messages", [{"role": "user", "content": "Hello"}])
        model: str = settings.pop("model", "gpt-4")
        made: Stream[rxllm.ModelResponseStream] = rxllm.completion(model, messages, stream=True, **settings)
        return made

    return ask
