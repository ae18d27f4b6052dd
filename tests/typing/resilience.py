"""Resilience, sharing and watching: what each operator gives."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

from reactivex import Observable

import rxllm
from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops

Chunks = Stream[ModelResponseStream]


def another(messages: list[Mapping[str, Any]]) -> Chunks:
    """What falls back on another model."""
    return rxllm.completion("gpt-4", messages, stream=True)


def never_again(error: Exception) -> bool:
    """Whether it is worth another try."""
    return not isinstance(error, ValueError)


def in_a_stream(chunks: Chunks, store: dict[str, str], path: Path) -> None:
    """Chunks to chunks: a Stream again."""
    assert_type(chunks.pipe(ops.retry_before_content(2)), Chunks)
    assert_type(chunks.pipe(ops.retry_before_content(2, wait=1, when=never_again)), Chunks)
    assert_type(chunks.pipe(ops.fallback_to(chunks, chunks)), Chunks)
    assert_type(chunks.pipe(ops.fallback_to(chunks, another, on_partial="restart")), Chunks)
    assert_type(chunks.pipe(ops.fallback_to(another, on_partial="continue", messages=[{"role": "user"}])), Chunks)
    assert_type(chunks.pipe(ops.hedge(chunks, after=1.5)), Chunks)
    assert_type(chunks.pipe(ops.record("a.jsonl")), Chunks)
    assert_type(chunks.pipe(ops.record(path)), Chunks)
    assert_type(chunks.pipe(ops.cached(store)), Chunks)
    assert_type(chunks.pipe(ops.cached(path, key="a")), Chunks)
    assert_type(chunks.pipe(ops.tag("a")), Chunks)
    assert_type(chunks.pipe(ops.tag("a"), ops.text_deltas()), Stream[str])


def of_anything(chunks: Chunks, texts: Stream[str]) -> None:
    """What is shared keeps its type."""
    assert_type(chunks.pipe(ops.share_replay()), Chunks)
    assert_type(texts.pipe(ops.share_replay()), Stream[str])


def making_streams(chunks: Chunks, bare: Observable[ModelResponseStream]) -> None:
    """Those that make one."""
    assert_type(ops.race(chunks, bare), Chunks)
    assert_type(ops.merge_models(chunks, bare), Chunks)
    assert_type(ops.replay("a.jsonl", speed=2), Chunks)
    assert_type(ops.race(chunks, bare).pipe(ops.accumulate_text()), Stream[str])


def on_an_observable(bare: Observable[ModelResponseStream], store: dict[str, str]) -> None:
    """They go into reactivex's own pipe, which gives an Observable."""
    assert_type(bare.pipe(ops.retry_before_content(2), ops.hedge(bare, 1)), Observable[ModelResponseStream])
    assert_type(bare.pipe(ops.fallback_to(bare), ops.text_deltas()), Observable[str])
    assert_type(bare.pipe(ops.record("a.jsonl"), ops.cached(store)), Observable[ModelResponseStream])
    assert_type(bare.pipe(ops.tag("a"), ops.share_replay()), Observable[ModelResponseStream])


def refused(chunks: Chunks, texts: Stream[str]) -> None:
    """What does not fit is an error where it stands."""
    chunks.pipe(ops.hedge(texts, after=1))  # type: ignore[arg-type]
    chunks.pipe(ops.fallback_to("gpt-4"))  # type: ignore[arg-type]
    chunks.pipe(ops.fallback_to(chunks, on_partial="again"))  # type: ignore[arg-type]
    texts.pipe(ops.tag("a"))  # type: ignore[arg-type]
    ops.race("gpt-4", "gpt-5")  # type: ignore[arg-type]
