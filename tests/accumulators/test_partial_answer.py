"""PartialAnswer: what a continuation is asked for, and what of it is new."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm import ModelResponseStream
from rxllm._accumulators._partial_answer import PartialAnswer

of = ModelResponseStream.of


def after(*chunks: ModelResponseStream) -> PartialAnswer:
    """What is known when these have been given."""
    partial = PartialAnswer()
    for chunk in chunks:
        partial.add(chunk)
    return partial


def test_the_message_is_the_text_without_white_space_at_the_end() -> None:
    """Anthropic refuses white space there."""
    assert after(of("", role="assistant"), of("Once"), of(" upon \n")).message == {
        "role": "assistant",
        "content": "Once upon",
    }


def test_what_was_void_is_not_gone_on_from() -> None:
    """After a marker that the answer begins anew, only what follows it, text or not."""
    void = [of("Once", index=1), of("Twice"), ModelResponseStream.restarting("broke")]
    assert after(*void).message is None
    partial = after(*void, of("Once "))
    assert partial.message == {"role": "assistant", "content": "Once"}
    partial.begin_continuation()
    partial.add(ModelResponseStream.restarting("broke"))
    assert partial.new_in(of(" a", role="assistant")) == of(" a", role="assistant")


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [of("", role="assistant"), of(reasoning_content="Hm")],
        [of(" \n")],
        [of("Once"), of("Twice", index=1)],
        [of("Once"), of(refusal="No")],
        [of("Once"), of(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{"}}])],
    ],
)
def test_only_text_of_one_choice_can_be_gone_on_from(chunks: list[ModelResponseStream]) -> None:
    """Half a call, or one of several choices, cannot be put into a message."""
    assert after(*chunks).message is None


def test_a_role_is_not_given_twice() -> None:
    """What has neither role nor white space passes as it is."""
    partial = after(of("", role="assistant"), of("Once"))
    assert partial.new_in(of("", role="assistant")) == of("", role="assistant")
    partial.begin_continuation()
    assert partial.new_in(of("", role="assistant")).choices[0].delta.role is None
    chunk = of(" upon", finish_reason="stop")
    assert partial.new_in(chunk) is chunk


def pieces(text: str) -> Any:
    """The text, cut anywhere."""
    return st.lists(st.integers(0, len(text)), max_size=6).map(
        lambda cuts: [text[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True)]
    )


@given(
    st.text("ab", min_size=1),
    st.text(" \n", max_size=4),
    st.text(" \n", max_size=4)
    .flatmap(lambda space: st.text("cd", min_size=1).map(lambda text: space + text))
    .flatmap(pieces),
)
def test_white_space_is_repeated_by_nobody(text: str, space: str, continued: list[str]) -> None:
    """However the continuation is cut: what both have at the seam stands there once, anything else is kept."""
    partial = after(of(text + space))
    partial.begin_continuation()
    new = "".join(partial.new_in(of(piece)).choices[0].delta.content or "" for piece in continued)
    whole = "".join(continued)
    same = 0
    while same < len(space) and whole[same] == space[same]:
        same += 1
    assert text + space + new == text + space + whole[same:]


def test_a_continuation_that_breaks_off_is_gone_on_from_as_well() -> None:
    """With all the text so far."""
    partial = after(of("Once "))
    partial.begin_continuation()
    partial.add(partial.new_in(of(" upon ")))
    assert partial.message == {"role": "assistant", "content": "Once upon"}
