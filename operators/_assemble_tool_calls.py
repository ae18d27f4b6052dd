from collections.abc import Callable

from reactivex import Observable, abc

from rxllm._tool_calls import ToolCalls
from rxllm.types import ChatCompletionDeltaToolCall, ChatCompletionMessageToolCall, ModelResponseStream

__all__ = ["assemble_tool_calls"]


def assemble_tool_calls() -> Callable[[Observable[ModelResponseStream]], Observable[ChatCompletionMessageToolCall]]:
    """Gives each tool call once it is whole.

    ::

        chunks  --a{"x"--a:1}--b{--b}--tool_calls--|
                     assemble_tool_calls()
        calls   ---------------a-------b-----------|

    A call is whole when another call of its choice starts, or the choice finishes, and its arguments are JSON by then.
    Any other call is given when the stream completes: one whose arguments were never sent, which are ``""``, and one
    whose arguments are no JSON, whose ``parsed`` raises. So nothing that a choice has called is lost, but after an
    error: that passes at once. Deltas are told apart by id, then by index, then by completeness. With ``n > 1`` the
    calls of all choices are given: ``call.choice`` says whose each is and ``call.index`` its place there. A stream
    without calls completes empty. What still comes for a call that was given is left out. Held are the arguments.

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
    """

    def tool_calls_of(source: Observable[ModelResponseStream]) -> Observable[ChatCompletionMessageToolCall]:
        def subscribe(
            observer: abc.ObserverBase[ChatCompletionMessageToolCall], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            choices: dict[int, _Choice] = {}

            def on_next(chunk: ModelResponseStream) -> None:
                for entry in chunk.choices:
                    deltas = entry.delta.tool_calls
                    choice = choices.get(entry.index)
                    if choice is None:
                        if not deltas:
                            continue
                        choice = choices[entry.index] = _Choice(entry.index)
                    for delta in deltas or ():
                        for call in choice.add(delta):
                            observer.on_next(call)
                    if entry.finish_reason:
                        for call in choice.take_whole():
                            observer.on_next(call)

            def on_completed() -> None:
                for index in sorted(choices):
                    for call in choices[index].take_rest():
                        observer.on_next(call)
                observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return tool_calls_of


class _Choice:
    """The calls of one choice, and which of them have not been given yet."""

    __slots__ = ("_calls", "_waiting")

    def __init__(self, index: int) -> None:
        self._calls = ToolCalls(index)
        self._waiting: list[int] = []

    def add(self, delta: ChatCompletionDeltaToolCall) -> list[ChatCompletionMessageToolCall]:
        """Takes a delta in; gives the calls that are whole now that another starts."""
        known = len(self._calls)
        self._calls.add(delta)
        if len(self._calls) == known:
            return []
        whole = self.take_whole()
        self._waiting.append(known)
        return whole

    def take_whole(self) -> list[ChatCompletionMessageToolCall]:
        """The waiting calls whose arguments are JSON."""
        whole = [position for position in self._waiting if self._calls.parses(position)]
        self._waiting = [position for position in self._waiting if position not in whole]
        return [self._calls.whole(position) for position in whole]

    def take_rest(self) -> list[ChatCompletionMessageToolCall]:
        """All the waiting calls, as far as they have come."""
        rest, self._waiting = self._waiting, []
        return [self._calls.whole(position) for position in rest]
