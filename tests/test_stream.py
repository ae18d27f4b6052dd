"""The laws of a Stream, on a real loopback server: cold, same items however consumed, typed ends, composing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import reactivex as rx
from reactivex import ConnectableObservable, Observable, abc
from reactivex import operators as rxops
from reactivex.disposable import Disposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject

import rxllm
from rxllm import ModelResponseStream, Stream, as_stream
from rxllm import operators as ops
from rxllm.exceptions import APIError, IncompleteStreamError
from tests.consume import WAYS, by_async_for, by_for, when_subscribed
from tests.server import PATIENCE, Answering, Server, chunk, texts

Ask = Callable[..., Stream[ModelResponseStream]]
LIBRARY = Path(rxllm.__file__).parent
every_way = pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS.keys())


def rxllm_threads() -> list[str]:
    """The names of the library's threads that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rxllm")]


def join_rxllm_threads() -> None:
    """Waits until the library's threads are gone; fails where one stays."""
    for thread in threading.enumerate():
        if thread.name.startswith("rxllm"):
            thread.join(PATIENCE)
    assert rxllm_threads() == []


# -- 1: cold


def test_nothing_is_sent_before_somebody_consumes(server: Server, ask: Ask) -> None:
    """Making a Stream, piping it and showing it send nothing."""
    stream = ask().pipe(ops.text_deltas())
    assert repr(stream) == "<Stream of gpt-4>"
    iter(stream)
    assert server.requests == []
    assert server.connections == 0


def test_two_loops_send_two_requests(server: Server, ask: Ask) -> None:
    """Each consumer sends a request of its own."""
    stream = ask()
    assert texts(stream) == texts(stream) == ["Hel", "lo", " wor", "ld"]
    assert len(server.requests) == 2


# -- 2: same items however consumed


