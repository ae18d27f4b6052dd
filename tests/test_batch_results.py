"""The output of ``rxllm batch``: what a line holds, what a second run finds, and that nothing is lost on the way."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm import BatchResult, ModelResponse
from rxllm._batch_prompts import PromptFile
from rxllm._batch_results import ResultsFile
from rxllm.exceptions import RateLimitError
from rxllm.types import Choices, Message

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the results are."""
    return tmp_path / "out.jsonl"


@pytest.fixture
def prompts(tmp_path: Path) -> PromptFile:
    """A file of five prompts, the last of which has a name."""
    return prompts_in(tmp_path)


def prompts_in(folder: Path, *texts: str, model: str = "sim/echo") -> PromptFile:
    """A file of prompts in that folder."""
    path = folder / "prompts.jsonl"
    lines = [*map(json.dumps, texts or "abcd"), '{"prompt": "e", "id": "the fifth"}']
    path.write_text("\n".join(lines))
    return PromptFile(path, {"model": model})


def answer(text: str) -> ModelResponse:
    """A response."""
    return ModelResponse(id="1", choices=[Choices(message=Message(content=text), finish_reason="stop")], model="echo")


def add(results: ResultsFile, prompts: PromptFile, place: int, *, fails: bool = False) -> None:
    """Appends what came of a prompt."""
    (prompt,) = prompts.read([place])
    if fails:
        error = RateLimitError("Slow down", status_code=429, headers={"retry-after": "1", "set-cookie": "secret"})
        result = BatchResult(0, prompt.arguments, error=error, attempts=3, seconds=1.23456)
    else:
        text = f"answer {prompt.arguments['messages'][0]['content']}"
        result = BatchResult(0, prompt.arguments, response=answer(text), attempts=1, seconds=0.5)
    results.add(prompt, result)


def write(path: Path, prompts: PromptFile, *places: int, failing: tuple[int, ...] = ()) -> None:
    """A run that has results for these prompts."""
    with closing(ResultsFile(path, prompts)) as results:
        results.settle()
        for place in places:
            add(results, prompts, place, fails=place in failing)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """What the lines of the file hold, all of them whole."""
    content = path.read_bytes()
    assert content.endswith(b"\n") or not content
    return [json.loads(line) for line in content.splitlines()]


def settled(path: Path, prompts: PromptFile) -> list[int]:
    """The places of the prompts that have a response, as a second run finds them."""
    with closing(ResultsFile(path, prompts)) as results:
        return [place for place, has in enumerate(results.settle()) if has]


def finish(path: Path, prompts: PromptFile) -> None:
    """A run that asks what is missing; then every prompt has exactly one result, which is its own."""
    with closing(ResultsFile(path, prompts)) as results:
        for place, has in enumerate(results.settle()):
            if not has:
                add(results, prompts, place)
    told = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines_of(path)}
    assert len(lines_of(path)) == len(prompts)
    own = {prompt.custom_id: prompt.arguments["messages"][0]["content"] for prompt in prompts.read(range(len(prompts)))}
    assert told == {custom_id: f"answer {text}" for custom_id, text in own.items()}


def test_a_result_in_the_form_of_openais_batches(path: Path, prompts: PromptFile) -> None:
    """With the response as its body, which can be read back; beside it what a second run and a reader want to know."""
    write(path, prompts, 4, 1)
    first, second = lines_of(path)
    body = first["response"].pop("body")
    assert first == {
        "custom_id": "the fifth",
        "line": 5,
        "request": prompts.fingerprint(4),
        "response": {"status_code": 200, "request_id": None},
        "error": None,
        "attempts": 1,
        "seconds": 0.5,
    }
    assert body["choices"][0]["message"]["content"] == "answer e"
    assert ModelResponse.model_validate(body) == answer("answer e")
    assert (second["custom_id"], second["line"]) == ("line-2", 2)


