"""Measures what rxllm withstands: cases held, cancel latencies, load, what is left behind, and memory at its worst.

    python -m scripts.measure_robustness [cases] [cancel] [load] [soak] [endless] [--rounds 50]

From the root of the project, on Linux, with the test extra installed; without names, all parts run. Except for the
cases, the server is a process of its own, so that neither its time nor its memory is counted; it and its client read
the same monotonic clock. What is measured of a process is measured in a fresh one.

cases    the servers of ``tests/misbehaving.py``: how many are held, in each way of consuming; and by openai-python,
         if it is installed, of the cases whose parameters it has: the right text, or where there is an error to be
         any exception at all, within 3 s
cancel   from leaving a stream, in each way there is, until the server sees the connection close: milliseconds
load     1,000 streams on one event loop, and 200 on threads, all open at once: seconds, and memory for each of them
soak     2,000 streams in a row, a third left half-way, a tenth failing: what is there before, and after
endless  a line that does not end: how much memory it takes, and how much of it the server gets rid of
"""

import argparse
import asyncio
import gc
import importlib.util
import logging
import multiprocessing
import os
import queue
import resource
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import trustme

import rxllm
from rxllm.exceptions import APIError
from tests import load
from tests.leaving import PLACES, WAYS, WAYS_BEFORE_THE_HEADERS, Scene
from tests.misbehaving import CASES, Case, wrong
from tests.misdeeds import HELLO, for_ever
from tests.server import PATIENCE, Answering, Script, Server, chunk, texts

MEBIBYTE = 1024 * 1024
STREAMS_ON_A_LOOP = 1_000
STREAMS_ON_THREADS = 200
CHUNKS = 50
IN_A_ROW = 2_000
WARMING_UP = 120
LONGEST = 3.0
"""Seconds that openai-python has for a case; the timeouts of the cases are a tenth of that and less."""


async def _held(answering: Answering) -> None:
    """One chunk, and the others once the gate is open."""
    name = answering.json["messages"][0]["content"]
    await answering.start()
    await answering.event(chunk(f"{name} 0"))
    answering.server.events.put(name)
    await answering.server.taken.wait()
    for number in range(1, CHUNKS):
        await answering.event(chunk(f"{name} {number}"))
        await asyncio.sleep(0)
    await answering.event(chunk(finish="stop"), "[DONE]")
    await answering.end()


async def _endless(answering: Answering) -> None:
    """A whole answer first, and then a line that does not end."""
    if answering.number == 1:
        await answering.stream("Hello")
    else:
        await for_ever(HELLO, b"data: ", piece=b"x" * 65536)(answering)


SCRIPTS: dict[str, Script] = {
    **{place: script for place, (script, _) in PLACES.items()},
    "held": _held,
    "as fated": load.as_fated,
    "endless": _endless,
}


# -- a server in a process of its own


class _Telling:
    """In the place of a server's queues: tells the other process, and when it was."""

    def __init__(self, kind: str, pipe: Any) -> None:
        self._kind = kind
        self._pipe = pipe

    def put(self, value: object) -> None:
        """Tells."""
        self._pipe.send((self._kind, value, time.monotonic()))


def _serve(pipe: Any, script: str, certificate: str | None, *, telling: bool) -> None:
    _allow_many_files()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with Server(context) as server:
        server.script = SCRIPTS[script]
        if telling:
            tell: Any = [_Telling(kind, pipe) for kind in ("closed", "events")]
            server.closed, server.events = tell
        pipe.send(server.url)
        while (command := pipe.recv()) != "stop":
            if command == "open":
                server.taken.open()
            elif command == "sent":
                pipe.send(("sent", server.requests[-1].sent, 0.0))


