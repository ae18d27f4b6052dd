"""Tool calls told apart and whole responses put together from chunks, as providers really send them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._assembly import ResponseBuilder
from rxllm._tool_calls import JSONProgress, ToolCallIndexer, ToolCalls, join_text
from rxllm.types import (
    ChatCompletionDeltaToolCall,
    ModelResponse,
    ModelResponseStream,
    StreamingChoices,
    Usage,
)


def piece(arguments: str | None = None, *, name: str | None = None, **fields: Any) -> ChatCompletionDeltaToolCall:
    """A delta as it stands on the wire: what is not given is absent."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return ChatCompletionDeltaToolCall.model_validate({**fields, "function": function})


QUIRKS: dict[str, tuple[list[ChatCompletionDeltaToolCall], list[int]]] = {
    "as documented": (
        [
            piece("", index=0, id="a", name="f"),
            piece('{"x"', index=0),
            piece(": 1}", index=0),
            piece("", index=1, id="b", name="g"),
            piece("{}", index=1),
        ],
        [0, 0, 0, 1, 1],
    ),
    "interleaved": (
        [
            piece(index=0, id="a", name="f"),
            piece(index=1, id="b", name="f"),
            piece("{}", index=0),
            piece("[]", index=1),
        ],
        [0, 1, 0, 1],
    ),
    "all at index 0 with new ids": (
        [piece('{"x": 1}', index=0, id=id_, name="f") for id_ in "abc"],
        [0, 1, 2],
    ),
    "index 0, new ids, in pieces": (
        [
            piece('{"x"', index=0, id="a", name="f"),
            piece(":1}", index=0),
            piece("{", index=0, id="b", name="f"),
            piece("}", index=0),
        ],
        [0, 0, 1, 1],
    ),
    "no index, whole calls": ([piece("{}", id="a", name="f"), piece("{}", id="b", name="f")], [0, 1]),
    "no index, no id, whole calls": ([piece('{"x": 1}', id="", name="f"), piece('{"x": 2}', id="", name="f")], [0, 1]),
    "no index, no id, in pieces": (
        [piece('{"x"', name="f"), piece(": 1}"), piece("{", name="f"), piece("}")],
        [0, 0, 1, 1],
    ),
    "no index, other name, no arguments": ([piece(name="f"), piece(name="g")], [0, 1]),
    "index -1": (
        [piece("{", index=-1, id="a", name="f"), piece("}", index=-1), piece("{}", index=-1, id="b", name="f")],
        [0, 0, 1],
    ),
    "first index 1": ([piece("", index=1, id="a", name="f"), piece("{}", index=1)], [0, 0]),
    "blank id and name on continuations": (
        [
            piece("", index=0, id="a", name="f"),
            piece("{", index=0, id="", name=""),
            piece("}", index=0, id="", name=""),
        ],
        [0, 0, 0],
    ),
    "id and name in full on each delta": (
        [
            piece("", index=0, id="a", name="f"),
            piece("{", index=0, id="a", name="f"),
            piece("}", index=0, id="a", name="f"),
        ],
        [0, 0, 0],
    ),
    "id and name in full after the arguments": (
        [piece("{}", index=0, id="a", name="f"), piece("", index=0, id="a", name="f")],
        [0, 0],
    ),
    "no index, no id, the same name twice with arguments later": (
        [piece("{}", name="f"), piece("", name="f"), piece('{"x": 1}')],
        [0, 1, 1],
    ),
    "no index, no id, the name on each delta": (
        [piece("{", name="f"), piece("}", name="f"), piece("", name="f")],
        [0, 0, 0],
    ),
    "arguments never sent": ([piece(index=0, id="a", name="f"), piece(index=1, id="b", name="g")], [0, 1]),
    "the function's name as id": (
        [piece("{}", index=0, id="f", name="f"), piece("{}", index=1, id="f", name="f")],
        [0, 1],
    ),
    "the function's name as id, all at index 0": (
        [piece('{"x": 1}', index=0, id="f", name="f"), piece('{"x": 2}', index=0, id="f", name="f")],
        [0, 1],
    ),
    "an id that changes on every delta": (
        [piece("", index=0, id="a", name="f"), piece("{", index=0, id="b"), piece("}", index=0, id="c")],
        [0, 0, 0],
    ),
    "the id comes late": ([piece("{", index=0, name="f"), piece("}", index=0, id="a")], [0, 0]),
    "index only from the second delta on": ([piece("", id="a", name="f"), piece("{}", index=0)], [0, 0]),
    "a name in two pieces": (
        [piece(index=0, id="a", name="get_"), piece(index=0, name="x"), piece("{}", index=0)],
        [0] * 3,
    ),
}


