"""attach_usage: the last chunk carries usage, reported or estimated."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import Measurement
from rxllm import operators as ops
from rxllm._tokens import count_prompt, count_text, count_tools, get_encoding
from rxllm.exceptions import IncompleteStreamError
from rxllm.types import (
    ChatCompletionMessageToolCall,
    Message,
    ModelResponseStream,
    StreamingChoices,
    ToolResult,
    Usage,
)
from tests.operators.sources import asked, call_piece, calling, collect, failure, items, notifications, of, reported

PROMPT = [{"role": "user", "content": "Greet me"}]
ENCODING = get_encoding("cl100k_base")


def completed(usage: Usage | None) -> int:
    """The completion's tokens of an estimate."""
    assert usage is not None
    assert usage.estimated
    return usage.completion_tokens


def tokens(*texts: str) -> int:
    """Their tokens, one by one."""
    return sum(count_text(ENCODING, text) for text in texts)


def test_what_was_reported_becomes_public_on_the_last_chunk() -> None:
    """On the usage chunk itself, when that is the last; the ones before stay without."""
    chunks = [of("Hello"), of(finish_reason="stop"), reported(prompt_tokens=3, completion_tokens=4, total_tokens=7)]
    *others, last = items(ops.attach_usage(), *chunks)
    assert others == chunks[:2]
    assert last.usage == Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    assert last.usage is not None
    assert not last.usage.estimated
    assert (len(last.choices), last.choices[0].delta.content) == (0, None)


def test_a_plain_empty_list_of_choices_can_be_read_like_the_librarys() -> None:
    """As it comes from sources of one's own: the documented loop reads `choices[0]` of the last chunk too."""
    plain = ModelResponseStream.model_validate({"choices": [], "usage": {"total_tokens": 3}})
    last = items(ops.attach_usage(), of("Hello", finish_reason="stop"), plain)[-1]
    assert last.usage == Usage(total_tokens=3)
    assert (len(last.choices), last.choices[0].delta.content) == (0, None)


def test_what_was_reported_before_the_last_chunk_moves_to_it() -> None:
    """Some providers count on every chunk: the last word is theirs."""
    finish = of(finish_reason="stop")
    finish.reported_usage = Usage(total_tokens=9)
    last = items(ops.attach_usage(), of("Hello"), finish, ModelResponseStream(choices=[]))[-1]
    assert last.usage == Usage(total_tokens=9)


def test_without_a_report_it_is_counted_and_marked() -> None:
    """Prompt and completion, with the model's own encoding."""
    *_, last = items(ops.attach_usage("gpt-4", PROMPT), of("Hello "), of("world"), of(finish_reason="stop"))
    encoding = get_encoding("cl100k_base")
    assert last.usage is not None
    assert last.usage.estimated
    assert last.usage.prompt_tokens == count_prompt(PROMPT, encoding)
    assert last.usage.completion_tokens == count_text(encoding, "Hello world")
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert last.choices[0].finish_reason == "stop"


def test_the_request_says_model_and_prompt() -> None:
    """Where the source is a Stream nothing has to be named; what is named goes before."""
    chunks = [of("Hello world"), of(finish_reason="stop")]
    known = asked(rx.of(*chunks), model="openai/gpt-4", messages=PROMPT)
    assert collect(known.pipe(ops.attach_usage()))[-1] == items(ops.attach_usage("gpt-4", PROMPT), *chunks)[-1]
    longer: list[dict[str, str] | Message] = [*PROMPT, Message(content="Hello")]
    assert (
        collect(known.pipe(ops.attach_usage(messages=longer)))[-1]
        == items(ops.attach_usage("gpt-4", longer), *chunks)[-1]
    )


def test_where_nothing_is_known_the_completion_is_counted() -> None:
    """With o200k_base, and the prompt as 0."""
    last = items(ops.attach_usage(), of("Hello world"), of(finish_reason="stop"))[-1]
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.estimated) == (0, True)
    assert last.usage.completion_tokens == count_text(get_encoding("o200k_base"), "Hello world")