def test_an_error_is_told_without_what_may_be_secret(path: Path, prompts: PromptFile) -> None:
    """Its class, its words and its status; of the headers those alone that say when to come back."""
    write(path, prompts, 0, failing=(0,))
    (line,) = lines_of(path)
    assert line["response"] is None
    assert line["error"] == {
        "class": "RateLimitError",
        "message": "Slow down",
        "status_code": 429,
        "headers": {"retry-after": "1"},
    }
    assert (line["attempts"], line["seconds"]) == (3, 1.235)
    assert b"secret" not in path.read_bytes()


def test_halves_of_surrogate_pairs_have_a_place(path: Path, tmp_path: Path) -> None:
    """In a prompt, a name and an answer."""
    prompts = prompts_in(tmp_path, "a\ud83d")
    write(path, prompts, 0)
    assert lines_of(path)[0]["response"]["body"]["choices"][0]["message"]["content"] == "answer a\ud83d"
    finish(path, prompts)


def test_what_has_a_response_is_kept_as_it_is(path: Path, prompts: PromptFile) -> None:
    """In its order, byte by byte."""
    write(path, prompts, 3, 0)
    before = path.read_bytes()
    assert settled(path, prompts) == [0, 3]
    assert path.read_bytes() == before
    finish(path, prompts)
    assert path.read_bytes().startswith(before)


def test_what_failed_is_dropped(path: Path, prompts: PromptFile) -> None:
    """It is asked again, and then has one result."""
    write(path, prompts, 0, 1, 2, failing=(0, 2))
    assert settled(path, prompts) == [1]
    assert [line["custom_id"] for line in lines_of(path)] == ["line-2"]
    finish(path, prompts)


def test_a_prompt_that_failed_may_be_mended(path: Path, tmp_path: Path) -> None:
    """Its error is not held against the new one; what has a response stays."""
    write(path, prompts_in(tmp_path, "a", "b"), 0, 1, failing=(1,))
    mended = prompts_in(tmp_path, "a", "better")
    assert settled(path, mended) == [0]
    finish(path, mended)


def test_prompts_may_be_added(path: Path, tmp_path: Path) -> None:
    """The new ones are asked."""
    write(path, prompts_in(tmp_path, "a"), 0, 1)
    grown = prompts_in(tmp_path, "a", "b", "c")
    assert settled(path, grown) == [0, 3]
    finish(path, grown)


def test_a_second_result_of_one_prompt_is_dropped(path: Path, prompts: PromptFile) -> None:
    """As where somebody has put two files together: the first stays."""
    write(path, prompts, 0, 1, 2)
    path.write_bytes(path.read_bytes() * 2)
    assert settled(path, prompts) == [0, 1, 2]
    assert len(lines_of(path)) == 3
    finish(path, prompts)


def test_a_file_cut_off_anywhere(path: Path, prompts: PromptFile) -> None:
    """Wherever a process is killed while it writes: what is whole is kept, and the rest is asked again."""
    write(path, prompts, 2, 0, 1, failing=(0,))
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = [place for place, end in zip((2, 0, 1), ends, strict=True) if end <= cut and place != 0]
        assert settled(path, prompts) == sorted(kept)
        if cut % 97 == 0:
            finish(path, prompts)


@given(
    runs=st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=6), st.integers(0, 3_000)), max_size=5
    )
)
def test_however_often_it_is_killed(tmp_path_factory: pytest.TempPathFactory, runs: list[Any]) -> None:
    """Runs that fail, are cut off and begin again: in the end every prompt has exactly one result."""
    folder = tmp_path_factory.mktemp("killed")
    path, prompts = folder / "out.jsonl", prompts_in(folder)
    for asked, cut in runs:
        with closing(ResultsFile(path, prompts)) as results:
            answered = results.settle()
            for place, fails in asked:
                if not answered[place]:
                    answered[place] = 1
                    add(results, prompts, place, fails=fails)
        content = path.read_bytes()
        path.write_bytes(content[: max(len(content) - cut, 0)])
    finish(path, prompts)


