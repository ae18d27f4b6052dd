"""What a request in OpenAI's shape becomes for Gemini and for Vertex AI, held against Google's own types."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from rxllm._assembly import ResponseBuilder
from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.providers import PROVIDERS, resolve
from rxllm.providers._base import HTTPRequest
from rxllm.types import Request

USER = {"role": "user", "content": "Hi"}
PIXEL = "iVBORw0KGgo="


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("VERTEXAI_PROJECT", "VERTEXAI_LOCATION", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
        monkeypatch.delenv(name, raising=False)


def http(model: str, *messages: Any, base: str = "", key: str = "k", **params: Any) -> HTTPRequest:
    """The HTTP request for these messages and parameters."""
    provider, wire_model = resolve(model)
    request = Request(model, list(messages or [USER]), params, provider.name, wire_model)
    return provider.dialect.http_request(request, base or provider.base_url or "", key, provider)


def body(*messages: Any, model: str = "gemini/gemini-2.5-flash", **params: Any) -> dict[str, Any]:
    """The body for these messages and parameters, which Google's own types accept."""
    sent: dict[str, Any] = json.loads(http(model, *messages, **params).body)
    check(sent)
    return sent


def check(sent: dict[str, Any]) -> None:
    """Google's own types take each member of the body, where they are installed; they refuse unknown fields."""
    try:
        from google.genai import types
    except ImportError:
        return
    for content in [*sent["contents"], *([sent["systemInstruction"]] if "systemInstruction" in sent else [])]:
        types.Content.model_validate(content)
    for tool in sent.get("tools", []):
        types.Tool.model_validate(tool)
    if "toolConfig" in sent:
        types.ToolConfig.model_validate(sent["toolConfig"])
    types.GenerationConfig.model_validate(sent.get("generationConfig", {}))


def test_google_types_are_what_bodies_are_held_against() -> None:
    """They are there, and would refuse what is wrong."""
    types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
    with pytest.raises(ValueError):
        types.GenerationConfig.model_validate({"max_tokens": "x"})
    with pytest.raises(ValueError):
        types.Content.model_validate({"parts": [{"txt": "a"}]})


# -- where to


