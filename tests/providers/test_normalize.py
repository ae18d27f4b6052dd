"""The normaliser: role once, finish reasons mapped, once and last, usage on the last chunk, calls numbered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm.providers._normalize import BrokenAnswer, Normalizer, finish_reason
from rxllm.types import ModelResponseStream, Request, Usage
from tests.providers.reading import USAGE, Outcome, event, text

REPORTED = Usage.model_validate(USAGE)
ASKED_FOR_USAGE = {"stream_options": {"include_usage": True}}


def normalize(*sent: Any, **params: Any) -> Outcome:
    """These chunks, normalised to the end."""
    normalizer = Normalizer(Request(model="gpt-4", messages=[], params=params))
    out: list[ModelResponseStream] = []
    for chunk in sent:
        normalizer.add(ModelResponseStream.model_validate(chunk), out)
    return Outcome(out + normalizer.close(), normalizer.finished, None, len(sent))


@pytest.mark.parametrize("roles", [("assistant", "assistant"), (None, None), ("", "assistant"), (None, "assistant")])
def test_the_role_comes_once(roles: tuple[str | None, ...]) -> None:
    """Repeated, late or never sent: it is on the first chunk of each choice and on no other."""
    outcome = normalize(*(event({"role": role, "content": "a"}, index=i) for role in roles for i in (0, 1)))
    assert outcome.roles == {0: ["assistant"], 1: ["assistant"]}
    assert [chunk.choices[0].delta.role for chunk in outcome.chunks] == ["assistant", "assistant", None, None]


def test_a_role_that_was_given_shows_in_a_dump_of_what_was_set() -> None:
    """A role that the provider never sent is a field like any other."""
    [chunk] = normalize(text("a")).chunks
    assert chunk.model_dump(exclude_unset=True)["choices"][0]["delta"] == {"content": "a", "role": "assistant"}


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("STOP", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_calls", "tool_calls"),
        ("tool-calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("something new", "stop"),
    ],
)
def test_finish_reasons_are_one_of_four(native: str, reason: str) -> None:
    """The provider's own word stands beside where it differs."""
    assert finish_reason(native, called=False) == reason
    outcome = normalize(text("a", finish=native))
    assert outcome.finishes == {0: [reason]}
    assert outcome.natives == {0: native if native != reason else None}


def test_a_stop_after_tool_calls_is_tool_calls() -> None:
    """By choice; a length stays a length."""
    call = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}
    outcome = normalize(event(call), event(finish="stop"), text("a", index=1), event(index=1, finish="stop"))
    assert outcome.finishes == {0: ["tool_calls"], 1: ["stop"]}
    assert outcome.natives == {0: "stop", 1: None}
    assert normalize(event(call, finish="length")).finishes == {0: ["length"]}
    assert normalize(event({"tool_calls": []}, finish="stop")).finishes == {0: ["stop"]}


def test_the_providers_own_native_finish_reason_is_kept() -> None:
    """OpenRouter says what its upstream said."""
    chunk = text("a", finish="stop")
    chunk["choices"][0]["native_finish_reason"] = "end_turn"
    assert normalize(chunk).natives == {0: "end_turn"}


@pytest.mark.parametrize("reasons", [("stop", "length"), ("tool_calls", "stop"), ("stop", None), ("stop", "")])
def test_a_repeated_finish_comes_once_and_last(reasons: tuple[str, str | None]) -> None:
    """The last that is said counts, and is on the last chunk of its choice."""
    outcome = normalize(text("a", finish=reasons[0]), text("b", finish=reasons[1]))
    assert outcome.texts == {0: "ab"}
    assert outcome.finishes == {0: [reasons[1] or reasons[0]]}
    assert outcome.chunks[-1].choices[0].finish_reason is not None


@pytest.mark.parametrize("nothing", ["", "null", "none", "None"])
def test_an_empty_finish_reason_is_none(nothing: str) -> None:
    """Some servers send an empty string, or null as one, on each chunk."""
    outcome = normalize(text("a", finish=nothing), text("b", finish=nothing))
    assert [chunk.choices[0].finish_reason for chunk in outcome.chunks] == [None, None]
    assert not outcome.complete


