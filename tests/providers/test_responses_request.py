"""Requests in the Responses API's own shape, checked against the types of OpenAI's library where that is installed."""

import functools
import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from rxllm.exceptions import UnsupportedParamsError
from rxllm.providers import PROVIDERS, resolve
from rxllm.providers._responses_request import responses_body
from rxllm.types import ChatCompletionMessageToolCall, Function, Message, Request

HELLO = [{"role": "user", "content": "Hello"}]


def asked(messages: list[Any] | None = None, **params: Any) -> dict[str, Any]:
    """The body of a request to OpenAI, as it is sent; it is what OpenAI's library takes, if that is there."""
    provider, wire_model = resolve("openai/responses/gpt-5")
    request = Request("openai/responses/gpt-5", messages or HELLO, params, "openai", wire_model)
    sent = provider.dialect.http_request(request, "https://api.openai.com/v1", "key", provider)
    assert sent.url == "https://api.openai.com/v1/responses"
    assert sent.headers["authorization"] == "Bearer key"
    body: dict[str, Any] = json.loads(sent.body)
    assert body["model"] == "gpt-5"
    return body


@functools.cache
def adapter(module: str, name: str) -> TypeAdapter[Any]:
    """A type of OpenAI's library, to validate with; making one takes its time."""
    types = pytest.importorskip(f"openai.types.responses.{module}", reason="OpenAI's library is not installed")
    return TypeAdapter(getattr(types, name))


def check(body: dict[str, Any]) -> None:
    """Validates a body against the types of OpenAI's library. Lists are checked item by item, for a clear message."""
    for item in body["input"]:
        adapter("response_input_item_param", "ResponseInputItemParam").validate_python(item, strict=True)
    for tool in body.get("tools", []):
        adapter("tool_param", "ToolParam").validate_python(tool, strict=True)
    params = pytest.importorskip("openai.types.responses.response_create_params")
    known = params.ResponseCreateParamsStreaming.__annotations__ | params.ResponseCreateParamsBase.__annotations__
    assert set(body) <= set(known)
    rest = {key: value for key, value in body.items() if key not in ("input", "tools")}
    adapter("response_create_params", "ResponseCreateParamsStreaming").validate_python(rest, strict=True)


def test_a_plain_request() -> None:
    """Streamed, and whether the answer is stored is left to the provider."""
    body = asked()
    assert body == {"model": "gpt-5", "input": HELLO, "stream": True}
    check(body)


def test_instructions_images_files_and_texts() -> None:
    """Messages with each kind of content part."""
    parts = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://x.invalid/a.png", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_text", "text": "as it is"},
    ]
    body = asked(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "x"}}]},
            {"role": "user", "content": parts, "name": "Ada"},
        ]
    )
    assert body["input"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_image", "image_url": "https://x.invalid/a.png", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                {"type": "input_file", "file_id": "file-1"},
                {"type": "input_text", "text": "as it is"},
            ],
        },
    ]
    check(body)


def test_a_conversation_with_tools() -> None:
    """Calls and results are items of their own; a call without arguments has empty ones."""
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}},
        {"id": "c3", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
    ]
    image = {"type": "image_url", "image_url": {"url": "https://x.invalid/a.png"}}
    body = asked(
        [
            *HELLO,
            {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}, image]},
            {"role": "tool", "tool_call_id": "c3", "content": "a.txt"},
            {"type": "item_reference", "id": "rs_1"},
        ]
    )
    assert body["input"][1:] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "now", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c3", "name": "shell", "input": "ls"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "noon"},
                {"type": "input_image", "image_url": "https://x.invalid/a.png", "detail": "auto"},
            ],
        },
        {"type": "custom_tool_call_output", "call_id": "c3", "output": "a.txt"},
        {"type": "item_reference", "id": "rs_1"},
    ]
    check(body)


def test_functions_of_old() -> None:
    """The deprecated names of calls and results; the function's name stands for the id there was none of."""
    body = asked(
        [
            *HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
            {"role": "function", "name": "now", "content": "noon"},
        ],
        functions=[{"name": "now"}],
        function_call={"name": "now"},
    )
    assert body["input"][1:] == [
        {"type": "function_call", "call_id": "now", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "now", "output": "noon"},
    ]
    assert body["tool_choice"] == {"type": "function", "name": "now"}
    assert [tool["name"] for tool in body["tools"]] == ["now"]
    check(body)


