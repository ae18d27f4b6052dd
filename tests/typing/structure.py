"""What the operators of structure, usage and cost infer, in ``Stream.pipe()`` and in reactivex's own."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Sequence
from typing import Any, assert_type

from pydantic import BaseModel, TypeAdapter
from reactivex import GroupedObservable, Observable
from reactivex import operators as rx_ops

from rxllm import Budget, Measurement, ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.types import ChatCompletionMessageToolCall, PartialToolCall

Chunks = Stream[ModelResponseStream]
Choice = GroupedObservable[int, ModelResponseStream]


class City(BaseModel):
    """A shape."""

    name: str


def add(a: int, b: int) -> int:
    """A tool."""
    return a + b


async def fetch(city: str) -> City:
    """An asynchronous one."""
    return City(name=city)


def tell(record: Measurement) -> None:
    """Takes a record."""
    assert_type(record.gap_p99, float | None)


def text_of(choice: Choice) -> Observable[str]:
    """The text of a choice."""
    assert_type(choice.key, int)
    return choice.pipe(ops.accumulate_text())


def on_a_stream(chunks: Chunks, again: Chunks, adapter: TypeAdapter[dict[str, int]]) -> None:
    """Each gives a Stream of what its contract says."""

    def send(messages: list[Any]) -> Chunks:
        return again

    assert_type(chunks.pipe(ops.run_tools([add, fetch], send=send)), Chunks)
    assert_type(chunks.pipe(ops.run_tools({"plus": add}, send=send, max_rounds=3, messages=[])), Chunks)
    assert_type(chunks.pipe(ops.assemble_tool_calls()), Stream[ChatCompletionMessageToolCall])
    assert_type(chunks.pipe(ops.assemble_tool_calls(partial=False)), Stream[ChatCompletionMessageToolCall])
    assert_type(chunks.pipe(ops.assemble_tool_calls(partial=True)), Stream[PartialToolCall])
    assert_type(chunks.pipe(ops.parse_partial(City)), Stream[City])
    assert_type(chunks.pipe(ops.parse_partial(list[City], interval=0.1)), Stream[list[City]])
    assert_type(chunks.pipe(ops.parse_partial(adapter)), Stream[dict[str, int]])
    assert_type(chunks.pipe(ops.parse_partial()), Stream[Any])
    assert_type(chunks.pipe(ops.parse_partial(City)).run(), City)
    assert_type(chunks.pipe(ops.attach_cost({"input": 1, "output": 2})), Chunks)
    assert_type(chunks.pipe(ops.take_until_budget(tokens=5)), Chunks)
    assert_type(chunks.pipe(ops.take_until_budget(Budget(cost="0.5"), prices={"gpt-4": {"input": 1}})), Chunks)
    assert_type(chunks.pipe(ops.measure(tell, on_progress=tell)), Chunks)
    assert_type(chunks.pipe(ops.by_choice()), Stream[Choice])
    assert_type(chunks.pipe(ops.by_choice(), rx_ops.flat_map(text_of)), Stream[str])


def on_an_observable(chunks: Observable[ModelResponseStream], tools: Sequence[Any]) -> None:
    """They go into reactivex's own pipe, which gives an Observable."""
    assert_type(
        chunks.pipe(
            ops.run_tools(tools, send=lambda messages: chunks, messages=[]),
            ops.attach_cost({"input": 1, "output": 2}),
            ops.take_until_budget(tokens=5),
            ops.measure(tell),
        ),
        Observable[ModelResponseStream],
    )
    assert_type(chunks.pipe(ops.parse_partial(City)), Observable[City])
    assert_type(chunks.pipe(ops.assemble_tool_calls(partial=True)), Observable[PartialToolCall])
    assert_type(chunks.pipe(ops.by_choice()), Observable[Choice])


def refused(chunks: Chunks) -> None:
    """What does not fit is an error where it stands."""
    chunks.pipe(ops.run_tools([add]))  # type: ignore[call-arg, arg-type]
    chunks.pipe(ops.text_deltas(), ops.by_choice())  # type: ignore[arg-type, misc]
    chunks.pipe(ops.take_until_budget(5))  # type: ignore[arg-type]
