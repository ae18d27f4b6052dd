"""attach_usage: the last chunk carries usage, reported or estimated."""

from typing import Any

import pytest
import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm._tokens import count_prompt, count_text, get_encoding
from rxllm.types import Message, ModelResponseStream, StreamingChoices, Usage
from tests.operators.sources import asked, call_piece, calling, collect, items, notifications, of, reported

PROMPT = [{"role": "user", "content": "Greet me"}]


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
    "arguments", [{"model": 4}, {"messages": "Hi"}, {"messages": {"role": "user"}}, {"messages": 4}]
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match=r"model|messages"):
        ops.attach_usage(**arguments)
