"""The input of ``rxllm batch``: what a line may be, what is wrong with one, and that none is held."""

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm._batch_prompts import Prompt, PromptFile

Common = dict[str, Any]
MODEL: Common = {"model": "sim/echo"}


def user(text: str) -> dict[str, str]:
    """A user's message."""
    return {"role": "user", "content": text}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the prompts are."""
    return tmp_path / "prompts.jsonl"


def prompts_of(path: Path, *lines: Any, common: Common = MODEL, system: str | None = None) -> list[Prompt]:
    """The prompts of a file with these values."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    file = PromptFile(path, common, system)
    return list(file.read(range(len(file))))


def faults_of(path: Path, content: bytes | str, common: Common = MODEL) -> list[str]:
    """What is said of a file, without the path."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as raised:
        PromptFile(path, common)
    return [line.removeprefix(str(path)).lstrip(",: ") for line in str(raised.value).splitlines()]


def test_a_line_may_be_a_text_a_prompt_messages_or_a_request_of_a_batch(path: Path) -> None:
    """All become arguments of completion(), beside those for all."""
    body = {"model": "gpt-4o", "messages": [user("four")], "max_tokens": 5}
    given = prompts_of(
        path,
        "one",
        {"prompt": "two", "temperature": 0, "id": 7},
        {"messages": [user("three")], "stream": True, "custom_id": "c"},
        {"custom_id": "request-4", "method": "POST", "url": "/v1/chat/completions", "body": body},
        {"custom_id": "request-5", "body": {"prompt": "five"}},
    )
    assert given == [
        Prompt(0, 1, "line-1", {**MODEL, "messages": [user("one")]}),
        Prompt(1, 2, "7", {**MODEL, "messages": [user("two")], "temperature": 0}),
        Prompt(2, 3, "c", {**MODEL, "messages": [user("three")]}),
        Prompt(3, 4, "request-4", body),
        Prompt(4, 5, "request-5", {**MODEL, "messages": [user("five")]}),
    ]


def test_byte_order_mark_line_ends_and_blank_lines_are_nothing(path: Path) -> None:
    """Lines keep their numbers; the last one need not end."""
    path.write_bytes(b'\xef\xbb\xbf"one"\r\n\r\n   \n"two"\r\n\t\n"three"')
    file = PromptFile(path, MODEL)
    assert [(prompt.line, prompt.arguments["messages"][0]["content"]) for prompt in file.read(range(3))] == [
        (1, "one"),
        (4, "two"),
        (6, "three"),
    ]


def test_a_requests_own_comes_first_by_either_name(path: Path) -> None:
    """``num_retries`` and ``base_url`` are other names of what may be given for all."""
    common = {**MODEL, "max_retries": 2, "api_base": "http://127.0.0.1:1/v1"}
    own = {"num_retries": 5, "base_url": "http://127.0.0.1:2/v1"}
    (prompt,) = prompts_of(path, {"prompt": "a", **own}, common=common)
    assert (prompt.arguments["max_retries"], prompt.arguments["api_base"]) == (5, "http://127.0.0.1:2/v1")
    both = {"prompt": "a", "num_retries": 5, "max_retries": 4}
    assert "two names of one argument" in faults_of(path, json.dumps(both), common)[0]


def test_system_message_stands_before_those_that_have_none(path: Path) -> None:
    """A request's own is not replaced, be it called system or developer."""
    own = [{"role": "developer", "content": "Rhyme"}, user("three")]
    given = prompts_of(path, "one", {"messages": [user("two")]}, {"messages": own}, system="Be brief")
    brief = {"role": "system", "content": "Be brief"}
    assert [prompt.arguments["messages"] for prompt in given] == [[brief, user("one")], [brief, user("two")], own]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("5", "it is neither a text nor an object"),
        ("[]", "it is neither a text nor an object"),
        ("{", "it is not JSON: Expecting property name"),
        ('"a" "b"', "it is not JSON: Extra data"),
        (b'"\xff"', "it is not UTF-8"),
        ('"a"'.encode("utf-16"), "it is not UTF-8"),
        ('{"prompt": "a", "temperature": NaN}', "it is not JSON: NaN is no number of JSON"),
        ("[" * 100_000, "it is nested too deeply"),
        ("{}", 'it has neither "prompt" nor "messages"'),
        ('""', 'its "prompt" is no text, or an empty one'),
        ('{"prompt": ["a"]}', 'its "prompt" is no text, or an empty one'),
        ('{"prompt": "a", "messages": []}', 'it has both "prompt" and "messages"'),
        ('{"messages": []}', "messages is empty"),
        ('{"messages": "a"}', "messages is a list of dictionaries"),
        ('{"messages": null}', "messages is a list of dictionaries"),
        ('{"messages": ["a"]}', "messages[0] is a dictionary or a message, not str"),
        ('{"prompt": "a", "id": true}', 'its "id" is neither a text nor a whole number'),
        ('{"prompt": "a", "custom_id": {}}', 'its "custom_id" is neither'),
        ('{"prompt": "a", "id": "1", "custom_id": "2"}', 'its "custom_id" and its "id" differ'),
        ('{"prompt": "a", "model": "who-knows"}', "who-knows"),
        ('{"prompt": "a", "model": 5}', 'its "model" is no text'),
        ('{"prompt": "a", "model": null}', "no model is given"),
        ('{"prompt": "a", "n": 0}', "n is a number of choices from 1 on, not 0"),
        ('{"prompt": "a", "timeout": "long"}', "timeout"),
        ('{"prompt": "a", "http_client": 1}', "http_client is an httpx.Client"),
        ('{"custom_id": "1", "body": []}', 'its "body" is no object'),
        ('{"url": "/v1/embeddings", "body": {}}', "it is for POST /v1/embeddings, and this asks for chat completions"),
        ('{"method": "GET", "body": {}}', "it is for GET"),
        ('{"body": {"prompt": "a"}, "n": 2}', 'beside its "body" there is "n"'),
    ],
)
def test_what_is_no_request_is_told(path: Path, line: str | bytes, fault: str) -> None:
    """With its line, in one line; nothing is read after that."""
    content = line if isinstance(line, bytes) else line.encode()
    (said,) = faults_of(path, b'"fine"\n' + content.replace(b"\n", b"") + b"\n")
    assert said.startswith("line 2: ")
    assert fault in said


