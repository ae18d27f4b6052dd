"""Streams and the end of the process: Ctrl-C, and a script whose last line is subscribe()."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.leaving import stall_after_one, stall_before_headers
from tests.processes import ended_with_the_test
from tests.server import PATIENCE, Answering, Script, Server, chunk

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


def run(script: str, server: Server, *options: str, arguments: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Starts a script with the server's address as its first argument, and warnings as errors."""
    return ended_with_the_test(
        subprocess.Popen(
            [sys.executable, "-W", "error", *options, "-c", PRELUDE + script, server.url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
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
        await answering.last(chunk("two"), chunk(finish="stop"), "[DONE]")

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


where_it_waits = pytest.mark.parametrize("script", [stall_before_headers, stall_after_one], ids=["headers", "body"])


@where_it_waits
@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=CONSUMERS.keys())
def test_ctrl_c_ends_a_consumer(server: Server, consumer: str, script: Script) -> None:
    """KeyboardInterrupt comes out of the loop at once, and the server sees the connection close."""
    process = _interrupted(server, consumer, script)
    out, err = process.communicate(timeout=PATIENCE)
    assert server.next_closed() == 1
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert out == ""


@where_it_waits
def test_ctrl_c_ends_a_subscription(server: Server, script: Script) -> None:
    """One Ctrl-C ends a process that waits for its subscriptions."""
    process = _interrupted(server, "text.subscribe(print)", script)
    out, err = process.communicate(timeout=PATIENCE)
    assert server.next_closed() == 1
    assert (out, err) == ("", "")


def _interrupted(server: Server, consumer: str, script: Script) -> "subprocess.Popen[str]":
    server.script = script
    process = run(consumer, server)
    assert process.stdout is not None
    if script is stall_before_headers:
        assert server.next_event() == "asked"
    else:
        assert process.stdout.readline().strip() == "one"
    process.send_signal(signal.SIGINT)
    return process


def test_importing_is_light() -> None:
    """import rxllm loads neither httpx nor tiktoken, and no test or server package."""
    heavy = "httpx httpcore tiktoken pytest hypothesis starlette uvicorn IPython regex requests"
    code = f"import sys, rxllm, rxllm.operators; print([m for m in {heavy.split()!r} if m in sys.modules])"
    found: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"


# -- event loops, and what is dropped, without a warning


def _ends_well(process: "subprocess.Popen[str]") -> None:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert (out, err) == ("", "")
    assert process.returncode == 0


def holds(server: Server, script: str) -> None:
    """The script ends well in Python's development mode, and says nothing."""
    # Development mode also tells of a busy machine: of steps of an event loop that took long.
    process = run(f"import logging\nlogging.getLogger('asyncio').setLevel('ERROR')\n{script}", server, "-X", "dev")
    _ends_well(process)


LOOPS = {
    "one after another": """
assert asyncio.run(consume()) == asyncio.run(consume()) == "Hello world"
""",
    "one after another, left half-way": """
async def leave():
    async for _ in text: break
for _ in range(3):
    asyncio.run(leave())
    assert asyncio.run(consume()) == "Hello world"
""",
    "one after another, some closed by hand": """
async def close():
    await consume()
    await rxllm.aclose()
    await consume()
for work in (close, consume, close): asyncio.run(work())
""",
    "in many threads at once": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as threads:
    together = [threads.submit(lambda: [asyncio.run(consume()) for _ in range(3)]) for _ in range(8)]
    assert [each.result() for each in together] == [["Hello world"] * 3] * 8
""",
    "beside a thread's": """
async def both():
    for item in text: pass
    return await asyncio.gather(consume(), asyncio.to_thread(text.run), consume())
assert asyncio.run(both()) == ["Hello world", "ld", "Hello world"]
""",
    "in debug mode": """
asyncio.run(consume(), debug=True)
""",
}


@pytest.mark.parametrize("script", LOOPS.values(), ids=LOOPS.keys())
def test_several_event_loops(server: Server, script: str) -> None:
    """Each has connections of its own, which close with it: nothing is left for a warning."""
    holds(server, f"import rxllm\nasync def consume(): return await stream.pipe(ops.accumulate_text())\n{script}")


DROPPED = {
    "an iterator": """
iterator = iter(text); next(iterator); del iterator
""",
    "an iterator in a cycle": """
cycle = [iter(text)]; next(cycle[0]); cycle.append(cycle); del cycle; gc.collect()
""",
    "an iterator of a merge": """
iterator = iter(as_stream(rx.merge(text, text))); next(iterator); del iterator
""",
    "an iterator of a pipeline with share": """
shared = text.pipe(rxops.share()); iterator = iter(shared); next(iterator); del iterator, shared; gc.collect()
""",
    "an asynchronous iterator, on its loop": """
async def drop():
    iterator = aiter(text); await anext(iterator); del iterator
    await close_seen()
asyncio.run(drop())
""",
    "an asynchronous iterator in a cycle": """
async def drop():
    cycle = [aiter(text)]; await anext(cycle[0]); cycle.append(cycle); del cycle; gc.collect()
    await close_seen()
asyncio.run(drop())
""",
    "an asynchronous iterator of a merge": """
async def drop():
    iterator = aiter(as_stream(rx.merge(text, text)))
    await anext(iterator); await anext(iterator)  # one from each: both requests are with the server
    del iterator
    await close_seen(); await close_seen()
asyncio.run(drop())
""",
    "an asynchronous iterator, after its loop": """
async def begin():
    global kept
    kept = aiter(text); await anext(kept)
asyncio.run(begin())
del kept; gc.collect()
""",
}

SEEN = """
import gc, urllib.request
async def close_seen():
    await asyncio.to_thread(lambda: urllib.request.urlopen(sys.argv[1] + "/seen").close())
"""


@pytest.mark.parametrize("script", DROPPED.values(), ids=DROPPED.keys())
def test_what_is_dropped_without_a_word_closes(server: Server, script: str) -> None:
    """The garbage collector closes it, while the process lives, and without a warning."""
    server.script = _stall_after_one_and_tell
    holds(server, f"{SEEN}{script}asyncio.run(close_seen())\n" if "close_seen" not in script else SEEN + script)


OPEN_AT_THE_END = {
    "an iterator": "iterator = iter(text); next(iterator)",
    "an iterator of a merge": "iterator = iter(as_stream(rx.merge(text, text))); next(iterator)",
    "an iterator in a cycle": "cycle = [iter(text)]; next(cycle[0]); cycle.append(cycle)",
    "an iterator of a pipeline with share": "iterator = iter(text.pipe(rxops.share())); next(iterator)",
    "in another thread": """
import threading
first = threading.Event()
def consume():
    for _ in text: first.set()
threading.Thread(target=consume, daemon=True).start()
first.wait()
""",
    "an asynchronous iterator": """
async def begin():
    global kept
    kept = aiter(text); await anext(kept)
asyncio.run(begin())
""",
    "a task": """
async def begin():
    first = asyncio.Event()
    async def consume():
        async for _ in text: first.set()
    global kept
    kept = asyncio.ensure_future(consume()); await first.wait()
asyncio.run(begin())
""",
    "a subscription on an event loop": """
from reactivex.scheduler.eventloop import AsyncIOScheduler
async def begin():
    first = asyncio.Event()
    text.subscribe(lambda _: first.set(), scheduler=AsyncIOScheduler(asyncio.get_running_loop())); await first.wait()
asyncio.run(begin())
""",
}


@pytest.mark.parametrize("script", OPEN_AT_THE_END.values(), ids=OPEN_AT_THE_END.keys())
def test_what_is_open_when_the_process_ends_closes_with_it(server: Server, script: str) -> None:
    """Whoever pulls holds no process back, and is no reason for a warning."""
    server.script = _stall_after_one_and_tell
    holds(server, script)
    assert server.next_closed() in (1, 2)  # of two, either may go first


async def _stall_after_one_and_tell(answering: Answering) -> None:
    """One chunk, and then nothing until the client goes; who asks to see it, gets an answer when one has gone."""
    if answering.method == "GET":
        await asyncio.to_thread(answering.server.next_closed)
        await answering.json_answer(200, {}, connection="close")
        answering.hang_up()
    else:
        await answering.start()
        await answering.event(chunk("one"))
        await answering.closed()


# -- forks

FORKING = {
    "between requests": """
first = list(text)
waiting = stream.subscribe(lambda _: None)  # the parent's worker is none of the child's
child = os.fork()
if child == 0:
    sys.exit(0 if list(text) == first else 1)  # through the hook that waits for workers
ended(child)
assert list(text) == first
""",
    "with a stream open": """
iterator = iter(text)
kept = [next(iterator)]
child = os.fork()
if child == 0:
    ends_well = list(text) == whole
    iterator.close()  # the child's; the parent has the connection still
    sys.exit(0 if ends_well else 1)
ended(child)
assert list(text) == whole
assert kept + list(iterator) == whole
""",
    "with a stream open in another thread": """
import threading
first, done, kept = threading.Event(), threading.Event(), []
subscription = text.subscribe(lambda item: (kept.append(item), first.set()), on_completed=done.set)
assert first.wait(20)
child = os.fork()
if child == 0:
    subscription.dispose()  # likewise
    sys.exit(0 if list(text) == whole else 1)
ended(child)
assert list(text) == whole
assert done.wait(20) and kept == whole
""",
    "with a stream open on an event loop": """
async def main():
    iterator = aiter(text)
    kept = [await anext(iterator)]
    child = os.fork()
    if child == 0:
        os._exit(0 if list(text) == whole else 1)
    ended(child)
    assert await stream.pipe(ops.accumulate_text()) == "Hello world"
    assert kept + [item async for item in iterator] == whole
asyncio.run(main())
""",
}

MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
iterator = iter(text)
kept = [next(iterator)]
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[2])) as processes:
    asked = processes.submit(completion, "gpt-4", messages, api_base=sys.argv[1], api_key="sk-secret")
    assert asked.result().choices[0].message.content == "Hello world"
assert list(text) == whole
assert kept + list(iterator) == whole
"""


async def _first_after_the_third(answering: Answering) -> None:
    """The first request gets the rest of its answer once the third has come: one of the parent's, after the child."""
    await answering.start()
    await answering.event(chunk("Hel"))
    if answering.number == 1:
        await asyncio.to_thread(answering.server.next_event)
    await answering.last(chunk("lo"), chunk(" wor"), chunk("ld"), chunk(finish="stop"), "[DONE]")
    if answering.number == 3:
        answering.server.events.put("the third")


FORKED = """
import os, warnings
warnings.simplefilter("ignore")  # later Pythons warn of every fork beside a thread
whole = ["Hel", "lo", " wor", "ld"]
def ended(child): assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("shape", FORKING)
def test_after_a_fork_both_sides_go_on(server: Server, shape: str) -> None:
    """The child neither uses nor closes the parent's sockets, nor waits for its subscriptions."""
    if shape != "between requests":
        server.script = _first_after_the_third
    _ends_well(run(FORKED + FORKING[shape], server))


@pytest.mark.parametrize("context", multiprocessing.get_all_start_methods())
def test_multiprocessing(server: Server, context: str) -> None:
    """In whatever way a process is started, it asks by itself, and the parent's open stream goes on."""
    server.script = _first_after_the_third
    _ends_well(run(FORKED + MULTIPROCESSING, server, arguments=[context]))


LEFT_RUNNING = """
import threading
from rxllm.types import ModelResponseStream as Chunk
began, go_on = threading.Event(), threading.Event()
def poll(seconds: float) -> None:
    began.set()
    for _ in range(10_000_000):
        if go_on.wait(0.0005):
            break
call = {"index": 0, "id": "call_1", "function": {"name": "poll", "arguments": '{"seconds": 1}'}}
chunks = [Chunk.of(tool_calls=[call]), Chunk.of("one"), Chunk.of("two")]
for chunk in as_stream(chunks).pipe(ops.run_tools([poll], send=print, messages=[])):
    if chunk.choices[0].delta.content == "two":
        break
assert began.wait(20)
print("left")
"""


def test_a_tool_that_still_runs_does_not_break_the_end_of_the_process(server: Server) -> None:
    """It ends with the process, which ends well."""
    process = run(LEFT_RUNNING, server)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err) == ("left\n", "")
    assert process.returncode == 0
