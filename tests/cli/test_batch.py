"""``rxllm batch``, run as its users run it: killed, stopped, run again, against a real server and real files."""

import json
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from rxllm.cli import main
from tests.cli.running import (
    CTRL_C,
    ROOT,
    assert_matches,
    environment,
    in_terminal,
    run,
    shell,
    start,
    without_escapes,
)
from tests.processes import ended_with_the_test
from tests.server import PATIENCE, Answering, Server

KEY = {"OPENAI_API_KEY": "sk-secret-key"}
SUMMARY = (
    r"(\d+) of (\d+) prompts? ha(?:ve|s) a response: (\d+) new, (\d+) kept from before\n"
    r"(about )?\d+ tokens? in, (about )?\d+ out; \d+\.\d s, \d+\.\d requests/s\n"
)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Where the prompts are."""
    return tmp_path / "prompts.jsonl"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the results go."""
    return tmp_path / "out.jsonl"


def write(path: Path, lines: Iterable[Any]) -> None:
    """A file of these lines of JSON."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def command(prompts: Path, out: Path, server: Server, *more: str) -> list[str]:
    """The arguments that ask a server."""
    return ["batch", str(prompts), "-o", str(out), "-m", "openai/gpt-4", "--api-base", server.url, *more]


def answers(out: Path) -> dict[str, str]:
    """The text of each response, by its name; each name is there once, and nothing has failed."""
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    told = {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}
    assert len(told) == len(lines)
    return told


def said(answering: Answering) -> str:
    """The prompt of a request."""
    return str(answering.json["messages"][-1]["content"])


def counts(summary: str) -> tuple[int, ...]:
    """Responses, prompts, new ones and kept ones, as the summary says."""
    found = re.match(SUMMARY, summary)
    assert found, summary
    return tuple(int(number) for number in found.groups()[:4])


async def echo(answering: Answering) -> None:
    """Answers with the prompt."""
    await answering.stream("You said ", said(answering))


def numbered(count: int) -> dict[str, str]:
    """The answers to so many prompts, each of which is its own number."""
    return {f"line-{number}": f"You said {number}" for number in range(1, count + 1)}


def test_two_thousand_prompts_killed_half_way(server: Server, prompts: Path, out: Path) -> None:
    """After SIGKILL the same command goes on: every prompt has exactly one result, and only what was missing is asked.

    What was under way when the process was killed, at most fifty, is asked twice.
    """
    resumed = False

    async def answer(answering: Answering) -> None:
        if answering.number > 1_500 and not resumed:
            # Whoever is to kill it is late: it must not come to its end before.
            await answering.closed()
            return
        await echo(answering)
        if answering.number == 1_000:
            server.events.put("half-way")

    server.script = answer
    write(prompts, map(str, range(1, 2_001)))
    process = start(*command(prompts, out, server, "--concurrency", "50"), **KEY)
    assert server.next_event() == "half-way"
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    process.communicate()
    before = len(server.requests)
    content = out.read_bytes()
    written = content[: content.rfind(b"\n") + 1].splitlines()
    assert 1_000 - 50 <= len(written) < 2_000

    resumed = True
    ran = run(*command(prompts, out, server, "--concurrency", "50"), **KEY)
    assert (ran.returncode, ran.stdout) == (0, "")
    assert answers(out) == numbered(2_000)
    assert counts(ran.stderr) == (2_000, 2_000, 2_000 - len(written), len(written))
    asked = Counter(map(said, server.requests))
    assert len(server.requests) == before + 2_000 - len(written)
    assert len(asked) == 2_000
    assert max(asked.values()) <= 2
    assert asked.total() - 2_000 <= 50
    kept = {json.loads(line)["custom_id"].removeprefix("line-") for line in written}
    assert kept.isdisjoint(map(said, server.requests[before:]))


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(server: Server, prompts: Path, out: Path, seed: int) -> None:
    """At random places: in the end every prompt has exactly one result."""
    chance = random.Random(seed)
    kill_at = 0

    async def answer(answering: Answering) -> None:
        if answering.number == kill_at:
            server.events.put(answering.number)
        if kill_at and answering.number > kill_at + 8:
            await answering.closed()
        else:
            await echo(answering)

    server.script = answer
    write(prompts, map(str, range(1, 151)))
    arguments = command(prompts, out, server, "--concurrency", "8")
    for _ in range(3):
        kill_at = len(server.requests) + chance.randrange(1, 40)
        process = start(*arguments, **KEY)
        assert server.next_event() == kill_at
        process.kill()
        process.communicate(timeout=PATIENCE)
    kill_at = 0
    ran = run(*arguments, **KEY)
    assert ran.returncode == 0, ran.stderr
    assert answers(out) == numbered(150)
    assert len(server.requests) <= 150 + 3 * 8


def test_ctrl_c_says_what_came_and_how_to_go_on(server: Server, prompts: Path, out: Path) -> None:
    """Exit code 130, the summary, no traceback; what was under way is cancelled, and the same command asks it."""

    async def answer(answering: Answering) -> None:
        if answering.number <= 5 or resumed:
            await echo(answering)
        else:
            server.events.put(answering.number)
            await answering.closed()

    resumed = False
    server.script = answer
    write(prompts, map(str, range(1, 21)))
    process = start(*command(prompts, out, server, "--concurrency", "3", "--json"), **KEY)
    assert {server.next_event() for _ in range(3)} == {6, 7, 8}
    process.send_signal(signal.SIGINT)
    told, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert {server.next_closed() for _ in range(3)} == {6, 7, 8}
    assert_matches(SUMMARY + "interrupted; the same command goes on from here\n", err.decode())
    assert counts(err.decode()) == (5, 20, 5, 0)
    assert json.loads(told)["interrupted"] is True
    resumed = True
    ran = run(*command(prompts, out, server), **KEY)
    assert (ran.returncode, counts(ran.stderr)) == (0, (20, 20, 15, 5))
    assert answers(out) == numbered(20)


def test_sigterm_is_as_ctrl_c(server: Server, prompts: Path, out: Path) -> None:
    """Also where Ctrl-C is ignored, as a shell has it for what runs in the background."""

    async def answer(answering: Answering) -> None:
        if answering.number < 4:
            await echo(answering)
        else:
            server.events.put(answering.number)
            await answering.closed()

    server.script = answer
    write(prompts, map(str, range(1, 21)))
    arguments = shlex.join([sys.executable, "-m", "rxllm", *command(prompts, out, server, "--concurrency", "3")])
    process = ended_with_the_test(
        subprocess.Popen(
            ["/bin/sh", "-c", f"trap '' INT; exec {arguments}"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(**KEY),
        )
    )
    assert {server.next_event() for _ in range(3)} == {4, 5, 6}
    process.send_signal(signal.SIGINT)
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM
    assert {server.next_closed() for _ in range(3)} == {4, 5, 6}
    assert_matches(SUMMARY + "interrupted; the same command goes on from here\n", err.decode())
    assert counts(err.decode()) == (3, 20, 3, 0)
    assert len(answers(out)) == 3


def test_without_a_key_nothing_is_written(prompts: Path, out: Path) -> None:
    """One line says what to set, instead of one for each prompt."""
    write(prompts, map(str, range(1, 21)))
    ran = run("batch", str(prompts), "-o", str(out), "-m", "openai/gpt-4")
    assert (ran.returncode, ran.stdout) == (1, "")
    said, _, summary = ran.stderr.partition("\n")
    assert said.startswith("rxllm: AuthenticationError: ")
    assert "OPENAI_API_KEY" in said
    assert_matches(SUMMARY, summary)
    assert counts(summary) == (0, 20, 0, 0)
    assert out.read_bytes() == b""


def test_so_many_failures_stop_it(server: Server, prompts: Path, out: Path) -> None:
    """With ``--max-failures`` no more is sent than was under way; the same command goes on."""
    broken = True

    async def answer(answering: Answering) -> None:
        if broken and answering.number > 2:
            await answering.json_answer(402, {"error": {"message": "No money left"}})
        else:
            await echo(answering)

    server.script = answer
    write(prompts, map(str, range(1, 31)))
    arguments = command(prompts, out, server, "--concurrency", "2", "--max-failures", "3")
    ran = run(*arguments, **KEY)
    assert ran.returncode == 1
    end = r"3 failed: PaymentRequiredError: No money left\ninterrupted; the same command goes on from here\n"
    assert_matches(SUMMARY + end, ran.stderr)
    assert counts(ran.stderr) == (2, 30, 2, 0)
    assert len(server.requests) <= 2 + 3 + 1
    last = run(*arguments, "--limit", "5", "--json", **KEY)
    assert not json.loads(last.stdout)["interrupted"]  # the third was the last
    broken = False
    assert run(*arguments, **KEY).returncode == 0
    assert answers(out) == numbered(30)


def test_prompts_come_from_a_pipe(server: Server, out: Path) -> None:
    """From standard input, or from one that the shell names; and the same prompts go on where they stopped."""
    server.script = echo
    ask = shlex.join(command(Path("-"), out, server))
    for lines, new in (('"1"\n"2"\n', 2), ('"1"\n"2"\n"3"', 1)):
        ran = run(*shlex.split(ask), given=lines, **KEY)
        assert (ran.returncode, counts(ran.stderr)[2]) == (0, new)
    assert answers(out) == numbered(3)
    wrong = run(*shlex.split(ask), given='"1"\n5\n', **KEY)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "rxllm: standard input, line 2: it is neither a text nor an object\n",
    )
    pipe = out.with_name("pipe")
    os.mkfifo(pipe)
    process = start(*command(pipe, out, server), **KEY)
    with pipe.open("w") as file:
        file.write("".join(f'"{number}"\n' for number in range(1, 6)))
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, counts(err.decode())) == (0, (5, 5, 2, 3))
    assert answers(out) == numbered(5)


def test_more_at_once_than_files_may_be_open(server: Server, prompts: Path, out: Path) -> None:
    """The limit is raised as far as that is allowed; what goes beyond is refused before anything is sent."""
    together = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.number == 100:
            together.open()
        await together.wait()
        await echo(answering)

    server.script = answer
    write(prompts, map(str, range(1, 101)))
    arguments = shlex.join(["rxllm", *command(prompts, out, server, "--concurrency", "100")])
    refused = shell(f"ulimit -n 90; OPENAI_API_KEY=sk-secret-key {arguments}")
    assert refused.returncode == 2
    assert refused.stderr.startswith("rxllm: --concurrency may be 26 at most")
    assert server.requests == []
    ran = shell(f"ulimit -S -n 90; OPENAI_API_KEY=sk-secret-key {arguments}")
    assert ran.returncode == 0, ran.stderr
    assert answers(out) == numbered(100)
    alone = shlex.join(["rxllm", *command(prompts, out, server, "--concurrency", "1")])
    assert shell(f"ulimit -n 60; OPENAI_API_KEY=sk-secret-key {alone}").returncode == 0


def test_parameters_are_part_of_what_is_asked(
    server: Server, capsys: pytest.CaptureFixture[str], prompts: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all prompts that do not say otherwise."""
    monkeypatch.setenv(*next(iter(KEY.items())))
    server.script = echo
    write(prompts, ["1", {"prompt": "2", "top_p": 0.9}])
    ask = command(prompts, out, server, "--concurrency", "1")
    assert main([*ask, "-p", "top_p=0.1"]) == 0
    assert [request.json["top_p"] for request in server.requests] == [0.1, 0.9]
    assert main([*ask, "-p", "top_p=0.2"]) == 2
    assert "an option has been changed since" in capsys.readouterr().err


