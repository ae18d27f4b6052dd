"""fallback_to: the next stream where one fails, before content and after."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm._tokens import estimate_usage
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    IncompleteStreamError,
    RateLimitError,
)
from rxllm.types import Choices, Message, ModelResponse, Usage
from tests.consume import WAYS
from tests.operators.sources import asked, call_piece, calling, collect, failure, notifications, of, reported
from tests.server import Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
Chunks = Observable[ModelResponseStream]
ROLE, STOP = of("", role="assistant"), of(finish_reason="stop")
DOWN = APIConnectionError("The line is down", model="gpt-4")
HI = [{"role": "user", "content": "Hi"}]
each_policy = pytest.mark.parametrize("on_partial", ["fail", "restart"])


def falling(*streams: list[Any], disposed: float = 1000, **options: Any) -> tuple[list[Any], list[list[Any]]]:
    """What comes out, and when each stream was subscribed to."""
    scheduler = TestScheduler()
    sources: list[Any] = [scheduler.create_cold_observable(stream) for stream in streams]
    result = scheduler.start(lambda: sources[0].pipe(ops.fallback_to(*sources[1:], **options)), disposed=disposed)
    return notifications(result.messages), [source.subscriptions for source in sources]


def breaking(*chunks: ModelResponseStream, error: Exception = DOWN) -> Chunks:
    """A source that gives these and fails."""
    return rx.concat(rx.of(*chunks), rx.throw(error))


def whole(text: str) -> ModelResponse:
    """An answer that is this text."""
    return ModelResponse(choices=[Choices(message=Message(content=text))])


@each_policy
def test_before_content_nobody_notices(on_partial: Any) -> None:
    """The chunks of those that failed are not seen, and there is no marker."""
    out, subscriptions = falling(
        [on_next(10, ROLE), on_error(20, DOWN)],
        [on_error(10, BadRequestError("No such parameter"))],
        [on_next(10, ROLE), on_next(20, of("Hel")), on_next(30, STOP), on_completed(40)],
        on_partial=on_partial,
    )
    assert out == [(250, "N", ROLE), (250, "N", of("Hel")), (260, "N", STOP), (270, "C", None)]
    subscribe = ReactiveTest.subscribe
    assert subscriptions == [[subscribe(200, 220)], [subscribe(220, 230)], [subscribe(230, 270)]]


@each_policy
def test_one_that_does_not_fail_is_alone(on_partial: Any) -> None:
    """Also where it is empty: that is an answer."""
    for messages in (
        [on_next(10, of("Hel")), on_completed(20)],
        [on_next(10, ROLE), on_completed(20)],
        [on_completed(20)],
    ):
        out, subscriptions = falling(messages, [on_next(1, of("no"))], on_partial=on_partial)
        assert out[-1] == (220, "C", None)
        assert len(out) == len(messages)
        assert subscriptions[1] == []


@pytest.mark.parametrize("content", [of("Hel"), of(reasoning_content="Hm"), calling(call_piece("{", name="f"))])
def test_after_content_the_error_passes(content: ModelResponseStream) -> None:
    """By default: nobody gets a text twice who has not asked for it."""
    out, subscriptions = falling([on_next(10, content), on_error(20, DOWN)], [on_next(10, of("no"))])
    assert out == [(210, "N", content), (220, "E", None)]
    assert subscriptions[1] == []


def test_a_restart_is_announced() -> None:
    """A marker at the moment of the error, which says why, and then the next from its beginning."""
    out, _ = falling(
        [on_next(10, ROLE), on_next(20, of("Hel")), on_error(30, DOWN)],
        [on_next(10, ROLE), on_next(20, of("Good")), on_error(30, RateLimitError("busy"))],
        [on_error(10, DOWN)],
        [on_next(10, ROLE), on_next(20, of("Bye")), on_completed(30)],
        on_partial="restart",
    )
    assert [(time, kind, value and (value.restart or value)) for time, kind, value in out] == [
        (220, "N", ROLE),
        (220, "N", of("Hel")),
        (230, "N", "APIConnectionError: The line is down"),
        (250, "N", ROLE),
        (250, "N", of("Good")),
        (260, "N", "RateLimitError: busy"),
        (290, "N", ROLE),
        (290, "N", of("Bye")),
        (300, "C", None),
    ]


def test_accumulators_heed_a_restart() -> None:
    """What they make is the last answer alone."""
    source = breaking(of("Once upon a time", finish_reason="length"))
    chunks = source.pipe(ops.fallback_to(rx.of(of("Hel"), of("lo"), STOP), on_partial="restart"))
    (response,) = collect(chunks.pipe(ops.build_response()))
    assert (response.choices[0].message.content, response.choices[0].finish_reason) == ("Hello", "stop")
    assert collect(chunks.pipe(ops.accumulate_text())) == ["Once upon a time", "", "Hel", "Hello"]


def test_all_fail() -> None:
    """The last error passes, after what came of it; its notes tell of the others."""
    first, second = APIConnectionError("down", model="a"), AuthenticationError("who?", model="b")
    last = RateLimitError("busy")
    seen, error = failure(breaking(error=first).pipe(ops.fallback_to(rx.throw(second), breaking(ROLE, error=last))))
    assert (seen, error) == ([ROLE], last)
    assert last.__notes__ == [
        "Before it failed a: APIConnectionError: down",
        "Before it failed b: AuthenticationError: who?",
    ]


def test_a_fault_that_is_no_provider_s_passes_at_once() -> None:
    """No other model could help."""
    fault = TypeError("a fault")
    assert failure(breaking(error=fault).pipe(ops.fallback_to(rx.of(of("no"))))) == ([], fault)


def test_a_function_of_ones_own_decides() -> None:
    """Which errors are worth it; what it raises ends the stream."""
    operator = ops.fallback_to(rx.of(of("Hel")), when=lambda error: isinstance(error, RateLimitError))
    assert failure(breaking().pipe(operator)) == ([], DOWN)
    assert collect(breaking(error=RateLimitError("busy")).pipe(operator)) == [of("Hel")]

    def failing(_: Exception) -> bool:
        raise LookupError("the caller's own")

    _, error = failure(breaking().pipe(ops.fallback_to(rx.of(of("no")), when=failing)))
    assert isinstance(error, LookupError)


def test_leaving_cancels_the_one_that_runs() -> None:
    """And no other is asked."""
    out, subscriptions = falling([on_error(10, DOWN)], [on_next(100, of("Hel"))], [on_next(10, of("no"))], disposed=250)
    assert out == []
    assert subscriptions[1:] == [[ReactiveTest.subscribe(210, 250)], []]


def test_leaving_at_the_marker_asks_nobody() -> None:
    """The next request is not sent for a consumer who has gone."""
    was_asked: list[object] = []

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: object = None) -> Disposable:
        was_asked.append(observer)
        return Disposable()

    subject: rx.Subject[ModelResponseStream] = rx.Subject()

    def leave_at_marker(chunk: ModelResponseStream) -> None:
        if chunk.restart:
            subscription.dispose()

    subscription = subject.pipe(ops.fallback_to(Observable(subscribe), on_partial="restart")).subscribe(leave_at_marker)
    subject.on_next(of("Hel"))
    subject.on_error(DOWN)
    assert was_asked == []


# -- functions, and going on


class Asked:
    """A function from messages to a stream, which remembers what it was given."""

    def __init__(self, *streams: Chunks) -> None:
        self._streams = iter(streams)
        self.messages: list[list[Mapping[str, Any]]] = []

    def __call__(self, messages: list[Mapping[str, Any]]) -> Chunks:
        """The next of the streams."""
        self.messages.append(messages)
        return next(self._streams)


@pytest.mark.parametrize("on_partial", ["fail", "restart", "continue"])
def test_a_function_gets_the_messages_when_its_turn_comes(on_partial: Any) -> None:
    """Those of the request that the source sends, before content; not before the failure."""
    make = Asked(rx.of(of("Hel")), rx.of(of("Hel")))
    pipeline = asked(breaking(ROLE), messages=HI).pipe(ops.fallback_to(make, on_partial=on_partial))
    assert make.messages == []
    assert collect(pipeline) == collect(pipeline) == [of("Hel")]
    assert make.messages == [HI, HI]


def test_going_on_from_the_text_so_far() -> None:
    """The messages end with it, and only what is new comes: no role, no white space twice."""
    make = Asked(breaking(ROLE, of(" a"), of(" time,")), rx.of(ROLE, of(" there was"), STOP))
    source = breaking(ROLE, of("Once "), of("upon "))
    chunks = collect(source.pipe(ops.fallback_to(make, make, on_partial="continue", messages=HI)))
    assert "".join(texts(chunks)) == "Once upon a time, there was"
    assert [c.choices[0].delta.role for c in chunks].count("assistant") == 1
    assert not any(c.restart for c in chunks)
    assert make.messages == [
        [*HI, {"role": "assistant", "content": "Once upon"}],
        [*HI, {"role": "assistant", "content": "Once upon a time,"}],
    ]


def test_a_continuation_that_gives_nothing_leaves_it_to_the_next() -> None:
    """Claude 4.6 refuses to go on; the one after it is asked the same."""
    make = Asked(rx.throw(BadRequestError("Prefilling is not supported")), rx.of(of(" upon")))
    chunks = collect(breaking(of("Once")).pipe(ops.fallback_to(make, make, on_partial="continue", messages=HI)))
    assert texts(chunks) == ["Once", " upon"]
    assert make.messages[0] == make.messages[1]


def told(tokens: int) -> ModelResponseStream:
    """What a provider says that it has used."""
    return reported(prompt_tokens=10, completion_tokens=tokens, total_tokens=10 + tokens)


def test_a_continuation_has_the_usage_of_all_that_gave_a_part() -> None:
    """What was reported, else counted; a request that was refused before it gave anything has cost nothing."""
    refused = asked(rx.throw(BadRequestError("Prefilling is not supported")), model="gpt-4", messages=HI)
    for source, first in (
        (breaking(of("Once"), told(5)), Usage(prompt_tokens=10, completion_tokens=5)),
        (asked(breaking(of("Once")), model="gpt-4", messages=HI), estimate_usage("gpt-4", HI, whole("Once"))),
    ):
        make = Asked(refused, asked(rx.of(of(" upon"), STOP, told(1)), model="gpt-4", messages=HI))
        going_on = source.pipe(ops.fallback_to(make, make, on_partial="continue", messages=HI))
        usage = collect(going_on.pipe(ops.attach_usage("gpt-4", HI)))[-1].usage
        assert usage is not None
        assert usage.prompt_tokens == first.prompt_tokens + 10
        assert usage.completion_tokens == first.completion_tokens + 1
        assert (usage.estimated, usage.answers) == (first.estimated, 1)


def test_where_the_continuation_reports_none_all_is_counted() -> None:
    """With the prompt of each, the second of which ends with the text so far."""
    source = asked(breaking(of("Once ")), model="gpt-4", messages=HI)
    make = Asked(*[rx.of(of("upon"), STOP)] * 2)
    going_on = source.pipe(ops.fallback_to(make, on_partial="continue"))
    (response,), chunks = (
        collect(going_on.pipe(ops.build_response())),
        collect(going_on.pipe(ops.attach_usage("gpt-4", HI))),
    )
    for usage in (response.usage, chunks[-1].usage):
        first = estimate_usage("gpt-4", HI, whole("Once "))
        second = estimate_usage(None, [*HI, {"role": "assistant", "content": "Once"}], whole("upon"))
        assert usage is not None
        assert usage.estimated
        assert usage.prompt_tokens == first.prompt_tokens + second.prompt_tokens
        assert usage.completion_tokens == first.completion_tokens + second.completion_tokens


def test_an_error_after_a_continuation_has_the_usage_of_both() -> None:
    """Where attach_usage() stands above, with the cost."""
    source = breaking(of("Once"), told(5), error=APIConnectionError("The line is down"))
    make = Asked(breaking(of(" upon"), told(1), error=IncompleteStreamError("cut off")).pipe(ops.attach_usage()))
    _, error = failure(source.pipe(ops.fallback_to(make, on_partial="continue", messages=HI)))
    assert isinstance(error, IncompleteStreamError)
    assert error.usage == Usage(prompt_tokens=20, completion_tokens=6, total_tokens=26)


def test_what_is_void_is_in_no_usage() -> None:
    """What had been gone on from with it, where a later stream begins anew."""
    make = Asked(breaking(of(" upon"), of("x", index=1), told(1)), rx.of(of("Hel"), STOP, told(3)))
    source = breaking(of("Once"), told(5))
    going_on = source.pipe(ops.fallback_to(make, make, on_partial="continue", messages=HI))
    assert collect(going_on.pipe(ops.build_response()))[0].usage == told(3).reported_usage


@pytest.mark.parametrize(
    "content", [calling(call_piece("{", name="f")), of(reasoning_content="Hm"), of("Once", index=1)]
)
def test_what_cannot_be_gone_on_from_begins_anew(content: ModelResponseStream) -> None:
    """A call, thoughts alone or several choices: a marker, and the messages as they were."""
    make = Asked(rx.of(of("Hel")))
    chunks = collect(breaking(content).pipe(ops.fallback_to(make, on_partial="continue", messages=HI)))
    assert [bool(c.restart) for c in chunks] == [False, True, False]
    assert make.messages == [HI]


def test_a_function_that_fails_is_a_stream_that_fails() -> None:
    """With an error of a provider's kind the next one's turn comes; with another, or no stream, that is the end."""

    def refusing(_: object) -> Chunks:
        raise BadRequestError("no such model")

    def wrong(_: object) -> Any:
        return "gpt-4"

    assert collect(breaking().pipe(ops.fallback_to(refusing, rx.of(of("Hel")), messages=HI))) == [of("Hel")]
    _, error = failure(breaking().pipe(ops.fallback_to(wrong, rx.of(of("no")), messages=HI)))
    assert isinstance(error, TypeError)


def test_functions_need_messages() -> None:
    """A source without a request has none: said when the operator is applied."""
    with pytest.raises(ValueError, match="messages"):
        breaking().pipe(ops.fallback_to(Asked(), on_partial="restart"))
    breaking().pipe(ops.fallback_to(rx.of(of("Hel"))))


@pytest.mark.parametrize(
    ("streams", "options", "error"),
    [
        ((), {}, TypeError),
        (("gpt-4",), {}, TypeError),
        ((rx.never(),), {"on_partial": "again"}, ValueError),
        ((rx.never(),), {"on_partial": "continue"}, TypeError),
        ((rx.never(),), {"when": "always"}, TypeError),
    ],
)
def test_arguments_are_checked_when_the_operator_is_made(streams: Any, options: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error, match=r"fallback_to|on_partial|when"):
        ops.fallback_to(*streams, **options)


# -- on real sockets


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_another_model_answers(server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """Each is asked once, in order; the last one's answer is whole."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.json_answer(400, {"error": {"message": "no such parameter"}})
        elif answering.number == 2:
            await answering.start()
            await answering.event(chunk("", role="assistant"))
            answering.reset()
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    others = [ask(model=f"openai/{name}", max_retries=0) for name in ("second", "third")]
    assert texts(consume(ask().pipe(ops.fallback_to(*others)))) == ["Hel", "lo"]
    assert [request.json["model"] for request in server.requests] == ["gpt-4", "second", "third"]


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_a_broken_answer_is_gone_on_from(server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """completion() itself, with its model, is such a function."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            await answering.event(chunk("Once "))
            answering.reset()
        else:
            await answering.stream(" upon", " a time")

    server.script = script
    another = partial(rxllm.completion, "openai/another", stream=True, api_base=server.url, api_key="sk-secret-key")
    stream = ask().pipe(ops.fallback_to(another, on_partial="continue"))
    assert texts(consume(stream)) == ["Once ", "upon", " a time"]
    assert server.requests[1].json["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Once"},
    ]


def test_a_truncated_answer_restarts(server: Server, ask: Ask) -> None:
    """A stream without its end is a failure too, and its reason is told."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            await answering.event(chunk("Once"))
            await answering.end()
        else:
            await answering.stream("Hel", "lo")

    server.script = script
    chunks = list(ask().pipe(ops.fallback_to(ask(), on_partial="restart")))
    (reason,) = [c.restart for c in chunks if c.restart]
    assert reason.startswith(IncompleteStreamError.__name__)
    assert texts(chunks) == ["Once", "Hel", "lo"]


def test_leaving_closes_the_fallback(server: Server, ask: Ask) -> None:
    """The connection of the one that runs."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.json_answer(400, {"error": {"message": "no"}})
        else:
            await answering.start()
            await answering.event(chunk("Hel"))
            await answering.closed()

    server.script = script
    for item in ask().pipe(ops.fallback_to(ask())):
        assert texts([item]) == ["Hel"]
        break
    assert server.next_closed() == 2


def test_every_class_of_the_tree_falls_back() -> None:
    """What one model refuses, another may take."""
    for error in (APIError("x"), BadRequestError("x"), AuthenticationError("x")):
        assert collect(breaking(error=error).pipe(ops.fallback_to(rx.of(of("Hel"))))) == [of("Hel")]
