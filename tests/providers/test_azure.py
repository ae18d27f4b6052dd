"""Azure's ways with OpenAI's dialect: where a request goes, and with which key."""

import pytest

from rxllm.providers import resolve
from rxllm.types import Request

DEPLOYMENT = "https://me.openai.azure.com/openai/deployments/mine/chat/completions"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://me.openai.azure.com", f"{DEPLOYMENT}?api-version=2024-10-21"),
        ("https://me.openai.azure.com/openai", f"{DEPLOYMENT}?api-version=2024-10-21"),
        ("https://me.openai.azure.com/openai/deployments/mine", f"{DEPLOYMENT}?api-version=2024-10-21"),
        ("https://me.openai.azure.com/openai/v1", "https://me.openai.azure.com/openai/v1/chat/completions"),
        (f"{DEPLOYMENT}?api-version=1", f"{DEPLOYMENT}?api-version=1"),
        (DEPLOYMENT, f"{DEPLOYMENT}?api-version=2024-10-21"),
        ("https://me.openai.azure.com?api-version=1&a=b", f"{DEPLOYMENT}?a=b&api-version=1"),
        ("https://me.openai.azure.com/openai/v1?a=b", "https://me.openai.azure.com/openai/v1/chat/completions?a=b"),
    ],
)
def test_where_a_deployment_is(base_url: str, url: str) -> None:
    """Whatever form of its address the caller has, and a whole URL as it stands."""
    provider, model = resolve("azure/mine")
    request = Request(model="azure/mine", messages=[], wire_model=model)
    http = provider.dialect.http_request(request, base_url, "key", provider)
    assert http.url == url
    assert http.headers["api-key"] == "key"
    assert "authorization" not in http.headers


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (
            "https://me.services.ai.azure.com",
            "https://me.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
        ),
        (
            "https://me.services.ai.azure.com/models",
            "https://me.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
        ),
        (
            "https://me.services.ai.azure.com/models/chat/completions?api-version=1&a=b",
            "https://me.services.ai.azure.com/models/chat/completions?a=b&api-version=1",
        ),
        ("https://phi.models.ai.azure.com/v1", "https://phi.models.ai.azure.com/v1/chat/completions"),
    ],
)
def test_where_a_foundry_model_is(base_url: str, url: str) -> None:
    """Azure AI has its models behind one address, serverless endpoints each its own."""
    provider, model = resolve("azure_ai/phi-4")
    request = Request(model="azure_ai/phi-4", messages=[], wire_model=model)
    assert provider.dialect.http_request(request, base_url, "key", provider).url == url


def test_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the call, else from the environment; it is no member of the body."""
    provider, model = resolve("azure/mine")
    monkeypatch.setenv("AZURE_API_VERSION", "2025-01-01")
    plain = Request(model="azure/mine", messages=[], wire_model=model)
    base_url = "https://me.openai.azure.com"
    assert provider.dialect.http_request(plain, base_url, "k", provider).url.endswith("?api-version=2025-01-01")
    said = Request(model="azure/mine", messages=[], wire_model=model, params={"api_version": "2023-05-15"})
    http = provider.dialect.http_request(said, base_url, "k", provider)
    assert http.url.endswith("?api-version=2023-05-15")
    assert b"api_version" not in http.body
    for address in (base_url, DEPLOYMENT):
        told = f"{address}?api-version=2024-06-01"
        assert provider.dialect.http_request(plain, told, "k", provider).url == f"{DEPLOYMENT}?api-version=2024-06-01"
        assert provider.dialect.http_request(said, told, "k", provider).url == f"{DEPLOYMENT}?api-version=2023-05-15"


def test_an_entra_token_is_a_bearer() -> None:
    """A JSON Web Token is told from a key by how it begins."""
    provider, model = resolve("azure/mine")
    request = Request(model="azure/mine", messages=[], wire_model=model)
    http = provider.dialect.http_request(request, "https://me.openai.azure.com", "eyJhbGciOi.x.y", provider)
    assert http.headers["authorization"] == "Bearer eyJhbGciOi.x.y"
    assert "api-key" not in http.headers
