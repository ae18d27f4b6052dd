"""Functions that a model may call: how they are found, called and answered for. Pure: nothing is run here."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, cast

from pydantic import ConfigDict, validate_call
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from rxllm._assembly import ResponseBuilder
from rxllm._faults import reason_of
from rxllm._tool_calls import WaitingCalls
from rxllm.exceptions import APIResponseValidationError
from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream, ToolResult

__all__ = ["ToolRound", "Tools", "failed_result", "tool_result"]

_CONFIG = ConfigDict(arbitrary_types_allowed=True)
# Of an answer that came to its end; after any other reason, or none, what has not come was cut off.
_FINISHED = frozenset({"stop", "tool_calls"})


class RefusedCallError(Exception):
    """A call that cannot be made; the message is for the model."""


class Tools:
    """The functions by name, each called with the arguments as pydantic reads its annotations.

    >>> tools = Tools([len, round])
    >>> sorted(tools.names)
    ['len', 'round']
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | Iterable[Callable[..., Any]]) -> None:
        named = dict(_named(functions))
        self._functions = {name: _validating(function) for name, function in named.items()}
        self._bound = {name: _bound(function) for name, function in named.items()}
        self.names = tuple(self._functions)

    def bind(self, call: ChatCompletionMessageToolCall, *, finished: bool = True) -> Callable[[], Any]:
        """What remains to be called without arguments, in order to make the call.

        Args:
            call: the call.
            finished: whether the answer came to its end: else arguments that have not come may have been cut off.

        Raises:
            RefusedCallError: there is no such function, the arguments are no JSON object, or one is already bound.
        """
        name = call.function.name
        function = self._functions.get(name)
        if function is None:
            raise RefusedCallError(f"There is no function {name!r}. There are: {', '.join(self.names) or 'none'}.")
        if not finished and not call.function.arguments.strip():
            raise RefusedCallError("The answer was cut off before the arguments had come.")
        try:
            arguments = call.parsed
        except APIResponseValidationError as error:
            reason = error.message
        else:
            if isinstance(arguments, dict):
                named = cast("dict[str, Any]", arguments)
                # What a partial has bound is not for the model to say, such as who asks.
                if bound := sorted(named.keys() & self._bound[name]):
                    raise RefusedCallError(f"There is no such argument: {', '.join(bound)}.")
                return partial(function, **named)
            reason = f"The arguments are no JSON object: {call.function.arguments}"
        raise RefusedCallError(reason)


class ToolRound:
    """One answer of a model that may call functions: which calls are whole, and what to tell the model in the end.

    Only choice 0 counts. Held are the text, the calls and their results.
    """

    def __init__(self) -> None:
        self._builder = ResponseBuilder()
        self._calls = WaitingCalls()
        self._results: dict[int, ToolResult] = {}
        self._taken = 0
        self._finish_reason: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer has come to its end, and was not cut off."""
        return self._finish_reason in _FINISHED

    @property
    def waits(self) -> bool:
        """Whether there are calls without a result."""
        return len(self._results) < self._taken

    @property
    def called(self) -> bool:
        """Whether there was any call."""
        return self._taken > 0

    def add(self, chunk: ModelResponseStream) -> list[ChatCompletionMessageToolCall]:
        """Takes a chunk in; gives the calls that are whole now."""
        whole: list[ChatCompletionMessageToolCall] = []
        if chunk.choices:
            self._builder.add(chunk)
        for choice in chunk.choices:
            if choice.index == 0:
                delta = choice.delta
                if delta.content or delta.reasoning_content:
                    # The model speaks on: what it has called before is whole.
                    whole += self._calls.take_whole()
                for piece in delta.tool_calls or ():
                    whole += self._calls.add(piece)
                if choice.finish_reason:
                    self._finish_reason = choice.finish_reason
                    whole += self._calls.take_whole()
        self._taken += len(whole)
        return whole

    def take_rest(self) -> list[ChatCompletionMessageToolCall]:
        """At the end: the calls that are still to be answered, whole or not."""
        rest = self._calls.take_rest()
        self._taken += len(rest)
        return rest

    def settle(self, result: ToolResult) -> None:
        """Takes what came of a call."""
        self._results[result.call.index] = result

    def messages(self) -> list[dict[str, Any]]:
        """What to send after the messages of before: the answer, and the results in the order of the calls."""
        message = next(choice.message for choice in self._builder.response().choices if choice.index == 0)
        results = [self._results[index].message for index in sorted(self._results)]
        return [message.model_dump(exclude_none=True), *results]


def tool_result(call: ChatCompletionMessageToolCall, value: Any) -> ToolResult:
    """What the model is told that a function gave: a text as it is, anything else as JSON.

    >>> tool_result(ChatCompletionMessageToolCall(), {"degrees": 18}).content
    '{"degrees":18}'
    """
    content = value if isinstance(value, str) else to_json(value, fallback=str, inf_nan_mode="strings").decode()
    return ToolResult(call=call, content=content)


def failed_result(call: ChatCompletionMessageToolCall, error: Exception) -> ToolResult:
    """What the model is told of an error: its type and its message, and nothing of where it was raised.

    >>> failed_result(ChatCompletionMessageToolCall(), KeyError("city")).content
    "KeyError: 'city'"
    """
    if isinstance(error, RefusedCallError):
        return ToolResult(call=call, content=str(error), failed=True)
    name = type(error).__name__
    told = reason_of(error, "arguments")
    return ToolResult(call=call, content=f"{name}: {told}" if told else name, failed=True)


def _named(functions: Any) -> Iterable[tuple[str, Callable[..., Any]]]:
    if isinstance(functions, Mapping):
        named: dict[Any, Any] = dict(cast("Mapping[Any, Any]", functions))  # type: ignore[redundant-cast]
    elif isinstance(functions, Iterable) and not isinstance(functions, str):
        named = {}
        for function in cast("Iterable[Any]", functions):  # type: ignore[redundant-cast]
            name = getattr(function, "__name__", None)
            if not callable(function) or name is None:
                # It is not shown: a partial may have bound a key.
                kind = type(function).__name__
                raise TypeError(
                    f"functions are functions with a __name__, or a mapping of names to them: {kind} has none"
                )
            if name in named:
                raise ValueError(f"Two functions are called {name!r}: give a mapping of names to functions")
            named[name] = function
    else:
        raise TypeError(f"functions is a mapping of names to functions, or a list of functions, not {functions!r}")
    for name, function in named.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"functions are callables by name, not a {type(function).__name__} by {name!r}")
    return named.items()


def _bound(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(function.keywords) if isinstance(function, partial) else frozenset()


def _validating(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its arguments validated, where pydantic can: not those of built-ins or callable objects.

    pydantic validates for another function, which gives back what it gets: one that it calls itself stands on frames of
    Rust, and ends the process badly where that ends while the function still runs on a thread.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        try:
            return validate_call(function, config=_CONFIG)  # type: ignore[call-overload,no-any-return]
        except (PydanticUserError, TypeError, ValueError, NameError):
            return function

    @wraps(function)
    def given(*arguments: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return arguments, named

    try:
        valid: Any = validate_call(given, config=_CONFIG)  # type: ignore[call-overload]
    except (PydanticUserError, TypeError, ValueError, NameError):
        return function

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call_and_wait(*arguments: Any, **named: Any) -> Any:
            fitting = cast("tuple[Any, Any]", valid(*arguments, **named))
            return await function(*fitting[0], **fitting[1])

        return call_and_wait

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        fitting = cast("tuple[Any, Any]", valid(*arguments, **named))
        return function(*fitting[0], **fitting[1])

    return call
