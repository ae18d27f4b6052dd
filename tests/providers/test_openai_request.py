"""The OpenAI dialect's request: the address, the headers, the body."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import rxllm
from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.providers import PROVIDERS, Provider
from rxllm.providers._base import HTTPRequest
from rxllm.providers._openai import OpenAIChat
from rxllm.types import Message, Request

MESSAGES = [{"role": "user", "content": "Hello 漢 \ud83d"}]
OPENAI = PROVIDERS["openai"]


def asked(
    base_url: str = "https://api.openai.com/v1",
    key: str | None = "sk-secret",
    provider: Provider = OPENAI,
    messages: Any = MESSAGES,
    **params: Any,
) -> HTTPRequest:
    """The HTTP request for these parameters."""
    request = Request(model="openai/gpt-4o", messages=messages, params=params, wire_model="gpt-4o")
    return OpenAIChat().http_request(request, base_url, key, provider)


def body(**arguments: Any) -> dict[str, Any]:
    """The body of the HTTP request, read back."""
    read: dict[str, Any] = json.loads(asked(**arguments).body)
    return read


def test_the_whole_request() -> None:
    """What goes over the wire."""
    http = asked(temperature=0.5)
    assert (http.method, http.url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert http.headers == {
        "authorization": "Bearer sk-secret",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "user-agent": f"rxllm/{rxllm.__version__}",
    }
    assert json.loads(http.body) == {
        "model": "gpt-4o",
        "messages": MESSAGES,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "secret" not in repr(http)


def test_no_key_no_header() -> None:
    """A server that needs no key is sent none."""
    assert "authorization" not in asked(key=None).headers


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions/", "http://h/v1/chat/completions"),
        ("http://h/v1?api-version=1", "http://h/v1/chat/completions?api-version=1"),
    ],
)
def test_the_address(base_url: str, url: str) -> None:
    """The path is appended where it is not there yet; a query stays behind it."""
    assert asked(base_url).url == url


def test_usage_is_asked_for_where_the_provider_can_give_it() -> None:
    """Merged into the caller's options; left out where the provider cannot."""
    options = {"include_usage": False, "include_obfuscation": False}
    assert body(stream_options=options)["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    cannot = Provider("p", OPENAI.dialect, "http://h", stream_usage=False)
    assert "stream_options" not in body(provider=cannot, stream_options={"include_usage": True})
    assert body(provider=cannot, stream_options=options)["stream_options"] == {"include_obfuscation": False}


def test_a_parameter_goes_by_the_providers_own_name() -> None:
    """Mistral's seed is another word, and DeepSeek knows one limit; what the caller says in that word counts."""
    mistral = body(provider=PROVIDERS["mistral"], seed=7, max_completion_tokens=5)
    assert (mistral["random_seed"], mistral["max_tokens"]) == (7, 5)
    assert not {"seed", "max_completion_tokens"} & set(mistral)
    deepseek = body(provider=PROVIDERS["deepseek"], max_completion_tokens=5, max_tokens=6, seed=7)
    assert (deepseek["max_tokens"], deepseek["seed"], "max_completion_tokens" in deepseek) == (6, 7, False)
    assert body(max_completion_tokens=5)["max_completion_tokens"] == 5
    with pytest.raises(UnsupportedParamsError, match="has no user"):
        body(provider=PROVIDERS["mistral"], user="u")


@pytest.mark.parametrize(
    ("name", "reasoning"),
    [
        ("deepseek", {"reasoning_content": "why"}),
        ("azure", {"reasoning_content": "why"}),
        ("groq", {"reasoning": "why"}),
        ("mistral", {}),
    ],
)
@pytest.mark.parametrize("as_model", [True, False])
def test_an_answer_goes_back_without_what_only_answers_have(
    name: str, reasoning: dict[str, str], *, as_model: bool
) -> None:
    """Strict servers refuse fields they do not know; reasoning goes back under the provider's name for it."""
    kept = {"role": "assistant", "content": "Hi", "refusal": "no"}
    beside = {
        "thinking_blocks": [{"type": "thinking", "thinking": "why"}],
        "provider_specific_fields": {"a": 1},
        "annotations": [{"type": "url_citation"}],
        "parsed": {"a": 1},
        "reasoning_content": "why",
        "audio": {"id": "audio-1", "data": "QUJD", "transcript": "Hi"},
    }
    answer: Any = Message.model_validate({**kept, **beside}) if as_model else {**kept, **beside}
    user: dict[str, Any] = {"role": "user", "content": "Hi", "annotations": []}
    http = PROVIDERS[name].dialect.http_request(
        Request(model=f"{name}/m", messages=[answer, user], wire_model="m"), "https://x.invalid", "k", PROVIDERS[name]
    )
    first, second = json.loads(http.body)["messages"]
    assert first == {**kept, **reasoning, "audio": {"id": "audio-1"}}
    assert second == user
    if not as_model:
        assert answer == {**kept, **beside}, "the caller's own was changed"


def test_extra_body_is_merged_last() -> None:
    """It may replace anything, and is not sent itself; the caller's own dictionaries stay as they are."""
    params: dict[str, Any] = {"extra_body": {"top_k": 4, "model": "other", "stream_options": {}}}
    sent = body(**params, temperature=1)
    assert (sent["top_k"], sent["model"], sent["stream_options"], sent["temperature"]) == (4, "other", {}, 1)
    assert "extra_body" not in sent
    assert params == {"extra_body": {"top_k": 4, "model": "other", "stream_options": {}}}


class _Tools(Mapping[str, Any]):
    """A mapping that is no dictionary."""

    def __getitem__(self, key: str) -> Any:
        return {"type": "function"}[key]

    def __iter__(self) -> Any:
        return iter(["type"])

    def __len__(self) -> int:
        return 1


def test_models_mappings_and_sequences_are_sent_as_what_they_hold() -> None:
    """A message of a response can be sent again; tools may be any mapping."""
    sent = body(messages=[Message(content="Hi")], tools=({"a": 1}, _Tools()), stop={"x"})
    assert sent["messages"] == [{"role": "assistant", "content": "Hi"}]
    assert sent["tools"] == [{"a": 1}, {"type": "function"}]
    assert sent["stop"] == ["x"]


@pytest.mark.parametrize("value", [object(), float("nan"), b"bytes"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """Before anything is sent, and without the request in the traceback."""
    with pytest.raises(BadRequestError, match="JSON") as raised:
        asked(temperature=value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


class Place(BaseModel):
    """Where."""

    name: str
    default: str = "a property that is called so"


class Trip(BaseModel):
    """A trip."""

    start: Place = Field(description="where it starts")
    stops: list[Place] = []
    then: "Trip | None" = None
    by: Literal["foot", "train"] = "train"
    either: int | Place = 4


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object schema in a schema."""
    found: list[dict[str, Any]] = []

    def note(read: dict[str, Any]) -> dict[str, Any]:
        if isinstance(read.get("properties"), dict):
            found.append(read)
        return read

    json.loads(json.dumps(schema), object_hook=note)
    return found


def test_a_pydantic_class_becomes_its_strict_schema() -> None:
    """Every property required, no further ones, no defaults, and no keyword beside a reference."""
    sent = body(response_format=Trip)["response_format"]
    assert sent["type"] == "json_schema"
    assert (sent["json_schema"]["name"], sent["json_schema"]["strict"]) == ("Trip", True)
    schema = sent["json_schema"]["schema"]
    found = objects(schema)
    assert len(found) >= 3
    for one in found:
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    root = schema["$defs"]["Trip"] if "$ref" in schema else schema
    start = root["properties"]["start"]
    assert (start["description"], list(start["properties"])) == ("where it starts", ["name", "default"])
    assert "default" not in root["properties"]["by"]
    assert root["properties"]["stops"] == {"items": {"$ref": "#/$defs/Place"}, "title": "Stops", "type": "array"}


def test_a_schema_of_ones_own_is_sent_as_it_is() -> None:
    """Only classes are turned into schemas."""
    assert body(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
