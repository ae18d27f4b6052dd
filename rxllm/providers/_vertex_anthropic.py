"""Claude on Vertex AI: Anthropic's messages, with the model in the path and the version of the API in the body."""

from dataclasses import replace
from typing import Final
from urllib.parse import quote

from rxllm.providers._anthropic import AnthropicMessages
from rxllm.providers._anthropic_request import UNSUPPORTED, messages_body
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._gemini_request import VERTEX_PARAMETERS, vertex_base_url, vertex_path
from rxllm.providers._requests import endpoint, json_request
from rxllm.types import Request

__all__ = ["VertexAnthropic"]

_VERSION: Final = "vertex-2023-10-16"


class VertexAnthropic(AnthropicMessages):
    """The wire dialect of ``POST .../publishers/anthropic/models/MODEL:streamRawPredict``."""

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream. ``anthropic_version=`` replaces the version.

        Raises:
            BadRequestError: no project is known, or a parameter or a message cannot be said in JSON.
            UnsupportedParamsError: Claude has not a parameter.
        """
        model = quote(request.wire_model or request.model)
        path = f"{vertex_path(request)}/publishers/anthropic/models/{model}:streamRawPredict"
        url = endpoint(vertex_base_url(request, base_url), path)
        given = {name: value for name, value in request.params.items() if name not in VERTEX_PARAMETERS}
        provider = replace(provider, unsupported=UNSUPPORTED)
        asked = messages_body(replace(request, params=given), provider)
        body = {"anthropic_version": _VERSION, **asked, "stream": True}
        return json_request(request, provider, url, body, api_key)