def test_what_failed_is_asked_again(server: Server, prompts: Path, out: Path) -> None:
    """Exit code 1 and the kinds of errors; the next run asks these alone."""
    broken = {"2": 400, "4": 401, "6": 400}

    async def answer(answering: Answering) -> None:
        if said(answering) in broken:
            await answering.json_answer(broken[said(answering)], {"error": {"message": "No: sk-secret-key is wrong"}})
        else:
            await echo(answering)

    server.script = answer
    write(prompts, map(str, range(1, 9)))
    ran = run(*command(prompts, out, server), **KEY)
    assert ran.returncode == 1
    kinds = r"2 failed: BadRequestError: No: .* is wrong\n1 failed: AuthenticationError: No: .* is wrong\n"
    assert_matches(SUMMARY + kinds + "the same command asks what failed again\n", ran.stderr)
    assert "sk-secret" not in ran.stderr
    assert counts(ran.stderr) == (5, 8, 5, 0)
    failed = [line for line in map(json.loads, out.read_bytes().splitlines()) if line["error"]]
    assert {line["custom_id"]: line["error"]["status_code"] for line in failed} == {
        "line-2": 400,
        "line-4": 401,
        "line-6": 400,
    }
    assert b"sk-secret" not in out.read_bytes()
    broken.clear()
    ran = run(*command(prompts, out, server), **KEY)
    assert (ran.returncode, counts(ran.stderr)) == (0, (8, 8, 3, 5))
    assert sorted(said(request) for request in server.requests[8:]) == ["2", "4", "6"]
    assert answers(out) == numbered(8)
    again = run(*command(prompts, out, server), **KEY)
    assert (again.returncode, counts(again.stderr), len(server.requests)) == (0, (8, 8, 0, 8), 11)


