"""``rxllm chat``, run as its users run it: as a process, through pipes, files, signals and a terminal."""

import json
import mimetypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rxllm.cli import main
from tests.cli.running import (
    CTRL_C,
    CTRL_D,
    FIGURES,
    ROOT,
    Inside,
    assert_matches,
    environment,
    in_terminal,
    run,
    shell,
    start,
    start_reading,
    without_escapes,
)
from tests.server import PATIENCE, Answering, Server, chunk

EMBEDDED = "rxllm: OPENAI_API_KEY is not set, so the embedded model sim/story answers; choose one with -m\n"

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    },
}


def ask(server: Server, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs ``rxllm chat`` against the server."""
    key = {"OPENAI_API_KEY": "sk-secret-key"}
    return run("chat", "--api-base", server.url, *arguments, given=given, **key)


def test_answer_is_all_that_standard_output_holds() -> None:
    """The text and a line break go to standard output; the figures, in one line, to standard error."""
    ran = run("chat", "-m", "sim/echo", "Hello there")
    assert (ran.returncode, ran.stdout) == (0, "Hello there\n")
    assert_matches(FIGURES + "stop\n", ran.stderr)
    assert "2 tokens" in ran.stderr


def test_embedded_model_answers_without_a_key(inside: Inside) -> None:
    """With no key and no model the embedded one tells a story, and one line says so."""
    ran = inside("chat", "--max-tokens", "12", "Write a short story about otters")
    assert ran.returncode == 0
    assert len(ran.stdout.split()) > 5
    assert_matches(EMBEDDED + FIGURES + "length\n", ran.stderr)
    assert "12 tokens" in ran.stderr


def test_key_chooses_openai(server: Server) -> None:
    """With a key and no model the request is one for gpt-4o-mini, with all that the options say."""
    ran = ask(server, "--system", "Be brief", "--max-tokens", "9", "--temperature", "0.5", "Hi")
    assert (ran.returncode, ran.stdout) == (0, "Hello world\n")
    request = server.requests[0].json
    assert request["model"] == "gpt-4o-mini"
    assert request["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert (request["max_tokens"], request["temperature"], request["stream"]) == (9, 0.5, True)
    assert "tools" not in request
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret-key"
    assert_matches(FIGURES.replace("(about )?", "about ") + "stop\n", ran.stderr)


def test_any_other_argument_is_given_by_its_name(server: Server) -> None:
    """As JSON, or as a text where it is none; what an option says too gives way to it."""
    given = ["top_p=0.5", 'stop=["a", "b"]', "reasoning_effort=low", "user=", "temperature=1", "a=b=c"]
    ran = ask(server, "--temperature", "0.5", *(word for it in given for word in ("-p", it)), "Hi")
    assert ran.returncode == 0
    request = server.requests[0].json
    asked = {name: request[name] for name in ("top_p", "stop", "reasoning_effort", "user", "temperature", "a")}
    assert asked == {
        "top_p": 0.5,
        "stop": ["a", "b"],
        "reasoning_effort": "low",
        "user": "",
        "temperature": 1,
        "a": "b=c",
    }


def test_images_go_along_with_the_prompt(server: Server, tmp_path: Path) -> None:
    """A file as what is in it, an address as it is."""
    picture = tmp_path / "dot.PNG"
    picture.write_bytes(b"\x89PNG")
    ran = ask(server, "--image", str(picture), "--image", "https://example.com/a", "What is it?")
    assert ran.returncode == 0
    assert server.requests[0].json["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
    ]


def test_kinds_of_images_are_known_wherever_it_runs(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system has no list of them."""
    monkeypatch.setattr(mimetypes, "knownfiles", [])
    mimetypes.init()
    try:
        for ending in ("png", "jpg", "jpeg", "gif", "webp"):
            picture = tmp_path / f"dot.{ending}"
            picture.write_bytes(b"")
            ran = inside("chat", "-m", "sim/echo", "--image", str(picture), "Hi")
            assert ran.returncode == 0, ran.stderr
    finally:
        monkeypatch.undo()
        mimetypes.init()


@pytest.mark.parametrize(
    ("arguments", "given", "expected"),
    [
        (["-"], "from a pipe\n", "from a pipe\n"),
        ([], "from a pipe\n", "from a pipe\n"),
        (["Summarise:"], "a\n\nb\n", "Summarise:\n\na\n\nb\n"),
        (["Just this"], "", "Just this\n"),
        (["--", "-5 and 漢字"], "", "-5 and 漢字\n"),
    ],
)
def test_prompt_comes_from_the_argument_and_from_standard_input(
    inside: Inside, arguments: list[str], given: str, expected: str
) -> None:
    """What is piped in is the prompt where there is none or "-", and is appended to one otherwise."""
    assert inside("chat", "-m", "sim/echo", *arguments, given=given).stdout == expected


def test_standard_input_need_not_be_there() -> None:
    """With a closed standard input the argument is the prompt."""
    ran = shell("rxllm chat -m sim/echo Hello <&-")
    assert (ran.returncode, ran.stdout) == (0, "Hello\n")


def test_bytes_that_are_no_text_are_read_all_the_same() -> None:
    """What is not UTF-8 in the input becomes replacement characters."""
    assert run("chat", "-m", "sim/echo", given=b"caf\xe9 x").stdout == "caf\N{REPLACEMENT CHARACTER} x\n"


def test_letters_that_the_locale_lacks_do_not_stop_the_answer() -> None:
    """On an ASCII output other letters become question marks."""
    ran = run("chat", "-m", "sim/echo", "漢 x", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ran.returncode, ran.stdout) == (0, "? x\n")


def test_waiting_for_standard_input_is_said() -> None:
    """Where nothing comes and nothing ends, one line says what is waited for; then the input is read to its end."""
    process = start_reading("chat", "-m", "sim/echo", "Hello")
    assert process.stderr is not None
    assert process.stderr.readline() == b"rxllm: reading standard input to its end\n"
    out, _ = process.communicate(b"World", timeout=PATIENCE)
    assert out == b"Hello\n\nWorld\n"


def test_json_prints_each_chunk_on_a_line(inside: Inside) -> None:
    """``--json`` gives the chunks as they came, the usage in the last."""
    ran = inside("chat", "-m", "sim/echo", "--json", "Hello there 漢")
    chunks = [json.loads(line) for line in ran.stdout.splitlines()]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]) == "Hello there 漢"
    assert [c["choices"][0].get("finish_reason") for c in chunks[:-1]][-1] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 2
    assert f"{len(chunks)} chunks" in ran.stderr


