"""``rxllm compare``: several models at once, over pipes, on terminals, with Ctrl-C, errors and readers that leave."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from rxllm.cli import main
from tests.cli.running import CTRL_C, FIGURES, ROOT, Inside, assert_matches, in_terminal, start, without_escapes
from tests.server import PATIENCE, Answering, Server, chunk

# The terminal's second screen, on which nothing stays.
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
KEY = {"OPENAI_API_KEY": "sk-secret-key"}
BOTH = ("-m", "openai/one", "-m", "openai/two")


def both(server: Server) -> tuple[str, ...]:
    """The arguments that ask two models of the server's."""
    return ("compare", "Hi", "--api-base", server.url, *BOTH)


def test_answers_come_in_the_order_given(inside: Inside, server: Server) -> None:
    """Each under its heading, though the second is whole first; the figures on standard error, in the same order."""
    second_is_whole = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.json["model"] == "one":
            await second_is_whole.wait()
            await answering.stream("The", " first\n")
            return
        await answering.stream("The", " second")
        second_is_whole.open()

    server.script = answer
    ran = inside(*both(server), **KEY)
    assert (ran.returncode, ran.stdout) == (0, "== openai/one ==\nThe first\n\n== openai/two ==\nThe second\n")
    assert_matches(f"openai/one: {FIGURES}stop\nopenai/two: {FIGURES}stop\n", ran.stderr)


def test_answer_is_shown_as_soon_as_it_is_whole(server: Server) -> None:
    """The first one, while the second is under way, though that says nothing."""
    shown = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.json["model"] == "one":
            await answering.stream("it is", " whole")
            return
        await shown.wait()
        await answering.stream("later")

    server.script = answer
    process = start(*both(server), **KEY)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"== openai/one ==\n", b"it is whole\n"]
    shown.open()
    assert process.communicate(timeout=PATIENCE)[0] == b"\n== openai/two ==\nlater\n"


def test_all_are_asked_at_once_and_in_the_same_way(inside: Inside, server: Server) -> None:
    """Each with the options of ``chat``; none waits for another's answer."""

    async def answer(answering: Answering) -> None:
        if len(server.requests) == 2:
            server.taken.open()
        await server.taken.wait()
        await answering.stream("Hello")

    server.script = answer
    ran = inside(*both(server), "--system", "Be brief", "--max-tokens", "9", given="and more", **KEY)
    assert ran.returncode == 0
    requests = [answering.json for answering in server.requests]
    assert {request.pop("model") for request in requests} == {"one", "two"}
    assert requests[0] == requests[1]
    assert [message["content"] for message in requests[0]["messages"]] == ["Be brief", "Hi\n\nand more"]
    assert requests[0]["max_tokens"] == 9


def test_json_prints_the_chunks_of_all(inside: Inside) -> None:
    """Nothing but chunks, each with its model as ``source``, a second one of the same numbered, an error's too."""
    ran = inside("compare", "Hello there", "-m", "sim/echo", "-m", "sim/echo", "-m", "sim/novel", "--json")
    texts = {"sim/echo": "", "sim/echo #2": "", "sim/novel": ""}
    errors: dict[str, str] = {}
    for line in ran.stdout.splitlines():
        told = json.loads(line)
        for choice in told.get("choices", ()):
            texts[told["source"]] += choice["delta"].get("content", "")
        if "error" in told:
            errors[told["source"]] = told["error"]["class"]
    assert ran.returncode == 1
    assert texts == {"sim/echo": "Hello there", "sim/echo #2": "Hello there", "sim/novel": ""}
    assert errors == {"sim/novel": "NotFoundError"}
    assert_matches(f"sim/echo: {FIGURES}stop\nsim/echo #2: {FIGURES}stop\nrxllm: sim/novel: NotFound.*\n", ran.stderr)


def test_one_that_fails_leaves_the_others(inside: Inside) -> None:
    """Its error is told by its name; the others are whole; exit code 1."""
    ran = inside("compare", "Hello there", "-m", "sim/novel", "-m", "sim/echo")
    assert (ran.returncode, ran.stdout) == (1, "== sim/novel ==\n\n== sim/echo ==\nHello there\n")
    assert_matches(f"rxllm: sim/novel: NotFoundError: .*\nsim/echo: {FIGURES}stop\n", ran.stderr)