def test_retries_are_as_many_as_said(server: Server, prompts: Path, out: Path) -> None:
    """Before an answer begins, and after."""

    async def answer(answering: Answering) -> None:
        await answering.json_answer(503, {"error": {"message": "Down"}}, retry_after="0")

    server.script = answer
    write(prompts, ["Hi"])
    ran = run(*command(prompts, out, server, "--retries", "1"), **KEY)
    assert (ran.returncode, len(server.requests)) == (1, 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["a", "B"], "line 2: it is the result of 'line-2', and that prompt"),
        (["a"], "line 2: it is the result of 'line-2', which"),
        (["", "b"], 'line 1: its "prompt" is no text'),
    ],
)
def test_other_prompts_are_refused_before_anything_is_sent(
    server: Server, prompts: Path, out: Path, change: list[str], reason: str
) -> None:
    """Exit code 2, a line that says where; the results stay as they are."""
    server.script = echo
    write(prompts, ["a", "b"])
    assert run(*command(prompts, out, server, "--concurrency", "1"), **KEY).returncode == 0
    before = out.read_bytes()
    write(prompts, change)
    ran = run(*command(prompts, out, server), **KEY)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert ran.stderr.startswith("rxllm: ")
    assert reason in ran.stderr
    assert (len(server.requests), out.read_bytes()) == (2, before)


