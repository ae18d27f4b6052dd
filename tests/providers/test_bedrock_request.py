"""Requests in the OpenAI shape as Bedrock's, held against botocore's own model of the service."""

import base64
import json
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from botocore.session import Session
from botocore.validate import ParamValidator
from pydantic import BaseModel

from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.operators import build_response
from rxllm.providers import resolve
from rxllm.types import Message
from tests.decoders.eventstream import event
from tests.providers.bedrock import asked, read

HELLO = [{"role": "user", "content": "Hello"}]
NOVA, CLAUDE = "bedrock/us.amazon.nova-2-lite-v1:0", "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
PNG = base64.b64encode(b"\x89PNG").decode()
SHAPE = Session().get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape
assert SHAPE is not None
MEMBERS = set(SHAPE.members)


def body(model: str = NOVA, messages: Any = HELLO, **params: Any) -> dict[str, Any]:
    """The body that is sent; of Converse, it is one that botocore's model of the service allows."""
    request = asked(model, messages, **params)
    provider, _ = resolve(model)
    http = provider.dialect.http_request(request, "http://127.0.0.1:1", "key", provider)
    told: dict[str, Any] = json.loads(http.body)
    if "/invoke/" not in model:
        assert SHAPE is not None
        assert set(told) <= MEMBERS
        report = ParamValidator().validate({**told, "modelId": "m"}, SHAPE)
        assert not report.has_errors(), report.generate_report()
    return told


def test_a_plain_request() -> None:
    """Text, and the parameters that all models have."""
    assert body(max_tokens=9, temperature=0.5, top_p=0.9, stop="END", stream_options={"include_usage": True}) == {
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    }
    assert body(max_completion_tokens=8, stop=["a", "b"])["inferenceConfig"] == {
        "maxTokens": 8,
        "stopSequences": ["a", "b"],
    }


def test_system_messages() -> None:
    """System and developer messages, wherever they stand; a cache mark is a cache point behind its part."""
    marked = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    told = body(
        messages=[
            {"role": "system", "content": "Be brief."},
            *HELLO,
            {"role": "developer", "content": marked},
            {"role": "system", "content": ""},
        ]
    )
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert told["system"] == [{"text": "Be brief."}, {"text": "Long."}, point]
    assert told["messages"] == [{"role": "user", "content": [{"text": "Hello"}]}]


def user(*parts: Any) -> list[dict[str, Any]]:
    """The blocks that the parts of a user's message come to."""
    blocks: list[dict[str, Any]] = body(messages=[{"role": "user", "content": list(parts)}])["messages"][0]["content"]
    return blocks


def test_images_and_files() -> None:
    """Data URLs by their type, S3 addresses by their ending, names in the letters that are allowed."""
    data = {"source": {"bytes": PNG}}
    at = "s3://bucket/a"
    assert user({"type": "image_url", "image_url": {"url": f"data:image/jpg;base64,{PNG}"}}) == [
        {"image": {"format": "jpeg", **data}}
    ]
    assert user({"type": "image_url", "image_url": f"{at}.webp"}) == [
        {"image": {"format": "webp", "source": {"s3Location": {"uri": f"{at}.webp"}}}}
    ]
    pdf = f"data:application/pdf;base64,{PNG}"
    assert user(
        {"type": "text", "text": "Read."},
        {"type": "file", "file": {"file_data": pdf, "filename": "my_report (1)  v2.pdf"}},
        {"type": "file", "file": {"file_data": pdf}},
    ) == [
        {"text": "Read."},
        {"document": {"format": "pdf", "name": "my report (1) v2", **data}},
        {"document": {"format": "pdf", "name": "document-2", **data}},
    ]
    assert user({"type": "file", "file": {"file_id": f"{at}.csv"}})[0]["document"]["format"] == "csv"
    assert user({"type": "file", "file": {"file_data": f"data:image/png;base64,{PNG}"}}) == [
        {"image": {"format": "png", **data}}
    ]
    assert user({"type": "video_url", "video_url": {"url": f"data:video/quicktime;base64,{PNG}"}}) == [
        {"video": {"format": "mov", **data}}
    ]
    assert user({"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}) == [
        {"audio": {"format": "mp3", **data}}
    ]
    native = {"guardContent": {"text": {"text": "Guard me."}}}
    assert user(native) == [native]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/tiff;base64,{PNG}"}},
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"url": "data:image/png,plain"}},
        {"type": "file", "file": {"file_data": f"data:application/zip;base64,{PNG}"}},
        {"type": "hologram", "hologram": {}},
    ],
)
def test_what_cannot_be_said(part: dict[str, Any]) -> None:
    """Bedrock fetches nothing, and has its formats."""
    with pytest.raises(BadRequestError, match=r"Bedrock|data: URL"):
        user(part)
    with pytest.raises(BadRequestError, match="'narrator'"):
        body(messages=[{"role": "narrator", "content": "Meanwhile"}])