def test_calls_and_all_choices_are_counted() -> None:
    """What was generated is more than text."""
    call = call_piece('{"x": 1}', index=0, id="a", name="add")
    last = items(ops.attach_usage(), of("Hello"), calling(call), of("Bye", index=1), of(finish_reason="stop"))[-1]
    encoding = get_encoding("o200k_base")
    assert last.usage is not None
    assert last.usage.completion_tokens == sum(count_text(encoding, t) for t in ("Hello", "Bye", "add", '{"x": 1}'))


def test_without_a_finish_reason_one_more_chunk_comes() -> None:
    """It has no choices, and the id and model of the stream."""
    chunk = of("Hello")
    chunk.id, chunk.model, chunk.created = "id-1", "gpt-4", 5
    first, last = items(ops.attach_usage(), chunk)
    assert first == chunk
    assert (last.id, last.model, last.created, len(last.choices)) == ("id-1", "gpt-4", 5, 0)
    assert last.choices[0].delta.content is None
    assert last.usage is not None


def timeline(*chunks: ModelResponseStream) -> list[float]:
    """When chunks that came at 210, 220, ... go on, the completion being at 300."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, chunk) for at, chunk in enumerate(chunks)),
        ReactiveTest.on_completed(300),
    )
    messages = scheduler.start(lambda: source.pipe(ops.attach_usage())).messages
    assert messages[-1] == ReactiveTest.on_completed(300)
    return [time for time, _, _ in notifications(messages[:-1])]


def test_nothing_is_delayed_while_text_streams() -> None:
    """Only from the finish on chunks wait, for one another."""
    assert timeline(of("a"), of("b"), of(finish_reason="stop"), reported(total_tokens=1)) == [210, 220, 240, 300]


def test_with_several_choices_the_last_finish_counts() -> None:
    """The text of a choice that still streams goes on at once."""
    chunks = [of("a"), of("b", index=1), of(finish_reason="stop"), of("c", index=1), of(index=1, finish_reason="stop")]
    assert timeline(*chunks) == [210, 220, 230, 240, 300]


def test_chunks_are_copied() -> None:
    """The source's own last chunk stays without usage, with all that it had."""
    finish = ModelResponseStream(choices=[StreamingChoices(finish_reason="stop", native_finish_reason="eos")])
    last = items(ops.attach_usage(), of("a"), finish)[-1]
    assert finish.usage is None
    assert last.choices == finish.choices


@pytest.mark.parametrize(
    "arguments", [{"model": 4}, {"messages": "Hi"}, {"messages": {"role": "user"}}, {"messages": 4}, {"own_chunk": 1}]
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match=r"model|messages|own_chunk"):
        ops.attach_usage(**arguments)


def test_reasoning_is_counted_and_told_apart() -> None:
    """As a part of the completion."""
    chunks = [of(reasoning_content="They "), of(reasoning_content="greet me"), of("Hello"), of(finish_reason="stop")]
    usage = items(ops.attach_usage("gpt-4"), *chunks)[-1].usage
    assert completed(usage) == tokens("They greet me", "Hello")
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == tokens("They greet me")


def test_the_requests_tools_are_part_of_the_prompt() -> None:
    """They are sent with it."""
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds two numbers"}}]
    chunks = [of("Hello"), of(finish_reason="stop")]
    source = asked(rx.of(*chunks), model="gpt-4", messages=PROMPT, params={"tools": tools})
    last = collect(source.pipe(ops.attach_usage()))[-1]
    assert last.usage is not None
    assert last.usage.prompt_tokens == count_prompt(PROMPT, ENCODING) + count_tools(tools, ENCODING)


def test_below_take_chunks_one_more_chunk_comes() -> None:
    """With the usage of what came until the cut."""
    chunks = [of("Once "), of("upon "), of("a "), of("time"), of(finish_reason="stop")]
    *others, last = collect(rx.of(*chunks).pipe(ops.take_chunks(2), ops.attach_usage("gpt-4")))
    assert others == chunks[:2]
    assert len(last.choices) == 0
    assert completed(last.usage) == tokens("Once upon ")


def test_above_take_chunks_the_last_chunk_carries_it() -> None:
    """The source's own chunk stays without."""
    chunks = [of("Once "), of("upon "), of("a "), of("time"), of(finish_reason="stop")]
    first, last = collect(rx.of(*chunks).pipe(ops.attach_usage("gpt-4"), ops.take_chunks(2)))
    assert (first.usage, completed(last.usage)) == (None, tokens("Once upon "))
    assert [chunk.usage for chunk in chunks] == [None] * 5
    assert last.choices == chunks[1].choices


