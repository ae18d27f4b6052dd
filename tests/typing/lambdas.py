"""Lambdas in ``pipe()``: pyright knows what each takes from what comes before it.

mypy infers every operator by itself, before it looks at what the operator is applied to, so that a lambda's argument is
of no known type to it; give it functions whose types are written down. An ignore that it no longer needs, it reports.
"""

from typing import assert_type

from reactivex import operators as rx_ops

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops


def lambdas(texts: Stream[str], chunks: Stream[ModelResponseStream]) -> None:
    """First in the pipe, and after other operators."""
    assert_type(texts.pipe(rx_ops.map(lambda text: text.upper())), Stream[str])  # type: ignore[attr-defined]
    assert_type(texts.pipe(rx_ops.filter(lambda text: text.isalpha())), Stream[str])  # type: ignore[attr-defined]
    used = chunks.pipe(rx_ops.filter(lambda chunk: chunk.usage is not None))  # type: ignore[attr-defined]
    assert_type(used, Stream[ModelResponseStream])
    assert_type(texts.pipe(rx_ops.map(lambda text: f"{text}!"), rx_ops.to_list()), Stream[list[str]])
    assert_type(chunks.pipe(ops.text_deltas(), rx_ops.map(lambda text: f"{text}!")).run(), str)
