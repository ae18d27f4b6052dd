"""The answers that follow one another in a stream: the last one, and what all have used together."""

from typing import Any

from rxllm._accumulators._conversation import Conversation
from rxllm._tokens import count_prompt, count_text, get_encoding
from rxllm.types import ChatCompletionMessageToolCall, Function, ModelResponseStream, ToolResult, Usage
from tests.operators.sources import call_piece, calling, of, reported

PROMPT = [{"role": "user", "content": "What is the weather?"}]
CALL = ChatCompletionMessageToolCall(id="a", function=Function(name="weather", arguments="{}"))
RESULT = ModelResponseStream.of_tool(ToolResult(call=CALL, content="18 degrees"))
CALLING = [calling(call_piece("{}", index=0, id="a", name="weather")), of(finish_reason="tool_calls")]
ANSWER = [of("It is "), of("warm"), of(finish_reason="stop")]


def conversation(*chunks: ModelResponseStream, messages: Any = None) -> Conversation:
    """One that has taken these in."""
    it = Conversation("gpt-4", messages)
    for chunk in chunks:
        it.add(chunk)
    return it


def named(identity: str, chunk: ModelResponseStream) -> ModelResponseStream:
    """The chunk with an id."""
    return chunk.model_copy(update={"id": identity})


def test_the_response_is_the_last_one_and_the_usage_of_all() -> None:
    """As reported, each with its own chunk."""
    first = reported(prompt_tokens=10, completion_tokens=2, total_tokens=12)
    second = reported(prompt_tokens=20, completion_tokens=3, total_tokens=23)
    response = conversation(*CALLING, first, RESULT, *ANSWER, second).response()
    assert [choice.message.content for choice in response.choices] == ["It is warm"]
    assert response.choices[0].message.tool_calls is None
    usage = response.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (30, 5, 35)
    assert (usage.estimated, usage.answers, usage["answers"]) == (False, 2, 2)


def test_one_answer_says_nothing_of_how_many() -> None:
    """Its usage is the provider's own."""
    usage = conversation(*ANSWER, reported(total_tokens=5)).usage()
    assert usage == Usage(total_tokens=5)
    assert (usage.answers, "answers" in usage.model_dump()) == (1, False)


def test_what_a_further_answer_was_asked_is_counted() -> None:
    """All of it: what was asked first, the calls and their results."""
    encoding = get_encoding("cl100k_base")
    usage = conversation(*CALLING, RESULT, *ANSWER, messages=PROMPT).usage()
    asked: list[dict[str, Any]] = [
        *PROMPT,
        {"role": "assistant", "tool_calls": [CALL.model_dump()]},
        {"role": "tool", "tool_call_id": "a", "content": "18 degrees"},
    ]
    assert usage.estimated
    assert usage.prompt_tokens == count_prompt(PROMPT, encoding) + count_prompt(asked, encoding)
    assert usage.completion_tokens == sum(count_text(encoding, text) for text in ("weather", "{}", "It is warm"))


def test_a_part_that_was_counted_makes_all_an_estimate() -> None:
    """Whichever it is."""
    told = reported(prompt_tokens=10, completion_tokens=2, total_tokens=12)
    assert conversation(*CALLING, told, RESULT, *ANSWER).usage().estimated
    assert conversation(*CALLING, RESULT, *ANSWER, told).usage().estimated


def test_a_sum_from_above_is_not_added_up_again() -> None:
    """It takes in those before it, and no more of them than it says."""
    total = ModelResponseStream(usage=Usage.model_validate({"total_tokens": 35, "answers": 2}))
    one = reported(total_tokens=12)
    assert conversation(*CALLING, one, RESULT, *ANSWER, total).usage().total_tokens == 35
    usage = conversation(*ANSWER, one, *CALLING, one, RESULT, *ANSWER, total).usage()
    assert (usage.total_tokens, usage.answers) == (47, 3)


def test_a_restart_makes_all_answers_void() -> None:
    """Whoever asks again begins at the first."""
    restart = ModelResponseStream.restarting("broken")
    it = conversation(*CALLING, reported(total_tokens=12), RESULT, of("It"), restart, *ANSWER, reported(total_tokens=5))
    assert it.usage() == Usage(total_tokens=5)
    assert it.response().choices[0].message.content == "It is warm"


def test_white_space_after_the_end_is_of_the_same_answer() -> None:
    """As OpenRouter gives it: the id tells."""
    chunks = [named("gen-1", chunk) for chunk in (*CALLING, of("\n", finish_reason="stop"))]
    (choice,) = conversation(*chunks).response().choices
    assert [call.function.name for call in choice.message.tool_calls or ()] == ["weather"]


def test_the_result_of_a_tool_tells_answers_of_one_id_apart() -> None:
    """As those of a mock; without it, another id does, or none at all."""
    calls, answer = [named("mock", chunk) for chunk in CALLING], [named("mock", chunk) for chunk in ANSWER]
    assert conversation(*calls, RESULT, *answer).answers == 2
    assert conversation(*calls, *(named("other", chunk) for chunk in ANSWER)).answers == 2
    assert conversation(*CALLING, *ANSWER).answers == 2
    # A tool runs while the rest of its answer streams.
    assert conversation(calls[0], RESULT, calls[1], named("mock", of("\n"))).answers == 1
