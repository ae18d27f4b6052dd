"""One server for all clients: the embedded models, and a provider that a test scripts."""

import re
from collections.abc import Iterator

import pytest

from rxllm.testing import LLMServer
from tests.proxy.clients.serving import KEY, UPSTREAMS_KEY, Upstream
from tests.proxy.serving import Process, served_by


@pytest.fixture(scope="session")
def _provider() -> Iterator[LLMServer]:  # pyright: ignore[reportUnusedFunction]
    with LLMServer() as server:
        yield server


@pytest.fixture(scope="session")
def proxy(_provider: LLMServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """``rxllm serve`` with a key. At its end: whatever its clients did, nothing failed in it, and it told no secret."""
    file = tmp_path_factory.mktemp("proxy") / "models.yaml"
    file.write_text(
        "model_list:\n"
        "  - model_name: sim/*\n"
        "    litellm_params:\n"
        "      model: sim/*\n"
        "      extra_body: {delay: 0}\n"
        "  - model_name: upstream/*\n"
        "    litellm_params:\n"
        "      model: openai/*\n"
        f"      api_base: {_provider.url}\n"
        "      api_key: os.environ/UPSTREAMS_KEY\n"
        "      max_retries: 0\n"
    )
    options = ["--config", str(file), "--shutdown-timeout", "1"]
    with served_by(*options, RXLLM_MASTER_KEY=KEY, UPSTREAMS_KEY=UPSTREAMS_KEY) as running:
        yield running
        running.stop()
    told = "".join(running.lines)
    assert "Traceback" not in told
    assert '"failed"' not in told
    assert "secret" not in told


@pytest.fixture
def upstream(_provider: LLMServer, request: pytest.FixtureRequest) -> Upstream:
    """The provider behind the server, for this test."""
    return Upstream(_provider, re.sub(r"\W+", "-", request.node.nodeid))
