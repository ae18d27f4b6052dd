"""``rxllm replay``: a recording is shown as ``rxllm chat`` showed it."""

import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import reactivex as rx

import rxllm
from rxllm import Stream, as_stream
from rxllm import operators as ops
from rxllm.cli import main
from rxllm.exceptions import APIError, RateLimitError
from rxllm.types import ModelResponseStream
from tests.cli.running import FIGURES, Inside, assert_matches, run, shell, start
from tests.server import PATIENCE


def recorded(path: Path, chunks: "Stream[ModelResponseStream]") -> Path:
    """A recording of these chunks."""
    with suppress(APIError, KeyError):
        chunks.pipe(ops.record(path)).run()
    return path


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A recording of ``sim/echo``."""
    prompt = [{"role": "user", "content": "Hello there"}]
    path = tmp_path / "hello.jsonl"
    rxllm.completion("sim/echo", prompt, stream=True, extra_body={"delay": 0}).pipe(ops.record(path)).run()
    return path


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_replay_shows_what_chat_showed(tmp_path: Path, arguments: list[str]) -> None:
    """The same on standard output, to the byte, and figures of the same form."""
    path = tmp_path / "hello.jsonl"
    chat = run("chat", "-m", "sim/echo", "Hello there", "--record", str(path), *arguments)
    again = run("replay", str(path), *arguments)
    assert (again.returncode, again.stdout) == (chat.returncode, chat.stdout)
    for ran in (chat, again):
        assert_matches(FIGURES + "stop\n", ran.stderr)


def test_recording_is_never_overwritten(inside: Inside, hello: Path) -> None:
    """``chat --record`` to a file that is there is an error in one line; nothing is asked."""
    before = hello.read_bytes()
    ran = inside("chat", "-m", "sim/echo", "Something else", "--record", str(hello))
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert "File exists" in ran.stderr
    assert hello.read_bytes() == before


def test_recorded_error_is_told_as_chat_tells_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What came before it, its line on standard error, and exit code 1."""
    failing = as_stream([ModelResponseStream.of("half of")]) + rx.throw(RateLimitError("Slow\ndown"))
    assert main(["replay", str(recorded(tmp_path / "failed.jsonl", failing))]) == 1
    assert capsys.readouterr() == ("half of\n", "rxllm: RateLimitError: Slow down\n")


def test_recorded_error_of_another_kind_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of a program's own, too, is a line and no traceback."""
    failing = as_stream([ModelResponseStream.of("half of")]) + rx.throw(KeyError("x"))
    assert main(["replay", str(recorded(tmp_path / "failed.jsonl", failing))]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("half of\n", "rxllm: RuntimeError: KeyError: 'x'\n")


def test_recording_without_its_end_is_told(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that breaks off gives what it has, and is an error."""
    lines = hello.read_bytes().splitlines(keepends=True)
    hello.write_bytes(b"".join(lines[:3]) + lines[3][:10])
    assert main(["replay", str(hello), "--speed", "0"]) == 1
    out, err = capsys.readouterr()
    assert out == "Hello\n"
    assert err.startswith("rxllm: IncompleteStreamError: ")


def test_line_that_is_none_is_told(hello: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which line, and why, and exit code 1."""
    lines = hello.read_bytes().splitlines(keepends=True)
    hello.write_bytes(b"".join(lines[:3]) + b'{"at": 0}\n')
    assert main(["replay", str(hello)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("Hello\n", 1)
    assert "line 4: it is neither a chunk nor an end" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-file.jsonl"], "No such file"),
        (["text.txt"], "it is not the beginning of a recording"),
        (["text.txt", "--speed", "fast"], "invalid float value: 'fast'"),
        (["hello.jsonl", "--speed", "-1"], "speed is a number, 0 or more"),
        (["hello.jsonl", "--speed", "nan"], "speed is a number, 0 or more"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str],
    reason: str,
    hello: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line that says what is wrong and where help is, and nothing on standard output."""
    monkeypatch.chdir(hello.parent)
    Path("text.txt").write_text('{"a": 1}\n')
    assert main(["replay", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err
    assert "rxllm replay --help" in err


def slow(path: Path) -> Path:
    """A recording of two pieces, an hour apart."""
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("first\n", "second")]
    lines = [{"rxllm_recording": 1}, {"at": 0.0, "chunk": pieces[0]}, {"at": 3600.0, "chunk": pieces[1]}]
    lines += [{"at": 3600.0, "end": "completed"}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_speed_is_the_recorded_one_unless_said_otherwise(tmp_path: Path) -> None:
    """At 0 all comes at once; else what comes later waits, and Ctrl-C ends that as it ends ``chat``."""
    path = slow(tmp_path / "slow.jsonl")
    assert run("replay", str(path), "--speed", "0").stdout == "first\nsecond\n"
    process = start("replay", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, b"")
    assert err.startswith(b"1 chunk, ")
    assert err.count(b"\n") == 1


def test_ctrl_c_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    """Not even a timer that nobody can cancel any more, for which the process would wait at its end."""
    script = """
import sys
import reactivex
from rxllm import as_stream
from rxllm.cli import main

as_stream(reactivex.timer(3600)).subscribe()
sys.exit(main(sys.argv[1:]))
"""
    process = start("replay", str(slow(tmp_path / "slow.jsonl")), program=("-c", script))
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def test_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """``rxllm replay FILE | head -1`` comes to an end by itself, and nothing is said about it."""
    pieces = [{"choices": [{"index": 0, "delta": {"content": f"{number}\n" * 1000}}]} for number in range(1000)]
    lines = [
        {"rxllm_recording": 1},
        *({"at": 0.0, "chunk": piece} for piece in pieces),
        {"at": 0.0, "end": "completed"},
    ]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ran = shell(f"{{ rxllm replay '{path}'; echo $? >&2; }} | head -n 1")
    assert (ran.stdout, ran.stderr) == ("0\n", "141\n")
