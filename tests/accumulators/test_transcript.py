"""What an answer says and comes to, so far, made of chunks and times."""

import itertools
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._transcript import Said, Transcript
from rxllm.exceptions import RateLimitError
from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream, ToolResult
from tests.operators.sources import call_piece, calling, of, reported


def after(*chunks: ModelResponseStream) -> Transcript:
    """Of chunks that come at half a second after the beginning, and then four a second."""
    transcript = Transcript("gpt-4", begun=100.0)
    for number, chunk in enumerate(chunks, 2):
        transcript.add(chunk, 100.0 + number / 4)
    return transcript


def result_of(call_id: str, content: str, **fields: Any) -> ModelResponseStream:
    """The marker that tells what came of a call."""
    call = ChatCompletionMessageToolCall(id=call_id)
    return ModelResponseStream.of_tool(ToolResult(call=call, content=content, **fields))


def called(said: Said) -> list[tuple[str, str]]:
    """The names and arguments of the calls."""
    return [(call.function.name, call.function.arguments) for call in said.calls]


def test_nothing_has_come() -> None:
    """There are no choices, and the figures say so."""
    transcript = after()
    assert (transcript.choices, transcript.tool_results) == ({}, [])
    assert transcript.figures(101.0) == "0 chunks"
    assert transcript.measurement(101.0).duration == 1.0


def test_text_grows() -> None:
    """What was said can be asked for at any time."""
    transcript = Transcript(begun=0.0)
    seen: list[str] = []
    for piece in ("Hel", "lo", " you"):
        transcript.add(of(piece), 0.0)
        seen.append(transcript.choices[0].text)
    assert seen == ["Hel", "Hello", "Hello you"]


def test_reasoning_and_a_refusal_are_kept_apart_from_text() -> None:
    """Each is put together by itself."""
    chunks = [of(reasoning_content="I "), of(reasoning_content="think."), of("So: "), of(refusal="no"), of("yes")]
    said = after(*chunks).choices[0]
    assert (said.reasoning, said.text, said.refusal) == ("I think.", "So: yes", "no")


def test_choices_are_told_apart() -> None:
    """With n > 1, by their index and in its order, each with its own end."""
    transcript = after(of("b", index=1), of("a"), of("!", index=1, finish_reason="length"), of(finish_reason="stop"))
    assert [(said.index, said.text, said.finish_reason) for said in transcript.choices.values()] == [
        (0, "a", "stop"),
        (1, "b!", "length"),
    ]
    transcript.end(102.0, "completed")
    assert transcript.figures(102.0).endswith("finish reason: stop, length")


def test_a_call_grows() -> None:
    """As it comes in pieces, its arguments as far as they are."""
    first = calling(call_piece("", index=0, id="call_1", name="add"))
    transcript = after(first, calling(call_piece('{"a": ', index=0)))
    assert called(transcript.choices[0]) == [("add", '{"a": ')]
    transcript.add(calling(call_piece("1}", index=0)), 102.0)
    transcript.add(calling(call_piece("{}", index=1, id="call_2", name="now")), 102.0)
    assert called(transcript.choices[0]) == [("add", '{"a": 1}'), ("now", "{}")]


@given(st.lists(st.integers(0, 30), max_size=5))
def test_any_cutting_gives_the_same_call(cuts: list[int]) -> None:
    """However its arguments are cut."""
    arguments = '{"city": "Paris \\u00e9", "days": 12}'
    places = [0, *sorted(cuts), len(arguments)]
    pieces = [arguments[start:end] for start, end in itertools.pairwise(places)]
    head = calling(call_piece("", index=0, id="call_1", name="f"))
    transcript = after(head, *(calling(call_piece(piece, index=0)) for piece in pieces))
    assert called(transcript.choices[0]) == [("f", arguments)]


def test_a_restart_voids_what_was_said() -> None:
    """Text, calls and results; the chunks that came are counted all the same."""
    call = calling(call_piece("{}", index=0, id="call_1", name="f"))
    transcript = after(
        of("wrong"), call, result_of("call_1", "1"), ModelResponseStream.restarting("broke"), of("right")
    )
    assert [(said.text, said.calls) for said in transcript.choices.values()] == [("right", [])]
    assert (len(transcript.rounds), transcript.tool_results) == (1, [])
    assert transcript.figures(110.0).startswith("5 chunks, ")


def test_a_restart_after_the_end_of_an_answer_leaves_one_answer() -> None:
    """What had finished is void, too."""
    transcript = after(of("a", finish_reason="stop"), ModelResponseStream.restarting("late"), of("b"), of("c"))
    assert [said.text for said in transcript.choices.values()] == ["bc"]
    assert len(transcript.rounds) == 1


def texts_and_results(transcript: Transcript) -> list[tuple[list[str], list[str]]]:
    """What each round said, and what came of its calls."""
    return [
        ([said.text for said in each.choices.values()], [result.content for result in each.results])
        for each in transcript.rounds
    ]