def test_another_model_is_refused_and_another_address_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], prompts: Path, out: Path
) -> None:
    """The model is part of what is asked; where it is, is not."""
    write(prompts, ["a"])
    ask = ["batch", str(prompts), "-o", str(out)]
    assert main([*ask, "-m", "sim/echo"]) == 0
    assert main([*ask, "-m", "sim/echo", "--api-base", "http://127.0.0.1:9/v1"]) == 0
    assert main([*ask, "-m", "sim/echo", "--max-tokens", "5"]) == 2
    assert main([*ask, "-m", "sim/story"]) == 2
    assert "has been changed since" in capsys.readouterr().err


def test_two_at_once_are_kept_apart(server: Server, prompts: Path, out: Path) -> None:
    """The second is refused, and the first goes on."""
    both_there = server.gate()

    async def answer(answering: Answering) -> None:
        server.events.put("asked")
        await both_there.wait()
        await echo(answering)

    server.script = answer
    write(prompts, ["1"])
    process = start(*command(prompts, out, server), **KEY)
    assert server.next_event() == "asked"
    second = run(*command(prompts, out, server), **KEY)
    assert (second.returncode, second.stderr) == (2, f"rxllm: {out} is being written by another process\n")
    both_there.open()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert answers(out) == numbered(1)


def test_prompts_that_are_changed_meanwhile(server: Server, prompts: Path, out: Path) -> None:
    """What was not looked at is not sent: one line, and the summary of what came."""
    changed = server.gate()

    async def answer(answering: Answering) -> None:
        server.events.put("asked")
        await changed.wait()
        await echo(answering)

    server.script = answer
    # Longer than what is read ahead.
    write(prompts, (f"{number} {'word ' * 10_000}" for number in range(20)))
    process = start(*command(prompts, out, server, "--concurrency", "1"), **KEY)
    assert server.next_event() == "asked"
    prompts.write_text("changed\n")
    changed.open()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    pattern = r"rxllm: .*prompts.jsonl, line \d+: the file was changed while its prompts were asked\n" + SUMMARY
    assert_matches(pattern, err.decode())
    assert [*answers(out)] == [f"line-{number}" for number in range(1, len(answers(out)) + 1)]