def test_above_take_chunks_what_was_reported_counts() -> None:
    """Where a provider reports on each chunk."""
    second = of("upon ")
    second.reported_usage = Usage(total_tokens=5)
    last = collect(rx.of(of("Once "), second, of("a ")).pipe(ops.attach_usage(), ops.take_chunks(2)))[-1]
    assert last.usage == Usage(total_tokens=5)


def test_who_leaves_between_chunks_gets_nothing_more() -> None:
    """As after a plain break: what was delivered stays as it was."""
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    seen: list[ModelResponseStream] = []
    subscription = source.pipe(ops.attach_usage("gpt-4")).subscribe(seen.append)
    source.on_next(of("Once "))
    subscription.dispose()
    source.on_next(of("upon "))
    assert seen == [of("Once ")]


def test_a_chunk_that_is_cut_off_by_another_thread_is_left_alone() -> None:
    """Its thread may be reading it."""
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    seen: list[Usage | None] = []

    def leave_elsewhere(chunk: ModelResponseStream) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(subscription.dispose).result()
        seen.append(chunk.usage)

    subscription = source.pipe(ops.attach_usage("gpt-4")).subscribe(leave_elsewhere)
    source.on_next(of("Once "))
    assert seen == [None]


def test_an_error_has_the_usage_of_what_came() -> None:
    """An APIError does; the chunk that was held has it too."""
    error = IncompleteStreamError("cut off")
    broken = rx.concat(rx.of(of("Hel"), of("lo")), rx.throw(error))
    seen, raised = failure(broken.pipe(ops.attach_usage("gpt-4", PROMPT)))
    assert (seen, raised) == ([of("Hel"), of("lo")], error)
    assert completed(error.usage) == tokens("Hello")
    assert error.usage is not None
    assert error.usage.prompt_tokens == count_prompt(PROMPT, ENCODING)
    finished = rx.concat(rx.of(of("Hi"), of(finish_reason="stop")), rx.throw(error))
    seen, _ = failure(finished.pipe(ops.attach_usage("gpt-4", PROMPT)))
    assert seen[-1].usage == error.usage
    assert completed(error.usage) == tokens("Hi")


def test_an_error_keeps_what_the_provider_reported() -> None:
    """It is better than any count, whichever of two operators saw it."""
    error = IncompleteStreamError("cut off")
    broken = rx.concat(rx.of(of("Hello"), reported(total_tokens=9)), rx.throw(error))
    failure(broken.pipe(ops.attach_usage("gpt-4")))
    assert error.usage == Usage(total_tokens=9)
    failure(rx.concat(rx.of(of("Hello")), rx.throw(error)).pipe(ops.attach_usage("gpt-4")))
    assert error.usage == Usage(total_tokens=9)


def test_an_error_before_anything_came_has_no_usage() -> None:
    """Nothing is known then: a request that is refused costs nothing."""
    error = IncompleteStreamError("cut off")
    _, raised = failure(rx.throw(error).pipe(ops.attach_usage("gpt-4", PROMPT)))
    assert raised is error
    assert error.usage is None


def test_other_errors_pass_untouched() -> None:
    """They may have attributes of their own."""
    error = RuntimeError("broken")
    _, raised = failure(rx.concat(rx.of(of("Hi")), rx.throw(error)).pipe(ops.attach_usage("gpt-4")))
    assert raised is error
    assert not hasattr(error, "usage")


def test_usage_on_a_chunk_of_its_own() -> None:
    """All others pass as they are, at once, and the last one has no choices."""
    chunks = [of("Hello"), of(finish_reason="stop")]
    *others, last = items(ops.attach_usage("gpt-4", PROMPT, own_chunk=True), *chunks)
    assert others == chunks
    assert all(chunk is came for chunk, came in zip(others, chunks, strict=True))
    assert (len(last.choices), last.choices[0].delta.content) == (0, None)
    assert completed(last.usage) == 1


def test_no_second_chunk_of_its_own_is_added() -> None:
    """Where the provider's comes."""
    usage = ModelResponseStream(usage=Usage(total_tokens=3))
    chunks = [of("Hello"), of(finish_reason="stop"), usage]
    assert items(ops.attach_usage(own_chunk=True), *chunks) == chunks


