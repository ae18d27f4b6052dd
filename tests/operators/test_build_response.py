"""build_response: the whole response, with a usage always, and parsed where a class was asked for."""

import pytest
import reactivex as rx
from pydantic import BaseModel, field_validator

from rxllm import operators as ops
from rxllm._tokens import count_prompt, get_encoding
from rxllm.exceptions import APIResponseValidationError
from rxllm.types import ModelResponseStream, Usage
from tests.operators.sources import asked, call_piece, calling, collect, failure, items, of, reported


def test_choices_calls_and_reported_usage() -> None:
    """One item, at the completion."""
    (response,) = items(
        ops.build_response(),
        of("Hel", role="assistant"),
        of("Bye", index=1),
        of("lo"),
        calling(call_piece("{}", index=0, id="a", name="f"), finish_reason="tool_calls"),
        of(index=1, finish_reason="stop"),
        reported(total_tokens=5),
    )
    assert [choice.message.content for choice in response.choices] == ["Hello", "Bye"]
    assert [choice.finish_reason for choice in response.choices] == ["tool_calls", "stop"]
    (call,) = response.choices[0].message.tool_calls or []
    assert (call.id, call.function.name, call.parsed) == ("a", "f", {})
    assert response.usage == Usage(total_tokens=5)


def test_usage_is_estimated_from_the_request() -> None:
    """Where the provider reported none."""
    messages = [{"role": "user", "content": "Greet me"}]
    source = asked(rx.of(of("Hello"), of(finish_reason="stop")), model="gpt-4", messages=messages)
    (response,) = collect(source.pipe(ops.build_response()))
    assert response.usage is not None
    assert response.usage.estimated
    assert response.usage.prompt_tokens == count_prompt(messages, get_encoding("cl100k_base"))
    assert response.usage.completion_tokens == 1


class City(BaseModel):
    """What is asked for."""

    name: str
    people: int

    @field_validator("people")
    @classmethod
    def _some(cls, people: int) -> int:
        if people > 10**9:
            raise LookupError("no city is as large")
        return people


def answered(*chunks: ModelResponseStream) -> rx.Observable[ModelResponseStream]:
    """A source whose request asked for a city."""
    return asked(rx.of(*chunks), params={"response_format": City})


def test_a_pydantic_class_is_what_the_answer_is_parsed_as() -> None:
    """Each choice that stopped has its object."""
    chunks = [of('{"name": "Rome", '), of('{"name": "Oslo", "people": 7}', index=1), of('"people": 28}')]
    ends = [of(finish_reason="stop"), of(index=1, finish_reason="stop")]
    (response,) = collect(answered(*chunks, *ends).pipe(ops.build_response()))
    assert [choice.message.parsed for choice in response.choices] == [
        City(name="Rome", people=28),
        City(name="Oslo", people=7),
    ]


@pytest.mark.parametrize("text", ["", "Rome", '{"name": "Rome"}'])
def test_an_answer_that_does_not_fit_is_an_error(text: str) -> None:
    """With the text as its body."""
    seen, error = failure(answered(of(text), of(finish_reason="stop")).pipe(ops.build_response()))
    assert seen == []
    assert isinstance(error, APIResponseValidationError)
    assert (error.body, error.model) == (text, "openai/gpt-4o")
    assert str(error).startswith("The answer does not fit City: ")
    # Its addresses help nobody here, and the text is in the body.
    assert "pydantic" not in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "chunks",
    [
        [of('{"name": "Ro'), of(finish_reason="length")],
        [of(refusal="No."), of(finish_reason="stop")],
        [calling(call_piece("{}", index=0, id="a", name="f"), finish_reason="tool_calls")],
    ],
)
def test_what_is_no_answer_is_not_parsed(chunks: list[ModelResponseStream]) -> None:
    """One that was cut off, a refusal, a tool call."""
    (response,) = collect(answered(*chunks).pipe(ops.build_response()))
    assert response.choices[0].message.parsed is None


def test_what_a_validator_raises_is_an_error_of_the_stream() -> None:
    """It is the caller's own."""
    _, error = failure(
        answered(of('{"name": "X", "people": 10000000000}', finish_reason="stop")).pipe(ops.build_response())
    )
    assert isinstance(error, LookupError)


def test_other_response_formats_are_not_parsed() -> None:
    """A JSON schema in a dictionary is the provider's matter."""
    source = asked(rx.of(of("{}", finish_reason="stop")), params={"response_format": {"type": "json_object"}})
    assert collect(source.pipe(ops.build_response()))[0].choices[0].message.parsed is None