def test_calls_after_the_finish_reason_still_make_it_tool_calls() -> None:
    """The reason moves on to the last delta, and is read again there."""
    call = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}
    outcome = normalize(text("a", finish="stop"), event(call), event({"content": "b"}))
    assert outcome.finishes == {0: ["tool_calls"]}
    assert outcome.chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_finish_of_one_choice_does_not_wait_for_another() -> None:
    """It is given with the next chunk; what the choice says after that changes nothing any more."""
    normalizer = Normalizer(Request(model="gpt-4", messages=[], params={"n": 2}))
    out: list[ModelResponseStream] = []
    for chunk in (text("a", finish="stop"), text("b", index=1)):
        normalizer.add(ModelResponseStream.model_validate(chunk), out)
    assert [chunk.choices[0].finish_reason for chunk in out] == ["stop", None]
    normalizer.add(ModelResponseStream.model_validate(text("", finish="length")), out)
    outcome = Outcome(out + normalizer.close(), normalizer.finished, None, 0)
    assert outcome.finishes == {0: ["stop"]}
    assert not outcome.complete


def test_usage_rides_on_the_last_chunk_and_is_not_public() -> None:
    """Beside the finish, in an event of its own, on every chunk, or after it: the last seen is on the last chunk."""
    streams: list[list[Any]] = [
        [text("a"), text("", finish="stop", usage=USAGE)],
        [text("a"), text("", finish="stop"), {"choices": [], "usage": USAGE}],
        [text("a", usage={**USAGE, "total_tokens": 1}), text("", finish="stop", usage=USAGE)],
        [text("a", usage=USAGE), text("", finish="stop")],
        [text("a"), text("", finish="stop"), text("", usage=USAGE)],
        [text("a"), text("", finish="stop"), {"choices": [], "usage": USAGE}, {"choices": [], "usage": {}}],
    ]
    for sent in streams:
        outcome = normalize(*sent)
        assert [chunk.usage for chunk in outcome.chunks] == [None] * len(outcome.chunks)
        *before, last = outcome.chunks
        assert last.reported_usage == REPORTED
        assert last.choices[0].finish_reason == "stop"
        assert all(chunk.reported_usage is None for chunk in before)


def test_usage_without_a_finish_gets_a_chunk_of_its_own() -> None:
    """Nothing was held back that could carry it."""
    alone: list[Any] = [text("a"), {"id": "chatcmpl-1", "choices": [], "usage": USAGE}]
    for sent in (alone, [text("a", usage=USAGE)]):
        first, last = normalize(*sent).chunks
        assert first.choices[0].delta.content == "a"
        assert len(last.choices) == 0
        assert last.choices[0].delta.content is None
        assert (last.id, last.usage, last.reported_usage) == ("chatcmpl-1", None, REPORTED)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("finish", ["stop", None])
def test_public_usage_is_one_more_chunk(*, alone: bool, finish: str | None) -> None:
    """Asked for, it comes last, without a choice, under the stream's id."""
    sent = [text("a", finish=finish)] + (
        [{"id": "chatcmpl-1", "created": 7, "model": "gpt-4", "choices": [], "usage": USAGE}] if alone else []
    )
    if not alone:
        sent[0]["usage"] = USAGE
    before, last = normalize(*sent, **ASKED_FOR_USAGE).chunks
    assert before.usage is None
    assert last.usage == last.reported_usage == REPORTED
    assert (last.id, last.created, last.model) == ("chatcmpl-1", 7, "gpt-4")
    assert last.model_dump()["choices"] == []


def test_no_usage_no_usage_chunk() -> None:
    """What was not reported is not made up."""
    assert len(normalize(text("a", finish="stop"), **ASKED_FOR_USAGE).chunks) == 1


def test_a_missing_total_is_the_sum() -> None:
    """Some providers leave it out."""
    usage = normalize(text("a", finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 4})).usage
    assert usage is not None
    assert usage.total_tokens == 7


def test_fields_beside_the_usage_are_kept() -> None:
    """llama.cpp's timings come with the usage; they move to the chunk that carries it."""
    outcome = normalize(text("a", finish="stop"), {"choices": [], "usage": USAGE, "timings": {"n": 1}})
    assert outcome.chunks[-1]["timings"] == {"n": 1}


def test_an_event_without_choices_or_usage_is_passed_on() -> None:
    """Azure's first brings results of its filter; ``[0]`` is safe to read on it."""
    outcome = normalize({"choices": [], "prompt_filter_results": [1]}, text("a"))
    assert outcome.chunks[0]["prompt_filter_results"] == [1]
    assert outcome.chunks[0].choices[0].delta.content is None
    assert outcome.roles == {0: ["assistant"]}


