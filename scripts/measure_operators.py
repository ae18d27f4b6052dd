"""Measures what the operators cost: a chunk that passes one, and a delta as the text before it grows.

    python scripts/measure_operators.py

First, for each operator that gives chunks or texts for chunks: the nanoseconds that it adds to a chunk, below pipelines
of several depths, since times do not grow evenly with the depth. Then, for those that look back at the text:
microseconds per delta over streams of 1,000, 10,000 and 100,000 deltas, and the ratio of the dearest to the cheapest. A
ratio near 1 says that a delta costs what is new in it, however much has been before.

Each time is the best of several rounds, in seconds of this thread's own work, since other work on the machine only ever
adds; the garbage collector rests meanwhile. Every operator that there is has to be measured or left out with a reason:
else nothing is measured at all.
"""

import gc
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import reactivex as rx
from reactivex import Observable, abc
from reactivex import operators as rx_ops
from reactivex.disposable import Disposable

from rxllm import operators as ops
from rxllm.types import ModelResponseStream, Request

Operator = Callable[[Observable[Any]], Observable[Any]]

DEPTHS: Final = (0, 1, 2, 4, 8)
CHUNKS: Final = 2_000
ROUNDS: Final = 9
SIZES: Final = (1_000, 10_000, 100_000)
DELTA: Final = 4
"""Characters in a delta."""

TEXT: Final = """
Once upon a time, in a village by the sea, there lived an old clockmaker who could not sleep. Each night she walked
down to the harbour, counted the boats - there were 27 of them - and went home again. "It isn't the sea," she'd say;
"it's the clocks. They don't agree." Her number was 555-0123, and nobody called it. In 1984 the mayor gave her a key.

```python
opened = tower.open(key="1984")  # < the only one
```
"""


class _Nowhere:
    """A file that takes everything and keeps nothing."""

    def write(self, _text: str, /) -> None:
        """Takes it."""

    def flush(self) -> None:
        """Nothing to do."""


def _passes(_text: str) -> bool:
    return True


def _ignored(_record: object) -> None:
    return None


# How each is made to be measured, so that it does its work and lets the stream go on to its end.
PER_CHUNK: Final[dict[str, Callable[[], Operator]]] = {
    "accumulate_text": ops.accumulate_text,
    "attach_cost": lambda: ops.attach_cost({"input": 1, "output": 2}, "gpt-4o", []),
    "attach_usage": lambda: ops.attach_usage("gpt-4o", []),
    "cached": lambda: ops.cached({}, "key"),
    "fallback_to": lambda: ops.fallback_to(rx.never()),
    "finish_reason": ops.finish_reason,
    "guard": lambda: ops.guard(_passes),
    "hedge": lambda: ops.hedge(rx.never(), after=60),
    "measure": lambda: ops.measure(_ignored, model="gpt-4o"),
    "print_text": lambda: ops.print_text(_Nowhere()),
    "redact": lambda: ops.redact(r"\b\d{3}-\d{4}\b"),
    "require_finish": ops.require_finish,
    "retry_before_content": ops.retry_before_content,
    "share_replay": ops.share_replay,
    "smooth_text": lambda: ops.smooth_text(0),
    "split_reasoning": ops.split_reasoning,
    "stop_at": lambda: ops.stop_at("END", "\n\nUser:"),
    "tag": lambda: ops.tag("a"),
    "take_chunks": lambda: ops.take_chunks(10 * CHUNKS),
    "take_until_budget": lambda: ops.take_until_budget(tokens=10**9, model="gpt-4o", messages=[]),
    "text_deltas": ops.text_deltas,
}

LEFT_OUT: Final[dict[str, str]] = {
    "assemble_tool_calls": "gives calls",
    "build_response": "gives one response, at the end",
    "by_choice": "gives an Observable for each choice",
    "count_tokens": "gives numbers; below, as the text grows",
    "extract_code_blocks": "takes texts; below, as the text grows",
    "merge_models": "makes a Stream of several, on a loop of its own",
    "observe_from": "makes a Stream, of what is in a store",
    "parse_partial": "gives objects, at most 20 in a second",
    "publish_to": "waits for a store: benchmarks/stores.py measures it",
    "race": "makes a Stream of several, on a loop of its own",
    "record": "writes each chunk to a disk: it is the disk that would be measured",
    "replay": "makes a Stream, of a file",
    "run_tools": "calls functions, on threads of its own",
    "split_lines": "takes texts; below, as the text grows",
    "split_sentences": "takes texts; below, as the text grows",
}

# Those that look back at the text, and whether they take texts.
GROWING: Final[dict[str, tuple[Callable[[], Operator], bool]]] = {
    "count_tokens": (lambda: ops.count_tokens("gpt-4o"), False),
    "stop_at": (lambda: ops.stop_at("END", "\n\nUser:"), False),
    "split_reasoning": (ops.split_reasoning, False),
    "split_lines": (ops.split_lines, True),
    "split_sentences": (ops.split_sentences, True),
    "extract_code_blocks": (ops.extract_code_blocks, True),
    "smooth_text": (lambda: ops.smooth_text(0), False),
    "redact": (lambda: ops.redact([r"\b\d{3}-\d{4}\b", r"[\w.+-]+@[\w-]+\.\w+"]), False),
    "guard": (lambda: ops.guard(_passes), False),
}


