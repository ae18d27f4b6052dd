"""redact: what matches is replaced, also where it is cut."""

import re
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm.types import ModelResponseStream, StreamingChoices
from tests.operators.sources import call_piece, calling, failure, items, of, reported, text_chunks

MAIL = r"[\w.+-]+@[\w-]+\.[\w.-]*\w"


def text(chunks: list[ModelResponseStream], field: str = "content", index: int = 0) -> str:
    """The whole text of a choice."""
    return "".join(choice.delta[field] or "" for chunk in chunks for choice in chunk.choices if choice.index == index)


@given(st.lists(st.sampled_from(["ann", "@", "example", ".", "org", " ", "sk-", "0123456789", "\U0001f600"])))
def test_any_cutting_gives_the_same(pieces: list[str]) -> None:
    """What re.sub() makes of the whole text."""
    whole = "".join(pieces)
    expected = re.sub(MAIL, "[redacted]", whole)
    assert text(items(ops.redact(MAIL), *text_chunks(pieces))) == expected
    assert text(items(ops.redact(MAIL), *text_chunks(whole))) == expected


def test_all_text_is_redacted_and_all_else_stays() -> None:
    """Each field by itself; log probabilities would tell; calls go back as they came."""
    chunks = [
        of("", role="assistant"),
        of(reasoning_content="the pin is 12"),
        of(reasoning_content="34"),
        of("12"),
        ModelResponseStream(
            choices=[StreamingChoices(delta=of("34").choices[0].delta, logprobs={"content": [{"token": "34"}]})]
        ),
        of(refusal="not 1234"),
        calling(call_piece('{"pin": "1234"}', index=0, id="a", name="f")),
        of(finish_reason="tool_calls"),
        reported(prompt_tokens=1),
    ]
    seen = items(ops.redact(r"\d{4}", "****"), *chunks)
    assert [text(seen, field) for field in ("reasoning_content", "content", "refusal")] == [
        "the pin is ****",
        "****",
        "not ****",
    ]
    assert all(choice.logprobs is None for chunk in seen for choice in chunk.choices)
    assert seen[0] is chunks[0]
    assert seen[-2:] == chunks[-2:]
    assert seen[-3].choices[0].delta.tool_calls == chunks[-3].choices[0].delta.tool_calls
    assert chunks[4].choices[0].logprobs is not None


def test_chunks_in_which_nothing_can_match_pass_as_they_are() -> None:
    """At once."""
    scheduler = TestScheduler()
    chunks = text_chunks(["Hello ", "you ", "there "])
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, chunk) for at, chunk in enumerate(chunks))
    )
    result = scheduler.start(lambda: source.pipe(ops.redact([MAIL, r"\bsk-\w+"])))
    assert result.messages == [ReactiveTest.on_next(210 + 10 * at, chunk) for at, chunk in enumerate(chunks)]


def test_choices_are_redacted_by_themselves() -> None:
    """What is cut in one goes on in the same one."""
    chunks = [of("ann@a"), of("12", index=1), of(".org "), of("34", index=1)]
    seen = items(ops.redact({MAIL: "<mail>", re.compile(r"\d+"): "<number>"}), *chunks)
    assert (text(seen), text(seen, index=1)) == ("<mail> ", "<number>")


def test_what_waits_is_given_redacted_before_an_error() -> None:
    """It may have been a match."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("to ann@b.c")), rx.throw(error)).pipe(ops.redact(MAIL)))
    assert (text(seen), raised) == ("to [redacted]", error)


def test_an_answer_that_begins_anew() -> None:
    """What waited is void."""
    chunks = [of("ann@"), ModelResponseStream.restarting("broke"), of("b.c ")]
    assert text(items(ops.redact(MAIL), *chunks)) == "b.c "


def test_what_the_function_raises_ends_the_stream_and_cancels_it() -> None:
    """Where it is called for a match that is whole, and for one at the end."""

    def fail(match: re.Match[str]) -> str:
        raise LookupError(match[0])

    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        ReactiveTest.on_next(210, of("a 12 b")), ReactiveTest.on_next(220, of("34"))
    )
    result = scheduler.start(lambda: source.pipe(ops.redact(r"\d+", fail)))
    (message,) = result.messages
    assert (message.time, str(message.value)) == (210, "OnError(12)")
    assert source.subscriptions == [ReactiveTest.subscribe(200, 210)]
    seen, raised = failure(rx.of(of("a"), of("12")).pipe(ops.redact(r"\d+", fail)))
    assert (text(seen), str(raised)) == ("a", "12")
    first = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("a12")), rx.throw(first)).pipe(ops.redact(r"\d+", fail)))
    assert (text(seen), raised) == ("a", first)


def test_a_function_that_gives_no_string_is_an_error() -> None:
    """And not a chunk of something else."""
    nothing: Any = print
    _, raised = failure(rx.of(of("12 ")).pipe(ops.redact(r"\d+", nothing)))
    assert isinstance(raised, TypeError)


def test_a_source_that_goes_on_after_the_error_is_not_heard() -> None:
    """One that emits inside its subscribe cannot be stopped."""
    calls: list[str] = []

    def fail(match: re.Match[str]) -> str:
        calls.append(match[0])
        raise LookupError

    failure(rx.of(of("1 "), of("2 ")).pipe(ops.redact(r"\d", fail)))
    assert calls == ["1"]


def test_the_window_bounds_what_waits() -> None:
    """What is longer is let go."""
    seen = items(ops.redact("a+!", window=3), *text_chunks("aaaaa!"))
    assert text(seen) == "aa[redacted]"


WRONG: list[tuple[Any, type[Exception]]] = [
    (([],), ValueError),
    (({},), ValueError),
    ((5,), TypeError),
    (([5],), TypeError),
    ((re.compile(b"a"),), TypeError),
    (("a", 5), TypeError),
    (({"a": None},), TypeError),
    (("(",), ValueError),
    (("a", r"\1"), ValueError),
    (("a", r"\g<name>"), ValueError),
]


@pytest.mark.parametrize(("arguments", "error"), WRONG)
def test_patterns_are_checked_when_the_operator_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"pattern|replace"):
        ops.redact(*arguments)


@pytest.mark.parametrize(("window", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_the_window_is_checked_when_the_operator_is_made(window: Any, error: type[Exception]) -> None:
    """Likewise."""
    with pytest.raises(error, match="window"):
        ops.redact("a", window=window)