def test_the_answer_after_tool_results_is_another_one() -> None:
    """It begins with the first content after the finish reason."""
    call = calling(call_piece("{}", index=0, id="call_1", name="f"), finish_reason="tool_calls")
    transcript = after(of("I look."), call, result_of("call_1", "18"), of("", role="assistant"), of("It is 18"))
    assert texts_and_results(transcript) == [(["I look."], ["18"]), (["It is 18"], [])]
    assert transcript.choices[0].text == "It is 18"
    assert [result.content for result in transcript.tool_results] == ["18"]


def test_a_result_may_come_while_its_answer_goes_on() -> None:
    """Text and pieces of another call that follow belong to the same answer, those of other choices too."""
    transcript = after(
        calling(call_piece("{}", index=0, id="call_1", name="f")),
        calling(call_piece('{"a"', index=1, id="call_2", name="g")),
        result_of("call_1", "18"),
        calling(call_piece(": 1}", index=1)),
        of("more", finish_reason="tool_calls"),
        of("of another choice", index=1),
    )
    (only,) = transcript.rounds
    assert called(only.choices[0]) == [("f", "{}"), ("g", '{"a": 1}')]
    assert [said.text for said in only.choices.values()] == ["more", "of another choice"]


def test_answers_one_after_the_other_are_not_one_text() -> None:
    """As concat makes them; an empty chunk behind the finish reason begins none."""
    transcript = after(of("a", finish_reason="stop"), of(""), ModelResponseStream(), of("b", finish_reason="length"))
    assert texts_and_results(transcript) == [(["a"], []), (["b"], [])]
    assert transcript.rounds[0].choices[0].finish_reason == "stop"


def test_figures_with_reported_usage() -> None:
    """Tokens as the provider says."""
    transcript = after(of("Hello"), of(" there"), of(finish_reason="stop"), reported(completion_tokens=7))
    transcript.end(101.5, "completed")
    assert transcript.usage.completion_tokens == 7
    assert transcript.figures(999.0) == (
        "4 chunks, 7 tokens, first token after 0.50 s, 4.0 tokens/s, finish reason: stop"
    )


def test_figures_of_several_answers() -> None:
    """Each counts, as it was reported; what was counted of one makes the sum an estimate."""
    call = calling(call_piece("{}", index=0, id="call_1", name="f"), finish_reason="tool_calls")
    first = [call, reported(prompt_tokens=9, completion_tokens=5), result_of("call_1", "18")]
    second = [of("It is 18"), of(finish_reason="stop"), reported(prompt_tokens=20, completion_tokens=7)]
    transcript = after(*first, *second)
    assert (transcript.usage.prompt_tokens, transcript.usage.completion_tokens) == (29, 12)
    assert transcript.figures(110.0).startswith("6 chunks, 12 tokens, ")
    assert after(*first, of("It"), of(" is")).figures(110.0).startswith("5 chunks, about 7 tokens, ")


def test_a_new_name_begins_an_answer_before_its_content() -> None:
    """Its role does; a server that goes on after the end without saying anything begins none."""
    named = [of("a", finish_reason="stop"), of("", role="assistant"), of("b")]
    for chunk, name in zip(named, ["x", "y", "y"], strict=True):
        chunk.id = name
    assert [len(after(*named[:count]).rounds) for count in (1, 2, 3)] == [1, 2, 2]
    silent = of("")
    silent.id = "y"
    assert len(after(named[0], silent).rounds) == 1


def test_figures_with_counted_usage() -> None:
    """Tokens as they are counted, and said to be estimated."""
    transcript = after(of("Hello"), of(" there"), of(finish_reason="stop"))
    assert transcript.usage.estimated
    assert transcript.figures(101.5) == (
        "3 chunks, about 2 tokens, first token after 0.50 s, 4.0 tokens/s, finish reason: stop"
    )


@pytest.mark.parametrize(
    ("ended", "error", "said"),
    [
        ("completed", None, "no finish reason"),
        ("failed", RateLimitError("sk-1 is too fast"), "failed: RateLimitError"),
        ("cancelled", None, "cancelled"),
    ],
)
def test_how_it_ended(ended: Literal["completed", "failed", "cancelled"], error: Exception | None, said: str) -> None:
    """Stands at the end of the figures and in the measurement; the first end counts, and its time."""
    transcript = after(of("Hel"))
    transcript.end(101.0, ended, error)
    transcript.end(200.0, "completed")
    measured = transcript.measurement(300.0)
    assert (measured.ended, measured.error, measured.duration) == (ended, error, 1.0)
    assert transcript.figures(300.0) == f"1 chunk, about 1 token, first token after 0.50 s, {said}"


def whole(pieces: Iterable[str]) -> list[tuple[str, str]]:
    """What is said after all pieces, of text and of reasoning in turn."""
    transcript = Transcript(begun=0.0)
    for number, piece in enumerate(pieces):
        transcript.add(of(piece) if number % 2 else of(reasoning_content=piece), 0.0)
    return [(said.text, said.reasoning) for said in transcript.choices.values()]


@given(st.lists(st.text(min_size=1), min_size=1))
def test_texts_are_what_came(pieces: list[str]) -> None:
    """In order, whatever it is."""
    assert whole(pieces) == [("".join(pieces[1::2]), "".join(pieces[::2]))]


def test_halves_of_a_character_are_joined() -> None:
    """That came in two chunks."""
    assert after(of("a\ud83d"), of("\ude00b")).choices[0].text == "a\U0001f600b"
