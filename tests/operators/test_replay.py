"""replay: the recorded stream again, at its pace and with its end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops
from rxllm._recording import RecordingReader
from rxllm.exceptions import APIError, IncompleteStreamError, RateLimitError, Timeout
from rxllm.types import ChatCompletionMessageToolCall, ToolResult, Usage
from tests.consume import WAYS
from tests.operators.cases.resilience import bare
from tests.operators.sources import asked, call_piece, calling, collect, notifications, of, reported
from tests.server import Answering, Server, chunk, texts

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
Ask = Callable[..., Stream[ModelResponseStream]]
CHUNKS = [
    of("", role="assistant"),
    of("Hel\ud83d"),
    of("lo", index=1, reasoning_content="Hm"),
    calling(call_piece('{"x"', index=0, id="a", name="f")),
    ModelResponseStream.restarting("the connection broke"),
    ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(id="a"), content="18 degrees")),
    ModelResponseStream.model_validate({"id": "1", "choices": [], "obfuscation": "xyz", "usage": {"total_tokens": 3}}),
    reported(prompt_tokens=1, completion_tokens=2, total_tokens=3),
    of(finish_reason="stop"),
]


def made(path: Path, *messages: Any, disposed: float = 1000) -> Path:
    """A recording of these, made on virtual time."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_cold_observable(*messages)
    scheduler.start(lambda: source.pipe(ops.record(path)), disposed=disposed)
    return path


def replayed(path: Path, **options: Any) -> list[Any]:
    """What comes of a recording on virtual time."""
    scheduler = TestScheduler()
    result = scheduler.start(lambda: bare(ops.replay(path, **options)))
    return notifications(result.messages)


def test_every_chunk_is_what_it_was(tmp_path: Path) -> None:
    """Its unknown fields, markers and hidden usage too."""
    path = made(tmp_path / "a.jsonl", *(on_next(n, each) for n, each in enumerate(CHUNKS, 1)), on_completed(20))
    again = list(ops.replay(path, speed=0))
    assert again == CHUNKS
    assert again[7].reported_usage == Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    assert [each.restart for each in again] == [each.restart for each in CHUNKS]
    result = again[5].tool_result
    assert result is not None
    assert result.message == {"role": "tool", "tool_call_id": "a", "content": "18 degrees"}
    assert again[6].choices[0].delta.content is None
    assert [each.model_fields_set for each in again] == [each.model_fields_set for each in CHUNKS]


