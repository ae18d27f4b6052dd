"""Ollama's request: the address in all its forms, options, messages and tools."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import rxllm
from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.providers import PROVIDERS
from rxllm.providers._base import HTTPRequest
from rxllm.providers._ollama import OllamaChat
from rxllm.types import Request
from tests.server import Answering, Server

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hello 漢"}]
PNG = "iVBORw0KGgo="
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this,"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "text", "text": "and the weather?"},
        ],
    },
    {
        "role": "assistant",
        "reasoning_content": "I need the weather.",
        "provider_specific_fields": {"context": [1]},
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kyōto"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "Noon"}]},
]


def asked(base_url: str = "http://127.0.0.1:11434", key: str | None = None, **given: Any) -> HTTPRequest:
    """The HTTP request for these parameters."""
    messages = given.pop("messages", MESSAGES)
    model = given.pop("model", "qwen3")
    request = Request(model=f"ollama/{model}", messages=messages, params=given, provider="ollama", wire_model=model)
    return OllamaChat().http_request(request, base_url, key, PROVIDERS["ollama"])


def body(**given: Any) -> dict[str, Any]:
    """The body of the HTTP request, read back."""
    read: dict[str, Any] = json.loads(asked(**given).body)
    return read


def test_the_whole_request() -> None:
    """What goes over the wire: no key, and lines of JSON are asked for."""
    http = asked()
    assert (http.method, http.url) == ("POST", "http://127.0.0.1:11434/api/chat")
    assert http.headers["accept"] == "application/x-ndjson"
    assert "authorization" not in http.headers
    assert json.loads(http.body) == {"model": "qwen3", "messages": MESSAGES, "stream": True}
    assert asked(key="cloud").headers["authorization"] == "Bearer cloud"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:8080", "http://gpu-box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("10.0.0.7", "http://10.0.0.7:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  where a server listens
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("fe80::2:1", "http://[fe80::2:1]:11434"),
        (' "gpu-box" ', "http://gpu-box:11434"),
        ("gpu-box/", "http://gpu-box:11434"),
        ("gpu-box/ollama", "http://gpu-box:11434/ollama"),
        ("http://gpu-box", "http://gpu-box"),
        ("http://gpu-box:8080/", "http://gpu-box:8080"),
        ("https://ollama.com", "https://ollama.com"),
        ("https://ollama.com/api", "https://ollama.com"),
        ("https://example.com/some/where/", "https://example.com/some/where"),
        ("https://me:word@example.com:8443", "https://me:word@example.com:8443"),
        ("http://gpu-box:8080/api/chat", "http://gpu-box:8080"),
    ],
)
def test_the_address(said: str, meant: str) -> None:
    """``OLLAMA_HOST`` in each form that Ollama documents, and a bare IPv6 address."""
    assert asked(base_url=said).url == f"{meant}/api/chat"


def test_parameters_become_options() -> None:
    """Those of sampling and lengths, and those that only Ollama has; the caller's own options win."""
    sent = body(
        max_completion_tokens=9,
        stop="END",
        seed=7,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        top_k=3,
        num_ctx=4096,
        options={"seed": 8, "new_option": True},
        keep_alive="5m",
        logprobs=True,
        top_logprobs=2,
        n=1,
        parallel_tool_calls=True,
    )
    assert sent["options"] == {
        "num_predict": 9,
        "stop": ["END"],
        "seed": 8,
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "top_k": 3,
        "num_ctx": 4096,
        "new_option": True,
    }
    assert set(sent) == {"model", "messages", "stream", "options", "keep_alive", "logprobs", "top_logprobs"}
    assert body(max_tokens=3)["options"] == {"num_predict": 3}


class Fruit(BaseModel):
    """A schema."""

    name: Literal["apple", "pear"]


def test_the_format() -> None:
    """A schema, a pydantic class, any JSON, or plain text."""
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    assert body(response_format={"type": "json_schema", "json_schema": {"schema": schema}})["format"] == schema
    assert body(response_format={"type": "json_object"})["format"] == "json"
    assert "format" not in body(response_format={"type": "text"})
    told = body(response_format=Fruit)["format"]
    assert (told["required"], told["properties"]["name"]["enum"]) == (["name"], ["apple", "pear"])
    assert body(format="json")["format"] == "json"