def test_tool_calls_are_a_line_each(inside: Inside, tmp_path: Path) -> None:
    """With ``--tools`` each call is printed as ``name(arguments)``."""
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps([WEATHER]))
    ran = inside("chat", "-m", "sim/story", "--tools", str(tools), "Weather in Paris and Rome?")
    assert ran.stdout == 'get_weather({"location":"Paris"})\nget_weather({"location":"Rome"})\n'
    assert ran.stderr.endswith("finish reason: tool_calls\n")


def test_tool_call_after_text_starts_a_line(server: Server) -> None:
    """A call stands on a line of its own, in one line also where its JSON has several."""
    call = {"index": 0, "id": "call_1", "function": {"name": "look_up", "arguments": '{\n  "word": "a\\nb"\n}'}}
    called = chunk()
    called["choices"][0]["delta"] = {"tool_calls": [call]}

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.last(chunk("Let me see."), called, chunk(finish="tool_calls"), "[DONE]")

    server.script = answer
    assert ask(server, "Hi").stdout == 'Let me see.\nlook_up({ "word": "a\\nb" })\n'


def refusing(server: Server) -> None:
    """Has the server refuse, after some text and in two pieces."""
    pieces = [chunk(" "), chunk(" "), chunk(finish="stop")]
    for piece, text in zip(pieces, ["I can", "not help."], strict=False):
        piece["choices"][0]["delta"] = {"refusal": text}

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("So:"), *pieces, "[DONE]")
        await answering.end()

    server.script = answer


