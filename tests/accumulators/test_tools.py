"""Functions that a model may call: how they are found, called and answered for."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._tools import RefusedCallError, ToolRound, Tools, failed_result, tool_result
from rxllm.types import ChatCompletionMessageToolCall, Function, ModelResponseStream
from tests.operators.sources import call_piece, calling, of


def calls(name: str, arguments: str = "{}") -> ChatCompletionMessageToolCall:
    """A call."""
    return ChatCompletionMessageToolCall(id="a", function=Function(name=name, arguments=arguments))


def square(number: int) -> int:
    """A function."""
    return number * number


def self_and_func(self: int, func: int) -> int:
    """Parameters that are called as Python's own machinery calls its own."""
    return self - func


class Counter:
    """An object that can be called, which pydantic does not validate, and a method, which it does."""

    def __call__(self, number: int) -> str:
        return repr(number)

    def method(self, number: int) -> str:
        return repr(number)


@pytest.mark.parametrize(
    ("functions", "call", "value"),
    [
        ([square], calls("square", '{"number": "3"}'), 9),
        ((function for function in [square]), calls("square", '{"number": 3}'), 9),
        ({"power": square}, calls("power", '{"number": 3}'), 9),
        ([self_and_func], calls("self_and_func", '{"self": 3, "func": 1}'), 2),
        ([Counter().method], calls("method", '{"number": "3"}'), "3"),
        ({"count": Counter()}, calls("count", '{"number": "3"}'), "'3'"),
        ({"now": lambda: 1}, calls("now", ""), 1),
    ],
)
def test_calls_are_bound(functions: Any, call: ChatCompletionMessageToolCall, value: Any) -> None:
    """By name, with the arguments as keywords, as pydantic makes them."""
    assert Tools(functions).bind(call)() == value


def test_built_ins_are_taken() -> None:
    """pydantic cannot look into them: they take the JSON as it is, and complain by themselves."""
    with pytest.raises(TypeError, match="keyword"):
        Tools([math.sqrt]).bind(calls("sqrt", '{"x": 4}'))()


def unknown_annotation(value: Any) -> Any:
    """An annotation that cannot be read."""
    return value


unknown_annotation.__annotations__["value"] = "Nowhere"


def test_annotations_that_cannot_be_read_validate_nothing() -> None:
    """The function can be called all the same."""
    assert Tools([unknown_annotation]).bind(calls("unknown_annotation", '{"value": 1}'))() == 1


@pytest.mark.parametrize("arguments", ["[]", "1", '"{}"', "null", "{", "tru"])
def test_what_is_no_object_is_refused(arguments: str) -> None:
    """Nothing is called."""
    with pytest.raises(RefusedCallError):
        Tools([square]).bind(calls("square", arguments))


def test_a_result_says_whose_it_is() -> None:
    """Whether it failed, and to which call it belongs."""
    call = calls("f")
    assert (tool_result(call, 1).call, tool_result(call, 1).failed) == (call, False)
    assert failed_result(call, OSError(2, "No such file")).model_dump(exclude={"call"}) == {
        "content": "FileNotFoundError: [Errno 2] No such file",
        "failed": True,
    }


def taken(*chunks: ModelResponseStream) -> list[list[int]]:
    """Which calls each chunk makes whole, then those that are left at the end."""
    answer = ToolRound()
    return [[call.index for call in answer.add(chunk)] for chunk in chunks] + [[c.index for c in answer.take_rest()]]


FIRST = calling(call_piece("{}", index=0, id="a", name="f"))
SECOND = calling(call_piece("{}", index=1, id="b", name="f"))
OPEN = calling(call_piece("{", index=0, id="a", name="f"))


WHOLE: list[tuple[tuple[ModelResponseStream, ...], list[list[int]]]] = [
    ((FIRST, SECOND), [[], [0], [1]]),
    ((FIRST, of("text")), [[], [0], []]),
    ((FIRST, of(reasoning_content="thought")), [[], [0], []]),
    ((FIRST, of("")), [[], [], [0]]),
    ((FIRST, of("other", index=1)), [[], [], [0]]),
    ((FIRST, of(finish_reason="stop")), [[], [0], []]),
    ((FIRST, of(index=1, finish_reason="stop")), [[], [], [0]]),
    ((OPEN, of("text"), SECOND), [[], [], [], [0, 1]]),
    ((of("text"), of(finish_reason="stop")), [[], [], []]),
]


@pytest.mark.parametrize(("chunks", "expected"), WHOLE)
def test_when_a_call_is_whole(chunks: Any, expected: list[list[int]]) -> None:
    """Another of its choice starts, text of it follows, or it finishes: and its arguments are JSON."""
    assert taken(*chunks) == expected


@given(st.permutations(range(4)))
def test_results_are_told_in_the_order_of_the_calls(order: list[int]) -> None:
    """In whatever order they came."""
    answer = ToolRound()
    pieces = [call_piece("{}", index=n, id=f"c{n}", name="f") for n in range(4)]
    calls = answer.add(calling(*pieces, finish_reason="tool_calls"))
    for n in order:
        assert answer.waits
        answer.settle(tool_result(calls[n], n))
    assert (answer.waits, answer.called, answer.finished) == (False, True, True)
    assert [message["content"] for message in answer.messages()[1:]] == ["0", "1", "2", "3"]


def test_functions_may_have_any_annotations() -> None:
    """Also classes that pydantic has no schema for: an instance is wanted then, which JSON cannot give."""

    class Connection:
        pass

    def use(connection: Connection) -> None: ...

    function: Callable[..., Any] = Tools([use]).bind(calls("use", '{"connection": 1}'))
    with pytest.raises(ValueError, match="instance of"):
        function()
