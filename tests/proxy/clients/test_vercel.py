"""The Vercel AI SDK on Node: ``vercel.mjs`` is the client, both of its providers for servers like OpenAI's."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.proxy.clients.serving import KEY, Upstream
from tests.proxy.serving import Process
from tests.server import PATIENCE

_HERE: Final = Path(__file__).parent
_NODE: Final = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(_NODE is None, reason="Node is not installed"),
    pytest.mark.skipif(
        not (_HERE / "node_modules" / "ai").is_dir(),
        reason="the Vercel AI SDK is not installed: npm ci --prefix tests/proxy/clients",
    ),
    pytest.mark.parametrize("client", ["openai", "openai-compatible"]),
]


def _run(proxy: Process, client: str, scenario: str, model: str = "sim/story", key: str = KEY) -> Any:
    """What came of a scenario."""
    assert _NODE is not None
    done = subprocess.run(
        [_NODE, str(_HERE / "vercel.mjs"), proxy.url, key, model, client, scenario],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_stream_text(proxy: Process, client: str) -> None:
    """In pieces, with the finish reason and the usage."""
    told = _run(proxy, client, "streamText", "sim/echo")
    assert told["text"] == "What is the weather in Paris?"
    assert told["pieces"] > 1
    assert (told["errors"], told["ended"]) == ([], ["stop"])
    assert told["usage"]["outputTokens"] > 1
    assert told["usage"]["inputTokens"] > 1


def test_generate_text(proxy: Process, client: str) -> None:
    """Whole, likewise."""
    told = _run(proxy, client, "generateText", "sim/echo")
    assert (told["text"], told["finishReason"]) == ("What is the weather in Paris?", "stop")
    assert told["usage"]["outputTokens"] > 1


@pytest.mark.parametrize("scenario", ["streamedTools", "tools"])
def test_tools_in_several_steps(proxy: Process, client: str, scenario: str) -> None:
    """The SDK calls the function that the model asks for, sends what it gave, and has the answer told of it."""
    calling, answering = _run(proxy, client, scenario)["steps"]
    [[name, arguments]] = calling["calls"]
    assert (calling["finishReason"], name, list(arguments)) == ("tool-calls", "weather", ["city"])
    assert calling["results"] == [f"It rains cats and dogs, in {arguments['city']} too."]
    assert (answering["finishReason"], answering["calls"]) == ("stop", [])
    assert "cats and dogs" in answering["text"]


@pytest.mark.parametrize("scenario", ["generateObject", "streamObject", "outputObject", "streamedOutputObject"])
def test_structured_output(proxy: Process, client: str, scenario: str) -> None:
    """An object as its zod schema says, which the SDK has checked; a stream of it comes bit by bit."""
    told = _run(proxy, client, scenario)
    assert list(told["object"]) == ["name", "population", "rivers"]
    assert type(told["object"]["population"]) is int
    assert told.get("partial", 2) > 1


def test_an_error_in_mid_stream(proxy: Process, client: str, upstream: Upstream) -> None:
    """What had come is there, and the error is told: the SDK does not take it for the end of the answer."""
    upstream.answer("Hel", "lo", fault="truncated")
    told = _run(proxy, client, "error", upstream.model)
    assert told["text"] == "Hello"
    assert len(told["errors"]) == 1
    assert told["ended"] in ([], ["error"])


def test_an_error_before_the_first_chunk(proxy: Process, client: str, upstream: Upstream) -> None:
    """It is the SDK's own class, with the status and the provider's words."""
    upstream.answer("Not so fast, please", status=429)
    [error] = _run(proxy, client, "error", upstream.model)["errors"]
    assert (error["kind"], error["status"]) == ("AI_APICallError", 429)
    assert "Not so fast, please" in error["message"]


def test_an_abort(proxy: Process, client: str, upstream: Upstream) -> None:
    """The provider sees that nobody wants the rest."""
    upstream.answer("Hel", "lo", fault="stalled")
    assert _run(proxy, client, "abort", upstream.model)["seen"][-1] == "abort"
    [request] = upstream.requests
    assert request.cancelled()


def test_a_wrong_key(proxy: Process, client: str) -> None:
    """The SDK is told so."""
    assert _run(proxy, client, "generateText", key="sk-wrong")["thrown"]["status"] == 401