def test_a_refusal_is_printed(server: Server) -> None:
    """Below what text there is, and with ``--json`` on its chunks."""
    refusing(server)
    ran = ask(server, "Hi")
    assert (ran.returncode, ran.stdout) == (0, "So:\nI cannot help.\n")
    assert_matches(FIGURES.replace("(about )?", "about ") + "stop\n", ran.stderr)
    chunks = [json.loads(line) for line in ask(server, "--json", "Hi").stdout.splitlines()]
    assert [it["choices"][0]["delta"].get("refusal") for it in chunks[1:3]] == ["I can", "not help."]


def test_a_refusal_is_printed_on_a_terminal(server: Server) -> None:
    """Before the figures, which begin a line of their own."""
    refusing(server)
    code, written = in_terminal("chat", "--api-base", server.url, "Hi", OPENAI_API_KEY="sk-secret-key")
    assert code == 0
    assert_matches("So:\nI cannot help\\.\n" + FIGURES + "stop\n", written)


def test_a_refusal_stands_below_the_reasoning_on_a_terminal(server: Server) -> None:
    """A blank line is between the two, as before text."""
    thought, refusal = chunk(" "), chunk(" ")
    thought["choices"][0]["delta"] = {"reasoning_content": "Hm."}
    refusal["choices"][0]["delta"] = {"refusal": "I cannot help."}

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(thought, refusal, chunk(finish="stop"), "[DONE]")
        await answering.end()

    server.script = answer
    _, written = in_terminal("chat", "--api-base", server.url, "Hi", OPENAI_API_KEY="sk-secret-key")
    assert_matches("Hm\\.\n\nI cannot help\\.\n" + FIGURES + "stop\n", without_escapes(written))


