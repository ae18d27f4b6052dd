"""count_tokens: the exact count of the text so far."""

from typing import Any

import pytest
import reactivex as rx
import tiktoken
from reactivex import operators as rx_ops

from rxllm import operators as ops
from rxllm._tokens import get_encoding
from tests.operators.sources import asked, collect, failure, items, of, text_chunks

TEXTS = ["hap", "pin", "ess", " is 12345", "!"]


def counts(name: str) -> list[int]:
    """The count of each text so far, by the plain encoding."""
    return [len(get_encoding(name).encode("".join(TEXTS[: n + 1]))) for n in range(len(TEXTS))]


def test_the_count_so_far_at_each_content_chunk() -> None:
    """It is that of the whole text, and goes down where pieces become one token."""
    chunks = [of(role="assistant"), *text_chunks(TEXTS), of(finish_reason="stop")]
    assert items(ops.count_tokens(model="gpt-4"), *chunks) == counts("cl100k_base")
    assert counts("cl100k_base")[1] > counts("cl100k_base")[2]


@pytest.mark.parametrize("encoding", ["o200k_base", get_encoding("o200k_base")])
def test_an_encoding_by_name_or_itself_goes_before_the_model(encoding: Any) -> None:
    """For models that are not known."""
    assert items(ops.count_tokens("gpt-4", encoding=encoding), *text_chunks(TEXTS)) == counts("o200k_base")
    assert items(ops.count_tokens("acme/parrot", encoding=encoding), *text_chunks(TEXTS)) == counts("o200k_base")


def test_the_requests_model_counts() -> None:
    """Where the source is a Stream nothing has to be named."""
    source = asked(rx.of(*text_chunks(TEXTS)), model="openai/gpt-4")
    assert collect(source.pipe(ops.count_tokens())) == counts("cl100k_base")


def test_no_model_at_all_is_said_when_it_is_applied() -> None:
    """A source without a request, such as a merge, wants a model."""
    operator = ops.count_tokens()
    with pytest.raises(ValueError, match=r"count_tokens.*model.*encoding="):
        operator(rx.of(of("a")))


def test_unknown_models_name_the_way_out() -> None:
    """When the operator is made, or applied to a request with such a model."""
    with pytest.raises(ValueError, match="encoding="):
        ops.count_tokens("acme/parrot")
    with pytest.raises(ValueError, match="encoding="):
        ops.count_tokens()(asked(rx.of(of("a")), model="acme/parrot"))


@pytest.mark.parametrize("arguments", [{"model": 4}, {"model": "gpt-4", "encoding": 4}])
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match=r"model|encoding"):
        ops.count_tokens(**arguments)


def test_no_text_counts_zero() -> None:
    """Once, at the completion."""
    assert items(ops.count_tokens("gpt-4"), of(role="assistant"), of(finish_reason="stop")) == [0]


def test_an_encoding_that_gives_up_is_an_error_of_the_stream() -> None:
    """A byte that an encoding of one's own does not have ends the stream, and the source is left."""
    own = tiktoken.Encoding("own", pat_str=r"\s+(?!\S)|\s+|\S+", mergeable_ranks={b" ": 0}, special_tokens={})
    left: list[bool] = []
    source = rx.concat(rx.of(of(" " * 1_000_000)), rx.never()).pipe(rx_ops.finally_action(lambda: left.append(True)))
    seen, error = failure(source.pipe(ops.count_tokens(encoding=own)))
    assert seen == []
    assert isinstance(error, RuntimeError)
    assert left == [True]