@pytest.mark.parametrize("quirk", QUIRKS)
def test_calls_are_told_apart(quirk: str) -> None:
    """Each way of numbering, naming and cutting calls that providers have."""
    deltas, positions = QUIRKS[quirk]
    indexer = ToolCallIndexer()
    assert [indexer.position(delta) for delta in deltas] == positions


def wire_delta(fields: dict[str, Any], arguments: str | None, name: str | None) -> ChatCompletionDeltaToolCall:
    """A delta with some of the fields."""
    return piece(arguments, name=name, **fields)


wire_deltas = st.lists(
    st.builds(
        wire_delta,
        st.fixed_dictionaries(
            {}, optional={"index": st.integers(-1, 2), "id": st.sampled_from(["", "a", "b", "c", None])}
        ),
        st.sampled_from([None, "", "{", "}", "{}", '"}', '{"x": "']),
        st.sampled_from([None, "", "f", "g"]),
    ),
    max_size=8,
)


@given(wire_deltas)
def test_rewritten_indexes_tell_the_same(deltas: list[ChatCompletionDeltaToolCall]) -> None:
    """Deltas numbered by position are told apart as before, so that normalized chunks read like raw ones."""
    indexer, again = ToolCallIndexer(), ToolCallIndexer()
    positions = [indexer.position(delta) for delta in deltas]
    numbered = [delta.model_copy(update={"index": at}) for delta, at in zip(deltas, positions, strict=True)]
    assert [again.position(delta) for delta in numbered] == positions
    assert sorted(set(positions)) == list(range(len(set(positions))))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(st.text(max_size=6), json_values, min_size=1, max_size=3)


def cut(text: str, data: st.DataObject) -> list[str]:
    """The text in pieces, some of them empty."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(json_objects, st.booleans(), st.data())
def test_json_progress_is_whole_at_the_end_alone(value: Any, ascii_only: bool, data: st.DataObject) -> None:
    """An object's text is whole with its last character and not before, wherever it is cut."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    pieces = cut(text, data)
    progress, seen = JSONProgress(), 0
    for part in pieces:
        progress.feed(part)
        seen += len(part)
        assert progress.whole is (seen == len(text))


@given(st.lists(st.tuples(st.text(min_size=1), json_objects), max_size=4), st.data())
def test_calls_do_not_depend_on_the_cuts(calls: list[tuple[str, Any]], data: st.DataObject) -> None:
    """Any re-cutting of the arguments gives the same calls, without index and id as well as with them."""
    numbered = data.draw(st.booleans())
    whole = ToolCalls()
    for position, (name, arguments) in enumerate(calls):
        first, *rest = cut(json.dumps(arguments), data)
        fields = {"index": position, "id": f"call_{position}"} if numbered else {}
        whole.add(piece(first, name=name, **fields))
        for more in rest:
            whole.add(piece(more, index=position) if numbered else piece(more))
    assert [(call.function.name, call.parsed) for call in whole.all()] == calls


def test_ids_and_names_are_not_doubled() -> None:
    """Repeated in full, they stand once; a name that comes in two pieces is joined."""
    calls = ToolCalls(choice=2)
    for delta in (*QUIRKS["id and name in full on each delta"][0], piece(index=1, id="b", name="get_")):
        calls.add(delta)
    calls.add(piece(index=1, name="x", type=""))
    calls.add(piece("{}", index=1))
    first, second = calls.all()
    assert (first.id, first.type, first.function.name, first.function.arguments) == ("a", "function", "f", "{}")
    assert (second.id, second.function.name, second.index, second.choice) == ("b", "get_x", 1, 2)