@pytest.mark.parametrize(
    ("model", "base", "params", "url"),
    [
        (
            "gemini/gemini-2.5-flash",
            "",
            {},
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        (
            "gemini/tunedModels/mine",
            "http://127.0.0.1:1/gemini",
            {"extra_query": {"a": "b"}},
            "http://127.0.0.1:1/gemini/tunedModels/mine:streamGenerateContent?alt=sse&a=b",
        ),
        (
            "gemini/g",
            "",
            {"api_version": "v1alpha"},
            "https://generativelanguage.googleapis.com/v1alpha/models/g:streamGenerateContent?alt=sse",
        ),
        (
            "vertex_ai/gemini-2.5-pro",
            "",
            {"vertex_project": "p"},
            (
                "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/"
                "gemini-2.5-pro:streamGenerateContent?alt=sse"
            ),
        ),
        (
            "vertex_ai/gemini-2.5-pro",
            "",
            {"vertex_project": "p", "vertex_location": "us-east5", "api_version": "v1beta1"},
            (
                "https://us-east5-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-east5/publishers/google/models/"
                "gemini-2.5-pro:streamGenerateContent?alt=sse"
            ),
        ),
        (
            "vertex_ai/g",
            "",
            {"vertex_project": "p", "vertex_location": "eu"},
            (
                "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/publishers/google/models/"
                "g:streamGenerateContent?alt=sse"
            ),
        ),
        (
            "vertex_ai/123456",
            "http://127.0.0.1:1/v1",
            {"vertex_project": "p", "vertex_location": "us-east5"},
            "http://127.0.0.1:1/v1/projects/p/locations/us-east5/endpoints/123456:streamGenerateContent?alt=sse",
        ),
    ],
)
def test_address(model: str, base: str, params: Any, url: str) -> None:
    """The model is part of the path, and ``alt=sse`` asks for events; a base URL is taken as it is."""
    assert http(model, base=base, **params).url == url


def test_keys() -> None:
    """An API key has a header of its own; a Google token is a Bearer, and Vertex AI takes either."""
    assert http("gemini/g").headers["x-goog-api-key"] == "k"
    assert "authorization" not in http("gemini/g").headers
    assert http("vertex_ai/g", vertex_project="p").headers["authorization"] == "Bearer k"
    express = http("vertex_ai/g", key="AIza1")
    assert express.headers["x-goog-api-key"] == "AIza1"
    assert (
        express.url == "https://aiplatform.googleapis.com/v1/publishers/google/models/g:streamGenerateContent?alt=sse"
    )


def test_project_and_location_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM's variables win over Google's; without a project there is no address."""
    with pytest.raises(BadRequestError, match="VERTEXAI_PROJECT"):
        http("vertex_ai/g")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "google")
    assert "/projects/google/locations/global/" in http("vertex_ai/g").url
    monkeypatch.setenv("VERTEXAI_PROJECT", "lite")
    monkeypatch.setenv("VERTEXAI_LOCATION", "us-east5")
    assert "/projects/lite/locations/us-east5/" in http("vertex_ai/g").url
    assert "vertex" not in http("vertex_ai/g", vertex_project="p", vertex_location="eu").body.decode()


# -- messages


def test_roles_and_contents() -> None:
    """System messages are one instruction, the assistant is the model, and like is joined to like."""
    sent = body(
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
        {"role": "user", "content": "1"},
        {"role": "user", "content": "2"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "4"},
    )
    assert sent["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}]}
    assert sent["contents"] == [
        {"role": "user", "parts": [{"text": "1"}, {"text": "2"}]},
        {"role": "model", "parts": [{"text": "3"}]},
        {"role": "user", "parts": [{"text": "4"}]},
    ]


def test_a_system_message_alone_is_the_users() -> None:
    """Gemini refuses a request without contents."""
    assert body({"role": "system", "content": "A"}) == {"contents": [{"role": "user", "parts": [{"text": "A"}]}]}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
            {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
        ),
        (
            {"type": "image_url", "image_url": "https://a.example/b.jpg?c=d"},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/b.jpg?c=d"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "gs://a/b", "format": "image/webp"}},
            {"fileData": {"mimeType": "image/webp", "fileUri": "gs://a/b"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": PIXEL}},
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PIXEL}"}},
            {"inlineData": {"mimeType": "application/pdf", "data": PIXEL}},
        ),
        (
            {"type": "file", "file": {"file_data": PIXEL, "filename": "a.pdf"}},
            {"inlineData": {"mimeType": "application/pdf", "data": PIXEL}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/1"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1"}},
        ),
        ({"videoMetadata": {"fps": 2.0}}, {"videoMetadata": {"fps": 2.0}}),
    ],
)
def test_content_parts(part: Any, told: Any) -> None:
    """Data in itself is sent inline, and an address as one; Gemini's own parts are passed on."""
    sent = body({"role": "user", "content": [{"type": "text", "text": "What?"}, part]})
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "What?"}, told]}]


def test_a_file_without_data_is_refused() -> None:
    """There is nothing that could be sent."""
    with pytest.raises(BadRequestError, match="neither base64 data nor an address"):
        http("gemini/g", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]})


def call(call_id: str, arguments: str, **more: Any) -> dict[str, Any]:
    """A tool call of an assistant's message."""
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}, **more}


def test_calls_and_results() -> None:
    """Gemini knows a result by its function; all results of a turn are one content."""
    sent = body(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call("1", '{"a": 1}'), call("2", "")]},
        {"role": "tool", "tool_call_id": "1", "content": '{"b": 2}'},
        {"role": "tool", "tool_call_id": "2", "content": "sunny"},
        USER,
    )
    assert sent["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "f", "args": {"a": 1}}},
                {"functionCall": {"name": "f", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"b": 2}}},
                {"functionResponse": {"name": "f", "response": {"result": "sunny"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "Hi"}]},
    ]


