"""Operators on texts: what they say where they are given something else."""

from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

import rxllm
from rxllm import operators as ops
from tests.operators.sources import failure, notifications, of

# Of no type that a checker would refuse chunks for.
ON_TEXTS: dict[str, Callable[[], Any]] = {
    "split_lines": ops.split_lines,
    "split_sentences": ops.split_sentences,
    "extract_code_blocks": ops.extract_code_blocks,
}
on_next = ReactiveTest.on_next


@pytest.mark.parametrize("name", ON_TEXTS)
def test_chunks_are_told_from_texts(name: str) -> None:
    """The error names the operator and what to put before it, and the source is left before it comes."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(on_next(210, of("Hello")), on_next(220, of("x")))
    result = scheduler.start(lambda: source.pipe(ON_TEXTS[name]()))
    ((time, kind, _),) = notifications(result.messages)
    assert (time, kind) == (210, "E")
    assert source.subscriptions == [ReactiveTest.subscribe(200, 210)]
    _, error = failure(rx.of(of("Hello")).pipe(ON_TEXTS[name]()))
    assert type(error) is TypeError
    assert str(error) == f"{name}() takes texts, and was given a ModelResponseStream: put text_deltas() before it"


@pytest.mark.parametrize("name", ON_TEXTS)
def test_a_loop_raises_the_same(name: str) -> None:
    """Over a Stream, too, whatever the items are."""
    chunks: Any = rxllm.completion("sim/echo", [{"role": "user", "content": "Hi"}], stream=True)
    with pytest.raises(TypeError, match=rf"{name}\(\) takes texts.*put text_deltas\(\) before it"):
        list(chunks.pipe(ON_TEXTS[name]()))
    with pytest.raises(TypeError, match="was given a NoneType"):
        rx.of(None).pipe(ON_TEXTS[name]()).run()
