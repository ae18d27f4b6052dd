"""What Gemini's events become: each rule of the dialect, and no bytes that break it."""

import json
import random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._assembly import ResponseBuilder
from rxllm.providers._gemini import Gemini, VertexGemini
from rxllm.providers._gemini_arguments import PartialArguments
from rxllm.types import ModelResponseStream, Request
from tests.providers.reading import Outcome

GEMINI = Request(model="gemini/g", messages=[], provider="gemini", wire_model="g")
VERTEX = Request(model="vertex_ai/g", messages=[], provider="vertex_ai", wire_model="g")


def event(
    *parts: Any, finish: Any = None, index: int | None = None, top: Any = None, **candidate: Any
) -> dict[str, Any]:
    """An event with one candidate."""
    whole: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, **candidate}
    if finish is not None:
        whole["finishReason"] = finish
    if index is not None:
        whole["index"] = index
    return {"candidates": [whole], "responseId": "r1", "modelVersion": "gemini-9", **(top or {})}


def sse(*events: Any) -> bytes:
    """The events as Google frames them."""
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in events)


def read(body: bytes, request: Request = GEMINI, seed: int | None = None) -> Outcome:
    """A body, read to its end, in one piece or in random ones."""
    reading = (VertexGemini() if request.provider == "vertex_ai" else Gemini()).reading(request, {})
    chunks, at, chance = list[ModelResponseStream](), 0, random.Random(seed)
    while at < len(body):
        size = len(body) if seed is None else chance.randint(1, 30)
        chunks += reading.feed(body[at : at + size])
        at += size
    chunks += reading.end()
    return Outcome(chunks, reading.complete, reading.failure, reading.events)


def fields(outcome: Outcome) -> dict[str, Any]:
    """The ``provider_specific_fields`` of the whole message."""
    return message(outcome).get("provider_specific_fields") or {}


def message(outcome: Outcome) -> dict[str, Any]:
    """The first choice's whole message."""
    builder = ResponseBuilder()
    for chunk in outcome.chunks:
        builder.add(chunk)
    return builder.response().choices[0].message.model_dump(exclude_none=True)


def test_thoughts_are_reasoning_and_their_signatures_thinking_blocks() -> None:
    """A thought is no text; a signature on text, or on none, is kept beside it."""
    outcome = read(
        sse(
            event({"text": "Hm", "thought": True}),
            event({"text": "!", "thought": True, "thoughtSignature": "s1"}),
            event({"text": "Yes"}),
            event({"text": "", "thoughtSignature": "s2"}, finish="STOP"),
        )
    )
    assert (outcome.texts, outcome.reasoning) == ({0: "Yes"}, {0: "Hm!"})
    whole = message(outcome)
    assert whole["thinking_blocks"] == [{"type": "thinking", "thinking": "!", "signature": "s1"}]
    assert whole["provider_specific_fields"] == {"thought_signatures": ["s1", "s2"]}


