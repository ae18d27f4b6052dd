"""The request of legacy completions: messages become a prompt."""

import json
from typing import Any

import pytest

import rxllm
from rxllm.exceptions import UnsupportedParamsError
from rxllm.providers import PROVIDERS
from rxllm.providers._base import HTTPRequest
from rxllm.providers._completions import TextCompletions
from rxllm.types import Request
from tests.server import Answering, Server

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hello 漢"}]


def asked(
    base_url: str = "https://api.openai.com/v1", provider: str = "text-completion-openai", **given: Any
) -> HTTPRequest:
    """The HTTP request for these parameters."""
    messages = given.pop("messages", MESSAGES)
    request = Request(f"{provider}/m", messages=messages, params=given, provider=provider, wire_model="m")
    return TextCompletions().http_request(request, base_url, "sk-secret", PROVIDERS[provider])


def body(**given: Any) -> dict[str, Any]:
    """The body of the HTTP request, read back."""
    read: dict[str, Any] = json.loads(asked(**given).body)
    return read


def test_the_whole_request() -> None:
    """What goes over the wire."""
    http = asked(temperature=0.5, echo=True, stream_options={"include_obfuscation": False})
    assert (http.method, http.url) == ("POST", "https://api.openai.com/v1/completions")
    assert http.headers["authorization"] == "Bearer sk-secret"
    assert json.loads(http.body) == {
        "model": "m",
        "prompt": "Hello 漢",
        "temperature": 0.5,
        "echo": True,
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    }


def test_several_messages() -> None:
    """Paragraphs with their roles, and the assistant's turn."""
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello,"}, {"type": "text", "text": "you"}]},
        {"role": "assistant", "content": "Hi"},
        {"role": "tool", "content": "Noon"},
        {"role": "critic", "content": "Hm"},
    ]
    assert body(messages=messages)["prompt"] == (
        "System: Be brief.\n\nUser: Hello,\nyou\n\nAssistant: Hi\n\nTool: Noon\n\nCritic: Hm\n\nAssistant:"
    )
    assert body(messages=[{"role": "developer", "content": "Rhyme."}])["prompt"] == "System: Rhyme.\n\nAssistant:"


def test_an_answer_that_was_begun_is_carried_on() -> None:
    """The last message is the assistant's."""
    messages = [*MESSAGES, {"role": "assistant", "content": "Once upon"}]
    assert body(messages=messages)["prompt"] == "User: Hello 漢\n\nAssistant: Once upon"


@pytest.mark.parametrize("prompt", ["as it is", ["one", "two"], [1, 2, 3], ""])
def test_a_prompt_wins(prompt: Any) -> None:
    """Over the messages, in any form that completions take."""
    assert body(prompt=prompt)["prompt"] == prompt


def test_parameters() -> None:
    """Log probabilities are a number here, the most tokens have the old name."""
    assert body(max_completion_tokens=9)["max_tokens"] == 9
    assert body(logprobs=True, top_logprobs=3)["logprobs"] == 3
    assert body(logprobs=True)["logprobs"] == 1
    assert body(logprobs=5)["logprobs"] == 5
    assert body(logprobs=0)["logprobs"] == 0
    assert not {"logprobs", "top_logprobs"} & set(body(logprobs=False, top_logprobs=3))
    assert body(n=2, best_of=3, suffix="end", user="me")["best_of"] == 3


def test_a_schema_where_the_server_takes_one() -> None:
    """vLLM does, OpenAI does not."""
    wanted = {"type": "json_object"}
    assert body(provider="text-completion-hosted_vllm", response_format=wanted)["response_format"] == wanted
    with pytest.raises(UnsupportedParamsError, match="response_format"):
        body(response_format=wanted)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tools": [1]}, "tools"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "content of type"),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "tool_calls"),
    ],
)
def test_what_is_no_text(given: dict[str, Any], name: str) -> None:
    """Is refused by name, or left out."""
    with pytest.raises(UnsupportedParamsError, match=name):
        body(**given)
    assert set(body(**given, drop_params=True)) == {"model", "prompt", "stream", "stream_options"}


def test_over_a_socket(server: Server) -> None:
    """Prefix, path and answer."""

    async def script(answering: Answering) -> None:
        await answering.start()
        for piece in ("Hel", "lo"):
            await answering.event({"choices": [{"index": 0, "text": piece}]})
        await answering.event({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, "[DONE]")
        await answering.end()

    server.script = script
    response = rxllm.completion("text-completion-openai/davinci-002", MESSAGES, api_base=server.url, api_key="k")
    assert (response.choices[0].message.content, response.choices[0].finish_reason) == ("Hello", "stop")
    [request] = server.requests
    assert (request.path, request.json["model"]) == ("/v1/completions", "davinci-002")