@given(texts_=st.lists(st.text(st.characters()), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(tmp_path: Path, texts_: list[str]) -> None:
    """New lines, halves of pairs and whatever else."""
    path = tmp_path / "a.jsonl"
    path.unlink(missing_ok=True)
    collect(rx.of(*(of(text) for text in texts_)).pipe(ops.record(path)))
    assert list(ops.replay(path, speed=0)) == [of(text) for text in texts_]


@pytest.mark.parametrize(("speed", "times"), [(1, [210, 240, 300]), (2, [205, 220, 250]), (0.5, [220, 280, 400])])
def test_the_pace_is_the_recorded_one(tmp_path: Path, speed: float, times: list[int]) -> None:
    """Scaled as asked."""
    path = made(tmp_path / "a.jsonl", on_next(10, of("Hel")), on_next(40, of("lo")), on_completed(100))
    out = replayed(path, speed=speed)
    assert [(round(time), kind) for time, kind, _ in out] == list(zip(times, "NNC", strict=True))


@pytest.mark.parametrize("speed", [0, float("inf")])
def test_at_once(tmp_path: Path, speed: float) -> None:
    """Without any wait."""
    path = made(tmp_path / "a.jsonl", on_next(10, of("Hel")), on_next(400, of("lo")), on_completed(500))
    out = replayed(path, speed=speed)
    assert [kind for _, kind, _ in out] == ["N", "N", "C"]
    assert out[-1][0] < 205


def test_errors_are_what_they_were(tmp_path: Path) -> None:
    """Their class and what they hold; another library's is told of."""
    limit = RateLimitError(
        "Slow down", status_code=429, model="gpt-4", code="tokens", body={"error": 1}, headers={"retry-after": "3"}
    )
    limit.usage = Usage(total_tokens=3)
    limit.add_note("Before it failed another")
    again = failure_of(made(tmp_path / "a.jsonl", on_next(10, of("Hel")), on_error(20, limit)))
    assert type(again) is RateLimitError
    assert {**again.__dict__} == {**limit.__dict__}
    late = Timeout("late")
    late.bound, late.seconds, late.chunks = "idle", 3.0, 7
    again = failure_of(made(tmp_path / "b.jsonl", on_error(20, late)))
    assert isinstance(again, Timeout)
    assert (again.bound, again.seconds, again.chunks) == ("idle", 3.0, 7)
    again = failure_of(made(tmp_path / "c.jsonl", on_error(20, LookupError("no such"))))
    assert type(again) is RuntimeError
    assert str(again) == "LookupError: no such"


def failure_of(path: Path) -> Exception:
    """What a recording ends with."""
    with pytest.raises((APIError, RuntimeError, ValueError)) as raised:
        list(ops.replay(path, speed=0))
    return raised.value


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_a_file_that_is_cut_off_gives_what_came(tmp_path: Path, cut: int) -> None:
    """Wherever it is cut: whole lines, and then an error, for it is no whole answer."""
    path = made(tmp_path / "a.jsonl", on_next(10, of("Hel")), on_next(20, of("lo")), on_completed(30))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    lines = whole[:-cut].count(b"\n")
    got: list[Any] = []
    with pytest.raises(IncompleteStreamError, match=rf"breaks off after line {lines}"):
        for each in ops.replay(path, speed=0):
            got.append(each)  # noqa: PERF402  those before the error
    assert got == [of("Hel"), of("lo")][: lines - 1]


def test_a_consumer_who_had_left_leaves_no_whole_answer(tmp_path: Path) -> None:
    """What came, then an error, which can be told from that of a file that breaks off."""
    path = made(tmp_path / "a.jsonl", on_next(10, of("Hel")), on_completed(300), disposed=250)
    error = failure_of(path)
    assert isinstance(error, IncompleteStreamError)
    assert error.code == "left"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    error = failure_of(path)
    assert isinstance(error, IncompleteStreamError)
    assert error.code == "abandoned"
    path = made(tmp_path / "b.jsonl", on_next(10, of("Hel")), on_error(20, IncompleteStreamError("It broke off")))
    error = failure_of(path)
    assert isinstance(error, IncompleteStreamError)
    assert (str(error), error.code) == ("It broke off", None)


def test_a_reader_says_how_a_recording_ended(tmp_path: Path) -> None:
    """Left, whole, failed, or not at all, which are four."""
    ends: list[tuple[Any, bool]] = []
    left = made(tmp_path / "left.jsonl", on_next(10, of("Hel")), on_completed(300), disposed=250)
    whole = made(tmp_path / "whole.jsonl", on_completed(20))
    failed = made(tmp_path / "failed.jsonl", on_error(20, IncompleteStreamError("No end", code="left")))
    cut_off = made(tmp_path / "cut off.jsonl", on_completed(20))
    cut_off.write_bytes(cut_off.read_bytes()[:-2])
    for path in (left, whole, failed, cut_off):
        reader = RecordingReader(path)
        while isinstance(end := reader.next()[1], ModelResponseStream):
            pass
        reader.close()
        ends.append((getattr(end, "code", None), reader.left))
    assert ends == [("left", True), (None, False), ("left", False), ("abandoned", False)]


HEAD = {"rxllm_recording": 1, "request": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: it is not the beginning"),
        ("hello\n", "line 1: "),
        ("[1]\n", "line 1: it is no object"),
        ('{"choices": []}\n', "line 1: it is not the beginning"),
        ('{"rxllm_recording": 2}\n', "version 2"),
        ('{"rxllm_recording": 1, "request": {"nothing": 1}}\n', "line 1: "),
        ("\x00\xff\x80\n", "line 1: "),
    ],
)
def test_a_foreign_file_is_said_to_be_one_at_once(tmp_path: Path, text: str, message: str) -> None:
    """With its name, the line, and why."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as raised:
        ops.replay(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "7",
        "{}",
        '{"at": 1}',
        '{"at": 1, "chunk": 7}',
        '{"at": 1, "chunk": {"choices": 7}}',
        '{"at": 1, "error": 7}',
        '{"at": "x", "chunk": {}}',
    ],
)
def test_a_line_that_is_none_of_a_recording(tmp_path: Path, line: str) -> None:
    """What came before it is given."""
    path = tmp_path / "a.jsonl"
    path.write_text(f'{json.dumps(HEAD)}\n{{"at": 0, "chunk": {{}}}}\n{line}\n{{"at": 1, "end": "completed"}}\n')
    got: list[Any] = []
    with pytest.raises(ValueError, match="line 3: "):
        for each in ops.replay(path, speed=0):
            got.append(each)  # noqa: PERF402  those before the error
    assert len(got) == 1


def test_arguments_are_checked_at_once(tmp_path: Path) -> None:
    """The file too."""
    wrong: Any = "2"
    path = made(tmp_path / "a.jsonl", on_completed(10))
    with pytest.raises(TypeError, match="speed"):
        ops.replay(path, speed=wrong)
    for speed in (-1, float("nan")):
        with pytest.raises(ValueError, match="speed"):
            ops.replay(path, speed=speed)
    with pytest.raises(FileNotFoundError):
        ops.replay(tmp_path / "none.jsonl")


def test_the_request_comes_back(tmp_path: Path) -> None:
    """So that usage can be counted as of the stream itself."""
    path = tmp_path / "a.jsonl"
    source = asked(rx.of(of("Hello"), of(finish_reason="stop")), params={"temperature": 0.5})
    collect(source.pipe(ops.record(path)))
    again = ops.replay(path, speed=0)
    assert again.request is not None
    assert again.request.model == "openai/gpt-4o"
    assert again.request.params == {"temperature": 0.5}
    usage = again.pipe(ops.build_response()).run().usage
    assert usage is not None
    assert usage.prompt_tokens > 0


@pytest.mark.parametrize("consume", WAYS.values(), ids=WAYS)
def test_a_real_stream_recorded_and_replayed(
    server: Server, ask: Ask, tmp_path: Path, consume: Callable[[Stream[Any]], list[Any]]
) -> None:
    """The same chunks, without a server; each consumer reads by itself."""
    path = tmp_path / "a.jsonl"
    once = [each.model_dump() for each in ask().pipe(ops.record(path))]
    requests = len(server.requests)
    for _ in range(2):
        for speed in (1000, 0):
            assert [each.model_dump() for each in consume(ops.replay(path, speed=speed))] == once
    assert len(server.requests) == requests


def test_a_broken_stream_breaks_again(server: Server, ask: Ask, tmp_path: Path) -> None:
    """With its class."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.end()

    server.script = script
    path = tmp_path / "a.jsonl"
    with pytest.raises(IncompleteStreamError):
        list(ask().pipe(ops.record(path)))
    got: list[Any] = []
    with pytest.raises(IncompleteStreamError):
        for each in ops.replay(path, speed=0):
            got.append(each)  # noqa: PERF402  those before the error
    assert texts(got) == ["Hel"]


def test_leaving_closes_the_file(tmp_path: Path) -> None:
    """Warnings of files that nobody closed are errors here."""
    path = made(tmp_path / "a.jsonl", on_next(1, of("Hel")), on_next(2, of("lo")), on_completed(3))
    for each in ops.replay(path, speed=0):
        assert each == of("Hel")
        break
