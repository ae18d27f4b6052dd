"""Cohere's request: the address, parameters by their own names, messages and tools."""

import inspect
import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

import rxllm
from rxllm.exceptions import UnsupportedParamsError
from rxllm.providers import PROVIDERS
from rxllm.providers._base import HTTPRequest
from rxllm.providers._cohere import CohereChat
from rxllm.types import Request
from tests.server import Answering, Server

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hello 漢"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock", "description": "The time"}}
CITATION = {"start": 0, "end": 4, "text": "Rain", "sources": [{"type": "tool", "id": "weather_1:0"}]}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this, and the weather?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        ],
    },
    {
        "role": "assistant",
        "provider_specific_fields": {"tool_plan": "I will look."},
        "tool_calls": [
            {"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kyōto"}'}},
            {"id": "clock_1", "type": "function", "function": {"name": "clock", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "weather_1", "content": "Rain", "name": "weather"},
    {"role": "tool", "tool_call_id": "clock_1", "content": [{"type": "text", "text": "Noon"}]},
    {
        "role": "assistant",
        "content": "Rain.",
        "reasoning_content": "It says rain.",
        "annotations": [],
        "provider_specific_fields": {"citations": [CITATION]},
    },
    {"role": "user", "content": "Thanks"},
]


def asked(base_url: str = "https://api.cohere.com", **given: Any) -> HTTPRequest:
    """The HTTP request for these parameters."""
    messages = given.pop("messages", MESSAGES)
    request = Request("cohere/command-a", messages=messages, params=given, provider="cohere", wire_model="command-a")
    return CohereChat().http_request(request, base_url, "co-secret", PROVIDERS["cohere"])


def body(**given: Any) -> dict[str, Any]:
    """The body of the HTTP request, read back."""
    read: dict[str, Any] = json.loads(asked(**given).body)
    return read


def test_the_whole_request() -> None:
    """What goes over the wire."""
    http = asked()
    assert (http.method, http.url) == ("POST", "https://api.cohere.com/v2/chat")
    assert (http.headers["authorization"], http.headers["accept"]) == ("Bearer co-secret", "text/event-stream")
    assert json.loads(http.body) == {"model": "command-a", "messages": MESSAGES, "stream": True}


@pytest.mark.parametrize(
    "base_url",
    ["https://a.b", "https://a.b/v2", "https://a.b/v2/chat"],
)
def test_the_address(base_url: str) -> None:
    """With the version or the whole path, or without."""
    assert asked(base_url=base_url).url == "https://a.b/v2/chat"
    assert asked(base_url=f"{base_url}?x=1").url == "https://a.b/v2/chat?x=1"


def test_parameters_have_their_own_names() -> None:
    """And what is Cohere's alone is passed on."""
    sent = body(
        max_completion_tokens=9,
        stop="END",
        top_p=0.9,
        top_k=3,
        temperature=0.5,
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        safety_mode="STRICT",
        documents=["a"],
        n=1,
        parallel_tool_calls=True,
        drop_params=True,
        user="me",
    )
    del sent["model"], sent["messages"], sent["stream"]
    assert sent == {
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "p": 0.9,
        "k": 3,
        "temperature": 0.5,
        "seed": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "logprobs": True,
        "safety_mode": "STRICT",
        "documents": ["a"],
    }


class Fruit(BaseModel):
    """A schema."""

    name: Literal["apple", "pear"]


def test_the_format() -> None:
    """A schema, a pydantic class, any JSON, or plain text."""
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    told = body(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert told["response_format"] == {"type": "json_object", "json_schema": schema}
    for plain in ({"type": "json_object"}, {"type": "text"}):
        assert body(response_format=plain)["response_format"] == plain
    told = body(response_format=Fruit)["response_format"]
    assert (told["type"], told["json_schema"]["required"]) == ("json_object", ["name"])


@pytest.mark.parametrize(
    ("given", "thinking"),
    [
        ({"reasoning_effort": "high"}, {"type": "enabled"}),
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 512}}, {"type": "enabled", "token_budget": 512}),
        ({"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {"type": "disabled"}),
        ({"thinking": {"type": "enabled", "token_budget": 5}}, {"type": "enabled", "token_budget": 5}),
    ],
)
def test_thinking(given: dict[str, Any], thinking: object) -> None:
    """It is on or off, with a budget perhaps."""
    assert body(**given)["thinking"] == thinking


def test_a_conversation() -> None:
    """Plans and citations go back as they came; empty arguments are an empty object."""
    sent = body(messages=CONVERSATION)["messages"]
    assert sent == [
        {"role": "system", "content": "Be brief."},
        CONVERSATION[1],
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [
                CONVERSATION[2]["tool_calls"][0],
                {"id": "clock_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "weather_1", "content": "Rain"},
        {"role": "tool", "tool_call_id": "clock_1", "content": [{"type": "text", "text": "Noon"}]},
        {
            "role": "assistant",
            "citations": [CITATION],
            "content": [{"type": "thinking", "thinking": "It says rain."}, {"type": "text", "text": "Rain."}],
        },
        {"role": "user", "content": "Thanks"},
    ]


def test_a_tool_whose_parameters_are_none() -> None:
    """Null is no schema: it is sent as one without properties."""
    tool = {"type": "function", "function": {"name": "clock", "parameters": None}}
    assert body(tools=[tool])["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("content", ["", None])
def test_a_message_that_only_thinks(content: str | None) -> None:
    """Its thinking is its content, whether the answer's text came as none or as an empty one."""
    message = {"role": "assistant", "content": content, "reasoning_content": "Hm"}
    sent = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"}]}
    assert body(messages=[*MESSAGES, message])["messages"][1] == sent


def test_tools_and_whether_to_use_them() -> None:
    """Parameters have to be there; strictness is one for all tools."""
    sent = body(tools=[TOOL, CLOCK], tool_choice="required")
    assert sent["tool_choice"] == "REQUIRED"
    assert sent["tools"][0] == TOOL
    assert sent["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}
    assert body(tools=[TOOL], tool_choice="none")["tool_choice"] == "NONE"
    sent = body(tools=[TOOL], tool_choice="auto")
    assert set(sent) == {"model", "messages", "stream", "tools"}
    strict: dict[str, Any] = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    assert body(tools=[strict])["strict_tools"] is True
    sent = body(tools=[strict, CLOCK])
    assert "strict_tools" not in sent
    assert "strict" not in sent["tools"][0]["function"]
    assert strict["function"]["strict"] is True


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"n": 2}, "n"),
        ({"user": "me"}, "user"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "content of type input_audio"),
    ],
)
def test_what_cohere_has_not(given: dict[str, Any], name: str) -> None:
    """Is refused by name, or left out."""
    with pytest.raises(UnsupportedParamsError, match=name) as raised:
        body(**given)
    assert raised.value.param == name
    assert set(body(**given, drop_params=True)) == {"model", "messages", "stream"}


def test_coheres_own_types_take_it() -> None:
    """The request is one of the ``cohere`` package's."""
    types: Any = pytest.importorskip("cohere.types", reason="the package cohere is not installed")
    client: Any = pytest.importorskip("cohere.v2.client", reason="the package cohere is not installed")
    sent = body(
        messages=CONVERSATION,
        tools=[TOOL, CLOCK],
        tool_choice="required",
        max_tokens=9,
        stop=["a"],
        top_p=0.5,
        top_k=1,
        seed=1,
        logprobs=True,
        response_format=Fruit,
        thinking={"type": "enabled", "budget_tokens": 5},
    )
    assert sent.pop("stream") is True
    assert set(sent) <= set(inspect.signature(client.V2Client.chat_stream).parameters)
    reader: TypeAdapter[Any] = TypeAdapter(types.ChatMessageV2)
    told: list[Any] = [reader.validate_python(message) for message in sent["messages"]]
    assert [message.role for message in told] == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert told[2].tool_calls[1].function.arguments == "{}"
    assert told[5].content[0].thinking == "It says rain."
    assert [types.ToolV2.model_validate(tool).function.name for tool in sent["tools"]] == ["weather", "clock"]
    TypeAdapter(types.ResponseFormatV2).validate_python(sent["response_format"])
    assert types.Thinking.model_validate(sent["thinking"]).token_budget == 5


def test_a_round_trip(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key may be in either variable; what the answer's message holds goes back where it came from."""
    monkeypatch.delenv("COHERE_API_KEY", raising=False)
    monkeypatch.setenv("CO_API_KEY", "co-other")
    events: list[tuple[str, dict[str, Any]]] = [
        ("message-start", {"message": {"role": "assistant"}}),
        ("tool-plan-delta", {"message": {"tool_plan": "I will"}}),
        ("tool-plan-delta", {"message": {"tool_plan": " look."}}),
        ("tool-call-start", {"message": {"tool_calls": {"id": "weather_1", "function": {"name": "weather"}}}}),
        ("message-end", {"finish_reason": "TOOL_CALL"}),
    ]

    async def script(answering: Answering) -> None:
        await answering.start()
        for kind, delta in events:
            await answering.event({"type": kind, "index": 0, "delta": delta})
        await answering.event("[DONE]")
        await answering.end()

    server.script = script
    address = server.url.removesuffix("/v1")
    response = rxllm.completion("cohere_chat/command-a", MESSAGES, tools=[TOOL], api_base=address)
    assert response.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": "weather_1", "content": "Rain"}
    rxllm.completion("cohere/command-a", [*MESSAGES, response.choices[0].message, result], api_base=address)
    first, second = server.requests
    assert (first.path, first.headers["authorization"]) == ("/v2/chat", "Bearer co-other")
    assert second.json["messages"][1:] == [
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [
                {"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ],
        },
        result,
    ]
