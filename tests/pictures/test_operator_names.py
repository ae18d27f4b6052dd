"""What operators are called, from the functions that they are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reactivex as rx
from pydantic import BaseModel
from reactivex import Observable
from reactivex import operators as rx_ops

import rxllm
from rxllm import operators as ops
from rxllm._pictures._operator_names import operator_name

other = rxllm.completion("sim/echo", [{"role": "user", "content": "Hi"}], stream=True)


class City(BaseModel):
    """What an answer is."""

    name: str


def shout(source: Observable[str], sign: str = "!") -> Observable[str]:
    """An operator as users write them."""

    def louder(text: str) -> str:
        return text + sign

    return source.pipe(rx_ops.map(louder))


def louder_by(sign: str, *, times: int = 1) -> Callable[[Observable[str]], Observable[str]]:
    """A function that makes an operator."""

    def louder(source: Observable[str]) -> Observable[str]:
        return source.pipe(rx_ops.map(lambda text: f"{text}{sign * times}"))

    return louder


def only_first() -> Callable[[Observable[str]], Observable[str]]:
    """The same with a lambda."""
    return lambda source: source.pipe(rx_ops.take(1))


def no_key(_: Any) -> None:
    """Nothing is kept of any."""


MADE: dict[str, tuple[Any, ...]] = {
    "take_chunks": (2,),
    "smooth_text": (0.02,),
    "stop_at": ("END",),
    "parse_partial": (City,),
    "count_tokens": ("gpt-4",),
    "measure": (print,),
    "retry_before_content": (1,),
    "fallback_to": (other,),
    "hedge": (other, 5),
    "cached": ({},),
    "record": ("hello.jsonl",),
    "guard": (no_key,),
    "redact": ("x",),
    "tag": ("a",),
}


@pytest.mark.parametrize(
    "name", [*MADE, "text_deltas", "split_lines", "split_sentences", "extract_code_blocks", "by_choice"]
)
def test_ours_are_called_by_their_names(name: str) -> None:
    """Also those that share their function with others."""
    made: Callable[[Any], Any] = getattr(ops, name)(*MADE.get(name, ()))
    assert operator_name(made).startswith(f"{name}(")
    assert operator_name(made).endswith(")")


as_is: Any = lambda source: source  # noqa: E731  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]

CALLS: list[tuple[Any, str]] = [
    (ops.take_chunks(10), "take_chunks(10)"),
    (ops.accumulate_text(), "accumulate_text()"),
    (ops.accumulate_text(1), "accumulate_text(1)"),
    (ops.assemble_tool_calls(partial=True), "assemble_tool_calls(partial=True)"),
    (ops.hedge(other, after=5), "hedge(Stream of sim/echo, 5)"),
    (ops.fallback_to(other, rx.empty()), "fallback_to(Stream of sim/echo, Observable, …)"),
    (ops.split_lines(), "split_lines()"),
    (ops.tag("a"), "tag(…)"),
    (rx_ops.map(str.upper), "map(upper)"),
    (rx_ops.map(lambda it: it), "map(lambda it: it)"),
    (rx_ops.filter(lambda it: it is not None), "filter(lambda it: it is not None)"),
    (rx_ops.map(lambda it: "a text that is much longer than there is room for in a box"), "map(lambda it: …)"),
    (rx_ops.map(eval("lambda: 3")), "map(lambda: …)"),  # noqa: S307  it is our own
    (rx_ops.take(3), "take(3)"),
    (rx_ops.debounce(0.5), "debounce(0.5)"),
    (rx_ops.scan(max, seed=0), "scan(max, 0)"),
    (rx_ops.scan(max), "scan(max)"),
    (rx_ops.to_list(), "to_list()"),
    (rx_ops.ref_count(), "ref_count()"),
    (rx_ops.do_while(bool), "do_while(bool)"),
    (rx_ops.start_with("a" * 100), f"start_with('{'a' * 23}…')"),
    (shout, "shout"),
    (partial(shout, sign="?"), "shout(sign='?')"),
    (louder_by("!", times=2), "louder_by('!', times=2)"),
    (only_first(), "only_first()"),
    (as_is, "lambda source: source"),
]


@pytest.mark.parametrize(("made", "name"), CALLS)
def test_arguments_are_told_as_far_as_they_are_known(made: Callable[[Any], Any], name: str) -> None:
    """What was left to its default is left out; what is not kept is an ellipsis."""
    assert operator_name(made) == name


def test_composed_ones_are_told_by_their_parts() -> None:
    """One after the other."""
    assert operator_name(rx.compose(rx_ops.map(len), rx_ops.take(2))) == "map(len) · take(2)"


def test_object_that_can_be_called_is_told_by_its_class() -> None:
    """It has no name of its own, and its ``repr`` may be anything."""

    class Louder:
        def __call__(self, source: Observable[Any]) -> Observable[Any]:
            return source

    assert operator_name(Louder()) == "Louder"


def test_function_within_another_is_told_by_its_own_name() -> None:
    """What another has not returned is not called by that one's name."""

    def quiet(source: Observable[str]) -> Observable[str]:
        return source.pipe(rx_ops.map(str.lower))

    assert operator_name(quiet) == "quiet"
