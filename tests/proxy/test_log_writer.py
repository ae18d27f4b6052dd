"""The log of the server, on a pipe that is read late or never."""

import logging
import os
from collections.abc import Iterator

import pytest

from rxllm.proxy._log_writer import LogWriter

_LINE = "x" * 999


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The end to read from, and the one to write to."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def _log(writer: LogWriter, line: str) -> None:
    writer.handle(logging.LogRecord("any", logging.INFO, "", 0, line, (), None))


def _read(descriptor: int) -> list[str]:
    """What has been written by now."""
    os.set_blocking(descriptor, False)
    received = b""
    try:
        while data := os.read(descriptor, 1 << 20):
            received += data
    except BlockingIOError:
        pass
    return received.decode().splitlines()


def test_a_line_a_record(pipe: tuple[int, int]) -> None:
    """All has been written once it is closed, a traceback too."""
    writer = LogWriter(pipe[1])
    _log(writer, "one")
    error = LookupError("two")
    writer.handle(logging.LogRecord("any", logging.ERROR, "", 0, "failed", (), (type(error), error, None)))
    _log(writer, "half a pair: \ud83d")
    writer.close()
    lines = _read(pipe[0])
    assert lines[:2] == ["one", "failed"]
    assert "LookupError: two" in lines
    assert lines[-1] == "half a pair: \\ud83d"


def test_what_nobody_reads_holds_up_nobody(pipe: tuple[int, int]) -> None:
    """Many times what a pipe takes is logged at once; what is too much for that is counted, and told in its place."""
    writer = LogWriter(pipe[1], most=10)
    for _ in range(1000):
        _log(writer, _LINE)
    lines: list[str] = []
    while len(lines) < 10:  # the lines that the pipe had taken, and makes room for others
        lines += [os.read(pipe[0], 1000).decode().rstrip()]
    while "lost_lines" not in lines[-1]:
        _log(writer, _LINE)
        lines += [os.read(pipe[0], 1000).split(b"\n")[0].decode()]
    assert set(lines[:-1]) == {_LINE}
    writer.close()


def test_a_reader_that_has_gone() -> None:
    """It is written to no more, and what is logged goes on."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing, most=5)
    for _ in range(100):
        _log(writer, _LINE)
    writer.close()
    os.close(writing)


def test_closing_does_not_wait_for_a_reader(pipe: tuple[int, int]) -> None:
    """What a pipe is too full for at the end is lost."""
    writer = LogWriter(pipe[1], most=100)
    for _ in range(200):
        _log(writer, _LINE)
    writer.close()
    writer.close()
    assert os.read(pipe[0], 1000).decode() == f"{_LINE}\n"
