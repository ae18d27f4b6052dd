"""A subject in a process of its own, which does one thing at a time for whoever asks.

So nothing that one subject imports, patches, keeps in memory or leaves to the garbage collector weighs upon another,
and all of them can still take turns, round after round. In one process, what LiteLLM imports was found to change the
figures of others by some 2 %; what a client's pool keeps from the measurement before changes them by much more.
"""

import asyncio
import gc
import logging
import multiprocessing
import time
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.subjects import SUBJECTS
from benchmarks.upstream import next_left

__all__ = ["Cost", "Memory", "Worker"]

_STATUS = Path("/proc/self/status")


class Cost(NamedTuple):
    """What reading took, in seconds: of all the process's threads on their processors, and by the clock."""

    cpu: float
    wall: float


class Memory(NamedTuple):
    """Bytes that were resident before a stream, and how many more there were at most while it was read."""

    before: int
    above: int


class Worker:
    """The process of a subject, as its owner sees it."""

    def __init__(self, name: str, address: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, name, address), daemon=True)
        self._process.start()
        self.name = name

    def costs(self, models: list[str], streams: int = 1, times: int = 1) -> list[Cost]:
        """What it takes to read so many streams at once of each model, so many times, one model after the other."""
        answer: list[Cost] = self._ask("costs", models, streams, times)
        return answer

    def memory(self, model: str) -> Memory | None:
        """What it takes to read a stream and keep nothing of it; ``None`` where the system does not tell."""
        answer: Memory | None = self._ask("memory", model)
        return answer

    def first(self, times: int) -> list[float]:
        """Seconds from asking to the first chunk, on a connection that stands."""
        answer: list[float] = self._ask("first", times)
        return answer

    def leave(self, times: int) -> list[float | None]:
        """Seconds from leaving a loop until the server sees it; ``None`` where it sees nothing."""
        answer: list[float | None] = self._ask("leave", times)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join()

    def _ask(self, what: str, *arguments: Any) -> Any:
        self._connection.send((what, arguments))
        succeeded, answer = self._connection.recv()
        if not succeeded:
            raise RuntimeError(f"{self.name}: {answer}")
        return answer


def _work(connection: Any, name: str, address: str) -> None:
    logging.disable(logging.ERROR)  # LiteLLM's advice
    with asyncio.Runner() as runner:
        bench = _Bench(name, address, runner)
        while True:
            try:
                what, arguments = connection.recv()
            except EOFError:
                return  # whoever asked has gone
            try:
                answer: tuple[bool, Any] = (True, getattr(bench, what)(*arguments))
            except Exception:  # noqa: BLE001  whoever asked has to know
                answer = (False, traceback.format_exc())
            connection.send(answer)


class _Bench:
    """What a worker does when it is asked."""

    def __init__(self, name: str, address: str, runner: asyncio.Runner) -> None:
        subject = SUBJECTS[name]
        self._address = address
        self._on_event_loop = subject.on_event_loop
        self._merged = subject.merged
        self._runner = runner
        self._read = subject.open(address)
        self._threads: ThreadPoolExecutor | None = None

    def costs(self, models: list[str], streams: int, times: int) -> list[Cost]:
        readings = [self._reading(model, streams) for model in models]
        spent = [(0.0, 0.0)] * len(models)
        gc.collect()  # what was before is not for this to pay
        for _ in range(times):
            for place, read_all in enumerate(readings):
                cpu, wall = time.process_time(), time.perf_counter()
                read_all()
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                spent[place] = (spent[place][0] + cpu, spent[place][1] + wall)
        return [Cost(*both) for both in spent]

    def memory(self, model: str) -> Memory | None:
        if not _STATUS.exists():
            return None
        self.costs(["100x1"], 1, 1)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now
        before = _resident("VmRSS")
        self.costs([model], 1, 1)
        return Memory(before, max(_resident("VmHWM") - before, 0))

    def first(self, times: int) -> list[float]:
        seconds: list[float] = []
        for _ in range(times):
            self._one("1x1", 0)  # leaves a connection behind
            asked = time.monotonic()
            seconds.append(self._one("2x1@2", 1) - asked)
        return seconds

    def leave(self, times: int) -> list[float | None]:
        seconds: list[float | None] = []
        for _ in range(times):
            left, seen = self._leave()
            seconds.append(None if seen is None else seen - left)
        return seconds

    def _one(self, model: str, most: int) -> float:
        reading = self._read(model, most)
        last: float = (self._runner.run(reading) if self._on_event_loop else reading)[1]
        return last

    def _leave(self) -> tuple[float, float | None]:
        model, most = "5000x1@2", 5
        if not self._on_event_loop:
            _, left = self._read(model, most)
            return left, next_left(self._address, left)

        async def leave() -> tuple[float, float | None]:
            _, left = await self._read(model, most)
            # The event loop goes on meanwhile: it may have something to close.
            return left, await asyncio.to_thread(next_left, self._address, left)

        return self._runner.run(leave())

    def _reading(self, model: str, streams: int) -> Callable[[], None]:
        """Reads so many streams at once."""
        read_all = self._counted(model, streams)
        least = int(model.partition("x")[0]) * streams

        def checked() -> None:
            count = read_all()
            # A format has up to eight events around its text.
            assert least <= count <= least + 8 * streams, (model, count)

        return checked

    def _counted(self, model: str, streams: int) -> Callable[[], int]:
        read = self._read
        if self._on_event_loop:

            async def gathered() -> int:
                return sum([count for count, _ in await asyncio.gather(*(read(model, 0) for _ in range(streams)))])

            async def alone() -> int:
                count, _ = await read(model, 0)
                return int(count)

            how: Callable[[], Coroutine[Any, Any, int]] = alone if streams == 1 else gathered
            return lambda: self._runner.run(how())
        if streams == self._merged:
            return lambda: int(read(model, 0)[0])
        self._threads = self._threads or ThreadPoolExecutor(streams)
        threads = self._threads
        return lambda: sum(count for count, _ in threads.map(lambda _: read(model, 0), range(streams)))


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)
