from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

from reactivex import Observable, abc

from rxllm._tool_calls import WaitingCalls
from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream, PartialToolCall

__all__ = ["assemble_tool_calls"]

_Chunks = Observable[ModelResponseStream]


@overload
def assemble_tool_calls(
    *, partial: Literal[False] = False
) -> Callable[[_Chunks], Observable[ChatCompletionMessageToolCall]]: ...
@overload
def assemble_tool_calls(*, partial: Literal[True]) -> Callable[[_Chunks], Observable[PartialToolCall]]: ...
def assemble_tool_calls(*, partial: bool = False) -> Callable[[_Chunks], Observable[Any]]:
    """Gives each tool call once it is whole; with ``partial=True`` also as its arguments grow.

    ::

        chunks  --a{"x"--a:1}--b{--b}--tool_calls--|
                     assemble_tool_calls()
        calls   ---------------a-------b-----------|

        chunks  --a{"x"--a:1}------b{--b}--tool_calls--|
                 assemble_tool_calls(partial=True)
        calls   --a{-----a{"x":1}--ab{-b{}-b-----------|

    A call is whole when another call of its choice starts, or the choice finishes, and its arguments are JSON by then.
    Any other call is given when the stream completes: one whose arguments were never sent, which are ``""``, and one
    whose arguments are no JSON, whose ``parsed`` raises. So nothing that a choice has called is lost, but after an
    error: that passes at once. Deltas are told apart by id, then by index, then by completeness. With ``n > 1`` the
    calls of all choices are given: ``call.choice`` says whose each is and ``call.index`` its place there. A stream
    without calls completes empty. What still comes for a call that was given is left out. Where the answer begins anew
    (``chunk.restart``), calls that were given are void, as are those that are held, and ``index`` begins at 0 again.
    Held are the arguments.

    Args:
        partial: whether a call is also given when it starts and each time its name or its arguments grow. Calls have
            ``so_far`` then, what their arguments amount to, and ``complete``, which is true of the one that would be
            given anyway. Each is a string of its own, so that collecting them all takes the square of the arguments.

    Raises:
        TypeError: ``partial`` is no bool; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> pieces = [
    ...     {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a": 1,'}},
    ...     {"index": 0, "function": {"arguments": ' "b": 2}'}},
    ... ]
    >>> chunks = rx.of(*(ModelResponseStream.of(tool_calls=[piece]) for piece in pieces))
    >>> call = chunks.pipe(assemble_tool_calls()).run()
    >>> call.id, call.function.name, call.parsed
    ('call_1', 'add', {'a': 1, 'b': 2})
    >>> _ = chunks.pipe(assemble_tool_calls(partial=True)).subscribe(lambda call: print(call.so_far, call.complete))
    {'a': 1} False
    {'a': 1, 'b': 2} False
    {'a': 1, 'b': 2} True
    """
    checked: Any = partial
    if not isinstance(checked, bool):
        raise TypeError(f"partial is True or False, not {partial!r}")

    def tool_calls_of(source: _Chunks) -> Observable[Any]:
        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            choices: dict[int, WaitingCalls] = {}
            # Of each call, what was given last.
            given: dict[tuple[int, int], tuple[str, str]] = {}

            def give(calls: Iterable[ChatCompletionMessageToolCall]) -> None:
                for call in calls:
                    observer.on_next(PartialToolCall.of(call, complete=True) if partial else call)

            def give_growing(call: ChatCompletionMessageToolCall | None) -> None:
                if call is not None:
                    key, state = (call.choice, call.index), (call.function.name, call.function.arguments)
                    if given.get(key) != state:
                        given[key] = state
                        observer.on_next(PartialToolCall.of(call, complete=False))

            def on_next(chunk: ModelResponseStream) -> None:
                if not chunk.choices and chunk.restart is not None:
                    choices.clear()
                    given.clear()
                for entry in chunk.choices:
                    deltas = entry.delta.tool_calls
                    choice = choices.get(entry.index)
                    if choice is None:
                        if not deltas:
                            continue
                        choice = choices[entry.index] = WaitingCalls(entry.index)
                    for delta in deltas or ():
                        give(choice.add(delta))
                        if partial:
                            give_growing(choice.growing())
                    if entry.finish_reason:
                        give(choice.take_whole())

            def on_completed() -> None:
                for index in sorted(choices):
                    give(choices[index].take_rest())
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return tool_calls_of