def test_text_is_shown_as_it_comes(server: Server) -> None:
    """Each piece is on standard output before the next one is sent, though that is a pipe."""
    shown = server.gate()

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("one"))
        await shown.wait()
        await answering.last(chunk(" two"), chunk(finish="stop"), "[DONE]")

    server.script = answer
    process = start("chat", "--api-base", server.url, "Hi", OPENAI_API_KEY="sk-secret-key")
    assert process.stdout is not None
    assert process.stdout.read(3) == b"one"
    shown.open()
    assert process.communicate(timeout=PATIENCE)[0] == b" two\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["chat"], "there is no prompt"),
        (["chat", " "], "there is no prompt"),
        (["chat", "--max-tokens", "0", "Hi"], "'0' is not a number from 1 on"),
        (["chat", "--temperature", "warm", "Hi"], "invalid float value: 'warm'"),
        (["chat", "--tools", "no-such-file.json", "Hi"], "no-such-file.json cannot be read"),
        (["chat", "--tools", "pyproject.toml", "Hi"], "pyproject.toml cannot be read: Expecting value"),
        (["chat", "--loud", "Hi"], "unrecognized arguments: --loud"),
        (["chat", "--api-base", "http://127.0.0.1:9", "Hi"], "--api-base needs a model"),
        (["chat", "-m", "openai/x", "--api-base", "nowhere", "Hi"], "api_base starts with http"),
        (["chat", "-p", "top_p", "Hi"], "it is given as NAME=VALUE"),
        (["chat", "-p", "sk-secret-key=1", "Hi"], "it is given as NAME=VALUE"),
        (["chat", "-p", "api_key=sk-secret-key", "Hi"], "a key on a command line can be seen"),
        (["chat", "-p", "model=gpt-4o", "Hi"], "the model is chosen with -m"),
        (["chat", "-m", "sim/echo", "-p", "timeout=soon", "Hi"], "timeout is a number of seconds"),
        (["chat", "--image", "no-such-file.png", "Hi"], "no-such-file.png cannot be read"),
        (["chat", "--image", "pyproject.toml", "Hi"], "pyproject.toml is no image"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that says what is wrong and where help is, and nothing on standard output."""
    monkeypatch.chdir(ROOT)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        code = main(arguments)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert reason in err
    assert "--help" in err
    assert "sk-secret" not in err


def test_tools_file_without_a_list_is_refused(inside: Inside, tmp_path: Path) -> None:
    """JSON that is no list of tools is a wrong argument."""
    tools = tmp_path / "tools.json"
    tools.write_text("{}")
    ran = inside("chat", "--tools", str(tools), "Hi")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "holds no JSON list" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-m", "sim/novel"], "NotFoundError: The model `novel` does not exist"),
        (["-m", "openai/gpt-4o"], "AuthenticationError: "),
        (["-m", "no-such-model"], "BadRequestError: "),
    ],
)
def test_api_error_is_one_line(inside: Inside, arguments: list[str], reason: str) -> None:
    """Exit code 1, and one line with the error's name and what the provider said."""
    ran = inside("chat", *arguments, "Hi")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith(f"rxllm: {reason}")


def test_errors_are_json_too(server: Server) -> None:
    """With ``--json`` the last line of standard output says what is wrong, below what chunks there are."""

    async def answer(answering: Answering) -> None:
        if answering.number == 1:
            await answering.json_answer(400, {"error": {"message": "No: sk-secret-key is wrong", "code": "nope"}})
            return
        await answering.start()
        await answering.event(chunk("half of"))
        answering.hang_up()

    server.script = answer
    refused, broken = ask(server, "--json", "Hi"), ask(server, "--json", "Hi")
    assert (refused.returncode, broken.returncode) == (1, 1)
    error = json.loads(refused.stdout)["error"]
    assert (error["class"], error["status_code"], error["code"]) == ("BadRequestError", 400, "nope")
    assert "sk-secret" not in refused.stdout
    assert refused.stderr.startswith("rxllm: BadRequestError: ")
    *chunks, last = map(json.loads, broken.stdout.splitlines())
    assert [it["choices"][0]["delta"]["content"] for it in chunks] == ["half of"]
    assert last["error"]["class"] == "IncompleteStreamError"
    unknown = run("chat", "-m", "no-such-model", "--json", "Hi")
    assert json.loads(unknown.stdout)["error"]["class"] == "BadRequestError"


@pytest.mark.usefixtures("without_waits")
def test_unreachable_provider_is_one_line(inside: Inside) -> None:
    """Where nobody listens, one line says so."""
    ran = inside("chat", "--api-base", "http://127.0.0.1:9/v1", "Hi", OPENAI_API_KEY="sk-secret-key")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith("rxllm: APIConnectionError: ")
    assert "sk-secret-key" not in ran.stderr


def test_error_amid_the_answer_keeps_what_came(server: Server) -> None:
    """A stream that breaks off leaves its text, ended by a line break, and the error's line alone on standard error."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("half of"))
        answering.hang_up()

    server.script = answer
    ran = ask(server, "Hi")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "half of\n", 1)
    assert ran.stderr.startswith("rxllm: IncompleteStreamError: ")


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_ctrl_c_keeps_what_was_printed_and_closes_the_request(server: Server, kind: signal.Signals, code: int) -> None:
    """The text so far, the figures, no traceback; the server sees the end. So does SIGTERM, and ends the process."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("so far"))
        await answering.closed()

    server.script = answer
    process = start("chat", "--api-base", server.url, "Hi", OPENAI_API_KEY="sk-secret-key")
    assert process.stdout is not None
    begun = process.stdout.read(6)
    process.send_signal(kind)
    out, err = process.communicate(timeout=PATIENCE)
    assert server.next_closed() == 1
    assert (process.returncode, begun + out) == (code, b"so far\n")
    assert_matches(r"1 chunk, about 2 tokens, first token after \d+\.\d\d s, cancelled\n", err.decode())


def test_ctrl_c_ends_the_embedded_model() -> None:
    """Amid a story without end Ctrl-C does the same."""
    process = start("chat", "-m", "sim/story", "An endless story about sand")
    assert process.stdout is not None
    begun = process.stdout.read(10)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (begun + out).endswith(b"\n")
    assert err.count(b"\n") == 1
    assert err.endswith(b", cancelled\n")


def test_ctrl_c_while_standard_input_is_read_is_quiet() -> None:
    """Exit code 130 and no traceback, before anything was asked."""
    process = start_reading("chat")
    assert process.stderr is not None
    waiting = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)
    assert (process.returncode, process.stderr.read()) == (130, b"")
    assert waiting.startswith(b"rxllm: reading")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_broken_pipe_ends_quietly(server: Server, arguments: list[str]) -> None:
    """Where the reader of the output leaves, the request is closed, and nothing is said about it."""
    left = server.gate()

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("first\n"))
        await left.wait()
        await answering.event(chunk("second"))
        await answering.closed()

    server.script = answer
    process = start("chat", "--api-base", server.url, *arguments, "Hi", OPENAI_API_KEY="sk-secret-key")
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"first" in process.stdout.readline()
    process.stdout.close()
    left.open()
    assert server.next_closed() == 1
    assert (process.wait(PATIENCE), process.stderr.read()) == (141, b"")