def test_where_all_fail_each_is_told(inside: Inside, server: Server) -> None:
    """With what had come, a line for each error, and exit code 1."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("half of"))
        answering.hang_up()

    server.script = answer
    ran = inside(*both(server), **KEY)
    assert (ran.returncode, ran.stdout) == (1, "== openai/one ==\nhalf of\n\n== openai/two ==\nhalf of\n")
    assert [line.split(": ")[:3] for line in ran.stderr.splitlines()] == [
        ["rxllm", "openai/one", "IncompleteStreamError"],
        ["rxllm", "openai/two", "IncompleteStreamError"],
    ]
    assert "sk-secret-key" not in ran.stderr


def test_tool_calls_are_a_line_each(inside: Inside, tmp_path: Path) -> None:
    """As ``chat`` prints them."""
    tools = tmp_path / "tools.json"
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools.write_text(json.dumps([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]))
    ran = inside("compare", "Weather in Rome?", "-m", "sim/story", "--tools", str(tools))
    assert ran.stdout == '== sim/story ==\nweather({"city":"Rome"})\n'


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["Hi"], "the following arguments are required: -m/--model"),
        ([*BOTH], "there is no prompt"),
        (["Hi", "-m", "sim/echo", "--max-tokens", "0"], "'0' is not a number from 1 on"),
        (["Hi", "-m", "openai/x", "--api-base", "nowhere"], "api_base starts with http"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that says what is wrong and where help is, and nothing on standard output."""
    monkeypatch.chdir(ROOT)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        code = main(["compare", *arguments])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert "rxllm compare --help" in err


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_ctrl_c_cancels_all_and_shows_what_came(server: Server, arguments: list[str]) -> None:
    """Exit code 130; both requests are closed; the text so far and its figures, no traceback."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("so far"))
        server.events.put(answering.number)
        await answering.closed()

    server.script = answer
    process = start(*both(server), *arguments, **KEY)
    assert {server.next_event(), server.next_event()} == {1, 2}
    assert process.stdout is not None
    begun = [process.stdout.readline() for _ in range(2)] if arguments else []
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert {server.next_closed(), server.next_closed()} == {1, 2}
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert [line.partition(b": ")[0] for line in err.splitlines()] == [b"openai/one", b"openai/two"]
    if arguments:
        assert [json.loads(line)["choices"][0]["delta"]["content"] for line in begun] == ["so far", "so far"]
    else:
        assert out.count(b"== openai/") == 2


def test_reader_that_leaves_ends_it_quietly(server: Server) -> None:
    """Where the reader of the chunks has gone, both requests are closed, and nothing is said about it."""
    left, asked = server.gate(), server.gate()

    async def answer(answering: Answering) -> None:
        if len(server.requests) == 2:
            asked.open()
        await asked.wait()
        await answering.start()
        await answering.event(chunk("first"))
        await left.wait()
        await answering.event(chunk("second"))
        await answering.closed()

    server.script = answer
    process = start(*both(server), "--json", **KEY)
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"first" in process.stdout.readline()
    process.stdout.close()
    left.open()
    assert {server.next_closed(), server.next_closed()} == {1, 2}
    assert (process.wait(PATIENCE), process.stderr.read()) == (141, b"")


def test_reader_that_leaves_between_two_answers_ends_it_quietly(server: Server) -> None:
    """The same of headings and answers."""
    left = server.gate()

    async def answer(answering: Answering) -> None:
        if answering.json["model"] == "one":
            await answering.stream("it is", " whole")
            return
        await left.wait()
        await answering.stream("later")

    server.script = answer
    process = start(*both(server), **KEY)
    assert process.stdout is not None
    assert process.stderr is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"== openai/one ==\n", b"it is whole\n"]
    process.stdout.close()
    left.open()
    assert process.wait(PATIENCE) == 141
    assert_matches(f"openai/one: {FIGURES}stop\n", process.stderr.read().decode())


def test_terminal_has_them_side_by_side() -> None:
    """By rich: headings in one line, the answers beside each other, whole, with their figures; nothing left out."""
    code, written = in_terminal(
        "compare", "Tell me", "-m", "sim/echo", "-m", "sim/story", "--max-tokens", "12", columns=100
    )
    assert code == 0
    drawn, left, whole = written.partition(LEAVE)
    assert (drawn.count(ENTER), left, whole.count(LEAVE)) == (1, LEAVE, 0)
    last = without_escapes(whole).splitlines()
    heading = next(at for at, line in enumerate(last) if line.split() == ["sim/echo", "│", "sim/story"])
    assert last[heading + 2].startswith("Tell me ")
    assert "finish reason: length" in "".join(last)
    assert max(map(len, last)) <= 100
    assert written.rstrip().count("\x1b[?25h") == written.count("\x1b[?25l") == 1


def test_terminal_without_rich_gets_plain_text(without_rich: str) -> None:
    """What a pipe gets, and no escapes."""
    code, written = in_terminal("compare", "Hello", "-m", "sim/echo", "-m", "sim/echo", PYTHONPATH=without_rich)
    assert code == 0
    assert written.startswith("== sim/echo ==\nHello\nsim/echo: ")
    assert "\x1b" not in written


def test_forced_colour_draws_nothing_into_a_file(inside: Inside) -> None:
    """With FORCE_COLOR a pipe still gets each answer once."""
    ran = inside("compare", "Hello", "-m", "sim/echo", FORCE_COLOR="1")
    assert ran.stdout == "== sim/echo ==\nHello\n"


def test_ctrl_c_on_a_terminal_leaves_what_came() -> None:
    """Exit code 130, the answers so far, and the cursor shown again."""
    code, written = in_terminal(
        "compare", "An endless story about sand", "-m", "sim/story", "-m", "sim/reason", typing=[("sand", CTRL_C)]
    )
    last = without_escapes(written.rpartition(LEAVE)[2])
    assert code == 130
    assert "sim/story" in last
    assert "sim/reason" in last
    assert "Traceback" not in written
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")