def call(call_id: str, arguments: str) -> dict[str, Any]:
    """A tool call in the OpenAI shape."""
    return {"id": call_id, "type": "function", "function": {"name": "add", "arguments": arguments}}


def test_tool_calls_and_results() -> None:
    """Calls, then all results and what the user says next in one message: roles alternate."""
    told = body(
        messages=[
            *HELLO,
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [call("a", '{"a": 1}'), call("b b", ""), call("c", "{")],
            },
            {"role": "tool", "tool_call_id": "a", "content": "2"},
            {
                "role": "tool",
                "tool_call_id": "b b",
                "is_error": True,
                "content": [{"type": "text", "text": "No.", "cache_control": {"type": "ephemeral"}}],
            },
            {"role": "user", "content": "Go on."},
        ],
        tools=[TOOL],
    )
    assert told["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "a", "name": "add", "input": {"a": 1}}},
                {"toolUse": {"toolUseId": "b_b", "name": "add", "input": {}}},
                {"toolUse": {"toolUseId": "c", "name": "add", "input": {"INVALID_JSON": "{"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "a", "content": [{"text": "2"}]}},
                {"toolResult": {"toolUseId": "b_b", "content": [{"text": "No."}], "status": "error"}},
                {"cachePoint": {"type": "default"}},
                {"text": "Go on."},
            ],
        },
    ]
    spec = {"name": "add", "description": "Adds.", "inputSchema": {"json": TOOL["function"]["parameters"]}}  # type: ignore[index]
    assert told["toolConfig"] == {"tools": [{"toolSpec": spec}]}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "add"}}, {"tool": {"name": "add"}}),
        ({"any": {}}, {"any": {}}),
    ],
)
def test_tool_choice(choice: Any, told: dict[str, Any]) -> None:
    """Each choice by Converse's name for it."""
    assert body(tools=[TOOL], tool_choice=choice)["toolConfig"]["toolChoice"] == told


def test_no_tools() -> None:
    """``none`` leaves the tools out; where tools have been called Converse demands them."""
    assert "toolConfig" not in body(tools=[TOOL], tool_choice="none")
    called = [*HELLO, {"role": "assistant", "tool_calls": [call("a", "{}")]}]
    with pytest.raises(UnsupportedParamsError) as raised:
        body(messages=called, tools=[TOOL], tool_choice="none")
    assert raised.value.param == "tool_choice"
    assert "toolChoice" not in body(messages=called, tools=[TOOL], tool_choice="none", drop_params=True)["toolConfig"]


