"""guard: nothing is delivered that was not checked, and a refusal cancels the request."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as rx_ops
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import Stream
from rxllm import operators as ops
from rxllm.exceptions import GuardrailError
from rxllm.types import ModelResponseStream, StreamingChoices
from tests.consume import WAYS
from tests.operators.sources import asked, call_piece, calling, failure, items, of, reported, text_chunks
from tests.server import PATIENCE, Answering, Server, chunk


def texts(chunks: list[ModelResponseStream], index: int = 0) -> list[str]:
    """The texts of a choice, chunk by chunk."""
    return [c.delta.content for each in chunks for c in each.choices if c.index == index and c.delta.content]


def no_secrets(text: str) -> bool | str:
    """Refuses secrets, and says so."""
    return "a secret" if "secret" in text else True


def refused(chunks: list[ModelResponseStream], **arguments: Any) -> tuple[list[str], GuardrailError]:
    """What was delivered before the refusal."""
    seen, error = failure(rx.of(*chunks).pipe(ops.guard(no_secrets, **arguments)))
    assert isinstance(error, GuardrailError)
    return texts(seen), error


@given(
    st.lists(st.sampled_from(["Fine", ". ", " so", "sec", "ret", "\n", "X", "!"]), max_size=12),
    st.sampled_from(["sentence", 8, 20]),
)
def test_any_cutting_gives_the_same(pieces: list[str], window: Any) -> None:
    """The same windows, the same verdicts, the same text."""

    def outcome(chunks: list[ModelResponseStream]) -> tuple[list[str], list[str], list[str]]:
        asked_about: list[str] = []

        def check(text: str) -> bool | str:
            asked_about.append(text)
            return no_secrets(text)

        seen: list[ModelResponseStream] = []
        ends: list[str] = []
        guarded = rx.of(*chunks).pipe(ops.guard(check, window))
        guarded.subscribe(seen.append, lambda error: ends.append(str(error)), lambda: ends.append("completed"))
        delivered = texts(seen)
        # Delivered is what was passed, and nothing else, in the same windows.
        passed = [text for text in asked_about if "secret" not in text]
        assert delivered == passed
        assert asked_about[: len(passed)] == passed
        return delivered, asked_about, ends

    whole = "".join(pieces)
    assert outcome(text_chunks(pieces)) == outcome(text_chunks(whole)) == outcome(text_chunks([whole] if whole else []))


def test_a_refusal_cancels_and_is_a_typed_error() -> None:
    """Before the error comes; it tells the text, why, and of which choice, model and provider."""
    scheduler = TestScheduler()
    chunks = ["Hello. ", "The sec", "ret. ", "So it is."]
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, of(text)) for at, text in enumerate(chunks)),
        ReactiveTest.on_completed(300),
    )
    subscriptions: list[Any] = []
    errors: list[Exception] = []
    guarded = asked(source).pipe(ops.guard(no_secrets))
    seen: list[ModelResponseStream] = []

    def on_error(error: Exception) -> None:
        errors.append(error)
        subscriptions.extend(source.subscriptions)

    guarded.subscribe(seen.append, on_error, scheduler=scheduler)
    scheduler.start()
    (error,) = errors
    assert isinstance(error, GuardrailError)
    assert subscriptions == [ReactiveTest.subscribe(0, 240)]
    assert (error.text, error.reason, error.choice) == ("The secret. ", "a secret", 0)
    assert (error.llm_provider, error.model) == ("openai", "openai/gpt-4o")
    assert str(error) == error.message == "The guard refused the answer: a secret"
    assert texts(seen) == ["Hello. "]


def test_a_refusal_without_a_reason() -> None:
    """False says no more than that."""
    _, error = failure(rx.of(of("Hello")).pipe(ops.guard(lambda _: False)))
    assert isinstance(error, GuardrailError)
    assert (str(error), error.reason) == ("The guard refused the answer", None)


def test_a_refusal_that_comes_with_the_end() -> None:
    """What is left is checked before the completion, a finish reason, a call and an error."""
    call = calling(call_piece("{}", index=0, id="a", name="f"))
    for ending in ([], [of(finish_reason="stop")], [call], [reported(prompt_tokens=1)]):
        assert refused([of("One. "), of("A secret"), *ending])[0] == ["One. "]
    broken = rx.concat(rx.of(of("One. "), of("A secret")), rx.throw(RuntimeError("broken")))
    seen, error = failure(broken.pipe(ops.guard(no_secrets)))
    assert (texts(seen), type(error)) == (["One. "], GuardrailError)


def test_windows_of_characters() -> None:
    """As many as were asked for, in whole words."""
    seen = items(ops.guard(no_secrets, 10), *text_chunks(["one two th", "ree four fi", "ve"]), of(finish_reason="stop"))
    assert texts(seen) == ["one two ", "three four", " five"]
    assert refused(text_chunks(["one two sec", "ret three"]), window=10)[0] == ["one two "]


def test_all_text_is_checked_and_all_else_keeps_its_order() -> None:
    """Reasoning and refusals too; log probabilities never pass, and a call comes after its text."""
    seen_texts: list[str] = []

    def check(text: str) -> bool:
        seen_texts.append(text)
        return True

    logprobs = {"content": [{"token": "Hi"}]}
    chunks = [
        of("", role="assistant"),
        of(reasoning_content="Greet"),
        ModelResponseStream(choices=[StreamingChoices(delta=of("Hi").choices[0].delta, logprobs=logprobs)]),
        calling(call_piece("{}", index=0, id="a", name="f")),
        of(refusal="No"),
        of(finish_reason="tool_calls"),
        reported(prompt_tokens=1),
    ]
    seen = items(ops.guard(check), *chunks)
    assert seen_texts == ["Greet", "Hi", "No"]
    assert [
        [*(name for name, value in choice.delta if value), choice.finish_reason, choice.logprobs]
        for each in seen
        for choice in each.choices
    ] == [
        ["role", None, None],
        ["reasoning_content", None, None],
        ["content", "tool_calls", None, None],
        ["refusal", "tool_calls", None],
    ]
    assert seen[-1].reported_usage is not None


def test_a_replacement_ends_the_answer() -> None:
    """With its text and the finish reason of a content filter, after the request was cancelled."""
    scheduler = TestScheduler()
    chunks = ["Hello. ", "The secret", ". ", "More. ", "More"]
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, of(text)) for at, text in enumerate(chunks)),
        ReactiveTest.on_completed(300),
    )
    result = scheduler.start(lambda: source.pipe(ops.guard(no_secrets, replacement="(left out)")))
    values: list[Any] = [getattr(message.value, "value", None) for message in result.messages]
    assert texts(values[:-1]) == ["Hello. ", "(left out)"]
    last = values[-2].choices[0]
    assert (last.finish_reason, last.native_finish_reason) == ("content_filter", "guardrail")
    assert source.subscriptions == [ReactiveTest.subscribe(200, 240)]
    assert result.messages[-1] == ReactiveTest.on_completed(240)


def test_an_empty_replacement() -> None:
    """Nothing stands for what was refused but the finish reason."""
    seen = items(ops.guard(no_secrets, replacement=""), of("A secret"))
    assert [(c.delta.content, c.finish_reason) for each in seen for c in each.choices] == [(None, "content_filter")]


def test_choices_are_replaced_by_themselves() -> None:
    """The others go on, with verdicts of their own, and the last to end cancels the request."""
    together = ModelResponseStream(choices=[*of("Fine. A secret. ").choices, *of("Good. ", index=1).choices])
    chunks = [together, of("gone. "), of("Better. ", index=1), of("So", index=1), of("secret", index=1), of("never")]
    ended = items(ops.guard(no_secrets, replacement="#"), *chunks, of(index=1, finish_reason="stop"))
    assert (texts(ended), texts(ended, 1)) == (["Fine. ", "#"], ["Good. ", "Better. ", "#"])
    assert [c.finish_reason for each in ended for c in each.choices if c.finish_reason] == ["content_filter"] * 2


def test_an_error_ends_all_choices() -> None:
    """One request, one error, which tells of which choice it is."""
    before, error = refused([of("Fine. "), of("A secret. ", index=1), of("So", index=1), of("it goes on. So")])
    assert (before, error.choice) == ([], 1)


def test_where_the_provider_has_come_to_its_end_the_usage_passes() -> None:
    """There is nothing to cancel any more."""
    seen = items(
        ops.guard(no_secrets, replacement="#"), of("A secret", finish_reason="stop"), reported(prompt_tokens=1)
    )
    assert texts(seen) == ["#"]
    assert seen[-1].reported_usage is not None


def test_an_answer_that_begins_anew() -> None:
    """What was held of the one before is neither checked nor delivered."""
    marker = ModelResponseStream.restarting("broke")
    seen = items(ops.guard(no_secrets), of("A sec"), marker, of("ret"))
    assert seen[0] is marker
    assert texts(seen) == ["ret"]


@pytest.mark.parametrize("verdict", [None, 1, 0, ["reason"]])
def test_a_verdict_of_another_kind_is_an_error(verdict: Any) -> None:
    """A check that forgets to answer passes nothing."""
    seen, error = failure(rx.of(of("Hello")).pipe(ops.guard(lambda _: verdict)))
    assert seen == []
    assert isinstance(error, TypeError)


def test_what_a_check_raises_ends_the_stream() -> None:
    """And nothing that it was asked about is delivered, nor is it asked again."""
    asked_about: list[str] = []

    def check(text: str) -> bool:
        asked_about.append(text)
        if "Two" in text:
            raise LookupError(text)
        return True

    seen, error = failure(rx.of(of("One. Two. Three. "), of("Four. Five")).pipe(ops.guard(check)))
    assert (texts(seen), str(error)) == (["One. "], "Two. ")
    assert asked_about == ["One. ", "Two. "]


def test_leaving_inside_a_window() -> None:
    """A consumer that goes gets nothing more, and nothing more is checked."""
    subject: rx.Subject[ModelResponseStream] = rx.Subject()
    asked_about: list[str] = []

    def check(text: str) -> bool:
        asked_about.append(text)
        return True

    subscription = subject.pipe(ops.guard(check)).subscribe(lambda _: subscription.dispose())
    subject.on_next(of("One. Two"))
    subject.on_next(of(". Three. Four"))
    assert asked_about == ["One. "]
    assert not subject.observers


def test_a_consumer_that_makes_the_source_go_on_gets_all_in_order() -> None:
    """What it brings is checked and delivered behind what is there already."""
    subject: rx.Subject[ModelResponseStream] = rx.Subject()
    seen: list[str] = []

    def feed(chunk: ModelResponseStream) -> None:
        seen.extend(texts([chunk]))
        if len(seen) == 1:
            subject.on_next(of("ree. Four. X"))

    subject.pipe(ops.guard(no_secrets)).subscribe(feed)
    subject.on_next(of("One. Two. Th"))
    assert seen == ["One. ", "Two. ", "Three. ", "Four. "]


async def patient(text: str) -> bool | str:
    """The same check, awaited; what comes first takes longest."""
    for _ in range(20 if "One" in text else 1):
        await asyncio.sleep(0)
    return no_secrets(text)


def awaitable(text: str) -> Awaitable[bool | str]:
    """A plain function that gives an awaitable."""
    return patient(text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("check", [no_secrets, patient, awaitable])
def test_over_a_real_connection(
    way: str,
    check: Callable[[str], Any],
    server: Server,
    ask: Callable[..., Stream[rxllm.ModelResponseStream]],
) -> None:
    """However it is consumed and checked: all that was passed in its order, and the response is closed."""

    async def endless(answering: Answering) -> None:
        await answering.start()
        for text in ("One. T", "wo. ", "Three. ", "A secret. ", "Four"):
            await answering.event(chunk(text))
        await answering.closed()

    server.script = endless
    seen: list[ModelResponseStream] = []
    stream = ask().pipe(ops.guard(check), rx_ops.do_action(seen.append))
    with pytest.raises(GuardrailError, match="a secret"):
        WAYS[way](stream)
    assert texts(seen) == ["One. ", "Two. ", "Three. "]
    server.next_closed()


@pytest.mark.parametrize("way", WAYS)
def test_all_verdicts_are_waited_for(
    way: str, server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]
) -> None:
    """The stream completes after the last of them, though the provider has ended before."""
    stream = ask().pipe(ops.guard(patient))
    seen = WAYS[way](stream)
    assert texts(seen) == ["Hello world"]
    assert seen[-1].choices[0].finish_reason == "stop"


def test_checks_run_side_by_side_while_the_stream_is_read(
    server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]
) -> None:
    """A verdict that is waited for holds up neither the reading nor the other checks."""

    async def consume() -> tuple[list[ModelResponseStream], list[str]]:
        begun: list[str] = []
        all_begun = asyncio.Event()

        async def check(text: str) -> bool:
            begun.append(text)
            if len(begun) == 3:
                all_begun.set()
            await asyncio.wait_for(all_begun.wait(), PATIENCE)
            return True

        return [each async for each in ask().pipe(ops.guard(check))], begun

    async def script(answering: Answering) -> None:
        await answering.stream("One. ", "Two. ", "Three")

    server.script = script
    seen, begun = asyncio.run(consume())
    assert texts(seen) == begun == ["One. ", "Two. ", "Three"]


def test_leaving_cancels_the_checks(server: Server, ask: Callable[..., Stream[rxllm.ModelResponseStream]]) -> None:
    """And the request, while a verdict is still waited for."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("One. Two"))
        await answering.closed()

    async def consume() -> None:
        begun = asyncio.Event()
        cancelled = asyncio.Event()

        async def check(_text: str) -> bool:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return True

        async def read() -> None:
            async for _ in ask().pipe(ops.guard(check)):
                raise AssertionError("delivered unchecked")

        reading = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), PATIENCE)
        reading.cancel()
        await asyncio.wait_for(cancelled.wait(), PATIENCE)
        with pytest.raises(asyncio.CancelledError):
            await reading

    server.script = script
    asyncio.run(consume())
    server.next_closed()


def test_a_check_that_was_cancelled_passes_nothing() -> None:
    """Its text stays unchecked."""

    async def check(_text: str) -> bool:
        raise asyncio.CancelledError

    done = threading.Event()
    errors: list[Exception] = []
    seen: list[ModelResponseStream] = []

    def on_error(error: Exception) -> None:
        errors.append(error)
        done.set()

    rx.of(of("Hello")).pipe(ops.guard(check)).subscribe(seen.append, on_error, done.set)
    assert done.wait(PATIENCE)
    assert (seen, [str(error) for error in errors]) == ([], ["The check was cancelled"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"check": "secret"}, TypeError),
        ({"window": 0}, ValueError),
        ({"window": "paragraph"}, TypeError),
        ({"window": None}, TypeError),
        ({"replacement": 5}, TypeError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"check|window|replacement"):
        ops.guard(arguments.pop("check", no_secrets), **arguments)
