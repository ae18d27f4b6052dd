"""The line of the documentation's section PROXY, through a shell."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from rxllm.testing import LLMServer
from tests.proxy.serving import events_in, served_by, texts_of
from tests.server import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

_PAGE: Final = Path(__file__).parents[4] / "shared" / "recipes" / "streaming-and-async.txt"

_ADDRESS: Final = "https://0.0.0.0:4000"
_LINE: Final = f"""curl {_ADDRESS}/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -d '{{
    "model": "gpt-4o",
    "messages": [
      {{
        "role": "system",
        "content": "You are a helpful assistant."
      }},
      {{
        "role": "user",
        "content": "Hello!"
      }}
    ],
    "stream": true,
    "stream_options": {{"include_usage": true}}
  }}'"""


def _curl(address: str, **environment: str) -> Any:
    """The events that the line gets from a server at ``address``; curl speaks no proxy's language here."""
    minimal = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "sk-any", **environment}
    line = _LINE.replace(_ADDRESS, address)
    done = subprocess.run(  # the shell is what is documented
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE, env=minimal, check=False
    )
    assert done.returncode == 0, done.stderr
    return events_in(done.stdout)


def _check(events: Any, upstream: LLMServer) -> None:
    """It is a stream, with the usage on a chunk of its own, and the provider was asked what the line asks."""
    assert texts_of(events) == "Hello!"
    assert [event["choices"][0]["finish_reason"] for event in events[:-2]][-1] == "stop"
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["total_tokens"] == 11
    assert events[-1] == "[DONE]"
    asked: Any = upstream.requests[0].json
    assert asked["model"] == "gpt-4o"
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]


def _gpt_4o(upstream: LLMServer) -> dict[str, str]:
    """The environment in which OpenAI is ``upstream``, which has an answer."""
    upstream.answer("Hel", "lo!", usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11})
    return upstream.environment("openai")


@pytest.mark.skipif(not _PAGE.is_file(), reason="the documentation is not at ../shared/recipes")
def test_it_is_the_documented_line() -> None:
    """Word for word."""
    assert _LINE in _PAGE.read_text()


def test_as_it_stands_over_http() -> None:
    """With no configuration: the key of OpenAI in the environment is enough."""
    with LLMServer() as upstream, served_by(**_gpt_4o(upstream)) as proxy:
        port = proxy.address.rpartition(":")[2]
        _check(_curl(f"http://0.0.0.0:{port}"), upstream)
        assert upstream.requests[0].headers["authorization"] == "Bearer test"


def test_with_the_servers_key() -> None:
    """What the line sends as ``$OPENAI_API_KEY`` is the key of the server then, and another is refused."""
    with LLMServer() as upstream, served_by(RXLLM_MASTER_KEY="sk-master", **_gpt_4o(upstream)) as proxy:
        port = proxy.address.rpartition(":")[2]
        _check(_curl(f"http://0.0.0.0:{port}", OPENAI_API_KEY="sk-master"), upstream)
        _curl(f"http://0.0.0.0:{port}", OPENAI_API_KEY="sk-other")
        assert [proxy.access()["status"] for _ in range(2)] == [200, 401]
    assert len(upstream.requests) == 1


def test_as_it_stands_over_https(tmp_path: Path) -> None:
    """With a certificate, which curl verifies."""
    authority = trustme.CA()
    certificate = authority.issue_cert("0.0.0.0")  # noqa: S104  the name in the line
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    with (
        LLMServer() as upstream,
        served_by("--ssl-certfile", str(tmp_path / "server.pem"), **_gpt_4o(upstream)) as proxy,
    ):
        assert proxy.address.startswith("https://")
        port = proxy.address.rpartition(":")[2]
        _check(_curl(f"https://0.0.0.0:{port}", CURL_CA_BUNDLE=str(tmp_path / "authority.pem")), upstream)