class Run(NamedTuple):
    """What running a stream took, and what came of it."""

    seconds: float
    items: int


def left_unsaid() -> list[str]:
    """What is wrong with the dictionaries: each operator stands in one of the first two, and no other name does."""
    problems = [f"{name} is neither measured nor left out" for name in ops.__all__ if name not in PER_CHUNK | LEFT_OUT]
    problems += [f"{name} is measured and left out" for name in PER_CHUNK if name in LEFT_OUT]
    strangers = {*PER_CHUNK, *LEFT_OUT, *GROWING} - {*ops.__all__}
    return problems + [f"{name} is no operator" for name in sorted(strangers)]


def deltas(count: int) -> list[str]:
    """``count`` deltas of a text that repeats."""
    whole = "".join(itertools.islice(itertools.cycle(TEXT), DELTA * count))
    return [whole[start : start + DELTA] for start in range(0, len(whole), DELTA)]


def as_chunks(texts: Sequence[str]) -> list[Any]:
    """A chunk for each, as a provider's are; the same one for the same text, so that 100,000 have room."""
    made: dict[str, ModelResponseStream] = {}
    for text in texts:
        if text not in made:
            choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
            common = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o", "system_fingerprint": "fp_1"}
            made[text] = ModelResponseStream.model_validate({**common, "choices": [choice]})
    return [*(made[text] for text in texts), ModelResponseStream.of(finish_reason="stop")]


def run(operators: Sequence[Operator], items: Sequence[Any]) -> Run:
    """Sends the items through the pipeline. What is timed is that, and not the subscription."""
    observers: list[abc.ObserverBase[Any]] = []

    def subscribe(observer: abc.ObserverBase[Any], _scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        observers.append(observer)
        return Disposable()

    source: Any = Observable(subscribe)
    source.request = Request(model="openai/gpt-4o", messages=[{"role": "user", "content": "Hi"}], wire_model="gpt-4o")
    came = 0

    def count(_item: object) -> None:
        nonlocal came
        came += 1

    def fail(error: Exception) -> None:
        raise error

    subscription = source.pipe(*operators).subscribe(count, fail)
    (observer,) = observers
    on_next = observer.on_next
    gc.collect()
    gc.disable()
    try:
        start = time.thread_time()
        for item in items:
            on_next(item)
        observer.on_completed()
        seconds = time.thread_time() - start
    finally:
        gc.enable()
        subscription.dispose()
    return Run(seconds, came)


def _same(item: Any) -> Any:
    return item


def added(make: Callable[[], Operator], depth: int, items: Sequence[Any]) -> float:
    """The nanoseconds that the operator adds to an item below a pipeline so deep."""
    layers = [rx_ops.map(_same) for _ in range(depth)]
    without = with_it = float("inf")
    for _ in range(ROUNDS):
        without = min(without, run(layers, items).seconds)
        ran = run([*layers, make()], items)
        assert ran.items
        with_it = min(with_it, ran.seconds)
    return (with_it - without) / len(items) * 1e9


def print_per_chunk() -> None:
    """Prints the first table."""
    items = as_chunks(deltas(CHUNKS))
    heads = (f"depth {depth}" for depth in DEPTHS)
    print("nanoseconds a chunk".ljust(22), *(head.rjust(8) for head in heads), "median".rjust(8))
    for name, make in PER_CHUNK.items():
        run([make()], items)
        times = [added(make, depth, items) for depth in DEPTHS]
        print(f"{name:22}", *(f"{each:8.0f}" for each in times), f"{statistics.median(times):8.0f}", flush=True)


def print_growing() -> None:
    """Prints the second table."""
    texts = {size: deltas(size) for size in SIZES}
    chunks = {size: as_chunks(texts[size]) for size in SIZES}
    print("microseconds a delta".ljust(22), *(f"{size:,}".rjust(9) for size in SIZES), "ratio".rjust(8))
    for name, (make, of_texts) in GROWING.items():
        streams: dict[int, Any] = {**texts} if of_texts else {**chunks}
        best = dict.fromkeys(SIZES, float("inf"))
        for size in (SIZES[0], *SIZES * 2, *SIZES[:2] * 6):
            ran = run([make()], streams[size])
            assert ran.items
            best[size] = min(best[size], ran.seconds / size * 1e6)
        ratio = max(best.values()) / min(best.values())
        print(f"{name:22}", *(f"{best[size]:9.2f}" for size in SIZES), f"{ratio:8.2f}", flush=True)


def main() -> None:
    """Prints both tables."""
    if problems := left_unsaid():
        sys.exit("\n".join(problems))
    print_per_chunk()
    print()
    for name, reason in LEFT_OUT.items():
        print(f"{name:22} {reason}")
    print()
    print_growing()


if __name__ == "__main__":
    main()
