"""rxllm.testing.assert_operator(): it passes where it should, and shows the difference where it should not."""

from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rx_ops

from rxllm import operators as ops
from rxllm.exceptions import APIConnectionError, IncompleteStreamError
from rxllm.testing import assert_operator, cold_chunks, tool_call
from rxllm.types import ModelResponseStream

of = ModelResponseStream.of
Operator = Callable[[Observable[Any]], Observable[Any]]


def as_it_is(source: Observable[Any]) -> Observable[Any]:
    """The operator that does nothing."""
    return source


def as_number(source: Observable[Any]) -> Observable[Any]:
    """A number for each item."""
    return source.pipe(rx_ops.map(_one_and_a_half))


def _one_and_a_half(_item: object) -> float:
    return 1.5


def twice(source: Observable[Any]) -> Observable[Any]:
    """Each item twice."""
    return source.pipe(rx_ops.flat_map(_both))


def _both(item: Any) -> Observable[Any]:
    return rx.of(item, item)


def failing(*arguments: Any, **settings: Any) -> list[str]:
    """The lines of the failure."""
    with pytest.raises(AssertionError) as caught:
        assert_operator(*arguments, **settings)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("operator", "source", "expected"),
    [
        (as_it_is, "-Hel-lo-|", "-Hel-lo-|"),
        (as_it_is, "  -Hel-lo-#", "  -Hel-lo-#"),
        (as_it_is, "-<role>-a-<stop>-|", "-<role>-a-<stop>-|"),
        (as_it_is, "-a-^-b-|", "-b-|"),
        (as_it_is, "---", "---"),
        (as_it_is, "---", ""),
        (as_it_is, ["a", of(finish_reason="stop")], "-a-x-|"),
        (ops.text_deltas(), "-Hel-lo-|", "-Hel-lo-|"),
        (ops.count_tokens("gpt-4o"), "-a- b-|", "-1-2--|"),
        (ops.require_finish(), "-a-<stop>-|", "-a-<stop>-|"),
        (ops.take_chunks(1), ["a", "b"], ["a"]),
        (as_it_is, [of("a"), KeyError("k")], ["a", KeyError("k")]),
        (as_it_is, [], []),
        (rx_ops.delay(2.0), "-a-|", "---a-|"),
        (as_number, "-a-|", [1.5]),
        (as_number, "-abc-|", "-1.5-|"),
    ],
)
def test_what_passes(operator: Operator, source: Any, expected: Any) -> None:
    """Drawings and lists, of chunks, texts and numbers, hot and cold, with errors and without an end."""
    assert_operator(operator, source, expected, {"x": of(finish_reason="stop")})


def test_lookups_serve_both() -> None:
    """What goes in and what comes out may have names."""
    call = tool_call("f", {})
    assert_operator(as_it_is, "-a-|", "-a-|", {"a": call})
    assert_operator(ops.text_deltas(), "-x-|", "-y-|", {"x": of("a-b"), "y": "a-b"})
    assert_operator(ops.split_lines(), "-x-|", "-y-|", {"x": "one\n", "y": "one\n"}, texts=True)
    assert_operator(as_it_is, ["<stop>"], ["<stop>"], texts=True)
    assert_operator(as_it_is, cold_chunks("-a-|"), "-a-|")


def test_a_text_does_not_come_at_another_time() -> None:
    """The drawings stand below each other, expected above actual, and the first difference is said."""
    assert failing(ops.text_deltas(), " -Hel-lo-|", " -Hel--lo|") == [
        "something else came out of the operator:",
        "  source    -Hel-lo-|",
        "  expected  -Hel--lo|",
        "  actual    -Hel-lo-|",
        "first difference: 'lo' was expected at 6 s, and 'lo' came at 5 s",
    ]


def test_what_comes_together_is_drawn_together() -> None:
    """As a group, with names of one letter where there is no room for others."""
    lines = failing(ops.accumulate_text(), "-Hel-lo-|", "-a---b--|", {"a": "Hel", "b": "Hell"})
    assert lines[2:] == [
        "  expected  -a---b--|",
        "  actual    -a---A--|",
        "           A = 'Hello'",
        "first difference: 'b' was expected at 5 s, and 'Hello' came at 5 s",
    ]
    assert failing(twice, "--a------b---|", "--|")[3] == "  actual    --(a,a)--(b,b)|"