@every_way
def test_same_items_however_consumed(ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """for, async for, subscribe on a worker and on an event loop give the same chunks."""
    assert "".join(texts(consume(ask()))) == "Hello world"
    assert consume(ask().pipe(ops.accumulate_text())) == ["Hel", "Hello", "Hello wor", "Hello world"]


def test_run_and_await_give_the_last_item(ask: Ask) -> None:
    """run() and await are the loop too."""
    text = ask().pipe(ops.accumulate_text())

    async def await_it() -> str:
        return await text

    assert text.run() == asyncio.run(await_it()) == "Hello world"
    assert rxllm_threads() == []


def test_run_and_await_of_nothing_say_so() -> None:
    """An empty Stream has no last item."""
    nothing: Stream[int] = as_stream(rx.empty())

    async def await_it() -> int:
        return await nothing

    with pytest.raises(SequenceContainsNoElementsError):
        nothing.run()
    with pytest.raises(SequenceContainsNoElementsError):
        asyncio.run(await_it())


# -- 3: the loop is a scheduler


def _id(chunk: ModelResponseStream) -> str:
    return chunk.id


def _count(group: Observable[Any]) -> Observable[int]:
    return group.pipe(rxops.count())


PIPELINES: dict[str, Callable[[Stream[Any]], Stream[Any]]] = {
    "take": lambda stream: stream.pipe(rxops.take(2)),
    "retry": lambda stream: stream.pipe(rxops.retry(2)),
    "catch": lambda stream: stream.pipe(rxops.catch(stream)),
    "concat": lambda stream: stream.pipe(rxops.concat(stream)),
    "defer": lambda stream: as_stream(rx.defer(lambda _: stream)),
    "share": lambda stream: stream.pipe(rxops.share()),
    "group_by": lambda stream: as_stream(stream.group_by(_id).flat_map(_count)),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())
def test_one_reader_needs_no_thread(
    ask: Ask, pipeline: Callable[[Stream[Any]], Stream[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop with these operators reads in the calling thread alone."""
    started: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    assert list(pipeline(ask()))
    assert started == []


def test_retry_and_catch_go_on_after_an_error(server: Server, ask: Ask) -> None:
    """reactivex's own retry sends another request when the first breaks."""

    async def script(answering: Answering) -> None:
        if answering.number == 1:
            await answering.start()
            await answering.event(chunk("broken"))
            answering.reset()
        else:
            await answering.stream("whole")

    server.script = script
    assert texts(ask().pipe(rxops.retry(2))) == ["broken", "whole"]
    server.requests.clear()
    assert texts(ask().pipe(rxops.catch(ask()))) == ["broken", "whole"]


def test_a_slow_consumer_makes_the_sender_wait(server: Server, ask: Ask) -> None:
    """Nothing is read ahead: a sender with a lot to say stands still until the loop goes on."""
    blocked = server.gate()
    sent = 0

    async def script(answering: Answering) -> None:
        nonlocal sent
        answering.unbuffered()
        await answering.start()
        text = "x" * 100_000
        for _ in range(300):
            await answering.event(chunk(text))
            sent += 1
        await answering.last(chunk(finish="stop"), "[DONE]")

    async def tell(answering: Answering) -> None:
        work = asyncio.ensure_future(script(answering))
        before = -1
        # Standing still: no event more for as long as it takes a thousand turns of the event loop.
        while before != sent or sent == 0:
            before = sent
            for _ in range(1000):
                await asyncio.sleep(0)
        server.events.put(sent)
        await blocked.wait()
        await work

    server.script = tell
    chunks = iter(ask())
    next(chunks)
    assert server.next_event() < 250
    blocked.open()
    assert len(texts(chunks)) == 299


def test_a_second_reader_in_a_slow_on_next_keeps_order(server: Server, ask: Ask) -> None:
    """A reader that is opened while the first delivers neither reorders its items nor delivers beside it."""

    async def script(answering: Answering) -> None:
        await answering.stream(*(f"{answering.number}.{i}" for i in range(20)))

    server.script = script
    inside = 0
    seen: list[str] = []

    def watch(chunk: ModelResponseStream) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        for _ in range(2000):
            pass
        seen.extend(texts([chunk]))
        inside -= 1

    second = ask()
    merged = ask().pipe(
        rxops.flat_map_indexed(lambda c, i: rx.of(c).pipe(rxops.concat(second)) if i == 0 else rx.of(c))
    )
    list(merged.pipe(rxops.do_action(watch)))
    for number in ("1", "2"):
        assert [s for s in seen if s.startswith(number)] == [f"{number}.{i}" for i in range(20)]
    join_rxllm_threads()


@every_way
def test_merged_streams_run_side_by_side(server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """Three requests are open at once: none gets its second chunk before all have been made."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a"))
        if len(server.requests) == 3:
            gate.open()
        await gate.wait()
        await answering.last(chunk("b", finish="stop"), "[DONE]")

    server.script = script
    assert sorted(texts(consume(as_stream(rx.merge(ask(), ask(), ask()))))) == ["a", "a", "a", "b", "b", "b"]
    join_rxllm_threads()


@pytest.mark.parametrize("way", ["for", "async for"])
def test_leaving_a_merge_gives_everything_back(server: Server, ask: Ask, way: str) -> None:
    """A break out of a merge whose buffers are full ends its threads and closes its sockets."""

    async def script(answering: Answering) -> None:
        await answering.start()
        closed = asyncio.ensure_future(answering.closed())
        while not closed.done():
            await answering.event(chunk("x" * 10_000))
            await asyncio.sleep(0)

    server.script = script
    merged = as_stream(rx.merge(ask(), ask(), ask()))

    def leave() -> None:
        for number, _ in enumerate(merged):
            if number == 50:
                break

    async def leave_async() -> None:
        async for _ in merged.pipe(rxops.take(50)):
            pass

    if way == "for":
        leave()
    else:
        asyncio.run(leave_async())
    assert sorted(server.next_closed() for _ in range(3)) == [1, 2, 3]
    join_rxllm_threads()


@every_way
def test_timers_fire_while_the_read_blocks(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """A timeout ends a stream that stalls, and debounce lets an item out while nothing comes."""
    gate = server.gate()

    async def stall(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = stall
    with pytest.raises(Exception, match="Timeout"):
        consume(ask().pipe(rxops.timeout_with_mapper(rx.never(), lambda _: rx.timer(0.05))))
    assert server.next_closed() == 1

    async def wait(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await gate.wait()
        await answering.last(chunk("two", finish="stop"), "[DONE]")

    server.script = wait
    # The second chunk is sent only once the first has come out of debounce.
    stream = ask().pipe(ops.text_deltas(), rxops.debounce(0.02), rxops.do_action(lambda _: gate.open()))
    assert consume(stream) == ["one", "two"]
    join_rxllm_threads()


def test_a_subscribe_in_a_loop_is_its_own(ask: Ask) -> None:
    """A subscribe() inside a looped callback gets all its items, also after the loop was left."""
    got: list[str] = []
    done = threading.Event()

    def subscribe(_: object) -> None:
        ask().pipe(ops.text_deltas()).subscribe(got.append, on_completed=done.set)

    for _ in ask().pipe(rxops.do_action(subscribe)):
        break
    assert done.wait(PATIENCE)
    assert got == ["Hel", "lo", " wor", "ld"]
    join_rxllm_threads()


@pytest.mark.parametrize("leaver", ["the loop", "the subscriber"])
def test_of_two_sharing_one_may_leave(server: Server, ask: Ask, leaver: str) -> None:
    """A shared source goes on for the others, on a worker if its loop has left; there is one request."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.event(chunk("two"))
        await gate.wait()
        await answering.last(chunk("three"), chunk(finish="stop"), "[DONE]")

    server.script = script
    shared = ask().pipe(ops.text_deltas(), rxops.share())
    got: list[str] = []
    done = threading.Event()
    looped: list[str] = []
    subscription: abc.DisposableBase = Disposable()
    for text in shared:
        looped.append(text)
        if text == "one":
            there = threading.Event()
            subscription = shared.pipe(when_subscribed(there.set)).subscribe(got.append, on_completed=done.set)
            assert there.wait(PATIENCE)
        if text == "two":
            gate.open()
            if leaver == "the loop":
                break
            subscription.dispose()
    if leaver == "the loop":
        assert done.wait(PATIENCE)
        assert got == ["two", "three"]
    else:
        assert looped == ["one", "two", "three"]
    assert len(server.requests) == 1
    join_rxllm_threads()


def test_a_loop_inside_a_callback_of_somebody_elses(ask: Ask) -> None:
    """A loop works inside a subscription of reactivex's own, whose trampoline is taken."""
    outer: list[list[str]] = []
    rx.of(1, 2).subscribe(lambda _: outer.append(texts(ask().pipe(rxops.concat(ask())))))
    assert [len(inner) for inner in outer] == [8, 8]


# -- 5: subscribe() does not block


def test_subscribe_does_not_block(server: Server, ask: Ask) -> None:
    """It returns before the server has answered, and its callbacks run on one thread that is not the caller's."""
    gate = server.gate()

    async def script(answering: Answering) -> None:
        await gate.wait()
        await answering.stream("a", "b")

    server.script = script
    threads: set[int] = set()
    done = threading.Event()
    ask().subscribe(lambda _: threads.add(threading.get_ident()), on_completed=done.set)
    gate.open()
    assert done.wait(PATIENCE)
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    join_rxllm_threads()


def test_subscribe_on_an_event_loop_runs_there(ask: Ask) -> None:
    """With an AsyncIOScheduler the callbacks run on that loop's thread, whoever subscribes."""
    threads: set[int] = set()

    async def consume() -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        stream = ask()
        subscribe = lambda: stream.subscribe(  # noqa: E731
            lambda _: threads.add(threading.get_ident()), on_completed=done.set, scheduler=AsyncIOScheduler(loop)
        )
        await asyncio.to_thread(subscribe)
        await asyncio.wait_for(done.wait(), PATIENCE)

    asyncio.run(consume())
    assert threads == {threading.get_ident()}


def test_subscribe_on_a_running_event_loop_without_a_scheduler_uses_a_worker(ask: Ask) -> None:
    """The loop is not blocked, and the callbacks are not called on it."""
    threads: set[int] = set()

    async def consume() -> None:
        done = threading.Event()
        ask().subscribe(lambda _: threads.add(threading.get_ident()), on_completed=done.set)
        assert await asyncio.to_thread(done.wait, PATIENCE)

    asyncio.run(consume())
    assert threads.isdisjoint({threading.get_ident()})
    join_rxllm_threads()


# -- 6: an end is a proof


@every_way
def test_a_stream_that_merely_stops_is_incomplete(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """A clean end of the body without the provider's own end is an error, after what came."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("half an ans"))
        await answering.end()

    server.script = script
    seen: list[Any] = []
    with pytest.raises(IncompleteStreamError, match="1 chunk had come"):
        consume(ask().pipe(rxops.do_action(seen.append)))
    assert texts(seen) == ["half an ans"]


@every_way
def test_one_finish_of_two_choices_is_incomplete(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """With n=2, one choice's finish is no proof for the other."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a", finish="stop"))
        await answering.event(chunk("b", index=1))
        await answering.end()

    server.script = script
    with pytest.raises(IncompleteStreamError):
        consume(ask(n=2))


@every_way
def test_a_reset_after_the_proof_is_a_completion(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """Once every choice has finished, it does not matter how the connection ends."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("all", finish="stop"))
        answering.reset()

    server.script = script
    assert texts(consume(ask())) == ["all"]


def test_five_requests_use_one_connection(server: Server, ask: Ask) -> None:
    """Each end is read to the end, so that the connection can be used again, sync and async."""
    for _ in range(5):
        list(ask())
    assert (len(server.requests), server.connections) == (5, 1)

    async def consume() -> None:
        for _ in range(5):
            async for _ in ask():
                pass

    asyncio.run(consume())
    assert (len(server.requests), server.connections) == (10, 2)


# -- 7: errors are typed, and a callback's exception is the consumer's


@every_way
def test_a_raising_callback_closes_the_response(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """What an operator's callback raises ends the stream, and the request with it."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = script

    def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume(ask().pipe(rxops.map(fail)))
    assert server.next_closed() == 1


def test_a_raising_subscriber_closes_the_response(server: Server, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in on_next stays the consumer's (the thread's excepthook), and still closes the response."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"), chunk("two"))
        await answering.closed()

    server.script = script
    raised: list[type[BaseException]] = []

    def note(hook: threading.ExceptHookArgs) -> None:
        raised.append(hook.exc_type)

    monkeypatch.setattr(threading, "excepthook", note)

    def fail(_: object) -> None:
        raise ZeroDivisionError

    ask().subscribe(fail)
    assert server.next_closed() == 1
    join_rxllm_threads()
    assert raised == [ZeroDivisionError]

    async def on_a_loop() -> None:
        loop = asyncio.get_running_loop()
        handled = loop.create_future()
        loop.set_exception_handler(lambda _, context: handled.set_result(context["exception"]))
        ask().subscribe(fail, scheduler=AsyncIOScheduler(loop))
        assert isinstance(await asyncio.wait_for(handled, PATIENCE), ZeroDivisionError)

    asyncio.run(on_a_loop())
    assert server.next_closed() == 2


@every_way
def test_errors_are_typed_and_show_no_key(
    server: Server, ask: Ask, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """The provider's words are in the error; the key is not, even where the server echoes it."""

    async def script(answering: Answering) -> None:
        key = answering.headers["authorization"]
        await answering.json_answer(401, {"error": {"message": f"Bad key {key}", "code": "invalid_api_key"}})

    server.script = script
    with pytest.raises(APIError) as caught:
        consume(ask())
    error = caught.value
    assert type(error).__name__ == "AuthenticationError"
    assert str(error) == "Bad key Bearer ***"
    assert (error.status_code, error.code, error.llm_provider, error.model) == (
        401,
        "invalid_api_key",
        "openai",
        "gpt-4",
    )
    shown = "".join(f"{name} {value}" for frame in _frames(error) for name, value in frame.items())
    assert "sk-secret-key" not in shown + repr(error.__dict__) + repr(error.__context__) + repr(error.__cause__)
    assert error.__context__ is None


def _frames(error: BaseException) -> Iterator[dict[str, Any]]:
    """The locals of each frame of the library in a traceback, as rich and pytest would print them."""
    traceback = error.__traceback__
    while traceback is not None:
        # By where it is: the clone may be in a folder of that name, and the tests with it.
        if Path(traceback.tb_frame.f_code.co_filename).is_relative_to(LIBRARY):
            yield {name: repr(value) for name, value in traceback.tb_frame.f_locals.items()}
        traceback = traceback.tb_next


# -- 8: composing


def test_pipe_names_what_is_no_operator(ask: Ask) -> None:
    """What is no function, and what returns nothing to go on with; the last may be a function of any kind."""

    def forgot(source: Observable[ModelResponseStream]) -> None:
        source.pipe(ops.take_chunks(1))

    with pytest.raises(TypeError, match="takes operators, which are functions from an Observable, not None"):
        ask().pipe(cast("Any", None))
    with pytest.raises(TypeError, match=r"go on with <function .*text_deltas.*: what is before it returned None"):
        ask().pipe(cast("Any", forgot), ops.text_deltas())
    assert ask().pipe(forgot) is None


def test_pipe_gives_streams(ask: Ask) -> None:
    """Wherever an Observable comes out, it is a Stream; publish() stays connectable; anything else is handed out."""
    stream = ask()
    assert isinstance(stream.pipe(ops.text_deltas()), Stream)
    assert isinstance(stream.map(lambda c: c.id), Stream)
    assert isinstance(stream[:2], Stream)
    assert isinstance(stream + stream, Stream)
    assert isinstance(stream.pipe(rxops.publish()), ConnectableObservable)
    assert isinstance(stream.pipe(rxops.publish(), rxops.ref_count()), Stream)
    assert stream.pipe() is stream


def test_publish_connects(ask: Ask) -> None:
    """A published Stream has one request for its subscribers, sent when it is connected."""
    published = ask().pipe(rxops.publish())
    done = threading.Event()
    first: list[Any] = []
    second: list[Any] = []
    published.subscribe(first.append)
    published.subscribe(second.append, on_completed=done.set)
    published.connect()
    assert done.wait(PATIENCE)
    assert texts(first) == texts(second) == ["Hel", "lo", " wor", "ld"]
    join_rxllm_threads()


def test_as_stream_of_what_can_be_iterated() -> None:
    """Lists, generators, asynchronous generators and other clients' chunks serve loops of both kinds."""

    async def generate() -> Any:
        for text in ("Hel", "lo"):
            yield {"choices": [{"delta": {"content": text}}]}

    dictionaries = [{"choices": [{"delta": {"content": text}}]} for text in ("Hel", "lo")]
    sources: list[Callable[[], Any]] = [lambda: dictionaries, lambda: iter(dictionaries), generate]
    for source in sources:
        for consume in (by_for, by_async_for):
            assert consume(as_stream(source()).pipe(ops.accumulate_text())) == ["Hel", "Hello"]


def test_as_stream_of_an_observable_that_another_thread_feeds() -> None:
    """A Subject's items wake the loop that waits for them."""
    subject: Subject[int] = Subject()
    stream = as_stream(subject)
    subscribed = threading.Event()

    def feed() -> None:
        assert subscribed.wait(PATIENCE)
        for number in range(3):
            subject.on_next(number)
        subject.on_completed()

    feeder = threading.Thread(target=feed)
    feeder.start()

    def subscribe(_: object) -> Observable[int]:
        subscribed.set()
        return stream

    assert list(as_stream(rx.defer(subscribe))) == [0, 1, 2]
    feeder.join()


@pytest.mark.parametrize("wrong", [5, None, "text", {"choices": []}])
def test_as_stream_refuses_what_is_no_source(wrong: Any) -> None:
    """A text or a single dictionary is iterable and still no source of chunks."""
    with pytest.raises(TypeError, match=r"as_stream\(\) takes"):
        as_stream(wrong)


def test_next_names_iter(ask: Ask) -> None:
    """A Stream is no iterator, and says what to do."""
    with pytest.raises(TypeError, match=r"next\(iter\(stream\)\)"):
        next(ask())
    with pytest.raises(TypeError, match=r"anext\(aiter\(stream\)\)"):
        anext(ask())


def test_without_an_event_loop() -> None:
    """aiter() outside of asyncio says so."""
    with pytest.raises(RuntimeError, match="asyncio event loop only"):
        aiter(as_stream([1]))


# -- 9: the request is carried on


def test_the_request_is_carried_through_pipes(ask: Ask) -> None:
    """Each stage knows what was asked for; a merge does not."""
    stages: list[Any] = []

    def look(source: Any) -> Any:
        stages.append(source.request)
        return source

    stream = ask(temperature=0.5)
    stream.pipe(rxops.take(9), look, rxops.map(_id), look)
    assert [stage.params for stage in stages] == [{"temperature": 0.5}] * 2
    assert stages[0].messages == [{"role": "user", "content": "Hello"}]
    assert "secret" not in repr(stages[0])
    assert as_stream(rx.merge(stream, stream)).request is None
