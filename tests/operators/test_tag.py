"""tag: a label on every chunk."""

from typing import Any

import pytest

from rxllm import ModelResponseStream
from rxllm import operators as ops
from tests.operators.sources import items, of

CHUNKS = [
    of("Hel"),
    of("lo", index=1),
    of(finish_reason="stop"),
    ModelResponseStream.restarting("broke"),
    ModelResponseStream(),
]


def test_every_chunk_is_labelled_and_otherwise_the_same() -> None:
    """Those without choices as well, which stay what they are."""
    tagged = items(ops.tag("a"), *CHUNKS)
    assert [chunk["source"] for chunk in tagged] == ["a"] * len(CHUNKS)
    assert [chunk.model_dump(exclude={"source"}) for chunk in tagged] == [chunk.model_dump() for chunk in CHUNKS]
    assert tagged[3].restart == "broke"
    assert tagged[4].choices[0].delta.content is None
    assert not any("source" in chunk for chunk in CHUNKS)


def test_the_outer_label_stands() -> None:
    """One replaces the other."""
    (chunk,) = items(lambda source: source.pipe(ops.tag("a"), ops.tag("b")), of("Hel"))
    assert chunk["source"] == "b"


def test_the_response_is_labelled_too() -> None:
    """By build_response() below."""
    (response,) = items(lambda source: source.pipe(ops.tag("a"), ops.build_response()), *CHUNKS[:3])
    assert response.get("source") == "a"


def test_the_label_is_checked_when_the_operator_is_made() -> None:
    """No stream has to run to learn that an argument is wrong."""
    wrong: Any = 7
    with pytest.raises(TypeError, match="label"):
        ops.tag(wrong)