@pytest.mark.parametrize(("model", "inside"), [("gemini/gemini-2.5-pro", False), ("gemini/gemini-3-pro", True)])
def test_an_image_in_a_result(model: str, inside: bool) -> None:
    """Models from 3 on take it within the result, those before beside it."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    content = [{"type": "text", "text": "Here"}, image]
    asked = {"role": "assistant", "tool_calls": [call("1", "{}")]}
    sent = body(USER, asked, {"role": "tool", "tool_call_id": "1", "content": content}, model=model)
    data = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    result = {"name": "f", "response": {"result": "Here"}}
    parts = [{"functionResponse": {**result, "parts": [data]}}] if inside else [{"functionResponse": result}, data]
    assert sent["contents"][-1]["parts"] == parts


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "tool", "tool_call_id": "?", "content": "a"}],
        [{"role": "assistant", "tool_calls": [call("1", "{")]}],
    ],
)
def test_messages_that_cannot_be_said(messages: Any) -> None:
    """A result that belongs to no call, and arguments that are no JSON, are refused before anything is sent."""
    with pytest.raises(BadRequestError):
        http("gemini/g", *messages)


def test_signatures_from_googles_own_openai_service() -> None:
    """A message that came from there can be sent here."""
    signed = call("1", "{}", extra_content={"google": {"thought_signature": "c2ln"}})
    [_, content] = body(USER, {"role": "assistant", "tool_calls": [signed]})["contents"]
    assert content["parts"] == [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]


def test_what_another_provider_signed_is_not_sent() -> None:
    """Gemini refuses a signature that is not its own; its own are known by what it said beside the message."""
    blocks = [{"type": "thinking", "thinking": "Hm", "signature": signed} for signed in ("theirs", "ours")]
    given = {"role": "assistant", "content": "Yes", "thinking_blocks": blocks}
    [_, content] = body(USER, given)["contents"]
    assert content["parts"] == [{"text": "Yes"}]
    [_, content] = body(USER, {**given, "provider_specific_fields": {"thought_signatures": ["ours"]}})["contents"]
    assert content["parts"] == [{"text": "Hm", "thought": True, "thoughtSignature": "ours"}, {"text": "Yes"}]


@pytest.mark.parametrize("model", ["gemini/gemini-3-pro", "vertex_ai/gemini-3-pro"])
def test_the_round_trip(model: str) -> None:
    """The message that an answer comes to says to the provider what it said itself, ids and signatures included."""
    provider, _ = resolve(model)
    parts: list[dict[str, Any]] = [
        {"text": "Hm", "thought": True, "thoughtSignature": "QUFB"},
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"text": "Yes", "thoughtSignature": "QkJC"},
        {"inlineData": {"mimeType": "image/png", "data": PIXEL}, "thoughtSignature": "Q0ND"},
        {"functionCall": {"name": "f", "args": {"a": [1]}}, "thoughtSignature": "RERE"},
        {"functionCall": {"id": "own", "name": "g", "args": {}}},
    ]
    answer = {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}]}
    reading = provider.dialect.reading(Request(model, [], {}, provider.name), {})
    builder = ResponseBuilder()
    for chunk in [*reading.feed(b"data: " + json.dumps(answer).encode() + b"\n\n"), *reading.end()]:
        builder.add(chunk)
    message = builder.response().choices[0].message
    first, second = message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": one.id, "content": "ok"} for one in (first, second)]
    for given in (message, message.model_dump(exclude_none=True), json.loads(message.model_dump_json())):
        sent = body(USER, given, *results, model=model, vertex_project="p")
        assert sent["contents"][1] == {"role": "model", "parts": parts}
        assert sent["contents"][2]["parts"] == [
            {"functionResponse": {"name": "f", "response": {"result": "ok"}}},
            {"functionResponse": {"id": "own", "name": "g", "response": {"result": "ok"}}},
        ]


# -- parameters


def test_parameters_of_the_generation() -> None:
    """OpenAI's names become Gemini's; Gemini's own stand beside them, and what is unknown is passed on."""
    sent = body(
        max_completion_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        n=2,
        stop="END",
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logprobs=True,
        top_logprobs=4,
        modalities=["text", "image"],
        media_resolution="MEDIA_RESOLUTION_LOW",
        generationConfig={"temperature": 0.6},
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        cachedContent="c",
        parallel_tool_calls=True,
        extra_body={"labels": {"a": "b"}},
    )
    assert sent.pop("generationConfig") == {
        "maxOutputTokens": 5,
        "temperature": 0.6,
        "topP": 0.9,
        "topK": 3,
        "candidateCount": 2,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 4,
        "responseModalities": ["TEXT", "IMAGE"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    del sent["contents"]
    assert sent == {
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "cachedContent": "c",
        "labels": {"a": "b"},
    }


class City(BaseModel):
    """What is asked for."""

    name: str


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_response_format() -> None:
    """JSON, with a schema or a pydantic class or neither."""

    def told(wanted: Any) -> Any:
        return body(response_format=wanted).get("generationConfig")

    assert told({"type": "text"}) is None
    assert told({"type": "json_object"}) == {"responseMimeType": "application/json"}
    schema = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA, "strict": True}}
    assert told(schema) == {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert told(City)["responseJsonSchema"]["required"] == ["name"]


def test_tools() -> None:
    """Functions are declared together, with their JSON schema as it is; Gemini's own tools are passed on."""
    function = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    bare: dict[str, Any] = {"name": "g", "parameters": {"type": "object", "properties": {}}}
    tools: list[Any] = [
        {"type": "function", "function": function},
        {"type": "function", "function": bare},
        {"codeExecution": {}},
    ]
    assert body(tools=tools, web_search_options={})["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}, {"name": "g"}]},
        {"codeExecution": {}},
        {"googleSearch": {}},
    ]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "f"}}]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice(choice: Any, told: Any) -> None:
    """How the model may call functions, and which."""
    assert body(tool_choice=choice)["toolConfig"] == {"functionCallingConfig": told}


