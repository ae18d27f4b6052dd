"""What the tests share: a loopback server, and an environment without keys and proxies."""

import gc
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import settings

import rxllm
from rxllm import Stream
from rxllm.providers import PROVIDERS
from tests.processes import end_processes
from tests.server import Server

# What a shell starts in the background has Ctrl-C ignored, and hands that down to the processes of its own.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine fails no property: how long an example takes is not what it states. For once in a while there is
# pytest --hypothesis-profile=long --timeout=0
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile("default")


def pytest_collection_finish() -> None:
    """What is there for all tests is not looked through each time that garbage is collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    known = {name for provider in PROVIDERS.values() for name in provider.key_variables + provider.base_url_variables}
    proxies = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    for name in os.environ:
        if name in known or name.upper() in proxies or name.startswith(("AWS_", "AZURE_", "GOOGLE_", "VERTEX")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _processes_end() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    end_processes()


@pytest.fixture
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has failed is tried again at once."""

    def at_once(attempt: int, headers: Mapping[str, str]) -> float:
        return 0.0

    monkeypatch.setattr("rxllm._exchange.retry_wait", at_once)


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
