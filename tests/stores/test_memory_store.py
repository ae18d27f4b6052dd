"""What a store in memory has for itself: a bound for each stream."""

import sys
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rx_ops
from reactivex.disposable import Disposable

from rxllm import ModelResponseStream, as_stream
from rxllm import operators as ops
from rxllm._stores._entries import ABANDONED, FULL
from rxllm._stores._protocol import Append, Create, Finish, Read, Renew, Verdict
from rxllm.exceptions import IncompleteStreamError
from rxllm.stores import MemoryStore


def test_a_stream_that_grows_too_large_ends() -> None:
    """What would be too much is not kept, nor what comes later; what was kept is read, and the next stream has room."""
    entry = b"x" * 1000
    session = MemoryStore(max_stream_bytes=3 * sys.getsizeof(entry)).open()
    for key in ("a", "b"):
        assert session.perform(Create(key, "t")) == Verdict("done")
        for number in (1, 2, 2, 3):  # one of them is asked for again
            assert session.perform(Append(key, "t", number, [entry])) == Verdict("done")
        assert session.perform(Append(key, "t", 4, [entry])) == Verdict("over", FULL)
        assert session.perform(Append(key, "t", 4, [b""])) == Verdict("over", FULL)
        assert session.perform(Renew(key, "t")) == Verdict("over", FULL)
        assert session.perform(Finish(key, "t", 3, b"")) == Verdict("over", FULL)
        page = session.perform(Read(key, "0", 0, ABANDONED))
        assert (page.kind, page.ending, [number for number, _ in page.entries]) == ("over", FULL, ["1", "2", "3"])


def test_entries_of_nothing_have_a_size_too() -> None:
    """So that no number of them is without end."""
    session = MemoryStore(max_stream_bytes=10_000).open()
    session.perform(Create("a", "t"))
    assert session.perform(Append("a", "t", 1, [b""] * 512)) == Verdict("over", FULL)


def test_who_publishes_and_who_observes_is_told() -> None:
    """After what was kept, both get a typed error; the source is disposed of."""
    store = MemoryStore(max_stream_bytes=2_000)
    disposed: list[bool] = []
    endless = rx.interval(0.001).pipe(rx_ops.map(lambda _: ModelResponseStream.of("word")))
    source = as_stream(rx.using(lambda: Disposable(lambda: disposed.append(True)), lambda _: endless))
    for stream in (source.pipe(ops.publish_to(store, "a")), ops.observe_from(store, "a")):
        texts: list[str] = []
        with pytest.raises(IncompleteStreamError, match="grew larger than its store lets one stream be") as told:
            stream.pipe(ops.text_deltas(), rx_ops.do_action(texts.append)).run()
        assert told.value.code == "full"
        assert told.value.chunks == len(texts) > 0
    assert disposed == [True]


@pytest.mark.parametrize(("given", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_bound_is_a_whole_number(given: Any, kind: type[Exception]) -> None:
    """Of bytes, above 0."""
    with pytest.raises(kind, match="max_stream_bytes is a"):
        MemoryStore(max_stream_bytes=given)