@pytest.mark.parametrize(
    ("model", "params", "told"),
    [
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128, "includeThoughts": True}),
        ("gemini-2.5-flash", {"reasoning_effort": "medium"}, {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-3-flash", {"reasoning_effort": "minimal"}, {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3-flash", {"reasoning_effort": "none"}, {"thinkingLevel": "minimal"}),
        ("gemini-3-pro", {"reasoning_effort": "none"}, {"thinkingLevel": "low"}),
        ("gemini-3-pro", {"reasoning_effort": "high"}, {"thinkingLevel": "high", "includeThoughts": True}),
        (
            "gemini-2.5-pro",
            {"thinking": {"type": "enabled", "budget_tokens": 99}},
            {"thinkingBudget": 99, "includeThoughts": True},
        ),
        ("gemini-2.5-pro", {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"thinking_config": {"includeThoughts": True}}, {"includeThoughts": True}),
    ],
)
def test_thinking(model: str, params: Any, told: Any) -> None:
    """Models before 3 have a budget of tokens, those from 3 on a level; thoughts that were asked for are told."""
    assert body(model=f"gemini/{model}", **params)["generationConfig"] == {"thinkingConfig": told}


REFUSED: list[dict[str, Any]] = [
    {"logit_bias": {"1": 2}},
    {"user": "u"},
    {"tools": [{"googleSearch": {}}], "parallel_tool_calls": False},
    {"tool_choice": "sometimes"},
    {"reasoning_effort": "extreme"},
]


@pytest.mark.parametrize(
    "params",
    REFUSED,
)
def test_what_gemini_has_not(params: dict[str, Any]) -> None:
    """It is refused by its name, or left out."""
    with pytest.raises(UnsupportedParamsError) as told:
        http("gemini/gemini-2.5-flash", **params)
    assert told.value.param == list(params)[-1]
    sent = body(drop_params=True, **params)
    assert not {"logit_bias", "user", "toolConfig", "parallel_tool_calls", "generationConfig"} & sent.keys()


# -- Claude on Vertex AI


def test_claude_on_vertex() -> None:
    """Its models speak as Anthropic's do, with the model in the path and the version in the body."""
    sent = http("vertex_ai/claude-sonnet-4-5@20250929", vertex_project="p", vertex_location="us-east5", max_tokens=9)
    assert sent.url == (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/models/"
        "claude-sonnet-4-5%4020250929:streamRawPredict"
    )
    assert sent.headers["authorization"] == "Bearer k"
    assert json.loads(sent.body) == {
        "anthropic_version": "vertex-2023-10-16",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }
    assert json.loads(http("vertex_ai/claude-x", vertex_project="p", user="u").body)["metadata"] == {"user_id": "u"}


def test_claude_on_vertex_is_read_as_anthropics() -> None:
    """Its answers are Anthropic's events."""
    provider, _ = resolve("vertex_ai/claude-sonnet-4-5")
    reading = provider.dialect.reading(Request("vertex_ai/claude-sonnet-4-5", [], {}, "vertex_ai"), {})
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    [chunk] = reading.feed(b"data: " + json.dumps(delta).encode() + b"\n\n")
    assert chunk.choices[0].delta.content == "Hi"
    assert PROVIDERS["vertex_ai"].credentials is not None


@pytest.mark.parametrize("part", [{"type": "input_audio"}, {"type": "file"}, {"type": "input_audio", "input_audio": 1}])
def test_a_part_without_what_its_type_says(part: dict[str, Any]) -> None:
    """It is refused as what it is, a request that cannot be said."""
    with pytest.raises(BadRequestError):
        http("gemini/gemini-2.5-flash", {"role": "user", "content": [part]})


@pytest.mark.parametrize("audio", [{"format": "wav"}, "alloy"])
def test_audio_without_a_voice(audio: object) -> None:
    """Gemini's speech is by a voice that has a name."""
    with pytest.raises(BadRequestError, match="without a voice"):
        http("gemini/gemini-2.5-flash", audio=audio)