def test_full_disk_is_one_line(server: Server, prompts: Path, out: Path) -> None:
    """Where no more can be written, it ends; what was written is kept, and the same command goes on."""
    server.script = echo
    write(prompts, map(str, range(1, 31)))
    arguments = command(prompts, out, server, "--concurrency", "2")
    ran = subprocess.run(
        [sys.executable, "-m", "rxllm", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        env=environment(**KEY),
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)),
    )
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert_matches(rf"rxllm: \[Errno \d+\] File too large: '{out}'\n{SUMMARY}", ran.stderr.decode())
    assert out.stat().st_size == 5_000
    again = run(*arguments, **KEY)
    assert again.returncode == 0
    assert counts(again.stderr)[3] > 0
    assert answers(out) == numbered(30)


def test_results_that_are_taken_away(server: Server, prompts: Path, out: Path) -> None:
    """Nothing more is sent whose result would be lost."""
    gone = server.gate()

    async def answer(answering: Answering) -> None:
        server.events.put("asked")
        await gone.wait()
        await echo(answering)

    server.script = answer
    write(prompts, map(str, range(1, 21)))
    process = start(*command(prompts, out, server, "--concurrency", "2"), **KEY)
    assert server.next_event() == "asked"
    out.unlink()
    gone.open()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.decode().startswith(f"rxllm: {out} has been taken away or replaced")
    assert not out.exists()
    assert len(server.requests) <= 4


def wrong(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of wrong arguments or files, for which the exit code is 2, without what all of it begins with."""
    assert main(["batch", *arguments]) == 2
    told, err = capsys.readouterr()
    assert told == ""
    lines = err.splitlines()
    assert all(line.startswith("rxllm: ") for line in lines)
    return "\n".join(line.removeprefix("rxllm: ") for line in lines)


def test_files_that_cannot_be_used(capsys: pytest.CaptureFixture[str], tmp_path: Path, prompts: Path) -> None:
    """One line says which, and why; no file is made."""
    write(prompts, ["a"])
    given, model = str(prompts), ("-m", "sim/echo")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    nowhere = tmp_path / "nowhere"
    assert "no folder" in wrong(capsys, given, "-o", str(nowhere / "out.jsonl"), *model)
    assert "/dev/full is no regular file" in wrong(capsys, given, "-o", "/dev/full", *model)
    assert "pipe is no regular file" in wrong(capsys, given, "-o", str(pipe), *model)
    assert "/dev/zero is no regular file" in wrong(capsys, "/dev/zero", "-o", str(tmp_path / "out"), *model)
    assert "holds the prompts" in wrong(capsys, given, "-o", given, *model)
    assert "No such file" in wrong(capsys, str(nowhere), "-o", str(tmp_path / "out"), *model)
    assert "no model is given" in wrong(capsys, given, "-o", str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "prompts.jsonl"]


def test_every_fault_has_its_line(capsys: pytest.CaptureFixture[str], prompts: Path, out: Path) -> None:
    """The first ten of them, with the file's name and its line, before anything is sent."""
    prompts.write_text('"fine"\n' + "5\n" * 12)
    said = wrong(capsys, str(prompts), "-o", str(out), "-m", "sim/echo").splitlines()
    assert said[:10] == [f"{prompts}, line {number}: it is neither a text nor an object" for number in range(2, 12)]
    assert said[10:] == [f"{prompts}: 2 more lines are no request"]
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [["--concurrency", "0"], ["--concurrency", "many"], ["--retries", "-1"], ["--limit", "0"]]
)
def test_wrong_numbers_are_refused(
    capsys: pytest.CaptureFixture[str], prompts: Path, out: Path, arguments: list[str]
) -> None:
    """In one line, that says where help is."""
    write(prompts, ["a"])
    assert "--help" in wrong(capsys, str(prompts), "-o", str(out), "-m", "sim/echo", *arguments)