def test_calls_have_ids_and_finish_as_tool_calls() -> None:
    """The provider's own id is kept; a made one is the same for the same answer, and differs between calls."""
    body = sse(
        event({"functionCall": {"name": "f", "args": {"a": "é"}}, "thoughtSignature": "s"}),
        event({"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "g", "id": "own"}}, finish="STOP"),
    )
    outcome = read(body)
    calls = outcome.told_calls()
    assert [call[1:] for call in calls] == [("f", '{"a": "é"}'), ("f", "{}"), ("g", "{}")]
    assert calls == read(body, seed=1).told_calls()
    assert len({call[0] for call in calls}) == 3
    assert calls[0][0].startswith("call_") and calls[2][0] == "own"
    assert (outcome.finishes, outcome.natives) == ({0: ["tool_calls"]}, {0: "STOP"})
    assert [call.get("provider_specific_fields") for call in message(outcome)["tool_calls"]] == [
        {"thought_signature": "s"},
        None,
        {"function_call_id": "own"},
    ]


@pytest.mark.parametrize("terminated", [True, False])
def test_partial_arguments_are_streamed(terminated: bool) -> None:
    """Arguments come piece by piece; the finish ends them where the terminator is missing."""
    pieces = [
        {"name": "f", "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a", "stringValue": '"y'}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.b[0].c", "numberValue": 3}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.b[1].c", "boolValue": False}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.n", "nullValue": "NULL_VALUE"}], "willContinue": True},
        *([{}] if terminated else []),
    ]
    outcome = read(sse(*(event({"functionCall": piece}) for piece in pieces), event({"text": ""}, finish="STOP")))
    [(_, name, arguments)] = outcome.told_calls()
    assert name == "f"
    assert json.loads(arguments) == {"a": 'x"y', "b": [{"c": 3}, {"c": False}], "n": None}
    told = [call for chunk in outcome.chunks for one in chunk.choices for call in one.delta.tool_calls or ()]
    assert len(told) >= 6
    assert outcome.finishes == {0: ["tool_calls"]}


def test_a_new_call_ends_the_one_before() -> None:
    """A name starts a call, whether or not the last one was terminated; nothing without a name is a call."""
    outcome = read(
        sse(
            event({"functionCall": {}}),
            event({"functionCall": {"name": "f", "willContinue": True}}),
            event({"functionCall": {"name": "g", "args": {"a": 1}}}),
            event(finish="STOP"),
        )
    )
    assert [call[1:] for call in outcome.told_calls()] == [("f", "{}"), ("g", '{"a": 1}')]


# Of few characters: tables of all that there are take seconds to make, the first time.
TEXT = st.text('ab1"\\\n é\u2028\U0001f600', max_size=4)
NAME = st.text('ab0.[]"$é ', max_size=3)
JSON_VALUE = st.recursive(
    TEXT | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(NAME, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def leaves(value: Any, path: str) -> list[dict[str, Any]]:
    """The values of some JSON by their places, strings in two halves."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return [leaf for name, inner in members.items() for leaf in leaves(inner, f"{path}['{name}']")]
    if isinstance(value, list):
        return [
            leaf
            for place, inner in enumerate(cast("list[object]", value))
            for leaf in leaves(inner, f"{path}[{place}]")
        ]
    if isinstance(value, str):
        half = len(value) // 2
        first = {"jsonPath": path, "stringValue": value[:half], "willContinue": True}
        return [first, {"jsonPath": path, "stringValue": value[half:]}]
    kind = "nullValue" if value is None else "boolValue" if isinstance(value, bool) else "numberValue"
    return [{"jsonPath": path, kind: value}]


@given(st.dictionaries(NAME, JSON_VALUE, max_size=4))
def test_partial_arguments_come_to_the_arguments(arguments: dict[str, Any]) -> None:
    """Values in the order in which they stand come to the JSON that they are from."""
    writer = PartialArguments()
    text = "".join(writer.add(leaf) for leaf in leaves(arguments, "$")) + writer.close()
    assert json.loads(text) == arguments


PLACE = st.sampled_from(["$", "$.a", "$.a.b", "$.a[0]", "$.a[1].c", "$[0]", "$.b", "$.b[0][1]", "a", "", "$.['x']"])
PIECE = st.fixed_dictionaries(
    {"jsonPath": PLACE},
    optional={"stringValue": TEXT, "numberValue": st.integers(), "willContinue": st.booleans()},
)


@given(st.lists(PIECE, max_size=8))
def test_partial_arguments_in_any_order_are_json(pieces: list[dict[str, Any]]) -> None:
    """However the places jump about, the text is JSON."""
    writer = PartialArguments()
    text = "".join(writer.add(piece) for piece in pieces) + writer.close()
    json.loads(text)


@pytest.mark.parametrize(
    ("request_", "native", "mapped", "told"),
    [
        (GEMINI, "STOP", "stop", "STOP"),
        (GEMINI, 1, "stop", "STOP"),
        (GEMINI, 2, "length", "MAX_TOKENS"),
        (GEMINI, "SAFETY", "content_filter", "SAFETY"),
        (GEMINI, 8, "content_filter", "PROHIBITED_CONTENT"),
        (VERTEX, 8, "content_filter", "SPII"),
        (VERTEX, 10, "content_filter", "MODEL_ARMOR"),
        (GEMINI, "IMAGE_SAFETY", "content_filter", "IMAGE_SAFETY"),
        (GEMINI, "LANGUAGE", "content_filter", "LANGUAGE"),
        (GEMINI, "MALFORMED_FUNCTION_CALL", "stop", "MALFORMED_FUNCTION_CALL"),
        (GEMINI, "SOMETHING_NEW", "stop", "SOMETHING_NEW"),
        (GEMINI, 99, "stop", "99"),
    ],
)
def test_finish_reasons(request_: Request, native: Any, mapped: str, told: str) -> None:
    """Named or numbered, one of four, and the provider's own beside it."""
    outcome = read(sse(event({"text": "a"}), event(finish=native, finishMessage="Why.")), request_)
    assert (outcome.finishes, outcome.natives, outcome.complete) == ({0: [mapped]}, {0: told}, True)
    assert fields(outcome) == {"finish_message": "Why."}


def test_an_unspecified_finish_reason_is_none() -> None:
    """The enum's default says nothing."""
    outcome = read(sse(event({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED")))
    assert (outcome.finishes, outcome.complete) == ({}, False)


@pytest.mark.parametrize("reason", ["PROHIBITED_CONTENT", 4])
def test_a_blocked_prompt_is_a_content_filter(reason: Any) -> None:
    """There is no candidate then, and the answer is complete all the same."""
    blocked = {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
    }
    for body in (sse(blocked), json.dumps([blocked]).encode(), json.dumps(blocked).encode()):
        outcome = read(body)
        assert (outcome.finishes, outcome.natives) == ({0: ["content_filter"]}, {0: "PROHIBITED_CONTENT"})
        assert outcome.complete and outcome.failure is None
        assert fields(outcome) == {"prompt_feedback": {"blockReason": reason}}
        assert outcome.usage is not None and outcome.usage.total_tokens == 3


def test_each_candidate_has_to_finish() -> None:
    """The proof of the end is a finish reason for each candidate."""
    two = [event({"text": "a"}, finish="STOP"), event({"text": "b"}, index=1)]
    assert not read(sse(*two)).complete
    outcome = read(sse(*two, event(index=1, finish="STOP")))
    assert outcome.complete
    assert outcome.texts == {0: "a", 1: "b"}
    assert not read(sse(event({"text": "a"}, finish="STOP")), Request("g", [], {"n": 2}, "gemini")).complete


def test_content_without_parts_and_without_candidates() -> None:
    """Neither is text, and neither is an error."""
    bare: dict[str, Any] = {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}], "usageMetadata": {}}
    outcome = read(sse(event({"text": "a"}), {"usageMetadata": {"trafficType": "X"}}, {}, bare))
    assert (outcome.texts, outcome.complete, outcome.usage) == ({0: "a"}, True, None)


def test_usage() -> None:
    """Thoughts are part of the completion; what the provider said itself stays beside."""
    said = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 22,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": 4, "tokenCount": 2}],
        "serviceTier": "standard",
    }
    usage = read(sse(event({"text": "a"}, finish="STOP"), {"usageMetadata": said})).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 12, 22)
    assert usage.prompt_tokens_details is not None and usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.prompt_tokens_details.audio_tokens == 2
    assert usage.completion_tokens_details.reasoning_tokens == 7
    assert usage["serviceTier"] == "standard"


def test_usage_whose_candidates_include_the_thoughts() -> None:
    """Where the total says that thoughts were counted among the candidates, they are not counted twice."""
    said = {"promptTokenCount": 10, "candidatesTokenCount": 12, "thoughtsTokenCount": 7, "totalTokenCount": 22}
    usage = read(sse(event({"text": "a"}, finish="STOP", top={"usageMetadata": said}))).usage
    assert usage is not None and usage.completion_tokens == 12


def test_grounding_becomes_annotations() -> None:
    """Stretches are counted in bytes there and in characters here; the metadata is kept, and repeats are not."""
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://a.example", "title": "A"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 4, "endIndex": 7, "text": "abc"}, "groundingChunkIndices": [0, 9]}
        ],
        "webSearchQueries": ["q"],
    }
    outcome = read(
        sse(
            event({"text": "é1"}),
            event({"text": " abc"}, groundingMetadata=grounding),
            event(finish="STOP", groundingMetadata=grounding, safetyRatings=[{"category": 1}]),
        )
    )
    [annotation] = message(outcome)["annotations"]
    assert annotation == {
        "type": "url_citation",
        "url_citation": {"start_index": 3, "end_index": 6, "url": "https://a.example", "title": "A"},
    }
    assert fields(outcome) == {"grounding_metadata": [grounding], "safety_ratings": [{"category": 1}]}


def test_citations_become_annotations() -> None:
    """The other way in which Gemini names its sources."""
    said = {"citationSources": [{"startIndex": 0, "endIndex": 2, "uri": "https://b.example"}]}
    outcome = read(sse(event({"text": "é1"}, finish="STOP", citationMetadata=said)))
    [annotation] = message(outcome)["annotations"]
    assert annotation["url_citation"] == {"start_index": 0, "end_index": 1, "url": "https://b.example", "title": ""}


def test_what_the_providers_own_tools_did() -> None:
    """It is neither text nor among the caller's calls, and kept as it came."""
    code = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "s"}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    outcome = read(sse(event(code), event(result), event({"text": "1"}, finish="STOP")))
    assert (outcome.texts, outcome.told_calls(), outcome.finishes) == ({0: "1"}, [], {0: ["stop"]})
    assert fields(outcome) == {"parts": [code, result]}


