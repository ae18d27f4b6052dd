"""``--timeline FILE``: the picture of when the chunks came, and what keeps it from being drawn."""

import signal
from pathlib import Path

import pytest

from rxllm.cli import main
from tests.cli.running import ROOT, Inside, run, start
from tests.server import PATIENCE, Answering, Server, chunk

BEGINNINGS = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_picture_is_of_the_kind_that_its_name_says(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the three, drawn in the end, beside the same output."""
    monkeypatch.setattr("sys.stdin", None)
    picture = tmp_path / f"out{kind}"
    assert main(["chat", "-m", "sim/echo", "Hello there", "--timeline", str(picture)]) == 0
    assert capsys.readouterr().out == "Hello there\n"
    assert picture.read_bytes().lstrip().startswith((BEGINNINGS[kind], b"<svg"))


def test_picture_of_several_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``compare`` draws all in one, one that failed at once too."""
    monkeypatch.setattr("sys.stdin", None)
    picture = tmp_path / "out.svg"
    asked = ["-m", "sim/echo", "-m", "sim/echo", "-m", "sim/novel"]
    assert main(["compare", "Hello there", *asked, "--timeline", str(picture)]) == 1
    text = picture.read_text()
    assert "sim/echo #2" in text
    assert "sim/novel" in text


@pytest.mark.parametrize("how", ["error", "Ctrl-C"])
def test_picture_is_drawn_however_it_ends(how: str, server: Server, tmp_path: Path) -> None:
    """After an error and after Ctrl-C, with the exit code that these have."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("so far"))
        if how == "error":
            answering.hang_up()
        else:
            await answering.closed()

    server.script = answer
    picture = tmp_path / "out.svg"
    process = start(
        *("chat", "--api-base", server.url, "Hi", "--timeline", str(picture)), OPENAI_API_KEY="sk-secret-key"
    )
    assert process.stdout is not None
    assert process.stdout.read(6) == b"so far"
    assert not picture.exists()
    if how == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1 if how == "error" else 130, b"\n")
    assert err.count(b"\n") == 1
    assert "</svg>" in picture.read_text()


@pytest.mark.parametrize("command", [["chat", "Hi"], ["compare", "Hi", "-m", "sim/echo"], ["replay", "hello.jsonl"]])
def test_name_of_another_kind_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything is asked or read."""
    assert main([*command, "--timeline", "out.gif"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "out.gif is no picture: its name ends in .svg, .png, .pdf" in err


def test_file_that_cannot_be_written_is_refused(inside: Inside, server: Server, tmp_path: Path) -> None:
    """Exit code 2, and nothing has been sent."""
    picture = tmp_path / "nowhere" / "out.svg"
    ran = inside("chat", "--api-base", server.url, "Hi", "--timeline", str(picture), OPENAI_API_KEY="sk-secret-key")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "No such file" in ran.stderr
    assert server.requests == []


def test_missing_extra_is_told(server: Server, tmp_path: Path) -> None:
    """Where matplotlib cannot be imported, one line names the extra; nothing has been sent, and no file is made."""
    shadow = tmp_path / "shadow" / "matplotlib"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('matplotlib is not here')\n")
    picture = tmp_path / "out.svg"
    ran = run(
        *("chat", "--api-base", server.url, "Hi", "--timeline", str(picture)),
        OPENAI_API_KEY="sk-secret-key",
        PYTHONPATH=f"{shadow.parent}:{ROOT}",
    )
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "--timeline needs an extra: pip install 'rxllm[notebook]'" in ran.stderr
    assert server.requests == []
    assert not picture.exists()
