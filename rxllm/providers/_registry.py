"""The registry: who speaks which dialect, where, and with whose key."""

from typing import Final

from rxllm.exceptions import BadRequestError
from rxllm.providers._anthropic import AnthropicMessages, AzureAnthropic
from rxllm.providers._anthropic_request import UNSUPPORTED
from rxllm.providers._azure import AzureAIChat, AzureChat
from rxllm.providers._base import Provider
from rxllm.providers._bedrock import BedrockConverse
from rxllm.providers._bedrock_auth import BASE_URL as BEDROCK_URL
from rxllm.providers._bedrock_auth import session_credentials
from rxllm.providers._bedrock_invoke import BedrockInvoke
from rxllm.providers._cohere import COHERE_HAS_NOT, CohereChat
from rxllm.providers._completions import CHAT_ONLY, TextCompletions
from rxllm.providers._gemini import Gemini, VertexGemini
from rxllm.providers._gemini_request import GEMINI_HAS_NOT, VERTEX_URL
from rxllm.providers._google_auth import access_token
from rxllm.providers._ollama import OLLAMA_HAS_NOT, OllamaChat
from rxllm.providers._openai import OpenAIChat
from rxllm.providers._responses import AzureResponses, OpenAIResponses
from rxllm.providers._vertex_anthropic import VertexAnthropic

__all__ = ["PROVIDERS", "Provider", "resolve"]

_CHAT: Final = OpenAIChat()
_COHERE: Final = CohereChat()
_OLLAMA: Final = OllamaChat()
_TEXT: Final = TextCompletions()
_RESPONSES: Final = (("responses/", OpenAIResponses()),)
_AZURE_RESPONSES: Final = (("responses/", AzureResponses()),)


def _openai_like(
    name: str,
    base_url: str | None,
    *key_variables: str,
    dialect: OpenAIChat = _CHAT,
    key_required: bool = True,
    stream_usage: bool = True,
    responses: bool = False,
    unsupported: frozenset[str] = frozenset(),
    renamed: tuple[tuple[str, str], ...] = (),
) -> Provider:
    """A provider that speaks OpenAI's dialect; ``NAME_API_BASE`` and, if no other, ``NAME_API_KEY`` are read."""
    return Provider(
        name,
        dialect,
        base_url,
        (f"{name.upper()}_API_BASE",),
        key_variables or (f"{name.upper()}_API_KEY",),
        key_required=key_required,
        stream_usage=stream_usage,
        unsupported=unsupported,
        renamed=renamed,
        variants=_RESPONSES if responses else (),
    )


def _cohere(name: str) -> Provider:
    variables, keys = ("COHERE_API_BASE", "CO_API_URL"), ("COHERE_API_KEY", "CO_API_KEY")
    return Provider(name, _COHERE, "https://api.cohere.com", variables, keys, unsupported=COHERE_HAS_NOT)


def _ollama(name: str) -> Provider:
    """The key is for Ollama's cloud; a server of one's own has none."""
    return Provider(
        name,
        _OLLAMA,
        "http://127.0.0.1:11434",
        ("OLLAMA_API_BASE", "OLLAMA_HOST"),
        ("OLLAMA_API_KEY",),
        key_required=False,
        unsupported=OLLAMA_HAS_NOT,
    )