def test_tools_of_other_kinds() -> None:
    """Converse's own as they are, the model's own to the model, cache points, strictness, no parameters at all."""
    bare = {"type": "function", "function": {"name": "now", "strict": True}, "cache_control": {"type": "ephemeral"}}
    grounding = {"systemTool": {"name": "nova_grounding"}}
    own = {"type": "bash_20250124", "name": "bash"}
    told = body(CLAUDE, tools=[bare, grounding, own])
    assert told["toolConfig"]["tools"] == [
        {
            "toolSpec": {
                "name": "now",
                "inputSchema": {"json": {"type": "object", "properties": {}}},
                "strict": True,
            }
        },
        {"cachePoint": {"type": "default"}},
        grounding,
    ]
    assert told["additionalModelRequestFields"] == {"tools": [own]}


class Answer(BaseModel):
    """What is wanted."""

    number: int


def test_response_format() -> None:
    """A schema, or a pydantic class, is an output's text format."""
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    told = body(response_format=wanted)["outputConfig"]["textFormat"]
    assert told["type"] == "json_schema"
    assert told["structure"]["jsonSchema"] == {"name": "answer", "schema": json.dumps(schema)}
    strict = body(response_format=Answer, outputConfig={"effort": "low"})["outputConfig"]
    assert json.loads(strict["textFormat"]["structure"]["jsonSchema"]["schema"])["additionalProperties"] is False
    assert strict["effort"] == "low"
    assert "outputConfig" not in body(response_format={"type": "text"})
    with pytest.raises(UnsupportedParamsError, match="json_object"):
        body(response_format={"type": "json_object"})


def test_reasoning_effort_of_each_family() -> None:
    """A budget or an effort for Claude, a configuration for Nova, its own name for others."""
    more = "additionalModelRequestFields"
    assert body(CLAUDE, reasoning_effort="low", max_tokens=5000)[more] == {
        "thinking": {"type": "enabled", "budget_tokens": 1024}
    }
    assert body(NOVA, reasoning_effort="low")[more] == {
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}
    }
    assert body("bedrock/openai.gpt-oss-20b-1:0", reasoning_effort="low")[more] == {"reasoning_effort": "low"}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert body(CLAUDE, thinking=thinking, top_k=5)[more] == {"thinking": thinking, "top_k": 5}
    assert body(NOVA, top_k=5)[more] == {"inferenceConfig": {"topK": 5}}


def test_what_stands_beside() -> None:
    """Converse's own members as they are, metadata, the service tier, and what is Claude's alone."""
    guard = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    told = body(
        guardrailConfig=guard,
        metadata={"team": "a"},
        service_tier="priority",
        additionalModelRequestFields={"x": 1},
        y=2,
        extra_body={"performanceConfig": {"latency": "optimized"}},
    )
    del told["messages"]
    assert told == {
        "guardrailConfig": guard,
        "requestMetadata": {"team": "a"},
        "serviceTier": {"type": "priority"},
        "additionalModelRequestFields": {"x": 1, "y": 2},
        "performanceConfig": {"latency": "optimized"},
    }
    claude = body(CLAUDE, user="me", tools=[TOOL], parallel_tool_calls=False, tool_choice="required")
    assert claude["additionalModelRequestFields"] == {
        "metadata": {"user_id": "me"},
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1),
        ("logprobs", True),
        ("n", 2),
        ("user", "me"),
        ("frequency_penalty", 1),
        ("parallel_tool_calls", False),
    ],
)
def test_what_bedrock_has_not(name: str, value: Any) -> None:
    """It is refused by its name, or left out."""
    with pytest.raises(UnsupportedParamsError) as raised:
        body(tools=[TOOL], **{name: value})
    assert raised.value.param == name
    assert set(body(tools=[TOOL], drop_params=True, **{name: value})) == {"messages", "toolConfig"}
    assert set(body(n=1)) == {"messages"}


