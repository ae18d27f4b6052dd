"""The proxy beside LiteLLM's, before the same provider, in one run: events a second, latency, memory, start.

    python -m benchmarks.proxy --litellm PATH_OF_ITS_COMMAND [--clients 1 20 200] [--events 2000] [--json FILE]

The provider, each proxy and the clients run in processes of their own. Each client sends one request after the other,
on its own connection. Events a second are those that all clients got in the time from the first request to the last
end; the time to the first event is from sending a request to its first data event, and what is added is its median
beside that of the provider without a proxy. Memory is the most that was resident in the proxy and its children.
Without ``--litellm`` that row is left out.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.upstream import upstream

CHUNKS = 200
"""Chunks of one answer."""


_EVENT = b"data: {"
_DONE = b"[DONE]"


@dataclass
class Row:
    """What one server did with so many clients."""

    server: str
    clients: int
    events: int
    events_per_second: float
    first_event_p50: float
    first_event_p99: float
    requests_failed: int


@contextmanager
def proxy(name: str, command: list[str], port: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The server, once it answers, and how many seconds that took."""
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  ours
    try:
        while not _answers(port):
            assert process.poll() is None, f"{name} has ended: {' '.join(command)}"
            assert time.monotonic() - begun < 120, f"{name} does not start"
            time.sleep(0.01)
        yield process, time.monotonic() - begun
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": "Bearer sk-bench"})
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310  likewise
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def resident(pid: int) -> int:
    """The most that a process and its children had in memory so far, in bytes."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if int(fields["Pid"]) == pid or int(fields["PPid"]) == pid:
            total += int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
    return total


def load(port: int, clients: int, requests: int, answers: Any) -> None:
    """So many clients, each with so many requests; in a process of its own."""
    body = json.dumps(
        {"model": f"{CHUNKS}x1", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer sk-bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    async def client() -> tuple[list[float], int, int]:
        firsts: list[float] = []
        events = failed = 0
        for _ in range(requests):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            sent = time.monotonic()
            writer.write(head + body)
            got, tail = 0, b""
            while data := tail + await reader.read(2**18):
                if len(data) == len(tail):
                    break
                if not got and _EVENT in data:
                    firsts.append(time.monotonic() - sent)
                got += data.count(_EVENT)
                if _DONE in data:
                    break
                tail = data[1 - len(_EVENT) :]  # too short for a whole one, which would count twice
            events += got
            failed += got < CHUNKS
            writer.close()
        return firsts, events, failed

    async def all_of_them() -> None:
        begun = time.monotonic()
        results = await asyncio.gather(*(client() for _ in range(clients)))
        elapsed = time.monotonic() - begun
        answers.send((elapsed, results))

    asyncio.run(all_of_them())


def measured(server: str, port: int, clients: int, events: int) -> Row:
    """One row: some ``events``, by ``clients`` at once."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=load, args=(port, clients, max(1, events // CHUNKS // clients), sender))
    process.start()
    elapsed, results = receiver.recv()
    process.join()
    firsts = sorted(first for result in results for first in result[0])
    total = sum(result[1] for result in results)
    return Row(
        server,
        clients,
        total,
        total / elapsed,
        statistics.median(firsts),
        firsts[min(len(firsts) - 1, int(len(firsts) * 0.99))],
        sum(result[2] for result in results),
    )


def main() -> None:
    """Prints the table, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", metavar="PATH", help="the command litellm, of an environment with litellm[proxy]")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 20, 200])
    parser.add_argument("--events", type=int, default=40_000, help="how many events a row is to have, about")
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    os.environ.update(
        NO_PROXY="*",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_MASTER_KEY="sk-bench",
        RXLLM_MASTER_KEY="sk-bench",
        OPENAI_API_KEY="sk-bench",
    )
    rows: list[Row] = []
    others: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        address = stack.enter_context(upstream())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "config.yaml"
        model = f"{CHUNKS}x1"
        config.write_text(
            f"model_list:\n  - model_name: {model}\n    litellm_params:\n"
            f"      model: openai/{model}\n      api_base: {address}/v1\n      api_key: sk-bench\n"
        )
        ports = {"rxllm": _free_port(), "litellm": _free_port()}
        commands = {"rxllm": [sys.executable, "-m", "rxllm", "serve"], "litellm": [arguments.litellm or ""]}
        if not arguments.litellm:
            del commands["litellm"]
        rows += [
            measured("none", int(address.rpartition(":")[2]), count, arguments.events) for count in arguments.clients
        ]
        for name, command in commands.items():
            whole = [*command, "--config", str(config), "--port", str(ports[name])]
            with proxy(name, whole, ports[name]) as (process, start):
                events = arguments.events if name == "rxllm" else arguments.events // 5
                measured(name, ports[name], 1, CHUNKS)  # for warming up
                rows += [measured(name, ports[name], count, max(events, count * CHUNKS)) for count in arguments.clients]
                others[name] = {"start": start, "resident": resident(process.pid)}
    _show(rows, others)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": [asdict(row) for row in rows], "servers": others}, indent=2))


def _show(rows: list[Row], others: dict[str, dict[str, float]]) -> None:
    bare = {row.clients: row for row in rows if row.server == "none"}
    print(f"{'':10}{'clients':>8}{'events/s':>10}{'first p50 ms':>14}{'p99 ms':>9}{'added p50 ms':>14}{'failed':>8}")
    for row in rows:
        added = (row.first_event_p50 - bare[row.clients].first_event_p50) * 1e3
        print(
            f"{row.server:10}{row.clients:>8}{row.events_per_second:>10,.0f}{row.first_event_p50 * 1e3:>14.1f}"
            f"{row.first_event_p99 * 1e3:>9.1f}{added:>14.1f}{row.requests_failed:>8}"
        )
    for name, figures in others.items():
        print(f"{name:10} starts in {figures['start']:.2f} s, takes {figures['resident'] / 2**20:,.0f} MiB")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