def test_reasoning_has_one_name() -> None:
    """``reasoning`` becomes ``reasoning_content``; where both come, both stay, and so does what is no text."""
    outcome = normalize(
        event({"reasoning": "a"}), event({"reasoning_content": "b"}), event({"reasoning": None, "content": "c"})
    )
    assert outcome.reasoning == {0: "ab"}
    assert all("reasoning" not in chunk.choices[0].delta for chunk in outcome.chunks)
    [both] = normalize(event({"reasoning": "a", "reasoning_content": "b"})).chunks
    assert (both.choices[0].delta.reasoning_content, both.choices[0].delta["reasoning"]) == ("b", "a")
    [blank] = normalize(event({"reasoning": "a", "reasoning_content": ""})).chunks
    assert blank.choices[0].delta.reasoning_content == "a"
    others = normalize(event({"reasoning_text": "a"}), event({"thinking": "b", "reasoning": None}))
    assert others.reasoning == {0: "ab"}
    [odd] = normalize(event({"reasoning": {"effort": 1}})).chunks
    assert odd.choices[0].delta["reasoning"] == {"effort": 1}


def test_calls_are_numbered_by_choice() -> None:
    """Indices that repeat, start at 1 or are missing become places from 0 on, for each choice by itself."""

    def call(call_id: str, **rest: Any) -> dict[str, Any]:
        return {"id": call_id, "function": {"name": "f", "arguments": "{}"}, **rest}

    outcome = normalize(
        event({"tool_calls": [call("a", index=1)]}),
        event({"tool_calls": [call("b", index=1)]}),
        event({"tool_calls": [call("c"), call("d")]}, index=1),
    )
    numbers = [[tool_call.index for tool_call in chunk.choices[0].delta.tool_calls or ()] for chunk in outcome.chunks]
    assert numbers == [[0], [1], [0, 1]]
    assert "index" in (outcome.chunks[2].choices[0].delta.tool_calls or [])[0].model_fields_set


def test_several_choices_in_one_chunk() -> None:
    """Each is normalised, and each keeps its finish."""
    chunk = text("a", finish="stop")
    chunk["choices"] += [{"index": 1, "delta": {"content": "b"}}]
    outcome = normalize(chunk, text("c", index=1, finish="eos"), n=2)
    assert outcome.texts == {0: "a", 1: "bc"}
    assert outcome.finishes == {0: ["stop"], 1: ["stop"]}
    assert outcome.complete


def test_a_broken_answer_raises_after_taking_the_chunk_in() -> None:
    """The dialect makes a typed error of it, and gives the chunk before."""
    normalizer = Normalizer(Request(model="gpt-4", messages=[]))
    with pytest.raises(BrokenAnswer) as raised:
        normalizer.add(ModelResponseStream.model_validate(text("a", finish="error")), [])
    assert "error" in str(raised.value.said)
    assert [chunk.choices[0].delta.content for chunk in normalizer.close()] == ["a"]


@st.composite
def chunks(draw: st.DrawFn) -> Any:
    """A chunk of one choice, or usage by itself."""
    if draw(st.integers(0, 5)) == 0:
        return {"choices": [], "usage": USAGE}
    delta = {"content": draw(st.text(max_size=2)), "role": draw(st.sampled_from([None, "assistant"]))}
    finish = draw(st.sampled_from([None, None, "stop", "eos", "length", ""]))
    return event(delta, index=draw(st.integers(0, 2)), finish=finish, usage=draw(st.sampled_from([None, USAGE])))


@given(st.lists(chunks(), max_size=10), st.sampled_from([{}, ASKED_FOR_USAGE]))
def test_laws(sent: list[Any], params: dict[str, Any]) -> None:
    """No text is lost or moved; one role and at most one finish a choice; usage public only last and only if asked."""
    outcome = normalize(*sent, **params)
    texts: dict[int, str] = {}
    for choice in (choice for chunk in sent for choice in chunk["choices"]):
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["delta"]["content"]
    assert outcome.texts == texts
    assert outcome.roles == {index: ["assistant"] for index in texts}
    finished = {c["index"] for chunk in sent for c in chunk["choices"] if c["finish_reason"]}
    assert set(outcome.finishes) == finished
    assert all(len(reasons) == 1 for reasons in outcome.finishes.values())
    reported = any(chunk.get("usage") for chunk in sent)
    assert [chunk.usage is not None for chunk in outcome.chunks[-1:]] == [reported and bool(params)] * bool(
        outcome.chunks
    )
    assert all(chunk.usage is None for chunk in outcome.chunks[:-1])
    if outcome.chunks:
        assert (outcome.chunks[-1].reported_usage is not None) == reported
