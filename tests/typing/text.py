"""What each of the operators on text gives, in a Stream's ``pipe()`` and in reactivex's own."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

import re
from typing import assert_type

from reactivex import Observable

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.types import CodeBlock

Chunks = Stream[ModelResponseStream]


async def is_polite(text: str) -> bool | str:
    """A check that is awaited."""
    return "please" in text


def loudly(match: re.Match[str]) -> str:
    """What replaces a match."""
    return match[0].upper()


def in_a_stream(chunks: Chunks, texts: Stream[str]) -> None:
    """Chunks stay chunks; texts become texts, or blocks of code."""
    assert_type(chunks.pipe(ops.stop_at("END", "STOP")), Chunks)
    assert_type(chunks.pipe(ops.split_reasoning()), Chunks)
    assert_type(chunks.pipe(ops.split_reasoning(("<a>", "</a>"), inside=True)), Chunks)
    assert_type(chunks.pipe(ops.redact(r"\d+")), Chunks)
    assert_type(chunks.pipe(ops.redact([r"\d+", re.compile("a")], loudly, window=64)), Chunks)
    assert_type(chunks.pipe(ops.redact({r"\d+": "<number>", "a": loudly})), Chunks)
    assert_type(chunks.pipe(ops.guard(str.isascii)), Chunks)
    assert_type(chunks.pipe(ops.guard(is_polite, 200, replacement="")), Chunks)
    assert_type(chunks.pipe(ops.guard(lambda text: "no" if "x" in text else True)), Chunks)
    assert_type(chunks.pipe(ops.smooth_text()), Chunks)
    assert_type(chunks.pipe(ops.smooth_text(0.01, re.compile("[,.]"), late=1)), Chunks)
    assert_type(texts.pipe(ops.split_lines()), Stream[str])
    assert_type(texts.pipe(ops.split_sentences()), Stream[str])
    assert_type(texts.pipe(ops.extract_code_blocks()), Stream[CodeBlock])
    assert_type(chunks.pipe(ops.text_deltas(), ops.split_sentences()), Stream[str])
    assert_type(chunks.pipe(ops.split_reasoning(), ops.smooth_text(), ops.text_deltas()), Stream[str])


def in_an_observable(chunks: Observable[ModelResponseStream], texts: Observable[str]) -> None:
    """reactivex's own pipe gives Observables."""
    assert_type(chunks.pipe(ops.stop_at("END")), Observable[ModelResponseStream])
    assert_type(chunks.pipe(ops.split_reasoning()), Observable[ModelResponseStream])
    assert_type(chunks.pipe(ops.redact(r"\d+")), Observable[ModelResponseStream])
    assert_type(chunks.pipe(ops.guard(str.isascii)), Observable[ModelResponseStream])
    assert_type(chunks.pipe(ops.smooth_text(by="line")), Observable[ModelResponseStream])
    assert_type(texts.pipe(ops.split_lines()), Observable[str])
    assert_type(texts.pipe(ops.split_sentences()), Observable[str])
    assert_type(texts.pipe(ops.extract_code_blocks()), Observable[CodeBlock])


def refused(chunks: Chunks, texts: Stream[str]) -> None:
    """What does not fit is an error where it stands."""
    chunks.pipe(ops.split_lines())  # type: ignore[arg-type]
    texts.pipe(ops.stop_at("END"))  # type: ignore[arg-type]
    chunks.pipe(ops.stop_at(5))  # type: ignore[arg-type]
    chunks.pipe(ops.smooth_text(by="sentence"))  # type: ignore[arg-type]
    chunks.pipe(ops.guard(is_polite, window="line"))  # type: ignore[arg-type]
    chunks.pipe(ops.guard(len))  # type: ignore[arg-type]
