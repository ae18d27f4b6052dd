"""When the chunks of an answer came, their kinds, and the tokens by then."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from rxllm._accumulators._arrivals import KINDS, Arrivals, kind_of
from rxllm._accumulators._measurement import Meter
from rxllm.types import ModelResponseStream, Usage

CALL = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]
CHUNKS = {
    "text": ModelResponseStream.of("Hello there"),
    "reasoning": ModelResponseStream.of(reasoning_content="Let me think"),
    "tool call": ModelResponseStream.of(tool_calls=CALL),
    "usage": ModelResponseStream(usage=Usage(completion_tokens=7)),
    "other": ModelResponseStream.of(role="assistant"),
}


def test_each_kind_is_told_apart() -> None:
    """A refusal is text; what is reported unseen, on the last chunk, is usage."""
    assert {kind: kind_of(chunk) for kind, chunk in CHUNKS.items()} == {kind: kind for kind in KINDS}
    assert kind_of(ModelResponseStream.of(refusal="No")) == "text"
    last = ModelResponseStream.of(finish_reason="stop")
    assert kind_of(last) == "other"
    last.reported_usage = Usage()
    assert kind_of(last) == "usage"
    assert kind_of(ModelResponseStream.of("a", reasoning_content="b")) == "text"


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 64)), max_size=30))
def test_figures_are_those_of_measure(came: list[tuple[str, int]]) -> None:
    """Tokens, their rate, the time to the first and the gaps: of the same chunks at the same times."""
    arrivals, meter = Arrivals("a", "gpt-4", begun=8.0), Meter("gpt-4", begun=8.0, stall=1.0)
    # Sixteenths of a second have no rounding.
    times = [8 + sixteenths / 16 for sixteenths in accumulate(gap for _, gap in came)]
    for (kind, _), now in zip(came, times, strict=True):
        arrivals.add(CHUNKS[kind], now)
        meter.add(CHUNKS[kind], now)
    end = times[-1] + 1 if times else 9.0
    arrivals.end(end, "completed")
    record = meter.record(end, "completed")
    assert len(arrivals.times) == len(arrivals.tokens) == record.chunks
    assert arrivals.duration == record.duration
    assert arrivals.time_to_first_token == record.time_to_first_token
    assert arrivals.tokens_per_second == record.tokens_per_second
    assert max(arrivals.gaps(), default=None) == record.gap_max
    for kind in KINDS:
        expected = [now - 8 for (each, _), now in zip(came, times, strict=True) if each == kind]
        assert arrivals.of_kind(kind) == expected


def test_one_under_way() -> None:
    """It has lasted until its last chunk, and has not ended."""
    arrivals = Arrivals("a", begun=1.0)
    assert (arrivals.duration, arrivals.time_to_first_token, arrivals.tokens_per_second) == (0.0, None, None)
    arrivals.add(ModelResponseStream.of("a"), 3.0)
    assert (arrivals.duration, arrivals.ended, arrivals.ended_at) == (2.0, None, None)


def test_error_is_kept() -> None:
    """With when it came."""
    arrivals, error = Arrivals("a", begun=1.0), ValueError("no")
    arrivals.end(2.0, "failed", error)
    assert (arrivals.ended, arrivals.ended_at, arrivals.error) == ("failed", 1.0, error)
