"""Items let go at an even pace."""

from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._pacing import Pace


def test_one_at_a_time_where_that_is_enough() -> None:
    """As many ticks as items, if none waits too long by that."""
    pace: Pace[str] = Pace(ticks=3)
    pace.add(["a", "b", "c"])
    assert [pace.take() for _ in range(4)] == [["a"], ["b"], ["c"], []]


def test_more_at_a_time_until_none_waits() -> None:
    """And then one at a time again."""
    pace: Pace[int] = Pace(ticks=4)
    pace.add(list(range(6)))
    assert [pace.take() for _ in range(4)] == [[0], [1, 2], [3], [4, 5]]
    pace.add([6, 7])
    assert [pace.take() for _ in range(3)] == [[6], [7], []]


def test_all_at_once() -> None:
    """What waits, and it is forgotten how fast it was to go."""
    pace: Pace[int] = Pace(ticks=2)
    pace.add(list(range(10)))
    assert pace.take_all() == list(range(10))
    pace.add([1, 2])
    assert [pace.take(), pace.take()] == [[1], [2]]


@given(st.lists(st.integers(0, 20), max_size=30), st.floats(1, 12))
def test_none_waits_too_long_and_all_come_in_order(arrivals: list[int], ticks: float) -> None:
    """Whatever comes between two ticks."""
    pace: Pace[int] = Pace(ticks)
    came: list[int] = []
    order: list[int] = []
    for now in range(len(arrivals) + 20):
        count = arrivals[now] if now < len(arrivals) else 0
        pace.add(list(range(len(came), len(came) + count)))
        came += [now] * count
        for item in pace.take():
            order.append(item)
            assert now - came[item] <= ticks
    assert order == list(range(len(came)))
