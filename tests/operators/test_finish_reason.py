"""finish_reason and require_finish."""

from typing import Any

import pytest
import reactivex as rx

from rxllm import operators as ops
from rxllm.exceptions import APIResponseValidationError
from tests.operators.sources import asked, failure, items, of


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [(["stop"], ["stop"]), (["tool_calls", "stop", None], ["stop"]), ([None], []), ([], [])],
)
def test_the_last_reason_once_at_the_end(reasons: list[str | None], expected: list[str]) -> None:
    """And nothing at all where none came."""
    assert items(ops.finish_reason(), *(of("a", finish_reason=reason) for reason in reasons)) == expected


def test_what_is_required_passes() -> None:
    """All chunks, untouched, for the default reasons and for others."""
    chunks = [of("a"), of("b", index=1), of(finish_reason="stop"), of(index=1, finish_reason="tool_calls")]
    assert items(ops.require_finish(), *chunks) == chunks
    cut = [of("a"), of(finish_reason="length")]
    assert items(ops.require_finish("stop", "length"), *cut) == cut


@pytest.mark.parametrize("reason", ["length", "content_filter", None])
def test_what_is_not_required_fails_after_the_last_chunk(reason: str | None) -> None:
    """With a typed error that says which reason came, and for which model."""
    chunks = [of("a"), of(finish_reason="stop"), of("b", index=1, finish_reason=reason)]
    seen, error = failure(asked(rx.of(*chunks), model="openai/gpt-4o").pipe(ops.require_finish()))
    assert seen == chunks
    assert isinstance(error, APIResponseValidationError)
    assert (error.code, error.param, error.model) == (reason, "finish_reason", "openai/gpt-4o")
    assert "Choice 1" in str(error)


def test_the_default_reasons_can_be_narrowed() -> None:
    """A call is no answer where only `stop` will do."""
    _, error = failure(rx.of(of(finish_reason="tool_calls")).pipe(ops.require_finish("stop")))
    assert "'tool_calls', not with 'stop'" in str(error)


@pytest.mark.parametrize("reason", [None, 1, ["stop"]])
def test_reasons_are_checked_when_the_operator_is_made(reason: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match="finish reason"):
        ops.require_finish(reason)