# A provider that speaks OpenAI's dialect is one line here.
PROVIDERS: Final[dict[str, Provider]] = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            _CHAT,
            "https://api.openai.com/v1",
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            ("OPENAI_API_KEY",),
            variants=_RESPONSES,
        ),
        _openai_like("hosted_vllm", None, key_required=False, responses=True),
        Provider(
            "azure",
            AzureChat(),
            None,
            ("AZURE_API_BASE",),
            ("AZURE_API_KEY", "AZURE_AD_TOKEN"),
            key_header="api-key",
            variants=_AZURE_RESPONSES,
        ),
        Provider(
            "azure_ai",
            AzureAIChat(),
            None,
            ("AZURE_AI_API_BASE",),
            ("AZURE_AI_API_KEY",),
            key_header="api-key",
            variants=(("claude", AzureAnthropic()), *_AZURE_RESPONSES),
        ),
        Provider(
            "anthropic",
            AnthropicMessages(),
            "https://api.anthropic.com",
            ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
            ("ANTHROPIC_API_KEY",),
            key_header="x-api-key",
            unsupported=UNSUPPORTED,
        ),
        _openai_like(
            "groq", "https://api.groq.com/openai/v1", dialect=OpenAIChat(reasoning="reasoning"), responses=True
        ),
        _openai_like(
            "mistral",
            "https://api.mistral.ai/v1",
            dialect=OpenAIChat(reasoning=None),
            stream_usage=False,
            unsupported=frozenset({"logit_bias", "logprobs", "store", "top_logprobs", "user"}),
            renamed=(("max_completion_tokens", "max_tokens"), ("seed", "random_seed")),
        ),
        _openai_like(
            "deepseek",
            "https://api.deepseek.com",
            responses=True,
            renamed=(("max_completion_tokens", "max_tokens"),),
        ),
        _openai_like("openrouter", "https://openrouter.ai/api/v1", responses=True),
        _openai_like("xai", "https://api.x.ai/v1", responses=True),
        _openai_like("cerebras", "https://api.cerebras.ai/v1"),
        _openai_like("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
        _openai_like(
            "fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY"
        ),
        _openai_like("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
        _openai_like("databricks", None, stream_usage=False),
        _openai_like("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        _openai_like("deepinfra", "https://api.deepinfra.com/v1/openai"),
        _openai_like("zai", "https://api.z.ai/api/paas/v4"),
        _openai_like("moonshot", "https://api.moonshot.ai/v1"),
        _openai_like("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_API_KEY"),
        _openai_like(
            "vercel_ai_gateway", "https://ai-gateway.vercel.sh/v1", "VERCEL_AI_GATEWAY_API_KEY", "AI_GATEWAY_API_KEY"
        ),
        _openai_like("nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY"),
        _openai_like("sambanova", "https://api.sambanova.ai/v1"),
        _openai_like("github", "https://models.github.ai/inference", "GITHUB_API_KEY", "GITHUB_TOKEN"),
        _openai_like("lm_studio", "http://localhost:1234/v1", key_required=False, responses=True),
        _openai_like("llamafile", "http://127.0.0.1:8080/v1", key_required=False),
        _openai_like("litellm_proxy", None, key_required=False, responses=True),
        _openai_like("snowflake", None, "SNOWFLAKE_JWT", "SNOWFLAKE_API_KEY"),
        _openai_like("writer", "https://api.writer.com/v1", dialect=OpenAIChat("/chat")),
        _cohere("cohere"),
        _cohere("cohere_chat"),
        _ollama("ollama"),
        _ollama("ollama_chat"),
        Provider(
            "text-completion-openai",
            _TEXT,
            "https://api.openai.com/v1",
            ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            ("OPENAI_API_KEY",),
            unsupported=CHAT_ONLY | {"response_format"},
        ),
        Provider(
            "text-completion-hosted_vllm",
            _TEXT,
            None,
            ("HOSTED_VLLM_API_BASE",),
            ("HOSTED_VLLM_API_KEY",),
            key_required=False,
            unsupported=CHAT_ONLY,
        ),
        Provider(
            "text-completion-together_ai",
            _TEXT,
            "https://api.together.xyz/v1",
            ("TOGETHER_AI_API_BASE",),
            ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
            unsupported=CHAT_ONLY,
        ),
        Provider(
            "gemini",
            Gemini(),
            "https://generativelanguage.googleapis.com/v1beta",
            ("GEMINI_API_BASE",),
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            key_header="x-goog-api-key",
            unsupported=GEMINI_HAS_NOT,
        ),
        Provider(
            "vertex_ai",
            VertexGemini(),
            VERTEX_URL,
            ("VERTEXAI_API_BASE",),
            credentials=access_token,
            unsupported=GEMINI_HAS_NOT,
            variants=(("claude-", VertexAnthropic()),),
        ),
        Provider(
            "bedrock",
            BedrockConverse(),
            BEDROCK_URL,
            ("AWS_BEDROCK_RUNTIME_ENDPOINT", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
            ("AWS_BEARER_TOKEN_BEDROCK",),
            credentials=session_credentials,
            key_parameters=("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
            variants=(("converse/", BedrockConverse()), ("invoke/", BedrockInvoke())),
        ),
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
    """The provider of a model, with the dialect for that model, and the model as that provider knows it.

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
        if custom_llm_provider not in PROVIDERS:
            raise _refusal(model, f"custom_llm_provider={custom_llm_provider!r} is not known", custom_llm_provider)
        name, wire_model = custom_llm_provider, rest if slash and prefix == custom_llm_provider else model
    elif slash:
        if prefix not in PROVIDERS:
            raise _refusal(model, f"{model!r} names a provider, {prefix!r}, that is not known", prefix)
        name, wire_model = prefix, rest
    else:
        name, wire_model = next((name for name, starts in _BARE.items() if model.startswith(starts)), ""), model
        if not name:
            raise _refusal(model, f"{model!r} does not say whose model it is", model)
        if name not in PROVIDERS:
            raise _refusal(model, f"{model!r} is a model of {name}, which is not known", name)
    provider, wire_model = PROVIDERS[name].variant(wire_model)
    if not wire_model.strip():
        raise BadRequestError(f"{model!r} names a provider and no model.", llm_provider=name, model=model)
    return provider, wire_model


def _refusal(model: str, reason: str, given: str) -> BadRequestError:
    import difflib

    near = difflib.get_close_matches(given.lower(), PROVIDERS)
    known = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(sorted(PROVIDERS))}."
    return BadRequestError(
        f'{reason}. {known} A model is named as in "openai/gpt-4o"; custom_llm_provider="openai" with api_base= '
        "reaches any server that speaks as OpenAI does.",
        model=model,
    )
