"""The registry as ``rxllm models`` tells of it: what each prefix is, and what of it the environment has."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from rxllm.providers import PROVIDERS, Provider, resolve
from rxllm.providers._anthropic import AnthropicMessages, AzureAnthropic
from rxllm.providers._azure import AzureAIChat, AzureChat
from rxllm.providers._bedrock import BedrockConverse
from rxllm.providers._bedrock_auth import session_credentials
from rxllm.providers._bedrock_invoke import BedrockInvoke
from rxllm.providers._cohere import CohereChat
from rxllm.providers._completions import TextCompletions
from rxllm.providers._gemini import Gemini, VertexGemini
from rxllm.providers._google_auth import access_token
from rxllm.providers._ollama import OllamaChat
from rxllm.providers._openai import OpenAIChat
from rxllm.providers._responses import AzureResponses, OpenAIResponses
from rxllm.providers._vertex_anthropic import VertexAnthropic
from rxllm.types import Request

__all__ = ["CREDENTIALS", "DIALECTS", "Entry", "Extra", "entries"]

DIALECTS: Final[dict[type, str]] = {
    OpenAIChat: "OpenAI chat",
    AzureChat: "Azure OpenAI",
    AzureAIChat: "Azure AI",
    OpenAIResponses: "OpenAI Responses",
    AzureResponses: "OpenAI Responses",
    AnthropicMessages: "Anthropic Messages",
    AzureAnthropic: "Anthropic Messages",
    VertexAnthropic: "Anthropic Messages",
    Gemini: "Gemini",
    VertexGemini: "Gemini",
    BedrockConverse: "Bedrock Converse",
    BedrockInvoke: "Bedrock Invoke",
    CohereChat: "Cohere",
    OllamaChat: "Ollama",
    TextCompletions: "text completions",
}
"""What people call each dialect."""

CREDENTIALS: Final[dict[Callable[[Request], str], tuple[str, str, str]]] = {
    access_token: ("Google's credentials", "vertex", "google.auth"),
    session_credentials: ("AWS's credentials", "bedrock", "botocore"),
}
"""Who gives a key where no variable does: its name, the extra that it takes, and the module that the extra brings."""

_EMBEDDED: Final = "sim"


@dataclass(frozen=True)
class Extra:
    """What has to be installed beside the base dependencies: ``pip install 'rxllm[NAME]'``."""

    name: str
    installed: bool


@dataclass(frozen=True)
class Entry:
    """One prefix of the registry. Of variables it tells which are set, never what they hold.

    Attributes:
        prefix: what stands before the model's name, with its slash.
        models: the models that come with the package: the embedded ones alone; others the provider knows.
        speaks: what people call the dialect.
        variants: what the model's own name begins with, where that is spoken to in another dialect.
        key_required: whether a request without a key is refused.
        key_variables: the environment variables that hold the key, and whether each is set.
        credentials: what else is a key, where no variable holds one.
        address: where it is, unless a variable says otherwise; None where one, or the caller, has to.
        address_variables: the environment variables that hold the address, and whether each is set.
        extra: what has to be installed.
    """

    prefix: str
    models: tuple[str, ...]
    speaks: str
    variants: dict[str, str]
    key_required: bool
    key_variables: dict[str, bool]
    credentials: str | None
    address: str | None
    address_variables: dict[str, bool]
    extra: Extra | None

    @property
    def is_set(self) -> bool:
        """Whether the environment has a key or an address for it, or it needs neither."""
        return bool(self.models) or any((*self.key_variables.values(), *self.address_variables.values()))


def entries(name: str | None) -> list[Entry]:
    """All, the embedded one first; or those with ``name`` in the prefix; or the one whose model it is.

    Raises:
        BadRequestError: there is none; the message lists near ones.

    >>> [entry.prefix for entry in entries("groq")], [entry.prefix for entry in entries("claude-opus-4")]
    (['groq/'], ['anthropic/'])
    """
    providers = sorted(PROVIDERS.values(), key=lambda provider: provider.name != _EMBEDDED)
    if name is not None:
        named = [provider for provider in providers if name.lower().removesuffix("/") in provider.name]
        providers = named or [resolve(name)[0]]
    return [_entry(PROVIDERS[provider.name]) for provider in providers]


def _entry(provider: Provider) -> Entry:
    embedded = provider.name == _EMBEDDED
    credentials = extra = None
    if provider.credentials is not None:
        credentials, name, module = CREDENTIALS[provider.credentials]
        extra = Extra(name, _is_installed(module))
    return Entry(
        prefix=f"{provider.name}/",
        models=_embedded_models() if embedded else (),
        speaks=DIALECTS[type(provider.dialect)],
        variants={prefix: DIALECTS[type(dialect)] for prefix, dialect in provider.variants},
        key_required=provider.key_required,
        key_variables=_are_set(provider.key_variables),
        credentials=credentials,
        address=None if embedded else provider.base_url,
        address_variables=_are_set(provider.base_url_variables),
        extra=extra,
    )


def _embedded_models() -> tuple[str, ...]:
    from rxllm._simulator import MODELS

    return tuple(f"{_EMBEDDED}/{model}" for model in MODELS)


def _are_set(variables: tuple[str, ...]) -> dict[str, bool]:
    return {name: bool(os.environ.get(name)) for name in variables}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that the module is in
        return False