def test_unknown_fields_of_calls_are_kept() -> None:
    """A thought signature has to be sent back with the call."""
    calls = ToolCalls()
    calls.add(piece("{}", id="a", name="f", extra_content={"google": {"thought_signature": "s"}}))
    assert calls.whole(0).model_dump()["extra_content"] == {"google": {"thought_signature": "s"}}


def test_the_input_of_a_custom_call_is_put_together() -> None:
    """It comes in pieces as arguments do; the name comes once, or again and again."""
    calls = ToolCalls()
    for custom in ({"name": "g", "input": "ab"}, {"input": "cd"}, {"name": "g", "input": None}, {"input": ""}):
        head = {} if len(calls) else {"id": "a", "type": "custom"}
        calls.add(ChatCompletionDeltaToolCall.model_validate({"index": 0, **head, "custom": custom}))
    (call,) = calls.all()
    assert (call.id, call.type, call["custom"]) == ("a", "custom", {"name": "g", "input": "abcd"})
    assert calls.all() == [call]


def test_a_legacy_function_call_is_put_together() -> None:
    """Its arguments come in pieces."""
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}]
    deltas = [{"choices": [{"delta": {"function_call": piece}}]} for piece in pieces]
    response = built(*map(ModelResponseStream.model_validate, deltas))
    message = response.choices[0].message
    assert (message["function_call"], message.content) == ({"name": "f", "arguments": '{"a":1}'}, None)


def test_parses_is_about_json() -> None:
    """Closed brackets are not enough, and no arguments at all are not whole yet."""
    calls = ToolCalls()
    calls.add(piece("{broken}", index=0, id="a", name="f"))
    calls.add(piece(index=1, id="b", name="g"))
    calls.add(piece('{"x": 1}', index=2, id="c", name="h"))
    assert [calls.parses(position) for position in range(len(calls))] == [False, False, True]


@given(st.text(st.characters()), st.data())
def test_join_text_joins_halves(text: str, data: st.DataObject) -> None:
    """Text cut into UTF-16 units anywhere is the same text again, lone halves kept."""
    units = text.encode("utf-16-le", "surrogatepass")
    whole = units.decode("utf-16-le", "surrogatepass")
    halves = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    at = data.draw(st.integers(0, len(halves)))
    assert join_text(["".join(halves[:at]), "".join(halves[at:])]) == whole


def built(*chunks: ModelResponseStream) -> ModelResponse:
    """The response of the chunks."""
    builder = ResponseBuilder()
    for chunk in chunks:
        builder.add(chunk)
    return builder.response()


def test_every_field_of_a_message() -> None:
    """Text, reasoning, refusal, thinking blocks, annotations and provider's fields come together."""
    of = ModelResponseStream.of
    response = built(
        of(role="assistant", reasoning_content="Let me ", thinking_blocks=[{"type": "thinking", "thinking": "a"}]),
        of(reasoning_content="see.", thinking_blocks=[{"type": "thinking", "thinking": "b"}]),
        of("Hel", annotations=[{"type": "url_citation"}], provider_specific_fields={"a": {"x": 1}, "list": [1]}),
        of("lo", provider_specific_fields={"a": {"y": 2}, "list": [2]}, reasoning_details=[{"index": 0}]),
        of(refusal="No", obfuscation="xyz"),
        of(refusal="pe", reasoning_details=[{"index": 1}]),
        of(finish_reason="stop"),
    )
    (choice,) = response.choices
    assert choice.finish_reason == "stop"
    assert choice.message.model_dump(exclude_none=True) == {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "Let me see.",
        "refusal": "Nope",
        "thinking_blocks": [{"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": "b"}],
        "annotations": [{"type": "url_citation"}],
        "provider_specific_fields": {"a": {"x": 1, "y": 2}, "list": [1, 2]},
        "reasoning_details": [{"index": 0}, {"index": 1}],
    }


@pytest.mark.parametrize("field", ["refusal", "reasoning_content"])
def test_a_field_alone_in_its_delta_is_kept(field: str) -> None:
    """No other field has to stand beside it."""
    chunk = ModelResponseStream.model_validate({"choices": [{"delta": {field: "word"}}]})
    assert built(chunk).choices[0].message[field] == "word"