# Kills the process that puts a smaller file in the place of its results: at the call that is named.
KILLED = """
import io, os, pathlib, shutil, signal, sys
from rxllm._batch_prompts import PromptFile
from rxllm._batch_results import ResultsFile
prompts = PromptFile(pathlib.Path(sys.argv[1]), {"model": "sim/echo"})
results = ResultsFile(pathlib.Path(sys.argv[2]), prompts)
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
name = sys.argv[3]
where = {"fsync": os, "copymode": shutil, "replace": pathlib.Path}[name]
if sys.argv[4] == "after":
    call = getattr(where, name)
    setattr(where, name, lambda *given: kill(call(*given)))
else:
    setattr(where, name, kill)
results.settle()
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["fsync", "copymode", "replace"])
def test_killed_while_what_failed_is_dropped(path: Path, prompts: PromptFile, call: str, when: str) -> None:
    """No response is lost, whatever stands in the folder afterwards."""
    write(path, prompts, 0, 1, 2, 3, failing=(1, 2))
    kept = [line for line in path.read_bytes().splitlines() if b'"error":null' in line]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(prompts.path), str(path), call, when], cwd=ROOT, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [line for line in path.read_bytes().splitlines() if b'"error":null' in line] == kept
    assert settled(path, prompts) == [0, 3]
    assert path.read_bytes().splitlines() == kept
    finish(path, prompts)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["out.jsonl", "prompts.jsonl"]


def test_what_cannot_be_put_in_its_place_leaves_it_as_it_is(path: Path, prompts: PromptFile) -> None:
    """Where no other file can be made beside it, the error says so, and nothing is lost."""
    write(path, prompts, 0, 1, failing=(1,))
    before = path.read_bytes()
    path.with_name("out.jsonl.part").mkdir()
    with pytest.raises(IsADirectoryError):
        settled(path, prompts)
    assert path.read_bytes() == before


def test_mode_and_link_stay(path: Path, prompts: PromptFile, tmp_path: Path) -> None:
    """A file that is put in the place of another may be read by the same people, and what is a link stays one."""
    write(path, prompts, 0, 1, failing=(1,))
    path.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    assert settled(link, prompts) == [0]
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(lines_of(path)) == 1


def refused(path: Path, prompts: PromptFile) -> str:
    """Why a file is refused, without its path; it is not changed."""
    before = path.read_bytes()
    with pytest.raises(ValueError) as raised:
        settled(path, prompts)
    assert path.read_bytes() == before
    return str(raised.value).removeprefix(str(path)).lstrip(", ")


def test_results_of_a_changed_prompt_are_refused(path: Path, tmp_path: Path) -> None:
    """Or of another model; the message says which prompt."""
    write(path, prompts_in(tmp_path, "a", "b", "c"), 0, 2, failing=(0,))
    said = refused(path, prompts_in(tmp_path, "a", "b", "C"))
    assert said.startswith("line 2: it is the result of 'line-3', and that prompt (")
    assert "prompts.jsonl, line 3), its model or an option has been changed since" in said
    assert "has been changed since" in refused(path, prompts_in(tmp_path, "a", "b", "c", model="sim/story"))


def test_results_of_another_file_are_refused(path: Path, tmp_path: Path) -> None:
    """A name that no prompt has is none of these prompts'."""
    write(path, prompts_in(tmp_path, "a", "b", "c", "d"), 3)
    assert refused(path, prompts_in(tmp_path, "a", "b")).startswith("line 1: it is the result of 'line-4', which ")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"A letter\n", 1),
        (b"A letter", 1),
        (b"{}\n", 1),
        (b"[]\n", 1),
        (b"5", 1),
        (b'{"custom_id":5,"request":""}\n', 1),
        (b'{"custom_id":"line-1"}\n', 1),
        (b'{"custom_id":"line-1","requ\n', 1),
        (b"\n", 1),
        (b"\xff\xfe\n", 1),
    ],
)
def test_somebody_elses_file_is_refused(path: Path, prompts: PromptFile, content: bytes, line: int) -> None:
    """It is not changed, not even where its last line has no end."""
    path.write_bytes(content)
    assert refused(path, prompts) == f"line {line}: it is no result of rxllm batch: choose another file"


