"""What a chunk costs: rxllm beside httpx with json.loads, over the same server, in one run.

    python -m benchmarks.chunk_cost [--chunks 2000] [--rounds 7]

A server in a process of its own streams chunks of about 300 bytes, one or sixteen events a packet. Each client reads
the same stream in turn, round after round; the figures are the medians of the CPU time per chunk, and the ratios are
taken round by round, since machines are noisy.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from reactivex import operators as rxops

import rxllm
from benchmarks.upstream import upstream
from rxllm import operators as ops

MESSAGES = [{"role": "user", "content": "Hello"}]


def _clients(url: str) -> dict[str, Callable[[str], int]]:
    import httpx

    client = httpx.Client()

    def bare(model: str) -> int:
        count = 0
        with client.stream("POST", f"{url}/chat/completions", json={"model": model, "messages": MESSAGES}) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    json.loads(line[6:])
                    count += 1
        return count

    def stream(model: str) -> Any:
        return rxllm.completion(f"openai/{model}", MESSAGES, stream=True, api_base=url, api_key="none")

    def loop(model: str) -> int:
        count = 0
        for _ in stream(model):
            count += 1
        return count

    def pipeline(model: str) -> int:
        count = 0
        four = (rxops.filter(lambda _: True), ops.require_finish(), ops.take_chunks(10**9), ops.text_deltas())
        for _ in stream(model).pipe(*four):
            count += 1
        return count + 1

    def loop_async(model: str) -> int:
        async def consume() -> int:
            count = 0
            async for _ in stream(model):
                count += 1
            return count

        return asyncio.run(consume())

    def bare_async(model: str) -> int:
        async def consume() -> int:
            count = 0
            async with (
                httpx.AsyncClient() as client,
                client.stream(
                    "POST", f"{url}/chat/completions", json={"model": model, "messages": MESSAGES}
                ) as response,
            ):
                async for line in response.aiter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        json.loads(line[6:])
                        count += 1
            return count

        return asyncio.run(consume())

    return {
        "httpx + json.loads": bare,
        "rxllm, loop": loop,
        "rxllm, four operators": pipeline,
        "httpx + json.loads, async": bare_async,
        "rxllm, async for": loop_async,
    }


def main() -> None:
    """Prints a table of CPU microseconds per chunk, and of ratios to httpx with json.loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = "*"
    with upstream() as address:
        _measure(_clients(f"{address}/v1"), arguments.chunks, arguments.rounds)


def _measure(clients: dict[str, Callable[[str], int]], chunks: int, rounds: int) -> None:
    print(f"{'':28}{'events a packet':>16}{'us a chunk':>12}{'ratio':>8}")
    for a_packet in (1, 16):
        times: dict[str, list[float]] = {name: [] for name in clients}
        for round_number in range(rounds + 1):
            for name, client in clients.items():
                started = time.process_time()
                count = client(f"{chunks}x{a_packet}")
                elapsed = time.process_time() - started
                assert count == chunks + 1, (name, count)
                if round_number:  # the first is for warming up
                    times[name].append(elapsed / count * 1e6)
        for name, measured in times.items():
            base = times["httpx + json.loads, async" if "async" in name else "httpx + json.loads"]
            ratio = statistics.median(ours / theirs for ours, theirs in zip(measured, base, strict=True))
            print(f"{name:28}{a_packet:>16}{statistics.median(measured):>12.2f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
