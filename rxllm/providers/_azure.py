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

    The version comes from ``api_version=``, else from the base URL's query, else from ``AZURE_API_VERSION``. A base URL
    that ends in ``/openai/v1`` is Azure's newer API, which has neither deployment nor version.

    >>> request = Request(model="azure/mine", messages=[], wire_model="mine", params={"api_version": "2024-10-21"})
    >>> AzureChat().url(request, "https://me.openai.azure.com")
    'https://me.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21'
    """

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        address, _, query = base_url.partition("?")
        address = address.rstrip("/")
        if address.removesuffix("/chat/completions").endswith("/openai/v1"):
            return endpoint(base_url, "/chat/completions")
        if "/openai/deployments/" not in address and not address.endswith("/chat/completions"):
            address = f"{address.removesuffix('/openai')}/openai/deployments/{request.wire_model}"
        return f"{endpoint(address, '/chat/completions')}?{_query(request, query, 'AZURE_API_VERSION', _API_VERSION)}"


class AzureAIChat(_Azure):
    """The dialect of Azure AI Foundry's models, and of the serverless endpoints, which have no ``/models``.

    >>> request = Request(model="azure_ai/mine", messages=[], wire_model="mine")
    >>> AzureAIChat().url(request, "https://me.services.ai.azure.com")
    'https://me.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview'
    """

    def url(self, request: Request, base_url: str) -> str:
        """Where ``request`` is sent."""
        address, _, query = base_url.partition("?")
        address = address.rstrip("/").removesuffix("/chat/completions").removesuffix("/models")
        if not address.endswith(".services.ai.azure.com"):
            return endpoint(base_url, "/chat/completions")
        return f"{address}/models/chat/completions?{_query(request, query, 'AZURE_AI_API_VERSION', _AI_API_VERSION)}"


def _query(request: Request, query: str, variable: str, default: str) -> str:
    """The base URL's query with the version: the call's, else the one in it, else the environment's."""
    members = [member for member in query.split("&") if member]
    rest = [member for member in members if not member.startswith("api-version=")]
    told = next((member.partition("=")[2] for member in members if member not in rest), "")
    version = request.params.get("api_version") or told or os.environ.get(variable) or default
    return "&".join([*rest, f"api-version={version}"])
