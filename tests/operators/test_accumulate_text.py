"""accumulate_text and text_deltas."""

from rxllm import operators as ops
from tests.operators.sources import calling, collect, items, of, reported


def test_the_text_so_far_at_each_content_chunk() -> None:
    """Chunks without text, the usage chunk too, say nothing."""
    chunks = [of("", role="assistant"), of("Hel"), of(), of("lo"), calling(), of(finish_reason="stop"), reported()]
    assert items(ops.accumulate_text(), *chunks) == ["Hel", "Hello"]
    assert items(ops.text_deltas(), *chunks) == ["Hel", "lo"]


def test_no_text_is_an_empty_one() -> None:
    """A stream without text has a last item all the same; its deltas are none."""
    assert items(ops.accumulate_text(), of(role="assistant"), of(finish_reason="stop")) == [""]
    assert items(ops.text_deltas(), of(role="assistant"), of(finish_reason="stop")) == []


def test_halves_of_a_pair_that_come_apart_are_joined() -> None:
    """Deltas wait for the other half, so that each can be printed; a half that stays alone is given in the end."""
    assert items(ops.text_deltas(), of("a\ud83d"), of("\ude00b"), of("\ud83d")) == ["a", "\U0001f600b", "\ud83d"]
    assert items(ops.text_deltas(), of("\ud83d"), of("\ud83d"), of("x")) == ["\ud83d", "\ud83dx"]
    assert items(ops.accumulate_text(), of("a\ud83d"), of("\ude00b"))[-1] == "a\U0001f600b"


def test_a_half_before_an_error_is_not_lost() -> None:
    """It is given before the error passes."""
    import reactivex as rx

    seen: list[str] = []
    errors: list[Exception] = []
    error = RuntimeError("broken")
    rx.concat(rx.of(of("a\ud83d")), rx.throw(error)).pipe(ops.text_deltas()).subscribe(seen.append, errors.append)
    assert (seen, errors) == (["a", "\ud83d"], [error])


def test_one_pipeline_can_be_run_again() -> None:
    """State lives in the subscription."""
    import reactivex as rx

    pipeline = rx.of(of("a"), of("b")).pipe(ops.accumulate_text())
    assert collect(pipeline) == collect(pipeline) == ["a", "ab"]
