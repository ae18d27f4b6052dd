"""OpenAI's chat completions on Azure: the model in the path, the version in the query, the key in its own header."""

import os
from typing import Final

from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._openai import OpenAIChat
from rxllm.providers._requests import endpoint, with_entra
from rxllm.types import Request

__all__ = ["AzureAIChat", "AzureChat"]

_API_VERSION: Final = "2024-10-21"
_AI_API_VERSION: Final = "2024-05-01-preview"


class _Azure(OpenAIChat):
    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request; a Microsoft Entra token, a JSON Web Token, goes as Bearer, and a key as ``api-key``."""
        return super().http_request(request, base_url, api_key, with_entra(provider, api_key, "api-key"))


class AzureChat(_Azure):
    """The dialect of Azure OpenAI.

    The version comes from ``api_version=``, else from ``AZURE_API_VERSION``. A base URL that ends in ``/openai/v1`` is
    Azure's newer API, which has neither deployment nor version.

    >>> request = Request(model="azure/mine", messages=[], wire_model="mine", params={"api_version": "2024-10-21"})
    >>> AzureChat().url(request, "https://me.openai.azure.com")
    'https://me.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21'
    """

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        address = base_url.partition("?")[0].rstrip("/")
        if address.endswith(("/openai/v1", "/chat/completions")):
            return endpoint(base_url, "/chat/completions")
        if "/openai/deployments/" not in address:
            address = f"{address.removesuffix('/openai')}/openai/deployments/{request.wire_model}"
        return f"{address}/chat/completions?api-version={_version(request, 'AZURE_API_VERSION', _API_VERSION)}"


class AzureAIChat(_Azure):
    """The dialect of Azure AI Foundry's models, and of the serverless endpoints, which have no ``/models``.

    >>> request = Request(model="azure_ai/mine", messages=[], wire_model="mine")
    >>> AzureAIChat().url(request, "https://me.services.ai.azure.com")
    'https://me.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview'
    """

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        address = base_url.partition("?")[0].rstrip("/")
        if not address.removesuffix("/models").endswith(".services.ai.azure.com"):
            return endpoint(base_url, "/chat/completions")
        address = f"{address.removesuffix('/models')}/models/chat/completions"
        return f"{address}?api-version={_version(request, 'AZURE_AI_API_VERSION', _AI_API_VERSION)}"


def _version(request: Request, variable: str, default: str) -> str:
    return str(request.params.get("api_version") or os.environ.get(variable) or default)