def test_head_ends_an_endless_story() -> None:
    """``rxllm chat ... | head -c 40`` comes to an end by itself."""
    ran = shell('rxllm chat -m sim/story "An endless story about sand" | head -c 40')
    assert (ran.returncode, len(ran.stdout), ran.stderr) == (0, 40, "")


def test_full_disk_is_one_line() -> None:
    """Output that cannot be written is an error in one line."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with full.open("wb") as output:
        ran = subprocess.run(
            [sys.executable, "-m", "rxllm", "chat", "-m", "sim/echo", "Hi"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            timeout=60,
            check=False,
        )
    assert (ran.returncode, ran.stderr.count(b"\n")) == (1, 1)
    assert ran.stderr.startswith(b"rxllm: ")


def test_terminal_shows_reasoning_dimmed() -> None:
    """On a terminal the reasoning comes before the answer, dimmed, and each dimming is ended."""
    code, written = in_terminal("chat", "-m", "sim/reason", "--max-tokens", "70", "Explain the tides")
    assert code == 0
    thoughts, answer = written.rsplit("\x1b[0m\n\n", 1)
    assert thoughts.startswith("\x1b[2m")
    assert thoughts.count("\x1b[2m") == thoughts.count("\x1b[0m") + 1
    assert "the tides" in thoughts.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert "\x1b" not in answer
    assert_matches("[A-Z].+\n" + FIGURES + "length\n", answer)


def test_terminal_is_given_text_alone(server: Server) -> None:
    """What a model says cannot move the cursor, or worse; a pipe is given all that it says."""
    thought = chunk(" ")
    thought["choices"][0]["delta"] = {"reasoning_content": "\x1b]0;Hm\x07"}

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(thought, chunk("a\x1b[2Jb\x9b31m\tc\r\n"), chunk("d\n"))
        await answering.event(chunk("\x1b", finish="stop"), "[DONE]")
        await answering.end()

    server.script = answer
    ask_it = ("chat", "--api-base", server.url, "Hi")
    _, written = in_terminal(*ask_it, OPENAI_API_KEY="sk-secret-key", NO_COLOR="1")
    assert_matches("\\]0;Hm\n\na\\[2Jb31m\tc\nd\n" + FIGURES + "stop\n", written)
    assert run(*ask_it, OPENAI_API_KEY="sk-secret-key").stdout == "a\x1b[2Jb\x9b31m\tc\r\nd\n\x1b\n"


def test_terminal_without_colour_gets_none() -> None:
    """With NO_COLOR the reasoning is shown as it is."""
    code, written = in_terminal("chat", "-m", "sim/reason", "--max-tokens", "70", "Explain the tides", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in written
    assert "\n\n" in written


def test_pipes_get_no_reasoning_and_no_escapes(inside: Inside) -> None:
    """Where no terminal is, only the answer is printed."""
    ran = inside("chat", "-m", "sim/reason", "--max-tokens", "70", "Explain the tides")
    assert "\x1b" not in ran.stdout + ran.stderr
    assert ran.stdout.count("\n") == 1
    assert ran.stderr.count("\n") == 1


def converse(server: Server, *typing: tuple[str, str | signal.Signals]) -> tuple[int, str]:
    """A conversation with the server."""
    return in_terminal(
        *("chat", "--api-base", server.url, "-s", "Be brief"),
        typing=typing,
        OPENAI_API_KEY="sk-secret-key",
        PYTHONIOENCODING="utf-8:strict",
    )


def test_without_a_prompt_a_terminal_holds_a_conversation(server: Server) -> None:
    """Each question is asked with what was said before; Ctrl-D ends it."""

    async def answer(answering: Answering) -> None:
        await answering.stream("You said ", answering.json["messages"][-1]["content"])

    server.script = answer
    code, written = converse(server, ("> ", "é\n"), ("stop\r\n> ", "  \n"), ("> ", "two\n"), ("stop\r\n> ", CTRL_D))
    assert code == 0
    assert "You said é\n" in written
    assert "You said two\n" in written
    assert [request.json["messages"] for request in server.requests] == [
        [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "é"}],
        [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "é"},
            {"role": "assistant", "content": "You said é"},
            {"role": "user", "content": "two"},
        ],
    ]


def test_ctrl_c_ends_an_answer_and_not_the_conversation(server: Server) -> None:
    """What came of it stays said; what failed, and what has no answer, was never asked; at a prompt it ends all."""

    async def answer(answering: Answering) -> None:
        if answering.number == 2:
            await answering.json_answer(400, {"error": {"message": "No"}})
            return
        await answering.start()
        await answering.event(chunk("so far"))
        await answering.closed()

    server.script = answer
    code, written = converse(
        server,
        *(("> ", "one\n"), ("so far", CTRL_C)),
        *(("> ", "two\n"), ("BadRequestError", ""), ("> ", "three\n")),
        # With a line after it: a signal between the prompt and the wait for what is typed waits for that, too.
        *(("so far", CTRL_C), ("> ", CTRL_C + "\n")),
    )
    assert code == 130
    assert "Traceback" not in written
    assert written.count(", cancelled\n") == 2
    assert [server.next_closed(), server.next_closed()] == [1, 3]
    assert [it["content"] for it in server.requests[2].json["messages"]] == ["Be brief", "one", "so far", "three"]


def test_sigterm_ends_a_conversation(server: Server) -> None:
    """Amid an answer too, where Ctrl-C would not."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("so far"))
        await answering.closed()

    server.script = answer
    code, written = converse(server, ("> ", "one\n"), ("so far", signal.SIGTERM))
    assert server.next_closed() == 1
    assert code == -signal.SIGTERM
    assert written.count("> ") == 1
    assert written.endswith(", cancelled\n")


def test_a_conversation_goes_on_with_what_was_shown(server: Server) -> None:
    """Of several choices that is the first; and of what is typed, bytes that are no text are replaced."""

    async def answer(answering: Answering) -> None:
        await answering.start()
        await answering.event(*(chunk(text, index=index) for index, text in enumerate(("first", "second"))))
        await answering.event(chunk(finish="stop"), chunk(index=1, finish="stop"))
        await answering.last("[DONE]")

    server.script = answer
    code, written = converse(server, ("> ", "a\udcff\n"), ("stop\r\n> ", "b\n"), ("stop\r\n> ", CTRL_D))
    assert code == 0
    assert "second" not in written
    assert [it["content"] for it in server.requests[1].json["messages"]] == ["Be brief", "a\ufffd", "first", "b"]


def test_a_terminal_is_read_to_its_end_where_that_is_asked() -> None:
    """With "-" a prompt may have several lines."""
    typing = [("reading standard input", f"One\nTwo\n{CTRL_D}")]
    code, written = in_terminal("chat", "-m", "sim/echo", "-", typing=typing)
    assert code == 0
    assert written.count("One\nTwo\n") == 2  # as it is typed, and as it is answered
