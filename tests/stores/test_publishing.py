"""What a publisher asks the store for, step by step, without any."""

from typing import Any

import pytest

from rxllm._stores._entries import ABANDONED, COMPLETED, LEFT, entry_of
from rxllm._stores._protocol import LONGEST_PAGE, Append, Create, Finish, Renew, Verdict
from rxllm._stores._publishing import READY, Come, Publishing, Wait
from rxllm.exceptions import ConflictError, IncompleteStreamError
from rxllm.stores import MemoryStore
from rxllm.types import ModelResponseStream

DONE = Verdict("done")
of = ModelResponseStream.of


def begun() -> Any:
    """A publisher whose stream is there, and that waits."""
    steps: Any = Publishing(MemoryStore(lease=30), "a").steps()
    assert isinstance(next(steps), Create)
    assert steps.send(DONE) == [READY]
    assert next(steps) == Wait(0.5)
    return steps


def test_chunks_are_delivered_once_they_are_stored() -> None:
    """All that came together, in pieces of a page; and then it waits again."""
    steps, chunks = begun(), [of(str(number)) for number in range(LONGEST_PAGE + 1)]
    first = steps.send(Come(chunks))
    assert isinstance(first, Append)
    assert (first.first, first.entries) == (1, [entry_of(chunk) for chunk in chunks[:-1]])
    assert steps.send(DONE) == chunks[:-1]
    second = next(steps)
    assert (second.first, second.entries) == (LONGEST_PAGE + 1, [entry_of(chunks[-1])])
    assert steps.send(DONE) == chunks[-1:]
    assert isinstance(next(steps), Wait)


def test_it_says_that_it_is_alive_where_nothing_comes() -> None:
    """Before a third of the lease is over, and twice in a second at least."""
    steps = begun()
    assert isinstance(steps.send(Come()), Renew)
    assert isinstance(steps.send(DONE), Wait)
    assert Publishing(MemoryStore(lease=0.3), "a").renew_every == pytest.approx(0.1)


def test_an_end_whose_acknowledgement_was_lost() -> None:
    """Asked for again, the store says that it is over, and how: that is the end it was asked for."""
    steps = begun()
    finish = steps.send(Come(over=True))
    assert isinstance(finish, Finish)
    assert (finish.count, finish.ending) == (0, COMPLETED)
    with pytest.raises(StopIteration):
        steps.send(Verdict("over", COMPLETED))


def test_another_end_than_its_own_is_an_error() -> None:
    """A whole answer that the store has given up is none."""
    steps = begun()
    steps.send(Come(over=True))
    with pytest.raises(IncompleteStreamError) as caught:
        steps.send(Verdict("over", ABANDONED))
    assert caught.value.code == "abandoned"


def test_leaving_needs_no_answer() -> None:
    """What came and was not stored is nobody's any more."""
    steps = begun()
    finish = steps.send(Come([of("a")], left=True))
    assert (finish.count, finish.ending) == (0, LEFT)
    with pytest.raises(StopIteration):
        steps.send(Verdict("missing"))


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        (Verdict("taken"), ConflictError),
        (Verdict("gap"), IncompleteStreamError),
        (Verdict("missing"), IncompleteStreamError),
        (Verdict("over", COMPLETED), IncompleteStreamError),
    ],
)
def test_what_the_store_refuses_is_not_delivered(verdict: Verdict, error: type[Exception]) -> None:
    """Also where it says that the stream is whole, which it cannot know."""
    steps = begun()
    steps.send(Come([of("a")]))
    with pytest.raises(error):
        steps.send(verdict)