@pytest.mark.parametrize(
    ("model", "given", "think"),
    [
        ("gpt-oss:20b", {"reasoning_effort": "medium"}, "medium"),
        ("gpt-oss:20b", {"reasoning_effort": "minimal"}, "low"),
        ("gpt-oss:20b", {"reasoning_effort": "xhigh"}, "high"),
        ("qwen3", {"reasoning_effort": "low"}, True),
        ("qwen3", {"reasoning_effort": "none"}, False),
        ("qwen3", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ("qwen3", {"thinking": {"type": "disabled"}}, False),
        ("qwen3", {"think": "max"}, "max"),
    ],
)
def test_thinking(model: str, given: dict[str, Any], think: object) -> None:
    """A level where the model knows levels, else a switch."""
    assert body(model=model, **given)["think"] == think
    assert "think" not in body(model=model)


def test_a_conversation() -> None:
    """Images as base64, arguments as objects, tool results by the tool's name, and nothing that is OpenAI's alone."""
    sent = body(messages=CONVERSATION, tools=[TOOL])
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this,\nand the weather?", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "I need the weather.",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Kyōto"}}},
                {"id": "call_2", "function": {"name": "clock", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Rain", "tool_call_id": "call_1", "tool_name": "weather"},
        {"role": "tool", "content": "Noon", "tool_call_id": "call_2", "tool_name": "clock"},
    ]
    assert sent["tools"] == [TOOL]


def test_tools_and_whether_to_use_them() -> None:
    """``auto`` is how it is; ``none`` is to send none."""
    assert body(tools=[TOOL], tool_choice="auto")["tools"] == [TOOL]
    assert "tools" not in body(tools=[TOOL], tool_choice="none")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tool_choice": "required", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"n": 2}, "n"),
        ({"user": "me"}, "user"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x.y/z.png"}]}]},
            "image_url",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "content of type file"),
    ],
)
def test_what_ollama_has_not(given: dict[str, Any], name: str) -> None:
    """Is refused by name, or left out."""
    with pytest.raises(UnsupportedParamsError, match=name) as raised:
        body(**given)
    assert raised.value.param == name
    assert set(body(**given, drop_params=True)) <= {"model", "messages", "stream", "tools"}


@pytest.mark.parametrize("arguments", ["{", "[1]", "7", '{"a": ' + "[" * 100_000])
def test_arguments_that_are_no_object(arguments: str) -> None:
    """Ollama would refuse them without saying which."""
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    with pytest.raises(BadRequestError, match="'weather' are no JSON object"):
        body(messages=[{"role": "assistant", "tool_calls": [call]}])


def test_ollamas_own_types_take_it() -> None:
    """The request is one of the ``ollama`` package's."""
    types = pytest.importorskip("ollama._types", reason="the package ollama is not installed")
    sent = body(
        messages=CONVERSATION,
        tools=[TOOL],
        max_tokens=9,
        stop=["a"],
        seed=1,
        temperature=0.1,
        top_k=2,
        response_format=Fruit,
        reasoning_effort="high",
        logprobs=True,
        top_logprobs=1,
        keep_alive=3.5,
    )
    assert set(sent) <= set(types.ChatRequest.model_fields)
    told = types.ChatRequest.model_validate(sent)
    assert set(sent["options"]) <= set(types.Options.model_fields)
    assert types.Options.model_validate(sent["options"]).num_predict == 9
    sent["messages"][1]["images"] = [{"value": PNG}]  # the package's own object for it
    messages = [types.Message.model_validate(message) for message in sent["messages"]]
    assert messages[2].tool_calls[0].function.arguments == {"city": "Kyōto"}
    assert [message.tool_name for message in messages[3:]] == ["weather", "clock"]
    assert told.tools[0].function.name == "weather"


def test_ollama_hosts_like_ollamas_own() -> None:
    """The address is that of the ``ollama`` package, but for where one cannot go."""
    client = pytest.importorskip("ollama._client", reason="the package ollama is not installed")
    for said in ("", "a", "a:1", ":1", "http://a:1", "https://a:1/p", "a/p", "[::1]:1", "a:1/p/"):
        assert asked(base_url=said).url == client._parse_host(said) + "/api/chat"  # noqa: SLF001  what it documents


def test_the_host_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """``OLLAMA_HOST`` alone is enough to ask, and the answer can be sent back."""
    for name in ("OLLAMA_API_BASE", "OLLAMA_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://").split("/")[0])
    lines: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "thinking": "Well."}, "done": False},
        {"message": {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "X"}}}]}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 3},
    ]

    async def script(answering: Answering) -> None:
        await answering.start(content_type="application/x-ndjson")
        for line in lines:
            await answering.send(json.dumps(line).encode() + b"\n")
        await answering.end()

    server.script = script
    response = rxllm.completion("ollama_chat/qwen3", MESSAGES, tools=[TOOL])
    message = response.choices[0].message
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert (call.function.name, call.parsed) == ("weather", {"city": "X"})
    assert response.choices[0].finish_reason == "tool_calls"
    assert server.requests[0].path == "/api/chat"
    sent = body(messages=[*MESSAGES, message.model_dump(exclude_none=True)])["messages"][1]
    assert sent == {
        "role": "assistant",
        "content": "",
        "thinking": "Well.",
        "tool_calls": [{"id": call.id, "function": {"name": "weather", "arguments": {"city": "X"}}}],
    }