def test_images_and_speech() -> None:
    """An image is one of the message's images, speech its audio, and what is neither is kept as it came."""
    png, pdf = ({"inlineData": {"mimeType": kind, "data": "QQ=="}} for kind in ("image/png", "application/pdf"))
    pcm = [{"inlineData": {"mimeType": "audio/pcm", "data": data}} for data in ("QUI=", "Qw==")]
    whole = message(read(sse(event({**png, "thoughtSignature": "s"}), *map(event, pcm), event(pdf, finish="STOP"))))
    url = {"url": "data:image/png;base64,QQ=="}
    assert whole["images"] == [{"type": "image_url", "image_url": url, "thought_signature": "s"}]
    assert whole["audio"] == {"data": "QUJD", "mime_type": "audio/pcm", "transcript": ""}
    assert whole["provider_specific_fields"] == {"parts": [pdf]}


def test_logprobs() -> None:
    """Tokens with their probabilities, in OpenAI's shape."""
    token = {"token": "é", "logProbability": -0.5}
    result = {"chosenCandidates": [token], "topCandidates": [{"candidates": [token]}]}
    outcome = read(sse(event({"text": "é"}, finish="STOP", logprobsResult=result)))
    logprob = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert outcome.chunks[0].choices[0].logprobs == {"content": [{**logprob, "top_logprobs": [logprob]}]}