def test_a_chunk_of_its_own_carries_what_was_reported_unasked() -> None:
    """It rides on the last chunk, where nobody sees it."""
    chunks = [of("Hello"), of(finish_reason="stop"), reported(total_tokens=3)]
    *others, last = items(ops.attach_usage(own_chunk=True), *chunks)
    assert others == chunks
    assert last.usage == Usage(total_tokens=3)


def test_a_chunk_of_its_own_does_not_come_after_an_error() -> None:
    """The error has the usage, as ever."""
    error = IncompleteStreamError("cut off")
    seen, _ = failure(rx.concat(rx.of(of("Hello")), rx.throw(error)).pipe(ops.attach_usage("gpt-4", own_chunk=True)))
    assert seen == [of("Hello")]
    assert completed(error.usage) == 1


TOLD = reported(prompt_tokens=10, completion_tokens=2, total_tokens=12)
RESULT = ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(id="a"), content="18 degrees"))
TWO_ANSWERS = [
    calling(call_piece("{}", index=0, id="a", name="weather"), finish_reason="tool_calls"),
    *(TOLD, RESULT, of("Warm"), of(finish_reason="stop"), TOLD),
]


def test_of_several_answers_the_last_chunk_carries_the_sum() -> None:
    """As below run_tools(); whoever is below counts none of it twice."""
    last = items(ops.attach_usage(), *TWO_ANSWERS)[-1]
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.answers) == (20, 4, 2)
    prices = {"input": 1_000_000, "output": 0}
    chunks = rx.of(*TWO_ANSWERS)
    for more in (ops.attach_usage(), ops.attach_usage(own_chunk=True), ops.attach_cost(prices)):
        again = collect(chunks.pipe(ops.attach_usage(), more))[-1].usage
        assert again is not None
        assert (again.total_tokens, again.answers) == (24, 2)
    (response,) = collect(chunks.pipe(ops.attach_cost(prices), ops.build_response()))
    assert response.usage is not None
    assert (response.usage.total_tokens, response.usage.cost) == (24, 20)
    measured: list[Measurement] = []
    collect(chunks.pipe(ops.attach_usage(), ops.measure(measured.append)))
    assert [record.tokens for record in measured] == [4]


@pytest.mark.parametrize("times", [1, 2])
def test_what_an_error_tells_of_the_last_answer_is_added(times: int) -> None:
    """As where each answer has a usage of its own, and the last one's error tells it; once, however often."""
    error = IncompleteStreamError("cut off")
    first = of("Hello", finish_reason="stop"), reported(total_tokens=9)
    second = rx.concat(rx.of(of("Good day", finish_reason="stop"), reported(total_tokens=4)), rx.throw(error))
    chunks = rx.concat(rx.of(*first), second.pipe(ops.attach_usage("gpt-4")))
    seen, _ = failure(chunks.pipe(*[ops.attach_usage("gpt-4")] * times))
    assert error.usage is not None
    assert (error.usage.total_tokens, error.usage.answers) == (13, 2)
    assert seen[-1].usage == error.usage


def test_what_came_of_a_tool_is_not_held_back() -> None:
    """It is shown as it is there, however long the next answer takes."""
    seen: list[ModelResponseStream] = []
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    source.pipe(ops.attach_usage()).subscribe(seen.append)
    for chunk in TWO_ANSWERS[:3]:
        source.on_next(chunk)
    assert seen == TWO_ANSWERS[:3]


def test_a_chunk_of_its_own_has_the_sum() -> None:
    """Where each answer has its public one, that of a further answer is the sum so far; else one is added."""
    public = ModelResponseStream(usage=Usage(total_tokens=12))
    both = [public if chunk is TOLD else chunk for chunk in TWO_ANSWERS]
    seen = items(ops.attach_usage(own_chunk=True), *both)
    assert [chunk.usage.total_tokens for chunk in seen if chunk.usage] == [12, 24]
    seen = items(ops.attach_usage(own_chunk=True), *both[:-1], TOLD)
    assert [chunk.usage.total_tokens for chunk in seen if chunk.usage] == [12, 24]
    assert len(seen) == len(both) + 1
