"""What is measured of whom, and how often."""

import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from benchmarks.figures import ALONE, Case, Figures
from benchmarks.imports import import_times
from benchmarks.subjects import ANTHROPIC, ASYNC, BREAK, GEMINI, LOOPS, MERGED, SUBJECTS, VLLM, installed
from benchmarks.worker import Worker

__all__ = ["FULL", "QUICK", "Plan", "run"]

_THREADS = ["httpx + json.loads", "rxllm", "rxllm, merge"]
_FIRST = 20
"""How many first chunks a round is the median of."""


class Costs(NamedTuple):
    """Cases, and who takes part in them. A turn reads each ``times`` over, so that it is long beside what is measured.

    Cases that are compared with each other stand together: a turn reads now one and now the other.
    """

    cases: list[Case]
    subjects: list[str]
    times: int = 1
    slow: bool = True
    """Whether those that are slow take part."""
    rounds: int = 99
    """More than these are not worth their time."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: how often; ``slow_rounds`` for LiteLLM, which reads a chunk in about a millisecond.
        long: the chunks of the stream of which nothing is kept, for what stays in memory; ``slow_long`` for LiteLLM.
        sections: what costs are measured; each section has fresh processes.
    """

    rounds: int
    slow_rounds: int
    long: int
    slow_long: int
    sections: list[list[Costs]]


_ALL = LOOPS + ASYNC
_DIALECTS = VLLM + ANTHROPIC + GEMINI
_FAST = [name for name in _ALL if name.startswith(("rxllm", "httpx", "raw"))]

FULL = Plan(
    rounds=7,
    slow_rounds=5,
    long=50_000,
    slow_long=10_000,
    sections=[
        [
            Costs([Case(1), Case(100)], _ALL, times=20),
            Costs([Case(100, 16)], _ALL, times=20, slow=False),
            Costs([Case(50_000)], _FAST),
            Costs([Case(50_000)], ["openai", "openai, async"], rounds=1),
            Costs([Case(50_000, 16)], _FAST),
            Costs([Case(2_000)], _ALL + _DIALECTS),
            Costs([Case(2_000, 16)], _ALL + _DIALECTS),
            Costs([Case(200, pause=1)], _ALL, rounds=5),
        ],
        [Costs([Case(100, streams=MERGED)], [*ASYNC, *_THREADS], rounds=5)],
        [Costs([Case(50, streams=300)], ASYNC)],
        [Costs([Case(20, streams=1_000)], ASYNC, rounds=3)],
    ],
)

QUICK = Plan(
    rounds=2,
    slow_rounds=1,
    long=5_000,
    slow_long=500,
    sections=[
        [
            Costs([Case(1), Case(100)], _FAST, times=20),
            Costs([Case(50_000)], ["httpx + json.loads", "rxllm"]),
            Costs([Case(2_000)], _ALL + _DIALECTS),
            Costs([Case(2_000, 16)], _ALL + _DIALECTS),
        ],
        [Costs([Case(50, streams=300)], ASYNC, slow=False)],
    ],
)


def run(plan: Plan, address: str, figures: Figures) -> Iterator[str]:
    """Measures all of it, and tells what comes next."""
    for number, section in enumerate(plan.sections):
        names = dict.fromkeys(name for costs in section for name in _taking_part(costs))
        with _workers(names, address) as workers:
            if number == 0:
                for name, worker in workers.items():
                    yield f"memory: {name}"
                    _memory(plan, name, worker, figures)
            for costs in section:
                for turn, name in _turns(plan, _taking_part(costs), costs.rounds):
                    cases = " and ".join(f"{case.model} by {case.streams}" for case in costs.cases)
                    yield f"{cases}, round {turn}: {name}"
                    _cost(costs, name, turn, workers[name], figures)
    with _workers(filter(_is_there, [*_ALL, *BREAK]), address) as workers:
        for turn, name in _turns(plan, filter(_is_there, _ALL)):
            yield f"first chunk, round {turn}: {name}"
            first = workers[name].first(_FIRST)
            if turn:
                figures.add("first", "s", name, ALONE, [median(first)])
        for turn, name in _turns(plan, filter(_is_there, [*_ALL, *BREAK])):
            yield f"leaving, round {turn}: {name}"
            _leave(plan, name, turn, workers[name], figures)
    for turn in range(plan.slow_rounds + 1):
        yield f"imports, round {turn}"
        for measure, package, seconds in import_times(address):
            if turn:  # the first is there to have the files read
                figures.add(measure, "s", package, ALONE, [seconds])


def _is_there(name: str) -> bool:
    package = SUBJECTS[name].package
    return not package or installed(package) is not None


def _taking_part(costs: Costs) -> list[str]:
    return [name for name in costs.subjects if _is_there(name) and (costs.slow or not SUBJECTS[name].slow)]


@contextmanager
def _workers(names: Iterable[str], address: str) -> Generator[dict[str, Worker], None, None]:
    """A process for each of them; all start at once."""
    with ExitStack() as stack:
        workers = {name: Worker(name, address) for name in names}
        for worker in workers.values():
            stack.callback(worker.close)
        for worker in workers.values():
            worker.costs(["1x1"], SUBJECTS[worker.name].merged)
        yield workers


def _leave(plan: Plan, name: str, turn: int, worker: Worker, figures: Figures) -> None:
    if name in BREAK:
        # One round is enough: where the server sees nothing, it waits for two seconds each time.
        left = worker.leave(min(3, plan.rounds)) if turn == 1 else []
    else:
        left = worker.leave(_FIRST if turn else 2)
    if turn:
        figures.add("leave", "s", name, ALONE, [math.inf if moment is None else moment for moment in left])


def _turns(plan: Plan, names: Iterable[str], rounds: int = 99) -> Iterator[tuple[int, str]]:
    """Who is next in which round; round 0 is for warming up. In every other round the order is the reverse."""
    names = list(names)
    for number in range(min(rounds, plan.rounds) + 1):
        for name in names if number % 2 else reversed(names):
            if number <= plan.slow_rounds or not SUBJECTS[name].slow:
                yield number, name


def _memory(plan: Plan, name: str, worker: Worker, figures: Figures) -> None:
    case = Case(plan.slow_long if SUBJECTS[name].slow else plan.long)
    memory = worker.memory(case.model)
    if memory is not None:
        figures.add("resident", "bytes", name, case, [memory.before])
        figures.add("memory", "bytes", name, case, [memory.above])


def _cost(costs: Costs, name: str, turn: int, worker: Worker, figures: Figures) -> None:
    streams = costs.cases[0].streams
    spent = worker.costs([case.model for case in costs.cases], streams, costs.times)
    for case, cost in zip(costs.cases, spent, strict=True):
        if turn:
            chunks = case.chunks * streams * costs.times
            figures.add("cpu", "s/chunk", name, case, [cost.cpu / chunks])
            figures.add("wall", "s/chunk", name, case, [cost.wall / chunks])