def test_what_is_no_text_has_a_letter() -> None:
    """And a line that says what it stands for."""
    lines = failing(as_it_is, "-x-x-(x|)", "-x-|", {"x": tool_call("f", {}), "A": 1})
    assert lines[3] == "  actual    -x-x-(x,|)"
    lines = failing(ops.assemble_tool_calls(), "-x--|", "----(y|)", {"x": tool_call("f", {}), "y": None})
    assert lines[3] == "  actual    ----(A,|)"
    assert lines[4].startswith("           A = ChatCompletionMessageToolCall(")


@pytest.mark.parametrize(
    ("source", "expected", "words"),
    [
        ("-a-|", "-a-b-|", "'b' was expected at 3 s, and the completion came at 3 s"),
        ("-a--", "-a-b-|", "'b' was expected, and nothing more came"),
        ("-a-b-|", "-a-", "nothing more was expected, and 'b' came at 3 s"),
        ("-a-|", "-a-#", "APIConnectionError('The connection broke') was expected at 3 s, and the completion came"),
        ("-a-#", "-a-|", "the completion was expected at 3 s, and APIConnectionError('The connection broke') came"),
        ("-a-#", ["a", IncompleteStreamError("The connection broke")], "IncompleteStreamError('The connection broke')"),
        ("-a-#", ["a", APIConnectionError("It broke")], "APIConnectionError('It broke') was expected"),
        ("-a-|", ["b"], "'b' was expected, and 'a' came at 1 s"),
        ("-a-|", [], "the completion was expected, and 'a' came"),
        ("-<stop>-|", "-stop---|", "'stop' was expected at 1 s, and '<stop>' came at 1 s"),
    ],
)
def test_what_fails(source: str, expected: Any, words: str) -> None:
    """Whatever differs first is named."""
    assert words in failing(as_it_is, source, expected)[-1]


def test_lists_are_shown_as_such() -> None:
    """Without times."""
    assert failing(as_it_is, ["a", "b"], ["a", "c", ValueError("no")])[1:3] == [
        "  expected  'a' 'c' ValueError('no')",
        "  actual    'a' 'b' |",
    ]


def test_a_chunk_with_more_than_the_text_is_another() -> None:
    """Also where the text is the same."""
    assert failing(as_it_is, "-x-|", "-a-|", {"x": of("a", role="assistant")})


def test_what_comes_late_is_noticed() -> None:
    """Long after the drawing's end."""
    assert "at 501 s" in failing(rx_ops.delay(500.0), "-a-|", "----")[-1]


@pytest.mark.parametrize(
    ("operator", "source", "expected", "subscription"),
    [
        (as_it_is, "-a-|", "-a-|", "^--!"),
        (as_it_is, "-a-", "-a-", "^"),
        (as_it_is, "|", "|", "(^!)"),
        (ops.take_chunks(1), "-a-b-|", "-(a|)", "^!"),
        (ops.take_chunks(0), "-a-b-|", "|", []),
        (rx_ops.retry(2), "-a-#", "-a--a-#", ["^--!", "---^--!"]),
        (rx_ops.delay_subscription(3.0), "-a-|", "----a-|", "---^--!"),
    ],
)
def test_when_the_source_is_left(operator: Operator, source: str, expected: str, subscription: Any) -> None:
    """How often it is subscribed to, and when each subscription ends."""
    assert_operator(operator, source, expected, subscription=subscription)


def test_another_subscription_fails() -> None:
    """It is drawn below the expected one."""
    assert failing(ops.take_chunks(1), "-a-b-|", "-(a|)", subscription="^--!") == [
        "the source was subscribed to, or left, at other times:",
        "  expected  ^--!",
        "  actual    ^!",
    ]
    assert failing(ops.take_chunks(0), "-a-b-|", "|", subscription="^!")[-1] == "  actual    never"
    assert failing(as_it_is, "-a-", "-a-", subscription="(^!)")[-1] == "  actual    ^"
    assert failing(as_it_is, "|", "|", subscription="-^!")[-1] == "  actual    (^!)"
    with pytest.raises(ValueError, match="is drawn as"):
        assert_operator(as_it_is, "-a-|", "-a-|", subscription="!^")


def test_bad_drawings_are_no_failures() -> None:
    """What cannot be read is a ValueError, on either side."""
    for source, expected in (("-a-||", "-a-|"), ("-a-|", "-a-||")):
        with pytest.raises(ValueError, match="behind the end"):
            assert_operator(as_it_is, source, expected)
