"""Streams and the end of the process: Ctrl-C, and a script whose last line is subscribe()."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server import PATIENCE, Answering, Server, chunk

ROOT = Path(__file__).resolve().parents[1]

PRELUDE = """
import asyncio, sys
import reactivex as rx
from reactivex import operators as rxops
from rxllm import completion, acompletion, as_stream, operators as ops
messages = [{"role": "user", "content": "Hi"}]
stream = completion("gpt-4", messages, stream=True, api_base=sys.argv[1], api_key="sk-secret")
text = stream.pipe(ops.text_deltas())
"""


def run(script: str, server: Server) -> "subprocess.Popen[str]":
    """Starts a script with the server's address as its argument."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + script, server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.parametrize(
    "script",
    [
        "text.subscribe(print)",
        "rx.merge(text, rx.empty()).subscribe(print)",
        "as_stream(rx.merge(text, text)).subscribe(print)",
    ],
    ids=["one", "merged in reactivex", "merged in a loop"],
)
def test_a_script_that_ends_in_subscribe_gets_every_item(server: Server, script: str) -> None:
    """The process waits for its subscriptions, while the interpreter shuts down already."""
    ended = server.gate()

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await ended.wait()
        await answering.event(chunk("two"), chunk(finish="stop"), "[DONE]")
        await answering.end()

    server.script = answer
    process = run(script + "\nprint('last line', flush=True)", server)
    assert process.stdout is not None
    lines: list[str] = []
    while "last line" not in lines:
        lines.append(process.stdout.readline().strip())
    ended.open()
    out, err = process.communicate(timeout=PATIENCE)
    lines += out.split()
    assert set(lines) == {"one", "two", "last line"}
    assert err == ""
    assert process.returncode == 0


CONSUMERS: dict[str, str] = {
    "for": "for item in text: print(item)",
    "run": "text.pipe(rxops.do_action(print)).run()",
    "async for": """
async def main():
    async for item in text: print(item)
asyncio.run(main())""",
    "await": """
async def main():
    await text.pipe(rxops.do_action(print))
asyncio.run(main())""",
    "merge": "for item in as_stream(rx.merge(text, rx.never())): print(item)",
}


@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=CONSUMERS.keys())
def test_ctrl_c_ends_a_consumer(server: Server, consumer: str) -> None:
    """KeyboardInterrupt comes out of the loop at once, and the server sees the connection close."""
    process = _interrupted(server, consumer)
    out, err = process.communicate(timeout=PATIENCE)
    assert server.next_closed() == 1
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert out == ""


def test_ctrl_c_ends_a_subscription(server: Server) -> None:
    """One Ctrl-C ends a process that waits for its subscriptions."""
    process = _interrupted(server, "text.subscribe(print)")
    out, err = process.communicate(timeout=PATIENCE)
    assert server.next_closed() == 1
    assert (out, err) == ("", "")


def _interrupted(server: Server, consumer: str) -> "subprocess.Popen[str]":
    async def stall(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()

    server.script = stall
    process = run(consumer, server)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "one"
    process.send_signal(signal.SIGINT)
    return process


def test_importing_is_light() -> None:
    """import rxllm loads neither httpx nor tiktoken, and no test or server package."""
    heavy = "httpx httpcore tiktoken pytest hypothesis starlette uvicorn IPython regex requests"
    code = f"import sys, rxllm, rxllm.operators; print([m for m in {heavy.split()!r} if m in sys.modules])"
    found: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


FORKING = """
import os
first = list(text)
waiting = stream.subscribe(lambda _: None)  # the parent's worker is none of the child's
child = os.fork()
if child == 0:
    sys.exit(0 if list(text) == first else 1)  # through the hook that waits for workers
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(status, list(text) == first)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_the_child_has_connections_and_workers_of_its_own(server: Server) -> None:
    """It neither uses nor closes the parent's sockets, nor waits for its subscriptions."""
    process = run(f"import warnings\nwarnings.simplefilter('ignore')\n{FORKING}", server)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err) == ("0 True\n", "")
    assert process.returncode == 0
