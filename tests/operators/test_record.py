"""record: a file that a crash cannot take much of, and that holds no key."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm.exceptions import AuthenticationError, RateLimitError
from tests.consume import WAYS
from tests.operators.sources import asked, collect, failure, never_subscribed, of, reported
from tests.server import PATIENCE, Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]


def lines_of(path: Path) -> list[Any]:
    """Each line of a file, which is whole."""
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def recorded(path: Path, *messages: Any, disposed: float = 1000) -> list[Any]:
    """The lines after the first that a source on virtual time leaves."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(*messages)
    scheduler.start(lambda: source.pipe(ops.record(path)), disposed=disposed)
    return lines_of(path)[1:]


def test_chunks_with_their_times_and_the_end(tmp_path: Path) -> None:
    """In seconds since the subscription; usage that nobody sees is there as well."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    lines = recorded(tmp_path / "a.jsonl", on_next(15, of("Hel")), on_next(22, reported(**usage)), on_completed(30))
    assert lines == [
        {"at": 15.0, "chunk": {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]}},
        {"at": 22.0, "chunk": {"reported_usage": usage}},
        {"at": 30.0, "end": "completed"},
    ]


def test_an_error_and_a_consumer_who_leaves(tmp_path: Path) -> None:
    """The last line tells of it."""
    error = RateLimitError("Slow down", status_code=429, headers={"retry-after": "3", "set-cookie": "secret"})
    lines = recorded(tmp_path / "a.jsonl", on_error(2, error))
    assert lines == [
        {
            "at": 2.0,
            "error": {
                "class": "RateLimitError",
                "message": "Slow down",
                "status_code": 429,
                "headers": {"retry-after": "3"},
            },
        }
    ]
    lines = recorded(tmp_path / "b.jsonl", on_next(1, of("Hel")), on_completed(300), disposed=210)
    assert lines[-1] == {"at": 10.0, "end": "left"}


def test_each_line_is_there_before_its_chunk_goes_down(tmp_path: Path) -> None:
    """Whoever looks at the file meanwhile finds all that came."""
    path = tmp_path / "a.jsonl"
    source: rx.Subject[ModelResponseStream] = rx.Subject()
    counts: list[int] = []
    source.pipe(ops.record(path)).subscribe(lambda _: counts.append(len(lines_of(path))))
    assert len(lines_of(path)) == 1
    for _ in range(3):
        source.on_next(of("Hel"))
    assert counts == [2, 3, 4]


def test_the_request_without_its_secrets(tmp_path: Path) -> None:
    """The model, the messages and the parameters, of which those that look like a key are hidden."""
    path = tmp_path / "a.jsonl"
    tools = [{"type": "mcp", "server_url": "https://mcp.example", "authorization": "tok_1234567890"}]
    source: Observable[ModelResponseStream] = asked(
        rx.of(of("Hel")), params={"tools": tools, "n": 1, "shape": RateLimitError}
    )
    collect(source.pipe(ops.record(path)))
    (first, *_) = lines_of(path)
    assert first["rxllm_recording"] == 1
    assert first["request"]["model"] == "openai/gpt-4o"
    assert first["request"]["messages"] == [{"role": "user", "content": "Hi"}]
    assert first["request"]["params"]["tools"] == [tools[0] | {"authorization": "***"}]
    assert "RateLimitError" in first["request"]["params"]["shape"]


def test_the_key_is_nowhere(server: Server, ask: Ask, tmp_path: Path) -> None:
    """Nor where the server echoes it in its error."""

    async def script(answering: Answering) -> None:
        await answering.json_answer(401, {"error": {"message": "Incorrect key: sk-secret-key"}})

    server.script = script
    path = tmp_path / "a.jsonl"
    with pytest.raises(AuthenticationError):
        list(ask(extra_headers={"authorization-2": "Bearer other-secret"}).pipe(ops.record(path)))
    assert "secret" not in path.read_text()
    assert "AuthenticationError" in path.read_text()


def test_two_subscriptions_never_share_a_file(tmp_path: Path) -> None:
    """The second one to a file fails before anything is sent; a folder has one for each."""
    operator = ops.record(tmp_path / "a.jsonl")
    collect(rx.of(of("Hel")).pipe(operator))
    before = (tmp_path / "a.jsonl").read_bytes()
    _, error = failure(never_subscribed().pipe(operator))
    assert isinstance(error, FileExistsError)
    assert "a.jsonl" in str(error)
    assert (tmp_path / "a.jsonl").read_bytes() == before
    folder = tmp_path / "recordings"
    folder.mkdir()
    for _ in range(3):
        collect(rx.of(of("Hel")).pipe(ops.record(str(folder))))
    assert len(list(folder.iterdir())) == 3


def test_a_file_that_cannot_be_made_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    """There is no such folder."""
    _, error = failure(never_subscribed().pipe(ops.record(tmp_path / "none" / "a.jsonl")))
    assert isinstance(error, FileNotFoundError)


FULL = """
import resource, signal, sys
import reactivex as rx
from reactivex.disposable import Disposable
from rxllm import ModelResponseStream, operators as ops

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
observers = []


def subscribe(observer, scheduler=None):
    observers.append(observer)
    return Disposable(lambda: print("cancelled"))


def on_error(error):
    print(type(error).__name__, error.errno)


rx.create(subscribe).pipe(ops.record(sys.argv[1])).subscribe(on_error=on_error)
for _ in range(100):
    observers[0].on_next(ModelResponseStream.of("Hello"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on the size of files")
def test_a_full_disk_cancels_the_request(tmp_path: Path) -> None:
    """What cannot be recorded is not paid for: first of all the request is cancelled."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.jsonl")],
        check=True,
        timeout=PATIENCE * 3,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"cancelled\nOSError {errno.EFBIG}\n"


def test_a_path_is_checked_when_the_operator_is_made() -> None:
    """No stream has to run to learn that an argument is wrong."""
    wrong: Any = 7
    with pytest.raises(TypeError):
        ops.record(wrong)


CRASH = """
import os, sys
import reactivex as rx
from rxllm import ModelResponseStream, operators as ops

source = rx.Subject()
source.pipe(ops.record(sys.argv[1])).subscribe()
for number in range(100):
    source.on_next(ModelResponseStream.of(str(number)))
os._exit(1)
"""


def test_a_process_that_dies_has_written_what_came(tmp_path: Path) -> None:
    """Nothing waits in a buffer."""
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False, timeout=PATIENCE * 3)
    assert done.returncode == 1
    assert [line["chunk"]["choices"][0]["delta"]["content"] for line in lines_of(path)[1:]] == [
        str(number) for number in range(100)
    ]


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_a_real_stream(ask: Ask, tmp_path: Path, consume: Callable[[Stream[Any]], list[Any]]) -> None:
    """The chunks pass unchanged, and the file ends with its end."""
    path = tmp_path / "a.jsonl"
    assert texts(consume(ask().pipe(ops.record(path)))) == ["Hel", "lo", " wor", "ld"]
    assert lines_of(path)[-1]["end"] == "completed"


def test_a_break_closes_the_request_and_the_file(server: Server, ask: Ask, tmp_path: Path) -> None:
    """The last line says that the consumer has left."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.closed()

    server.script = script
    path = tmp_path / "a.jsonl"
    for _ in ask().pipe(ops.record(path)):
        break
    assert server.next_closed() == 1
    assert lines_of(path)[-1]["end"] == "left"
