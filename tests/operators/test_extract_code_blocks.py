"""extract_code_blocks: each block of code when it is closed."""

import reactivex as rx
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm.types import CodeBlock
from tests.operators.sources import collect, failure, items, notifications, of

on_next = ReactiveTest.on_next


def test_blocks_come_when_they_are_closed() -> None:
    """Each at the time of its closing fence, one that is open at the completion."""
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        on_next(210, "```py\nx = "),
        on_next(220, "1\n```"),
        on_next(230, "\nand\n~~~\ny"),
        ReactiveTest.on_completed(240),
    )
    result = scheduler.start(lambda: source.pipe(ops.extract_code_blocks()))
    assert notifications(result.messages) == [
        (230, "N", CodeBlock(language="py", info="py", code="x = 1\n")),
        (240, "N", CodeBlock(code="y", index=1, closed=False)),
        (240, "C", None),
    ]


def test_an_open_block_comes_before_an_error() -> None:
    """Nothing that came is lost."""
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of("```\nx"), rx.throw(error)).pipe(ops.extract_code_blocks()))
    assert (seen, raised) == ([CodeBlock(code="x", closed=False)], error)


def test_a_text_without_code_has_no_block() -> None:
    """Nor has an empty one."""
    assert collect(rx.of("one `two` three\n", "").pipe(ops.extract_code_blocks())) == []


def test_below_the_text_of_one_choice() -> None:
    """Of several choices, the one that is asked for."""
    chunks = [of("```\na"), of("```\nb", index=1), of("\n```\n", index=1), of("\n```")]
    seen = items(lambda source: source.pipe(ops.text_deltas(1), ops.extract_code_blocks()), *chunks)
    assert [block.code for block in seen] == ["b\n"]