def test_lines_of_every_kind(server: Server, prompts: Path, out: Path) -> None:
    """A mark, line ends of either kind, blank lines, half a surrogate pair, ten megabytes: each has its answer.

    Half a pair is sent as U+FFFD: it has no place in UTF-8.
    """
    server.script = echo
    long = "long " * 2_000_000
    lines = [json.dumps(line) for line in ("é", "", {"prompt": "a\ud83d", "id": "half"}, {"prompt": long, "id": 4})]
    lines[1] = "  "
    prompts.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    ran = run(*command(prompts, out, server, "--system", "Be brief"), **KEY)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert answers(out) == {"line-1": "You said é", "half": "You said a\ufffd", "4": f"You said {long}"}
    assert all(request.json["messages"][0]["content"] == "Be brief" for request in server.requests)


def test_limit_asks_the_first_and_the_rest_later(capsys: pytest.CaptureFixture[str], prompts: Path, out: Path) -> None:
    """To try it out; without it the same command goes on."""
    write(prompts, map(str, range(1, 6)))
    ask = ["batch", str(prompts), "-o", str(out), "-m", "sim/echo"]
    assert main([*ask, "--limit", "2"]) == 0
    assert counts(capsys.readouterr().err) == (2, 2, 2, 0)
    assert main(ask) == 0
    assert counts(capsys.readouterr().err) == (5, 5, 3, 2)
    assert main([*ask, "--limit", "2"]) == 0
    assert counts(capsys.readouterr().err) == (2, 2, 0, 2)
    assert answers(out) == {f"line-{number}": str(number) for number in range(1, 6)}


def test_json_is_the_summary_for_programs(capsys: pytest.CaptureFixture[str], prompts: Path, out: Path) -> None:
    """On standard output, in one line."""
    write(prompts, ["a", {"prompt": "b", "model": "sim/novel"}])
    assert main(["batch", str(prompts), "-o", str(out), "-m", "sim/echo", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told.pop("seconds") > 0
    assert told.pop("requests_per_second") > 0
    assert told == {
        "prompts": 2,
        "responses": 1,
        "kept": 0,
        "failed": {"NotFoundError": 1},
        "interrupted": False,
        "prompt_tokens": 8,
        "completion_tokens": 1,
        "estimated": False,
        "output": str(out),
    }


def test_a_terminal_shows_a_bar(prompts: Path, out: Path) -> None:
    """While it runs; at its end the summary alone is there."""
    write(prompts, ["a", "b", {"prompt": "c", "model": "sim/novel"}])
    code, written = in_terminal("batch", str(prompts), "-o", str(out), "-m", "sim/echo")
    assert code == 1
    shown = without_escapes(written)
    assert "━" in shown
    assert "3/3" in shown
    assert "1 failed" in shown
    assert re.search(
        SUMMARY + r"1 failed: NotFoundError: The model .*\nthe same command asks what failed again\n$", shown
    )


@pytest.mark.parametrize("dumb", [True, False])
def test_a_terminal_without_rich_shows_a_line(prompts: Path, out: Path, without_rich: str, dumb: bool) -> None:
    """One that counts, and is gone at the end; so it is on a terminal that can do no more than lines."""
    write(prompts, ["a", "b"])
    term, path = ("dumb", str(ROOT)) if dumb else ("xterm", without_rich)
    ask = ("batch", str(prompts), "-o", str(out), "-m", "sim/echo")
    code, written = in_terminal(*ask, TERM=term, PYTHONPATH=path)
    assert code == 0
    assert written.startswith("\r0/2 done, 0 failed\r")
    assert "\x1b" not in written
    assert_matches(r"\r *\r" + SUMMARY, written[written.rindex("failed") + len("failed") :])


def test_ctrl_c_on_a_terminal_leaves_it_in_order(server: Server, prompts: Path, out: Path) -> None:
    """The bar is gone, the cursor is there again, and the summary says how to go on."""

    async def answer(answering: Answering) -> None:
        if answering.number == 1:
            await echo(answering)
        else:
            await answering.closed()

    server.script = answer
    write(prompts, ["1", "2"])
    code, written = in_terminal(
        *command(prompts, out, server), typing=[("1/2", CTRL_C)], OPENAI_API_KEY="sk-secret-key"
    )
    assert code == 130
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert re.search(SUMMARY + "interrupted; the same command goes on from here\n$", without_escapes(written))
