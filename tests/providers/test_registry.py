"""The registry: which provider a model is of."""

import subprocess
import sys

import pytest

from rxllm.exceptions import BadRequestError
from rxllm.providers import PROVIDERS, resolve


@pytest.mark.parametrize(
    ("model", "custom", "name", "wire_model"),
    [
        ("gpt-4", None, "openai", "gpt-4"),
        ("chatgpt-4o-latest", None, "openai", "chatgpt-4o-latest"),
        ("ft:gpt-4o:org::id", None, "openai", "ft:gpt-4o:org::id"),
        ("o1", None, "openai", "o1"),
        ("o3-mini", None, "openai", "o3-mini"),
        ("o4-mini", None, "openai", "o4-mini"),
        ("openai/gpt-4o", None, "openai", "gpt-4o"),
        ("openai/org/model", None, "openai", "org/model"),
        ("hosted_vllm/meta-llama/Llama-3.1-8B", None, "hosted_vllm", "meta-llama/Llama-3.1-8B"),
        ("sim/story", None, "sim", "story"),
        ("claude-sonnet-4", "openai", "openai", "claude-sonnet-4"),
        ("openai/gpt-4o", "openai", "openai", "gpt-4o"),
        ("hosted_vllm/x", "openai", "openai", "hosted_vllm/x"),
    ],
)
def test_resolve(model: str, custom: str | None, name: str, wire_model: str) -> None:
    """A registered prefix, a known bare name, or ``custom_llm_provider``, which wins."""
    provider, wire = resolve(model, custom)
    assert (provider.name, wire) == (name, wire_model)
    assert provider is PROVIDERS[name]


@pytest.mark.parametrize(
    ("model", "custom", "words"),
    [
        ("opnai/gpt-4", None, "Did you mean openai?"),
        ("hosted-vllm/x", None, "Did you mean hosted_vllm?"),
        ("x", "OpenAI", "Did you mean openai?"),
        ("zzzzzzzz", None, "hosted_vllm, huggingface"),
        ("", None, "does not say"),
        ("openai/", None, "no model"),
        ("openai/ ", "openai", "no model"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is_near(model: str, custom: str | None, words: str) -> None:
    """A typed error, of no HTTP status, that says how to name a model."""
    with pytest.raises(BadRequestError) as raised:
        resolve(model, custom)
    assert words in str(raised.value)
    assert (raised.value.status_code, raised.value.model) == (None, model)


def test_the_providers() -> None:
    """Where they are, and whose key they take."""
    openai, vllm, sim = (PROVIDERS[name] for name in ("openai", "hosted_vllm", "sim"))
    assert (openai.base_url, openai.key_variables) == ("https://api.openai.com/v1", ("OPENAI_API_KEY",))
    assert openai.base_url_variables == ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    assert openai.key_required
    assert (vllm.base_url, vllm.base_url_variables) == (None, ("HOSTED_VLLM_API_BASE",))
    assert (vllm.key_variables, vllm.key_required) == (("HOSTED_VLLM_API_KEY",), False)
    assert (sim.base_url, sim.key_variables, sim.key_required) == ("http://sim.invalid/v1", (), False)
    assert all(name == provider.name for name, provider in PROVIDERS.items())


def test_importing_the_registry_is_light() -> None:
    """No HTTP client and no tokeniser comes with it."""
    code = "import sys, rxllm.providers; print(sorted({'httpx', 'tiktoken'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
