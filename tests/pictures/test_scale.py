"""Where a time is in a picture, and where the axis of time is broken."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._pictures._diagram import AXIS
from rxllm._pictures._scale import Scale
from rxllm._pictures._text import width_of
from rxllm._pictures._ticks import axis_time, round_step

WIDTH, LEFT = 840.0, 11.0
# A clock tells nanoseconds.
times = st.lists(st.integers(0, 10**13).map(lambda nanoseconds: nanoseconds / 1e9), max_size=60)


@given(times)
def test_later_is_never_further_left(happened: list[float]) -> None:
    """From the beginning at the left to the end at the right, whatever is left out between."""
    scale = Scale(happened, WIDTH, left=LEFT)
    places = [scale.x(at) for at in sorted(happened)]
    assert all(before <= after + 1e-6 for before, after in pairwise(places))
    assert all(LEFT - 1e-6 <= x <= LEFT + WIDTH + 1e-6 for x in places)
    if len({*happened}) > 1:
        assert places[-1] == pytest.approx(LEFT + WIDTH)


@given(times)
def test_what_is_written_on_the_axis_does_not_overlap(happened: list[float]) -> None:
    """Neither the marks nor what is said of the breaks, and no mark is there twice."""
    scale = Scale(happened, WIDTH, left=LEFT)
    marks = [*scale.ticks()]
    written = sorted([*marks, *((it.x, it.text) for it in scale.breaks)])
    for (x, text), (following, next_text) in pairwise(written):
        assert x + width_of(text, AXIS) / 2 <= following - width_of(next_text, AXIS) / 2
    assert len({text for _, text in marks}) == len(marks)
    assert written


@pytest.mark.parametrize(
    ("happened", "breaks"),
    [
        ([0, 1, 2, 3, 4], 0),
        ([0, 0.001, 1, 1.001, 2, 2.001, 3, 3.001], 0),
        ([0, 5], 0),
        ([], 0),
        ([3], 0),
        ([0, *(5 + each / 100 for each in range(200))], 1),
        ([0, 1, 2, 3, 4, 5, 30, 31, 32, 33, 34, 60, 61, 62, 63, 64], 2),
    ],
)
def test_broken_where_for_much_longer_than_usual_nothing_happens(happened: list[float], breaks: int) -> None:
    """And nowhere else: not between chunks that come at even distances, however many lanes they go through."""
    scale = Scale(happened, WIDTH, left=LEFT)
    assert len(scale.breaks) == breaks


def test_breaks_leave_room() -> None:
    """What happens has most of the picture."""
    scale = Scale([0, *(50 + each / 10 for each in range(20))], WIDTH, left=LEFT)
    assert scale.x(50) < LEFT + 0.15 * WIDTH
    assert [it.text for it in scale.breaks] == ["+50 s"]


@given(st.floats(1e-6, 1e5), st.integers(1, 12))
def test_marks_are_told_apart(duration: float, most: int) -> None:
    """Each with as many digits as that takes, and all in one unit."""
    step = round_step(duration, most)
    texts = [axis_time(number * step, step, duration) for number in range(1, int(duration / step) + 1)]
    assert len({*texts}) == len(texts) <= most
    assert len({text.split()[-1] for text in texts}) <= 1
