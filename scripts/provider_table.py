"""Writes the table of providers in PROVIDERS.md, from the registry and from what each dialect does with a request.

    python scripts/provider_table.py

Where, by which key and in which dialect stands in the registry. How an answer streams is what the request accepts;
whether there are tools and reasoning is whether the dialect takes ``tools`` and ``reasoning_effort``. It needs the
extra ``bedrock``.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rxllm.cli._entries import CREDENTIALS, DIALECTS
from rxllm.exceptions import UnsupportedParamsError
from rxllm.providers import PROVIDERS, Provider
from rxllm.providers._azure import AzureAIChat, AzureChat
from rxllm.providers._base import Dialect, HTTPRequest
from rxllm.providers._bedrock import BedrockConverse
from rxllm.providers._bedrock_invoke import BedrockInvoke
from rxllm.providers._completions import TextCompletions
from rxllm.types import Request

__all__ = ["BEGIN", "END", "PAGE", "SECTIONS", "page_with", "table"]

PAGE: Final = Path(__file__).resolve().parents[1] / "PROVIDERS.md"
BEGIN: Final = "<!-- This table is written by scripts/provider_table.py. -->"
END: Final = "<!-- Here the table ends. -->"

# Where the section of PROVIDERS.md has another heading than people's name of the dialect.
_SECTION_OF: Final[dict[type, str]] = {
    AzureChat: "Azure",
    AzureAIChat: "Azure",
    BedrockConverse: "Bedrock",
    BedrockInvoke: "Bedrock",
    TextCompletions: "Text completions",
}
SECTIONS: Final = {dialect: (name, _SECTION_OF.get(dialect, name)) for dialect, name in DIALECTS.items()}

# What an answer streams in, by the media type that is asked for.
_STREAMS: Final = {
    "text/event-stream": "SSE",
    "application/x-ndjson": "NDJSON",
    "application/vnd.amazon.eventstream": "AWS event stream",
}

_HEADINGS: Final = ("Prefix", "Dialect", "Key", "Address", "Streaming", "Tools", "Reasoning", "Usage")

# By the vendor in its name Bedrock's dialects tell what it takes; the others have no opinion.
_MODEL: Final = "anthropic.claude-sonnet-4-5"
_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}
_PLACES: Final = {"vertex_project": "p", "aws_region_name": "us-east-1"}


def table() -> str:
    """The table in Markdown, a line a provider, in the order of the registry."""
    lines = [_HEADINGS, tuple("---" for _ in _HEADINGS), *(_cells(provider) for provider in PROVIDERS.values())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page_with(page: str) -> str:
    """``page`` with the table between its two marks replaced by the one of now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _cells(provider: Provider) -> tuple[str, ...]:
    dialects = [_link(provider.dialect)]
    dialects += [f"`{prefix}{'' if prefix.endswith('/') else '...'}`: {_link(it)}" for prefix, it in provider.variants]
    return (
        f"`{provider.name}/`",
        "; ".join(dialects),
        _key(provider),
        _address(provider),
        _said_by_all(provider, _streaming),
        _said_by_all(provider, lambda served, model: _takes(served, model, tools=[_TOOL])),
        _said_by_all(provider, lambda served, model: _takes(served, model, reasoning_effort="low")),
        "reported" if provider.stream_usage else "unasked",
    )


def _link(dialect: Dialect) -> str:
    name, section = SECTIONS[type(dialect)]
    return f"[{name}](#{section.lower().replace(' ', '-')})"


def _key(provider: Provider) -> str:
    ways = [f"`{name}`" for name in provider.key_variables]
    if provider.credentials is not None:
        ways.append(CREDENTIALS[provider.credentials][0])
    if not ways:
        return "none"
    return " or ".join(ways) + ("" if provider.key_required else ", if wanted")


def _address(provider: Provider) -> str:
    if provider.base_url is not None and provider.base_url.endswith(".invalid/v1"):
        return "in the package"
    own = [f"`{provider.base_url}`"] if provider.base_url is not None else []
    return "; ".join([*own, *(f"`{name}`" for name in provider.base_url_variables)])


def _said_by_all(provider: Provider, say: Callable[[Provider, str], str]) -> str:
    """What is so in every dialect of the provider's, or what is so in which."""
    said = [(prefix, say(served, model)) for prefix, served, model in _served(provider)]
    first = said[0][1]
    return "; ".join([first, *(f"`{prefix}`: {what}" for prefix, what in said[1:] if what != first)])


def _served(provider: Provider) -> Iterator[tuple[str, Provider, str]]:
    yield "", provider, _MODEL
    for prefix, dialect in provider.variants:
        model = _MODEL if prefix.endswith("/") else _MODEL.partition(".")[2]
        yield prefix, replace(provider, dialect=dialect), model


def _streaming(provider: Provider, model: str) -> str:
    return _STREAMS[_asked(provider, model).headers["accept"]]


def _takes(provider: Provider, model: str, **params: Any) -> str:
    try:
        _asked(provider, model, **params)
    except UnsupportedParamsError:
        return "no"
    return "yes"


def _asked(provider: Provider, model: str, **params: Any) -> HTTPRequest:
    """The HTTP request for these parameters; it is not sent."""
    request = Request(
        model=f"{provider.name}/{model}",
        messages=[{"role": "user", "content": "Hello"}],
        params={**_PLACES, **params},
        provider=provider.name,
        wire_model=model,
    )
    return provider.dialect.http_request(request, provider.base_url or "https://example.com/v1", "key", provider)


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8")), "utf-8")
    print(f"{PAGE.name}: {len(PROVIDERS)} providers")
