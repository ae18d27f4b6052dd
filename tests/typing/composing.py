"""``pipe()``: what each operator gives, and what comes out of several."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

import asyncio
from collections.abc import Callable
from typing import assert_type

import reactivex as rx
from reactivex import ConnectableObservable, Observable
from reactivex import operators as rx_ops
from tiktoken import Encoding

from rxllm import ModelResponse, ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.types import ChatCompletionMessageToolCall

Chunks = Stream[ModelResponseStream]


def operators_of_ours(chunks: Chunks, encoding: Encoding) -> None:
    """Each gives a Stream of what its contract says."""
    assert_type(chunks.pipe(ops.text_deltas()), Stream[str])
    assert_type(chunks.pipe(ops.accumulate_text(choice=1)), Stream[str])
    assert_type(chunks.pipe(ops.finish_reason()), Stream[str])
    assert_type(chunks.pipe(ops.print_text(end="")), Chunks)
    assert_type(chunks.pipe(ops.require_finish("stop", "length")), Chunks)
    assert_type(chunks.pipe(ops.take_chunks(3)), Chunks)
    assert_type(chunks.pipe(ops.attach_usage("gpt-4", [{"role": "user", "content": "Hi"}])), Chunks)
    assert_type(chunks.pipe(ops.count_tokens("gpt-4")), Stream[int])
    assert_type(chunks.pipe(ops.count_tokens(encoding=encoding)), Stream[int])
    assert_type(chunks.pipe(ops.assemble_tool_calls()), Stream[ChatCompletionMessageToolCall])
    assert_type(chunks.pipe(ops.build_response()), Stream[ModelResponse])
    assert_type(chunks.pipe(ops.build_response()).run(), ModelResponse)


def operators_on_an_observable(chunks: Observable[ModelResponseStream]) -> None:
    """They go into reactivex's own pipe, which gives an Observable."""
    assert_type(chunks.pipe(ops.take_chunks(3), ops.accumulate_text()), Observable[str])


def one_to_nine(chunks: Chunks) -> None:
    """As many operators as reactivex's own pipe takes."""
    some = ops.take_chunks(1)
    text = ops.text_deltas()
    assert_type(chunks.pipe(text), Stream[str])
    assert_type(chunks.pipe(some, text), Stream[str])
    assert_type(chunks.pipe(some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, some, some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, some, some, some, some, text), Stream[str])
    assert_type(chunks.pipe(some, some, some, some, some, some, some, some, text), Stream[str])


def reactivex_operators(chunks: Chunks, texts: Stream[str]) -> None:
    """reactivex's operators, with functions whose types are known."""
    assert_type(texts.pipe(rx_ops.map(len)), Stream[int])
    assert_type(texts.pipe(rx_ops.map(length), rx_ops.filter(is_long)), Stream[int])
    assert_type(texts.pipe(rx_ops.take(2)), Stream[str])
    assert_type(chunks.pipe(rx_ops.take(2), ops.text_deltas()), Stream[str])
    assert_type(texts.pipe(rx_ops.to_list()), Stream[list[str]])
    assert_type(texts.pipe(rx_ops.count()), Stream[int])
    assert_type(texts.pipe(rx_ops.retry(3)), Stream[str])
    assert_type(texts.pipe(rx_ops.timeout(1.0)), Stream[str])
    assert_type(texts.pipe(rx_ops.share()), Stream[str])
    assert_type(texts.pipe(rx_ops.do_action(print)), Stream[str])
    assert_type(chunks.pipe(ops.text_deltas(), rx_ops.map(length), rx_ops.to_list()), Stream[list[int]])
    assert_type(chunks.pipe(rx_ops.merge(chunks), ops.text_deltas()), Stream[str])
    assert_type(texts.pipe(rx_ops.concat(rx.of("end"))), Stream[str])


def what_is_no_stream(chunks: Chunks, texts: Stream[str]) -> None:
    """A ConnectableObservable stays one; what is no Observable comes out as it is."""
    assert_type(texts.pipe(rx_ops.publish()), ConnectableObservable[str])
    assert_type(chunks.pipe(ops.text_deltas(), rx_ops.publish()), ConnectableObservable[str])
    assert_type(chunks.pipe(ops.text_deltas(), rx_ops.map(length), rx_ops.publish()), ConnectableObservable[int])
    assert_type(texts.pipe(rx_ops.publish(), rx_ops.ref_count()), Stream[str])
    assert_type(texts.pipe(rx_ops.to_future()), asyncio.Future[str])


def one_s_own(texts: Stream[str], double: Callable[[Observable[str]], Observable[str]]) -> None:
    """A function from one Observable to another, and one to anything else."""
    assert_type(texts.pipe(double), Stream[str])
    assert_type(texts.pipe(double, double, ending), int)
    assert_type(texts.pipe(loopable), Stream[int])


def length(text: str) -> int:
    """How long it is."""
    return len(text)


def is_long(number: int) -> bool:
    """Whether it is long."""
    return number > 10


def ending(texts: Observable[str]) -> int:
    """No Observable any more."""
    raise NotImplementedError


def loopable(texts: Observable[str]) -> Stream[int]:
    """A Stream already."""
    raise NotImplementedError


def refused(texts: Stream[str], chunks: Chunks) -> None:
    """What does not fit is an error where it stands; both checkers complain of an ignore that they do not need."""
    texts.pipe(ops.text_deltas())  # type: ignore[arg-type]
    chunks.pipe(ops.text_deltas(), ops.take_chunks(1))  # type: ignore[arg-type, misc]
    chunks.pipe(ops.take_chunks("1"))  # type: ignore[arg-type]
    chunks.choices  # type: ignore[attr-defined]  # noqa: B018
