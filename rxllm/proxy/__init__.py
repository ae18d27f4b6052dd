"""A server that speaks as OpenAI does, with pipelines behind it. It needs the extra ``proxy``."""

from rxllm.proxy._app import create_app
from rxllm.proxy._request import ProxyRequest
from rxllm.proxy._sse import to_sse

__all__ = ["ProxyRequest", "create_app", "to_sse"]