class Elsewhere:
    """A server in another process. ``url`` is where it is."""

    def __init__(self, script: str, certificate: str | None = None, *, telling: bool = True) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        arguments = (theirs, script, certificate)
        spawning = multiprocessing.get_context("spawn")
        self._process = spawning.Process(target=_serve, args=arguments, kwargs={"telling": telling}, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url: str = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("stop")
        self._process.join(PATIENCE)
        self._process.kill()

    def tell(self, command: str) -> None:
        """Tells the server what to do."""
        self._pipe.send(command)

    def next(self, kind: str) -> tuple[Any, float]:
        """The next thing that the server tells, which has to be of that kind, and when it was."""
        if not self._pipe.poll(PATIENCE):
            raise TimeoutError(f"The server did not tell of {kind}.")
        told, value, when = self._pipe.recv()
        assert told == kind, (told, value)
        return value, when


def _of(server: Elsewhere, words: str = "Hello", **parameters: Any) -> rxllm.Stream[rxllm.ModelResponseStream]:
    messages = [{"role": "user", "content": words}]
    return rxllm.completion(
        "gpt-4", messages, stream=True, api_base=server.url, api_key="none", max_retries=0, **parameters
    )


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * STREAMS_ON_A_LOOP if hard == resource.RLIM_INFINITY else min(4 * STREAMS_ON_A_LOOP, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _status(name: str) -> int:
    """A figure of this process in bytes: ``VmRSS``, or ``VmHWM``, its peak."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _afresh(measure: Callable[..., str], *arguments: Any) -> None:
    """Prints what ``measure`` gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        print(process.submit(measure, *arguments).result(), flush=True)


# -- cases


def _held_by_rxllm(case: Case, way: str) -> str:
    with Server() as server:
        said = wrong(case, server, way)
    rxllm.close()
    return said


def _for_openai(case: Case) -> bool:
    """Whether openai-python has the parameters of a case. It knows no bound but one for each wait, and no limit."""
    return "max_event_bytes" not in case.parameters and not isinstance(case.parameters.get("timeout"), rxllm.Timeouts)


def _held_by_openai(case: Case, way: str) -> str:
    """What is wrong with openai-python's answer: not the right text, no error where there is one, or no end."""
    import openai

    messages: Any = case.parameters.get("messages", [{"role": "user", "content": "Hello"}])
    ended: list[tuple[str, Exception | None]] = []

    def settings(server: Server) -> dict[str, Any]:
        given = {name: case.parameters[name] for name in ("max_retries", "timeout") if name in case.parameters}
        return {"base_url": server.url, "api_key": "sk-secret-key", "max_retries": 0, **given}

    def ask(client: Any) -> Any:
        return client.chat.completions.create(model="gpt-4", messages=messages, stream=True)

    def take(item: Any, got: list[str], server: Server) -> None:
        got += [choice.delta.content or "" for choice in item.choices]
        server.taken.open()

    def consume(server: Server) -> None:
        with openai.OpenAI(**settings(server)) as client:
            for number in range(case.rounds):
                if number:
                    server.next_event()
                got: list[str] = []
                failure: Exception | None = None
                try:
                    for item in ask(client):
                        take(item, got, server)
                except Exception as error:  # noqa: BLE001  whatever it raises counts
                    failure = error
                ended.append(("".join(got), failure))

    async def consume_async(server: Server) -> None:
        async with openai.AsyncOpenAI(**settings(server)) as client:
            for number in range(case.rounds):
                if number:
                    await asyncio.to_thread(server.next_event)
                got: list[str] = []
                failure: Exception | None = None
                try:
                    async for item in await ask(client):
                        take(item, got, server)
                except Exception as error:  # noqa: BLE001  likewise
                    failure = error
                ended.append(("".join(got), failure))

    def work() -> None:
        if way == "for":
            consume(server)
        else:
            asyncio.run(consume_async(server))

    with Server() as server:
        server.script, server.reads_bodies = case.script, case.reads_bodies
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        deadline = time.monotonic() + LONGEST
        while thread.is_alive() and time.monotonic() < deadline:
            thread.join(0.02)
            if server.requests and server.requests[-1].sent > 256 * MEBIBYTE:
                break  # it would take all memory there is
        in_time = not thread.is_alive()
    thread.join(PATIENCE)
    if not in_time:
        return "no end"
    text, failure = ended[-1]
    # Halves of a character that come one after the other are one, whoever joins them.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if case.error is not None:
        return "" if failure is not None else f"no error, but {text[:40]!r}"
    return "" if failure is None and case.text in (None, text) else f"{failure!r:.80}, {text[:40]!r}"


def measure_cases() -> None:
    """How many cases are held."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of those who leave in the middle
    _count_held("rxllm", _held_by_rxllm, CASES, ("for", "async for", "whole"))
    if importlib.util.find_spec("openai"):
        known = [case for case in CASES if _for_openai(case)]
        _count_held("openai-python", _held_by_openai, known, ("for", "async for"))


def _count_held(client: str, held: Callable[[Case, str], str], cases: Iterable[Case], ways: tuple[str, ...]) -> None:
    for way in ways:
        tried = [case for case in cases if way in case.ways]
        failed = {case.name: said for case in tried if (said := held(case, way))}
        print(f"{client:14}{way:10} {len(tried) - len(failed)} of {len(tried)} cases held", flush=True)
        for name, said in failed.items():
            print(f"    {name}: {said}")


# -- cancelling


@contextmanager
def _certificate() -> Generator[str, None, None]:
    """The file of a certificate for localhost, whose authority this process and its children trust."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    before = os.environ.get("SSL_CERT_FILE")
    with tempfile.TemporaryDirectory() as folder:
        trusted, own = f"{folder}/authority.pem", f"{folder}/own.pem"
        authority.cert_pem.write_to_path(trusted)
        issued.private_key_and_cert_chain_pem.write_to_path(own)
        os.environ["SSL_CERT_FILE"] = trusted
        yield own
    os.environ.pop("SSL_CERT_FILE")
    if before is not None:
        os.environ["SSL_CERT_FILE"] = before


def _latency(server: Elsewhere, way: str, items: int) -> float:
    closed_at: list[float] = []
    scene = Scene(items, lambda: server.next("events"), lambda: closed_at.append(server.next("closed")[1]))
    WAYS[way](_of(server), scene)
    return closed_at[0] - scene.left_at


def _latencies(server: Elsewhere, way: str, items: int, rounds: int) -> list[float]:
    _latency(server, way, items)  # to warm up
    gc.collect()
    gc.freeze()  # so that a collection takes what it takes a small program, and goes through none of the cases
    return [_latency(server, way, items) for _ in range(rounds)]


INTERRUPTED = """
import asyncio, sys, rxllm
stream = rxllm.completion("gpt-4", [{"role": "user", "content": "Hello"}], stream=True, api_base=sys.argv[1],
                          api_key="none", max_retries=0)
async def loop():
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == int(sys.argv[2]): print("there", flush=True)
def for_loop():
    seen = 0
    for _ in stream:
        seen += 1
        if seen == int(sys.argv[2]): print("there", flush=True)
for _ in range(int(sys.argv[3])):
    try:
        asyncio.run(loop()) if sys.argv[4] == "async for" else for_loop()
    except KeyboardInterrupt:
        pass
    sys.stdin.readline()
"""


def _interrupts(server: Elsewhere, way: str, items: int, rounds: int) -> list[float]:
    """The latencies of Ctrl-C, in a process that goes on after each."""
    command = [sys.executable, "-c", INTERRUPTED, server.url, str(items), str(rounds), way]
    latencies: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdin is not None
        for _ in range(rounds):
            if items:
                assert process.stdout.readline() == "there\n"
            else:
                server.next("events")
            left_at = time.monotonic()
            process.send_signal(signal.SIGINT)
            latencies.append(server.next("closed")[1] - left_at)
            process.stdin.write("\n")
            process.stdin.flush()
    return latencies


def measure_cancel(rounds: int) -> None:
    """From leaving to the server's seeing it."""
    print(f"{'milliseconds, of ' + str(rounds):40}{'':20}{'median':>9}{'worst':>9}")
    with _certificate() as certificate:
        for security in ("plain", "TLS"):
            for place, (_, items) in PLACES.items():
                with Elsewhere(place, certificate if security == "TLS" else None) as server:
                    figures = {
                        way: _latencies(server, way, items, rounds)
                        for way in (WAYS if items else WAYS_BEFORE_THE_HEADERS)
                    }
                    figures |= {
                        f"Ctrl-C, {way}": _interrupts(server, way, items, rounds + 1)[1:]
                        for way in ("for", "async for")
                    }
                rxllm.close()
                for way, latencies in figures.items():
                    median, worst = statistics.median(latencies) * 1000, max(latencies) * 1000
                    print(f"{way:40}{security + ', ' + place:24}{median:5.2f}{worst:9.2f}", flush=True)


# -- load


def _check(name: str, got: list[str]) -> None:
    assert got == [f"{name} {number}" for number in range(CHUNKS)], (name, got)


async def _one_on_a_loop(server: Elsewhere, name: str) -> None:
    _check(name, texts([item async for item in _of(server, name, timeout=600)]))


def _one_on_a_thread(server: Elsewhere, name: str) -> None:
    _check(name, texts(_of(server, name, timeout=600)))


def _wait_for(server: Elsewhere, count: int) -> None:
    for _ in range(count):
        server.next("events")


class _Clocks:
    """Reads the clocks and the memory, again and again."""

    def __init__(self) -> None:
        gc.collect()
        self.memory = _status("VmRSS")
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def since(self, before: Self) -> str:
        """Seconds since then."""
        return f"{self.wall - before.wall:.2f} s ({self.cpu - before.cpu:.2f} s of CPU)"


def _report(what: str, count: int, begun: _Clocks, opened: _Clocks, ended: _Clocks) -> str:
    each = (opened.memory - begun.memory) / count / 1024
    return (
        f"{what}: all open after {opened.since(begun)}, then all of {count * CHUNKS:,} chunks in place after "
        f"{ended.since(opened)}; {each:.1f} KiB for each open stream"
    )


def _load_on_a_loop(count: int) -> str:
    _allow_many_files()

    async def consume(server: Elsewhere) -> tuple[_Clocks, _Clocks, _Clocks]:
        begun = _Clocks()
        tasks = [asyncio.ensure_future(_one_on_a_loop(server, f"task {number}")) for number in range(count)]
        await asyncio.to_thread(_wait_for, server, count)
        opened = _Clocks()
        server.tell("open")
        await asyncio.gather(*tasks)
        return begun, opened, _Clocks()

    with Elsewhere("held") as server:
        _warm_up()
        clocks = asyncio.run(consume(server))
    return _report(f"{count:,} on one event loop", count, *clocks)


def _load_on_threads(count: int) -> str:
    _allow_many_files()
    failed: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def consume(server: Elsewhere, name: str) -> None:
        try:
            _one_on_a_thread(server, name)
        except BaseException as error:  # noqa: BLE001  told below
            failed.put(error)

    with Elsewhere("held") as server:
        _warm_up()
        begun = _Clocks()
        threads = [threading.Thread(target=consume, args=(server, f"thread {number}")) for number in range(count)]
        for thread in threads:
            thread.start()
        _wait_for(server, count)
        opened = _Clocks()
        server.tell("open")
        for thread in threads:
            thread.join()
        ended = _Clocks()
    if not failed.empty():
        raise failed.get()
    return _report(f"{count:,} on threads", count, begun, opened, ended)


def _warm_up() -> None:
    """What is loaded with the first request is none of its stream."""
    with Elsewhere("as fated", telling=False) as server:
        row = load.Row(server.url)
        row.by_for(3)
        asyncio.run(row.by_async_for(3))
    rxllm.close()


def measure_load() -> None:
    """Many at once."""
    _afresh(_load_on_a_loop, STREAMS_ON_A_LOOP)
    _afresh(_load_on_threads, STREAMS_ON_THREADS)


# -- soak


class _Held:
    """What a process holds."""

    def __init__(self, tasks: int) -> None:
        gc.collect()
        self.traced = tracemalloc.get_traced_memory()[0] / 1024
        self.memory = _status("VmRSS") / MEBIBYTE
        self.counts = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), tasks)

    def __str__(self) -> str:
        descriptors, threads, tasks = self.counts
        return (
            f"{descriptors} descriptors, {threads} threads, {tasks} tasks, {self.memory:.1f} MiB resident, "
            f"{self.traced:.0f} KiB traced"
        )