def test_faults_of_the_first_ten_lines_are_told(path: Path) -> None:
    """And how many more there are."""
    said = faults_of(path, '"fine"\n' + "{\n" * 13 + '"fine"\n')
    assert [line.partition(":")[0] for line in said[:10]] == [f"line {number}" for number in range(2, 12)]
    assert said[10:] == ["3 more lines are no request"]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff\n"])
def test_a_file_without_a_prompt_is_refused(path: Path, content: str) -> None:
    """There would be nothing to do."""
    assert faults_of(path, content) == ["there is no prompt in it"]


@pytest.mark.parametrize(
    "lines",
    [
        '{"prompt": "a", "id": "x"}\n"b"\n{"prompt": "c", "custom_id": "x"}\n',
        '{"prompt": "a", "id": 3}\n"b"\n{"prompt": "c", "id": "3"}\n',
        '{"prompt": "a", "id": "line-3"}\n"b"\n"c"\n',
    ],
)
def test_two_of_one_name_are_refused(path: Path, lines: str) -> None:
    """The results could not be told apart."""
    (said,) = faults_of(path, lines)
    assert said.startswith("line 3: line 1 is called ")


def test_a_model_is_needed(path: Path) -> None:
    """From the line, or for all."""
    (said,) = faults_of(path, '{"prompt": "a", "model": "sim/echo"}\n"b"\n', {"model": None})
    assert said == 'line 2: no model is given, neither by its "model" nor by -m'


def test_what_is_no_regular_file_is_refused(path: Path, tmp_path: Path) -> None:
    """It is read twice, which a pipe cannot be; and nobody waits for the other end of one."""
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is no regular file"):
        PromptFile(path, MODEL)
    with pytest.raises(ValueError, match="is no regular file"):
        PromptFile(tmp_path, MODEL)
    with pytest.raises(FileNotFoundError):
        PromptFile(tmp_path / "nowhere", MODEL)


