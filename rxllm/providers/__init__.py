"""The registry: who speaks which dialect, where, and with whose key."""

import difflib
from typing import Final

from rxllm.exceptions import BadRequestError
from rxllm.providers._base import Provider
from rxllm.providers._openai import OpenAIChat

__all__ = ["PROVIDERS", "Provider", "resolve"]

_CHAT: Final = OpenAIChat()

# A provider that speaks OpenAI's dialect is one line here.
PROVIDERS: Final[dict[str, Provider]] = {
    provider.name: provider
    for provider in (
        Provider(
            "openai", _CHAT, "https://api.openai.com/v1", ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "OPENAI_API_KEY"
        ),
        Provider("hosted_vllm", _CHAT, None, ("HOSTED_VLLM_API_BASE",), "HOSTED_VLLM_API_KEY", key_required=False),
        Provider("sim", _CHAT, "http://sim.invalid/v1", key_required=False),
    )
}

# Models that are known without a prefix, by what their names start with.
_BARE: Final[dict[str, tuple[str, ...]]] = {
    "openai": ("gpt-", "chatgpt-", "ft:", "o1", "o3", "o4"),
    "anthropic": ("claude-",),
    "gemini": ("gemini-",),
}


def resolve(model: str, custom_llm_provider: str | None = None) -> tuple[Provider, str]:
    """The provider of a model, and the model as that provider knows it.

    Args:
        model: such as ``"openai/gpt-4o"``, or a bare name that is known, such as ``"gpt-4"``.
        custom_llm_provider: the provider's name, where the model does not say it; it wins over a prefix, which then is
            part of the model's name, unless it says the same.

    Raises:
        BadRequestError: no provider is known by that name; the message lists near ones.

    >>> provider, wire_model = resolve("openai/gpt-4o")
    >>> provider.name, wire_model
    ('openai', 'gpt-4o')
    >>> provider, wire_model = resolve("meta-llama/Llama-3.1-8B", "hosted_vllm")
    >>> provider.name, wire_model
    ('hosted_vllm', 'meta-llama/Llama-3.1-8B')
    """
    prefix, slash, rest = model.partition("/")
    if custom_llm_provider:
        provider = PROVIDERS.get(custom_llm_provider)
        if provider is None:
            raise _refusal(model, f"custom_llm_provider={custom_llm_provider!r} is no provider", custom_llm_provider)
        wire_model = rest if slash and prefix == custom_llm_provider else model
    elif slash and prefix in PROVIDERS:
        provider, wire_model = PROVIDERS[prefix], rest
    elif slash:
        raise _refusal(model, f"{prefix!r} in {model!r} is no provider", prefix)
    else:
        name = next((name for name, starts in _BARE.items() if model.startswith(starts)), None)
        if name is None:
            raise _refusal(model, f"{model!r} does not say whose model it is", model)
        if name not in PROVIDERS:
            raise _refusal(model, f"{model!r} is a model of {name}, which is no provider", name)
        provider, wire_model = PROVIDERS[name], model
    if not wire_model.strip():
        raise _refusal(model, f"{model!r} names no model", provider.name)
    return provider, wire_model


def _refusal(model: str, reason: str, given: str) -> BadRequestError:
    near = difflib.get_close_matches(given.lower(), PROVIDERS, n=3) or sorted(PROVIDERS)
    names = ", ".join(f"{name}/" for name in near)
    return BadRequestError(
        f"{reason} that rxllm knows. Say whose it is with a prefix ({names}...), or with "
        'custom_llm_provider="openai" and api_base= for any server that speaks as OpenAI does.',
        model=model,
    )