def test_the_three_bodies_say_the_same() -> None:
    """Server-sent events, a JSON array, and a whole answer from a server that does not stream."""
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    one = event({"text": "Hi"}, finish="STOP", top={"usageMetadata": usage, "createTime": "2026-04-02T17:03:50.39Z"})
    bodies = [sse(one), json.dumps([one], indent=1).encode(), json.dumps(one, indent=1).encode()]
    streamed, array, whole = [read(body, seed=5) for body in bodies]
    assert streamed.dumped == array.dumped == whole.dumped
    assert streamed.complete and array.complete and whole.complete
    [chunk] = streamed.chunks
    assert (chunk.id, chunk.model, chunk.created, chunk.object) == (
        "r1",
        "gemini-9",
        1775149430,
        "chat.completion.chunk",
    )


def test_an_array_gives_its_elements_as_they_come() -> None:
    """No one waits for the end of the array."""
    reading = Gemini().reading(GEMINI, {})
    [chunk] = reading.feed(b"[" + json.dumps(event({"text": "Hi"})).encode())
    assert chunk.choices[0].delta.content == "Hi"


@pytest.mark.parametrize("array", [False, True])
def test_an_error_in_the_stream(array: bool) -> None:
    """What came before it is given, and it has the class that its words say."""
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    events = [event({"text": "a"}), error]
    outcome = read(json.dumps(events).encode() if array else sse(*events), seed=2)
    assert outcome.texts == {0: "a"}
    assert type(outcome.failure).__name__ == "ServiceUnavailableError"
    assert outcome.failure is not None and outcome.failure.code == "UNAVAILABLE" and not outcome.complete


@pytest.mark.parametrize(
    "body", [b'{"name": "operations/1"}', b"[1]", b'data: "a"\n\n', b"<html>", b'{"candidates": []}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """It is refused in words."""
    outcome = read(body)
    assert type(outcome.failure).__name__ == "APIResponseValidationError"
    assert not outcome.complete


def test_json_that_is_nested_too_deeply() -> None:
    """It is refused, and nothing else happens."""
    for depth in (300, 900, 3000, 100_000):
        deep = '{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": ' + '{"a":' * depth
        outcome = read(f"data: {deep}1{'}' * depth}}}}}]}}}}]}}\n\n".encode())
        assert outcome.failure is None or type(outcome.failure).__name__ == "APIResponseValidationError"