def test_refusals_and_empty_answers_of_before() -> None:
    """A refusal is a part of its message; a message of nothing is left out."""
    said = [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": "Well.", "refusal": "No."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": ""},
    ]
    no = {"type": "refusal", "refusal": "No."}
    well: dict[str, Any] = {"type": "output_text", "text": "Well.", "annotations": []}
    assert asked([*HELLO, *said])["input"][1:] == [
        {"role": "assistant", "content": [no]},
        {"role": "assistant", "content": [well, no]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
    ]


def test_tools() -> None:
    """Flat, not strict unless asked; those that are the Responses API's own as they are."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    grammar = {"syntax": "lark", "definition": "start: /a/"}
    body = asked(
        tools=[
            {"type": "function", "function": {"name": "f", "description": "F.", "parameters": schema}},
            {"type": "function", "function": {"name": "g", "parameters": schema, "strict": True}},
            {"type": "function", "function": {"name": "h"}},
            {"type": "function", "name": "flat", "parameters": schema, "strict": None},
            {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": grammar}}},
            {"type": "custom", "custom": {"name": "d", "format": {"type": "text"}}},
            {"type": "code_interpreter", "container": {"type": "auto"}},
        ],
        web_search_options={
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"city": "Rome"}},
        },
        parallel_tool_calls=False,
    )
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "F.", "parameters": schema, "strict": False},
        {"type": "function", "name": "g", "parameters": schema, "strict": True},
        {"type": "function", "name": "h", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "flat", "parameters": schema, "strict": False},
        {"type": "custom", "name": "c", "format": {"type": "grammar", **grammar}},
        {"type": "custom", "name": "d", "format": {"type": "text"}},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {
            "type": "web_search",
            "search_context_size": "low",
            "user_location": {"type": "approximate", "city": "Rome"},
        },
    ]
    assert body["parallel_tool_calls"] is False
    check(body)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "f"}}, {"type": "custom", "name": "f"}),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_tool_choice(choice: Any, told: Any) -> None:
    """What a chat completion says in an object of its own stands beside the type."""
    body = asked(tool_choice=choice)
    assert body["tool_choice"] == told
    check(body)


class City(BaseModel):
    """Where it is."""

    name: str
    country: str = "Italy"


SCHEMA = {
    "type": "object",
    "description": "Where it is.",
    "properties": {"name": {"title": "Name", "type": "string"}, "country": {"title": "Country", "type": "string"}},
    "required": ["name", "country"],
    "additionalProperties": False,
    "title": "City",
}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "description": "d"}},
            {"type": "json_schema", "name": "x", "schema": SCHEMA, "description": "d"},
        ),
        (City, {"type": "json_schema", "name": "City", "schema": SCHEMA, "strict": True}),
    ],
)
def test_response_format(wanted: Any, told: Any) -> None:
    """The format of the text; what was given as ``text`` stays beside."""
    body = asked(response_format=wanted, verbosity="low")
    assert body["text"] == {"format": told, "verbosity": "low"}
    check(body)
    assert asked(response_format=wanted, text={"verbosity": "high"})["text"] == {"format": told, "verbosity": "high"}


def test_parameters_under_their_own_names() -> None:
    """What a chat completion calls otherwise, and what is called the same."""
    body = asked(
        max_completion_tokens=99,
        reasoning_effort="low",
        reasoning={"summary": "auto"},
        logprobs=True,
        top_logprobs=2,
        include=["reasoning.encrypted_content"],
        store=False,
        temperature=0.5,
        top_p=0.5,
        user="u",
        metadata={"a": "b"},
        service_tier="flex",
        n=1,
        stream_options={"include_usage": True, "include_obfuscation": False},
    )
    assert body == {
        "model": "gpt-5",
        "input": HELLO,
        "stream": True,
        "max_output_tokens": 99,
        "reasoning": {"effort": "low", "summary": "auto"},
        "top_logprobs": 2,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "store": False,
        "temperature": 0.5,
        "top_p": 0.5,
        "user": "u",
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "stream_options": {"include_obfuscation": False},
    }
    check(body)
    assert asked(max_tokens=9)["max_output_tokens"] == 9
    assert asked(reasoning_effort={"effort": "low", "summary": "auto"})["reasoning"] == body["reasoning"]
    assert "include" not in asked(logprobs=False)


def test_what_is_not_known_is_passed_on() -> None:
    """A parameter of tomorrow, and ``extra_body`` last."""
    body = asked(tomorrow=1, previous_response_id="resp_1", extra_body={"tomorrow": 2})
    assert (body["tomorrow"], body["previous_response_id"]) == (2, "resp_1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("stop", "x"),
        ("seed", 1),
        ("logit_bias", {"1": 1}),
        ("presence_penalty", 1),
        ("modalities", ["audio"]),
    ],
)
def test_what_the_responses_api_has_not(name: str, value: Any) -> None:
    """Refused by its name, or left out with ``drop_params``."""
    with pytest.raises(UnsupportedParamsError) as raised:
        asked(**{name: value})
    assert raised.value.param == name
    assert name not in asked(**{name: value}, drop_params=True)


REASONING: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
BARE: dict[str, Any] = {"type": "reasoning", "id": "rs_2", "summary": []}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
RUN = {
    "type": "code_interpreter_call",
    "id": "ci",
    "status": "completed",
    "code": None,
    "container_id": "c",
    "outputs": None,
}


def answer(output: list[Any], *, stored: bool | None = None) -> dict[str, Any]:
    """A message as ``build_response()`` gives it, dumped to be sent again."""
    kept: dict[str, Any] = {"output": output} if stored is None else {"output": output, "stored": stored}
    call = ChatCompletionMessageToolCall.model_validate(
        {
            "id": "c1",
            "function": Function(name="f", arguments="{}"),
            "provider_specific_fields": {"namespace": "n"},
        }
    )
    whole = Message(content="AB", tool_calls=[call], provider_specific_fields=kept)
    return whole.model_dump(exclude_none=True)


MARKS = {
    "A": {"type": "message", "length": 1, "phase": "commentary"},
    "B": {"type": "message", "length": 1, "phase": "final_answer"},
    "call": {"type": "function_call", "call_id": "c1"},
}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "namespace": "n"}


def test_an_answer_goes_back_as_the_output_it_was() -> None:
    """In its order, each message with its phase and each call with what was said beside it."""
    hosted = {"type": "custom_tool_call", "call_id": "xs_1", "name": "x_search", "input": "{}"}
    body = asked([*HELLO, answer([REASONING, MARKS["A"], SEARCH, RUN, hosted, MARKS["call"], MARKS["B"]])])
    assert body["input"][1:] == [
        REASONING,
        {"role": "assistant", "content": "A", "phase": "commentary"},
        SEARCH,
        RUN,
        hosted,
        CALL,
        {"role": "assistant", "content": "B", "phase": "final_answer"},
    ]
    check(body)


@pytest.mark.parametrize(("stored", "sent"), [(True, [BARE, SEARCH]), (False, []), (None, [])])
def test_reasoning_that_is_but_a_name_goes_where_it_is_kept(stored: bool | None, sent: list[Any]) -> None:
    """To a provider that has stored the answer; else it goes nowhere, and what depends on it neither."""
    body = asked([*HELLO, answer([BARE, SEARCH, MARKS["call"]], stored=stored)])
    assert [item for item in body["input"][1:] if item.get("type") in ("reasoning", "web_search_call")] == sent
    assert CALL in body["input"]
    assert {"role": "assistant", "content": "AB"} in body["input"]


def test_an_answer_that_was_changed_goes_back_as_it_is_now() -> None:
    """Another text is one message; calls that were taken out or put in are followed."""
    changed = answer([REASONING, MARKS["A"], MARKS["B"], MARKS["call"]])
    changed["content"] = "Something else"
    changed["tool_calls"][0]["id"] = "c2"
    assert asked([*HELLO, changed])["input"][1:] == [
        REASONING,
        {"role": "assistant", "content": "Something else"},
        {**CALL, "call_id": "c2"},
    ]


@pytest.mark.parametrize(
    ("provider", "base", "params", "url"),
    [
        ("xai", "https://api.x.ai/v1", {}, "https://api.x.ai/v1/responses"),
        ("azure", "https://me.openai.azure.com", {}, "https://me.openai.azure.com/openai/v1/responses"),
        ("azure", "https://me.openai.azure.com/openai/v1", {}, "https://me.openai.azure.com/openai/v1/responses"),
        (
            "azure",
            "https://me.openai.azure.com/openai",
            {"api_version": "2025-04-01-preview"},
            "https://me.openai.azure.com/openai/responses?api-version=2025-04-01-preview",
        ),
        (
            "azure",
            "https://me.openai.azure.com",
            {"api_version": "preview"},
            "https://me.openai.azure.com/openai/v1/responses?api-version=preview",
        ),
    ],
)
def test_where_it_is_sent(provider: str, base: str, params: dict[str, Any], url: str) -> None:
    """Below the base URL; on Azure to the API without deployments in its path."""
    found, wire_model = resolve(f"{provider}/responses/mine")
    request = Request(f"{provider}/responses/mine", HELLO, params, provider, wire_model)
    sent = found.dialect.http_request(request, base, "key", found)
    assert sent.url == url
    assert json.loads(sent.body)["model"] == "mine"


def test_azure_with_versions_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too old for responses was meant for chat completions; a token goes as Bearer."""
    azure, wire_model = resolve("azure/responses/mine")
    request = Request("azure/responses/mine", HELLO, {}, "azure", wire_model)
    for version, path in (
        ("2024-10-21", "openai/v1/responses"),
        ("2025-03-01-preview", "openai/responses?api-version=2025-03-01-preview"),
    ):
        monkeypatch.setenv("AZURE_API_VERSION", version)
        sent = azure.dialect.http_request(request, "https://me.openai.azure.com", "eyJ.token", azure)
        assert sent.url == f"https://me.openai.azure.com/{path}"
        assert sent.headers["authorization"] == "Bearer eyJ.token"
        sent = azure.dialect.http_request(request, "https://me.openai.azure.com", "key", azure)
        assert sent.headers["api-key"] == "key"


def test_messages_and_tools_may_be_models() -> None:
    """What has been built in pydantic is said in JSON."""
    body = responses_body(
        Request("gpt-5", [Message(content="Hi").model_dump()], {"tools": (City(name="f"),)}), PROVIDERS["openai"]
    )
    assert body["input"] == [{"role": "assistant", "content": "Hi"}]
    assert body["tools"] == [{"name": "f", "country": "Italy"}]