def test_content_is_null_beside_calls_alone() -> None:
    """No text is null where calls were made, and an empty string where nothing else was."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert built(ModelResponseStream.of(tool_calls=[call])).choices[0].message.content is None
    assert built(ModelResponseStream.of("Well", tool_calls=[call])).choices[0].message.content == "Well"
    assert built(ModelResponseStream.of(finish_reason="stop")).choices[0].message.content == ""


def test_the_envelope() -> None:
    """The first that is there: id, model, time, fingerprint, headers; the last: usage; the rest beside them."""
    first = ModelResponseStream.model_validate({"id": "", "choices": [], "prompt_filter_results": []})
    headers = ModelResponseStream.of("Hi")
    headers.id, headers.model, headers.created, headers.system_fingerprint = "id-1", "m", 7, "fp"
    headers.response_headers = {"x-request-id": "r1"}
    other = ModelResponseStream.model_validate({"id": "id-2", "model": "n", "created": 8, "service_tier": "default"})
    other.usage = Usage(total_tokens=1)
    last = ModelResponseStream.model_validate({"choices": [], "obfuscation": "xx"})
    last.reported_usage = Usage(total_tokens=2)
    response = built(first, headers, other, last)
    assert (response.id, response.model, response.created, response.system_fingerprint) == ("id-1", "m", 7, "fp")
    assert response.request_id == "r1"
    assert response.usage == Usage(total_tokens=2)
    assert response["service_tier"] == "default"
    assert "obfuscation" not in response
    assert response.object == "chat.completion"


def test_choices_are_told_apart_and_ordered() -> None:
    """Each has its text, its reason and its place, whichever came first."""
    of = ModelResponseStream.of
    response = built(of("b", index=1), of("a", index=0), of("B", index=1), of(index=1, finish_reason="length"))
    assert [(c.index, c.message.content, c.finish_reason) for c in response.choices] == [
        (0, "a", None),
        (1, "bB", "length"),
    ]


def test_the_last_finish_reason_counts() -> None:
    """With what the provider called it; a null after it does not take it back."""
    first = StreamingChoices(finish_reason="tool_calls")
    second = StreamingChoices(finish_reason="stop", native_finish_reason="eos")
    response = built(*(ModelResponseStream(choices=[choice]) for choice in (first, second, StreamingChoices())))
    assert (response.choices[0].finish_reason, response.choices[0].native_finish_reason) == ("stop", "eos")


def test_logprobs_are_one_list() -> None:
    """The lists of all chunks, one after the other; a list that is null stays null."""
    chunks = [
        ModelResponseStream(choices=[StreamingChoices(logprobs={"content": [{"token": token}], "refusal": None})])
        for token in ("a", "b")
    ]
    response = built(*chunks)
    assert response.choices[0].logprobs == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}
    assert chunks[0].choices[0].logprobs == {"content": [{"token": "a"}], "refusal": None}


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5), st.booleans())
def test_audio_is_one_sound(sounds: list[bytes], padded: bool) -> None:
    """Base64 that was cut, and base64 that was made piece by piece, comes to the bytes that were sent."""
    if padded:
        data = [base64.b64encode(sound).decode() for sound in sounds]
    else:
        text = base64.b64encode(b"".join(sounds)).decode()
        data = [text[at : at + 3] for at in range(0, len(text), 3)]
    chunks = [ModelResponseStream.of(audio={"id": "audio_1", "data": part, "transcript": "x"}) for part in data]
    audio = built(*chunks, ModelResponseStream.of(audio={"expires_at": 5})).choices[0].message.audio
    assert audio is not None
    assert base64.b64decode(audio["data"]) == b"".join(sounds)
    assert audio["transcript"] == "x" * len(data)
    assert audio["expires_at"] == 5


@given(st.text(st.characters()), st.data())
def test_text_does_not_depend_on_the_cuts(text: str, data: st.DataObject) -> None:
    """Any re-cutting gives the same message; pairs cut in two are whole again."""
    pieces = cut(text, data)
    message = built(ModelResponseStream.of(""), *map(ModelResponseStream.of, pieces)).choices[0].message
    assert message.content == join_text([text])