def test_an_answer_can_be_sent_back() -> None:
    """Signed and redacted reasoning, text and calls survive the way through ``build_response``."""

    def delta(index: int, **fields: Any) -> bytes:
        return event("contentBlockDelta", {"contentBlockIndex": index, "delta": fields})

    answer = [
        event("messageStart", {"role": "assistant"}),
        delta(0, reasoningContent={"text": "Hm"}),
        delta(0, reasoningContent={"text": "m."}),
        delta(0, reasoningContent={"signature": "sig"}),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        delta(1, reasoningContent={"redactedContent": PNG}),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        delta(2, text="I add."),
        event("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "t", "name": "add"}}}),
        delta(3, toolUse={"input": '{"a": 1}'}),
        event("contentBlockStop", {"contentBlockIndex": 3}),
        event("messageStop", {"stopReason": "tool_use"}),
    ]
    outcome = read(answer, asked(CLAUDE))
    assert outcome.complete
    message = whole(outcome.chunks)
    assert body(CLAUDE, [*HELLO, message.model_dump(exclude_none=True)], tools=[TOOL])["messages"][1] == {
        "role": "assistant",
        "content": [
            {"reasoningContent": {"reasoningText": {"text": "Hmm.", "signature": "sig"}}},
            {"reasoningContent": {"redactedContent": PNG}},
            {"text": "I add."},
            {"toolUse": {"toolUseId": "t", "name": "add", "input": {"a": 1}}},
        ],
    }


def whole(chunks: Any) -> Message:
    """The message that the chunks come to."""
    import reactivex

    return reactivex.from_iterable(chunks).pipe(build_response()).run().choices[0].message


def test_invoke_for_claude_and_nova() -> None:
    """Claude's messages without a model, and Nova's Converse with its own parameters among the rest."""
    claude = body("bedrock/invoke/anthropic.claude-3-haiku-20240307-v1:0", max_tokens=5, aws_region_name="x")
    assert claude == {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": HELLO}
    nova = body("bedrock/invoke/amazon.nova-lite-v1:0", max_tokens=5, top_k=3)
    assert nova == {
        "schemaVersion": "messages-v1",
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 5, "topK": 3},
    }


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("ai21.jamba-1-5-mini-v1:0", {"messages": HELLO, "max_tokens": 5, "stop": "END"}),
        ("openai.gpt-oss-20b-1:0", {"messages": HELLO, "max_tokens": 5, "stop": "END"}),
        (
            "amazon.titan-text-lite-v1",
            {"inputText": "Hello", "textGenerationConfig": {"maxTokenCount": 5, "stopSequences": ["END"]}},
        ),
        ("cohere.command-text-v14", {"prompt": "Hello", "max_tokens": 5, "stop_sequences": ["END"], "stream": True}),
        ("cohere.command-r-v1:0", {"message": "Hello", "max_tokens": 5, "stop_sequences": ["END"]}),
        ("mistral.mistral-7b-instruct-v0:2", {"prompt": "<s>[INST] Hello [/INST]", "max_tokens": 5, "stop": ["END"]}),
    ],
)
def test_invoke_for_other_vendors(model: str, told: dict[str, Any]) -> None:
    """Each by its own names."""
    assert body(f"bedrock/invoke/{model}", max_tokens=5, stop="END") == told


def test_invoke_for_llama() -> None:
    """The prompt follows Llama's template; what a model of text has not is refused."""
    model = "bedrock/invoke/meta.llama3-8b-instruct-v1:0"
    assert body(model, [{"role": "system", "content": "Be brief."}, *HELLO], max_completion_tokens=5) == {
        "prompt": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "max_gen_len": 5,
    }
    for name, value in {"stop": "END", "tools": [TOOL], "n": 2}.items():
        with pytest.raises(UnsupportedParamsError) as raised:
            body(model, **{name: value})
        assert raised.value.param == name
        assert set(body(model, drop_params=True, **{name: value})) == {"prompt"}
    with pytest.raises(UnsupportedParamsError, match="text"):
        body(model, [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,AA"}]}])


def test_invoke_in_openais_shape_with_a_class() -> None:
    """A pydantic class is its strict schema."""
    told = body("bedrock/invoke/openai.gpt-oss-20b-1:0", response_format=Answer)
    assert told["response_format"]["json_schema"]["strict"] is True
