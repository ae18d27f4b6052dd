import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable, SingleAssignmentDisposable

from rxllm._accumulators._tools import RefusedCallError, ToolRound, Tools, failed_result, tool_result
from rxllm._calling import CallSource
from rxllm._stream import Stream, as_stream
from rxllm.operators._shared import request_of
from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream, ToolResult

__all__ = ["run_tools"]

_Send = Callable[[list[Any]], Observable[ModelResponseStream]]

_log = logging.getLogger("rxllm")


def run_tools(
    functions: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]],
    *,
    send: _Send,
    max_rounds: int = 10,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None = None,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Calls the functions that the model calls, sends the results, and goes on with the chunks of the next answer.

    ::

        chunks   --call:f--"I look."--tool_calls--|
                           run_tools([f], send=send)
        chunks   --call:f--"I look."--f's result--tool_calls--"18"--" degrees"--stop--|

    All chunks pass, those of every answer one after the other. A function is called as soon as its call is whole
    (another starts, text follows, or the answer ends), while the rest still streams; several run side by side. What
    came of each is a chunk without choices, as it is there: ``chunk.tool_result``. Once the answer has ended and all
    results are there, ``send(messages)`` is asked for the next one: ``messages`` are those of the request, the
    assistant's answer, and the results in the order of the calls, all of them plain dictionaries. The last answer is
    one that calls nothing, or that of round ``max_rounds``: its calls are not run, it keeps its finish reason
    ``tool_calls``, which ``require_finish("stop")`` makes an error of. An error of the source, of ``send`` or of a
    later answer ends the stream.

    Arguments are given by name, and are what pydantic makes of them by the function's annotations, where it can. What a
    function returns is told to the model as it is if it is a string, else as JSON. What it raises is told, too, by type
    and message alone, as are a function that there is not and arguments that are no JSON, do not fit or are bound in a
    ``functools.partial``: the result is ``failed``. Such errors are logged with their traceback on ``rxllm`` at level
    INFO.

    Plain functions run in threads of their own. Coroutine functions run on the event loop that consumes the stream,
    where one does, else each on one of its own in such a thread. Leaving the stream closes the request and cancels
    coroutines; plain functions go on to their end unheard. With ``n > 1`` the calls of choice 0 are run, and the others
    pass. A marker that an answer begins anew (``chunk.restart``) is about that answer; below, accumulators take it for
    all that came: put ``fallback_to(on_partial="restart")`` above, for the first answer, and leave it out of ``send``.
    An empty source completes empty. Held are the messages, and the text and calls of one answer.

    Args:
        functions: the functions by their ``__name__``, or a mapping of names to functions.
        send: takes the messages, and gives the Stream, Observable or iterable of the next answer's chunks; on an event
            loop, too, that is ``completion(..., stream=True)``, and no coroutine.
        max_rounds: how often ``send`` is called at most; with 0 nothing is run.
        messages: the messages before the first answer; by default those of the request that the stream sends.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.
        ValueError: no messages were given, and the source has no request; raised when the operator is applied.

    >>> from rxllm import as_stream
    >>> from rxllm.types import ModelResponseStream
    >>> def add(a: int, b: int) -> int:
    ...     return a + b
    >>> call = {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    >>> first = as_stream([ModelResponseStream.of(tool_calls=[call], finish_reason="tool_calls")])
    >>> answer = lambda messages: as_stream([ModelResponseStream.of("It is " + messages[-1]["content"])])
    >>> question = [{"role": "user", "content": "1 + 2?"}]
    >>> for chunk in first.pipe(run_tools([add], send=answer, messages=question)):
    ...     print(chunk.tool_result.content if chunk.tool_result else chunk.choices[0].delta.content)
    None
    3
    It is 3
    """
    tools = Tools(functions)
    _check(send, max_rounds, messages)
    given = None if messages is None else [_plain(message) for message in messages]

    def with_tools(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        if given is None and request is None:
            raise ValueError(
                "run_tools() does not know what was asked: its source has no request to take it from; pass messages="
            )
        prompt: list[Any] = given if given is not None else list(request.messages if request else ())

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            answer, running = SerialDisposable(), CompositeDisposable()
            # Off a loop, each function's outcome comes on a thread of its own.
            mutex = threading.RLock()

            def listen(chunks: Observable[ModelResponseStream], asked: list[Any], rounds_left: int) -> None:
                current, ended = ToolRound(), False

                def on_next(chunk: ModelResponseStream) -> None:
                    nonlocal current
                    with mutex:
                        if not chunk.choices and chunk.restart is not None:
                            current = ToolRound()
                            running.clear()
                        refused = [result for call in current.add(chunk) if (result := begin(call))]
                        observer.on_next(chunk)
                        for result in refused:
                            settle(current, result)

                def on_error(error: Exception) -> None:
                    with mutex:
                        observer.on_error(error)

                def on_completed() -> None:
                    nonlocal ended
                    with mutex:
                        refused = [result for call in current.take_rest() if (result := begin(call))]
                        ended = True
                        for result in refused:
                            settle(current, result)
                        if not refused:
                            go_on()

                def begin(call: ChatCompletionMessageToolCall) -> ToolResult | None:
                    """Calls the function; gives what is to be told where it cannot be called."""
                    try:
                        function = tools.bind(call, finished=current.finished)
                    except RefusedCallError as error:
                        return failed_result(call, error)
                    _run(function, call, partial(settle, current), running, scheduler)
                    return None

                def settle(asker: ToolRound, result: ToolResult) -> None:
                    with mutex:
                        if asker is current:
                            current.settle(result)
                            observer.on_next(ModelResponseStream.of_tool(result))
                            go_on()

                def go_on() -> None:
                    """Sends the results, if the answer has ended and all are there."""
                    if not ended or current.waits:
                        return
                    if not current.called:
                        observer.on_completed()
                        return
                    following = [*asked, *current.messages()]
                    try:
                        chunks = _observable(send(list(following)))
                    except Exception as error:  # noqa: BLE001  the function is the caller's
                        observer.on_error(error)
                        return
                    listen(chunks, following, rounds_left - 1)

                # In place before the source begins: one that ends inside its subscribe is followed by another there.
                answer.disposable = listening = SingleAssignmentDisposable()
                if rounds_left:
                    listening.disposable = chunks.subscribe(on_next, on_error, on_completed, scheduler=scheduler)
                else:
                    listening.disposable = chunks.subscribe(observer, scheduler=scheduler)

            listen(source, prompt, max_rounds)
            return CompositeDisposable(answer, running)

        return Observable(subscribe)

    return with_tools


def _run(
    function: Callable[[], Any],
    call: ChatCompletionMessageToolCall,
    settle: Callable[[ToolResult], None],
    running: CompositeDisposable,
    scheduler: abc.SchedulerBase | None,
) -> None:
    """Calls the function beside what the loop reads, and settles the call with what comes of it."""
    subscription = SingleAssignmentDisposable()
    running.add(subscription)

    def on_next(value: Any) -> None:
        try:
            result = tool_result(call, value)
        except Exception as error:  # noqa: BLE001  values are the caller's
            on_error(error)
            return
        running.remove(subscription)
        settle(result)

    def on_error(error: Exception) -> None:
        _log.info("The tool %r failed", call.function.name, exc_info=error)
        running.remove(subscription)
        settle(failed_result(call, error))

    def on_completed() -> None:
        on_error(RuntimeError("It was cancelled"))

    # The loop reads what it brings as it does any other Stream, and wakes for it.
    outcome: Stream[Any] = Stream.from_source(CallSource(function))
    subscription.disposable = outcome.subscribe(on_next, on_error, on_completed, scheduler=scheduler)


def _observable(answer: Any) -> Observable[ModelResponseStream]:
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError("send gives a Stream, also on an event loop: completion(..., stream=True), and no coroutine")
    # An Observable of one's own is subscribed to where it is, and not on a worker.
    return answer if isinstance(answer, Observable) else as_stream(answer)  # pyright: ignore[reportUnknownVariableType]


def _plain(message: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    return message.model_dump(exclude_none=True) if isinstance(message, BaseModel) else dict(message)


def _check(send: Any, max_rounds: Any, messages: Any) -> None:
    if not callable(send):
        raise TypeError(f"send takes messages and gives a Stream, as a function: it is not {send!r}")
    if not isinstance(max_rounds, int) or isinstance(max_rounds, bool):
        raise TypeError(f"max_rounds is a number of rounds, an int, not {max_rounds!r}")
    if max_rounds < 0:
        raise ValueError(f"max_rounds is 0 or more, not {max_rounds}")
    if isinstance(messages, (str, Mapping, BaseModel)) or not isinstance(messages, Iterable | None):
        raise TypeError(f"messages is a list of messages, not {messages!r}")