def fingerprint(path: Path, line: Any, common: Common = MODEL, system: str | None = None) -> str:
    """The fingerprint of one request."""
    path.write_text(json.dumps(line))
    return PromptFile(path, common, system).fingerprint(0)


def test_fingerprint_is_of_what_is_asked(path: Path) -> None:
    """However it is written down, by whatever name, and wherever it is sent; and of all that can change the answer."""
    plain = fingerprint(path, "Hi")
    assert len(plain) == 64
    same: list[Any] = [
        {"prompt": "Hi", "id": "x"},
        {"messages": [{"content": "Hi", "role": "user"}], "temperature": None},
        {"body": {"messages": [user("Hi")], "model": "sim/echo", "stream": False}},
        {"prompt": "Hi", "api_key": "sk-secret", "api_base": "http://127.0.0.1:1/v1", "timeout": 5, "max_retries": 0},
    ]
    assert {fingerprint(path, line) for line in same} == {plain}
    others = [
        fingerprint(path, "Hi "),
        fingerprint(path, "Hi", {"model": "sim/story"}),
        fingerprint(path, "Hi", {**MODEL, "temperature": 0}),
        fingerprint(path, "Hi", {**MODEL, "max_tokens": 5}),
        fingerprint(path, "Hi", system="Be brief"),
        fingerprint(path, {"prompt": "Hi", "extra_body": {"delay": 0}}),
    ]
    assert len({plain, *others}) == 7


def test_places_names_and_lines(path: Path) -> None:
    """A prompt is found by its name, and its line by its place."""
    path.write_text('\n"a"\n{"prompt": "b", "id": "x"}\n')
    file = PromptFile(path, MODEL)
    assert [file.place_of(name) for name in ("line-2", "x", "line-3", "line-1")] == [0, 1, None, None]
    assert [file.line_of(place) for place in range(len(file))] == [2, 3]
    assert [prompt.custom_id for prompt in file.read([1, 0])] == ["x", "line-2"]


@pytest.mark.parametrize("changed", ['"a"\n"B"\n"c"\n', '"a"\n\n"b"\n"c"\n', '"a"\n', '"a"\n{b"\n"c"\n'])
def test_a_file_that_changes_meanwhile_is_noticed(path: Path, changed: str) -> None:
    """What was not looked at is not sent."""
    path.write_text('"a"\n"b"\n"c"\n')
    file = PromptFile(path, MODEL)
    path.write_text(changed)
    with pytest.raises(OSError, match="line 2: the file was changed while its prompts were asked"):
        list(file.read(range(3)))


def test_a_name_that_changes_meanwhile_is_noticed(path: Path) -> None:
    """Results would go by another."""
    path.write_text('{"prompt": "a", "id": "x"}\n')
    file = PromptFile(path, MODEL)
    path.write_text('{"prompt": "a", "id": "y"}\n')
    with pytest.raises(OSError, match="line 1"):
        list(file.read([0]))


def test_prompts_are_not_held(path: Path) -> None:
    """Of a file of megabytes there stay some hundred bytes a line."""
    with path.open("w") as file:
        for number in range(300):
            file.write(json.dumps(f"{number} {'word ' * 10_000}") + "\n")
    size = path.stat().st_size
    PromptFile(path, MODEL)  # what is loaded at first use is no part of it
    tracemalloc.start()
    try:
        prompts = PromptFile(path, MODEL)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(prompts) == 300
    assert held < size / 100
    assert most < size / 10


def test_a_prompt_of_ten_megabytes(path: Path) -> None:
    """It is a line like any other."""
    long = "long " * 2_000_000
    (prompt,) = prompts_of(path, long)
    assert prompt.arguments["messages"] == [user(long)]


@given(st.lists(st.text(st.characters(codec=None, exclude_categories=())).filter(str.strip), min_size=1, max_size=5))
def test_any_text_is_a_prompt(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Also with halves of surrogate pairs, which JSON can say, and with line ends of every kind."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    assert [prompt.arguments["messages"] for prompt in prompts_of(path, *texts)] == [[user(text)] for text in texts]
