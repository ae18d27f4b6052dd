"""How fast an answer comes: records made of times."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._measurement import Distribution, Meter
from rxllm.types import ModelResponseStream
from tests.operators.sources import call_piece, calling, of, reported


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=256), st.floats(0, 1))
def test_few_values_are_exact(values: list[float], fraction: float) -> None:
    """The quantile is one of the values: at most that fraction, and one, are below it."""
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    found = distribution.quantile(fraction)
    assert found == sorted(values)[max(math.ceil(fraction * len(values)), 1) - 1]


@given(st.lists(st.floats(1e-6, 1e6), min_size=257, max_size=600), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_many_values_are_within_one_part_in_a_hundred(values: list[float], fraction: float) -> None:
    """However they are spread."""
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    exact = sorted(values)[max(math.ceil(fraction * len(values)), 1) - 1]
    assert distribution.quantile(fraction) == pytest.approx(exact, rel=0.0101)


def test_memory_does_not_grow() -> None:
    """After a few hundred values it is a count for each step."""
    distribution = Distribution()
    for number in range(50_000):
        distribution.add(0.001 + number % 1000 / 1000)
    assert len(distribution._steps) < 400  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert not distribution._values  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    assert Distribution().quantile(0.5) is None


def test_values_of_zero() -> None:
    """Chunks that come in one piece."""
    distribution = Distribution()
    for _ in range(300):
        distribution.add(0.0)
    assert distribution.quantile(0.99) == pytest.approx(0, abs=1e-8)


def meter(*chunks: tuple[float, ModelResponseStream]) -> Meter:
    """One that has taken the chunks at their times."""
    made = Meter("gpt-4", begun=10.0, stall=1.0)
    for now, chunk in chunks:
        made.add(chunk, now)
    return made


def test_a_record() -> None:
    """Gaps lie between chunks with tokens; others count as chunks alone."""
    record = meter(
        (10.5, of("", role="assistant")),
        (11.0, of("Once")),
        (11.5, of(" upon", index=1)),
        (12.0, of("")),
        (14.0, of(reasoning_content=" a time")),
        (14.25, calling(call_piece("", index=0, id="a", name="f"))),
        (15.0, of(finish_reason="stop")),
    ).record(16.0, "completed")
    assert (record.ended, record.duration, record.chunks) == ("completed", 6.0, 7)
    assert record.time_to_first_token == 1.0
    assert (record.gap_p50, record.gap_p99, record.gap_max) == (0.5, 2.5, 2.5)
    assert (record.stalls, record.stalled) == (1, 2.5)
    assert record.tokens == 5
    assert record.tokens_per_second == 4 / 3.25


def test_a_record_of_nothing() -> None:
    """What there was none of is None."""
    record = meter().record(10.0, "cancelled")
    assert (record.time_to_first_token, record.gap_p50, record.gap_max, record.tokens_per_second) == (None,) * 4
    assert (record.chunks, record.tokens, record.duration, record.stalls) == (0, 0, 0.0, 0)
    record = meter((11.0, of("Once"))).record(12.0, None)
    assert (record.time_to_first_token, record.gap_p50, record.tokens_per_second) == (1.0, None, None)


def test_tokens_are_those_reported() -> None:
    """The rate is that of what came all the same: thoughts that were kept back took no time here."""
    record = meter((11.0, of("Once")), (12.0, of(" upon")), (12.0, reported(completion_tokens=500))).record(13.0, None)
    assert (record.tokens, record.tokens_per_second) == (500, 1.0)
