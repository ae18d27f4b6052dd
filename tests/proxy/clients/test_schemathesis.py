"""schemathesis reads the document that the server publishes, and makes requests of it, right ones and wrong ones."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rxllm.testing import LLMServer
from tests.proxy.clients.serving import KEY
from tests.proxy.serving import served_by


@pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis, of the extra clients, is not installed"
)
def test_the_server_does_what_its_document_says(tmp_path: Path) -> None:
    """None of some hundred requests gets a 5xx, a status or a body that the document does not tell of.

    Nor is what the document forbids accepted, what it allows refused, or a request served without the key.
    """
    with LLMServer() as upstream:
        upstream.answer(
            "Hel", "lo", times=None
        )  # whatever it is asked, so that what the document allows gets its answer
        models = tmp_path / "models.yaml"
        models.write_text(
            "model_list:\n"
            "  - model_name: gpt-4\n"
            f"    litellm_params: {{model: openai/gpt-4, api_base: {upstream.url}, api_key: any, max_retries: 0}}\n"
        )
        serve = ["--config", str(models), "--store", "memory", "--shutdown-timeout", "1"]
        with served_by(*serve, RXLLM_MASTER_KEY=KEY) as proxy:
            run = [sys.executable, "-m", "schemathesis.cli", "run", f"{proxy.address}/openapi.json"]
            options = ["--max-examples", "15", "--generation-deterministic", "--no-color", "--warnings", "off"]
            done = subprocess.run(
                [*run, "--header", f"Authorization: Bearer {KEY}", *options],
                capture_output=True,
                text=True,
                timeout=100,
                cwd=tmp_path,  # where it may leave what it keeps
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                check=False,
            )
            proxy.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in "".join(proxy.lines)
    answered = [line for line in proxy.lines if '"status": 200' in line]
    assert any('"stream": true' in line for line in answered)
    assert any('"stream": false' in line for line in answered)