def _soak(way: str) -> str:
    async def consume(row: load.Row) -> tuple[_Held, _Held]:
        await row.by_async_for(WARMING_UP)
        before = _Held(len(asyncio.all_tasks()))
        await row.by_async_for(IN_A_ROW)
        return before, _Held(len(asyncio.all_tasks()))

    with Elsewhere("as fated", telling=False) as server:
        row = load.Row(server.url)
        tracemalloc.start(1)
        if way == "async for":
            before, after = asyncio.run(consume(row))
        else:
            row.by_for(WARMING_UP)
            before = _Held(0)
            row.by_for(IN_A_ROW)
            after = _Held(0)
    ends = ", ".join(f"{count} {fate}" for fate, count in sorted(row.ends.items()))
    what = f"{IN_A_ROW:,} in a row by {way} (with the {WARMING_UP} to warm up: {ends})"
    return f"{what}\n    before: {before}\n    after:  {after}"


def measure_soak() -> None:
    """Many in a row."""
    for way in ("for", "async for"):
        _afresh(_soak, way)


# -- an endless line


def _read_endless(way: str, limit: int | None) -> str:
    parameters: dict[str, Any] = {} if limit is None else {"max_event_bytes": limit}

    async def consume(server: Elsewhere) -> None:
        async for _ in _of(server, **parameters):
            pass

    def read(server: Elsewhere) -> None:
        if way == "async for":
            asyncio.run(consume(server))
        else:
            for _ in _of(server, **parameters):
                pass

    with Elsewhere("endless") as server:
        read(server)
        before = _status("VmHWM")
        said = ""
        try:
            read(server)
        except APIError as error:
            said = f"{type(error).__name__}: {error}"
        assert said
        server.next("closed")
        server.tell("sent")
        sent, _ = server.next("sent")
    peak = (_status("VmHWM") - before) / MEBIBYTE
    return (
        f"{way:10}peak {peak:.1f} MiB above {before / MEBIBYTE:.0f}; the server sent {sent / MEBIBYTE:.1f} MiB; {said}"
    )


def measure_endless() -> None:
    """Memory on a line that does not end."""
    for limit in (None, MEBIBYTE):
        for way in ("for", "async for"):
            _afresh(_read_endless, way, limit)


def main() -> None:
    """Prints the parts that were asked for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell started this in the background
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {
        "cases": measure_cases,
        "cancel": lambda: measure_cancel(arguments.rounds),
        "load": measure_load,
        "soak": measure_soak,
        "endless": measure_endless,
    }
    parser.add_argument("parts", nargs="*", choices=[*parts, []], metavar="part", help=", ".join(parts))
    parser.add_argument("--rounds", type=int, default=50, help="how often each way of leaving is measured")
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = "*"
    for name, measure in parts.items():
        if not arguments.parts or name in arguments.parts:
            print(f"== {name}", flush=True)
            measure()


if __name__ == "__main__":
    main()