def test_a_broken_line_amid_the_others_is_refused(path: Path, prompts: PromptFile) -> None:
    """Only the last can have been cut off."""
    write(path, prompts, 0, 1)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first[:40] + b"\n" + second)
    assert refused(path, prompts).startswith("line 1: it is no result of rxllm batch")


def test_what_is_no_regular_file_is_refused(prompts: PromptFile, tmp_path: Path) -> None:
    """Nor is the file of prompts itself, nor one in a folder that is not there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path(os.devnull)):
        with pytest.raises(ValueError, match=f"^{path} is no regular file"):
            ResultsFile(path, prompts)
    with pytest.raises(ValueError, match="holds the prompts: the results need a file of their own"):
        ResultsFile(prompts.path, prompts)
    with pytest.raises(ValueError, match=f"cannot be made: there is no folder {tmp_path}/nowhere$"):
        ResultsFile(tmp_path / "nowhere" / "out.jsonl", prompts)


def test_one_process_at_a_time(path: Path, prompts: PromptFile) -> None:
    """A second is refused, also once the first has put another file in the place of its own; not after its end."""
    write(path, prompts, 0, 1, failing=(1,))
    with closing(ResultsFile(path, prompts)) as first:
        with pytest.raises(ValueError, match="is being written by another process"):
            ResultsFile(path, prompts)
        first.settle()
        with pytest.raises(ValueError, match="is being written by another process"):
            ResultsFile(path, prompts)
        add(first, prompts, 2)
    assert settled(path, prompts) == [0, 2]


def test_a_file_that_was_replaced_meanwhile_is_opened_anew(
    path: Path, prompts: PromptFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening and locking, the one that held it may have put another in its place, or taken it away."""
    write(path, prompts, 0)
    steps: list[Callable[[], object]] = [lambda: path.with_name("other").replace(path), path.unlink]
    path.with_name("other").write_bytes(b"")
    lock = ResultsFile._lock  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def late(self: ResultsFile, file: Any) -> None:
        if steps:
            steps.pop(0)()
        lock(self, file)

    monkeypatch.setattr(ResultsFile, "_lock", late)
    with closing(ResultsFile(path, prompts)) as results:
        assert steps == []
        assert list(results.settle()) == [0] * 5
        add(results, prompts, 1)
    assert [line["custom_id"] for line in lines_of(path)] == ["line-2"]


def test_a_line_that_does_not_fit_is_an_error(path: Path, prompts: PromptFile) -> None:
    """Even where half of it does, and it is the last: nothing is thought to be written that is not."""
    write(path, prompts, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(ResultsFile(path, prompts)) as results:
        results.settle()
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
        try:
            with pytest.raises(OSError, match=f"'{path}'"):
                add(results, prompts, 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert settled(path, prompts) == [0]
    finish(path, prompts)


def test_a_disk_that_is_full_leaves_the_file_as_it_was(path: Path, prompts: PromptFile) -> None:
    """Where there is no room to leave out what failed, nothing is changed, and nothing stays beside it."""
    write(path, prompts, 0, 1, 2, failing=(1,))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(ResultsFile(path, prompts)) as results:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 3, hard))
        try:
            with pytest.raises(OSError, match=f"'{path}'"):
                results.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert sorted(it.name for it in path.parent.iterdir()) == ["out.jsonl", "prompts.jsonl"]
    finish(path, prompts)


def test_a_file_that_is_taken_away_is_an_error(path: Path, prompts: PromptFile) -> None:
    """What was written then would be lost."""
    with closing(ResultsFile(path, prompts)) as results:
        results.settle()
        add(results, prompts, 0)
        path.unlink()
        with pytest.raises(OSError, match="has been taken away or replaced"):
            add(results, prompts, 1)


def test_where_there_are_no_locks(path: Path, prompts: PromptFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: all but the keeping apart of processes is the same."""
    monkeypatch.setattr("rxllm._batch_results.fcntl", None)
    write(path, prompts, 0, 1, 2, failing=(1,))
    assert settled(path, prompts) == [0, 2]
    with closing(ResultsFile(path, prompts)), closing(ResultsFile(path, prompts)) as second:
        second.settle()
    finish(path, prompts)
