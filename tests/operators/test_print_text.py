"""print_text: prints each text as it comes, and passes every chunk on."""

import io
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rx_ops

from rxllm import ModelResponseStream
from rxllm import operators as ops
from tests.operators.sources import collect, failure, items, of

CHUNKS = [of(role="assistant"), of("Hel"), of("Bye", index=1), of("lo"), of(finish_reason="stop")]


class Log:
    """A file and a consumer that write down what happens in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, text: str, /) -> None:
        """Notes the text."""
        self.events.append(f"write {text}")

    def flush(self) -> None:
        """Notes it."""
        self.events.append("flush")


def test_each_text_is_flushed_before_its_chunk_is_passed_on() -> None:
    """A reader of the terminal sees it first."""
    log = Log()
    rx.of(of("Hel"), of("lo")).pipe(ops.print_text(log, end="!")).subscribe(
        lambda _: log.events.append("chunk"), on_completed=lambda: log.events.append("done")
    )
    expected = ["write Hel", "flush", "chunk", "write lo", "flush", "chunk", "write !", "flush", "done"]
    assert log.events == expected


@pytest.mark.parametrize(("choice", "text"), [(0, "Hello\n"), (1, "Bye\n"), (2, "")])
def test_one_choice_is_printed_and_all_chunks_pass(choice: int, text: str) -> None:
    """The end too is printed only after something was."""
    file = io.StringIO()
    assert items(ops.print_text(file, choice=choice), *CHUNKS) == CHUNKS
    assert file.getvalue() == text


@pytest.mark.parametrize(
    ("chunks", "printed"),
    [
        ([of(refusal="I can"), of(refusal="not"), of(finish_reason="stop")], "I cannot\n"),
        ([of("So:"), of(refusal="I can"), of(refusal="not")], "So:\nI cannot\n"),
        ([of("So:", refusal="I can"), of(refusal="not"), of(index=1, refusal="no")], "So:\nI cannot\n"),
        ([of(refusal="No"), ModelResponseStream.restarting("broke"), of("a"), of(refusal="No")], "No\na\nNo\n"),
    ],
)
def test_a_refusal_is_printed(chunks: list[ModelResponseStream], printed: str) -> None:
    """It is what the model says in place of text, or below it."""
    file = io.StringIO()
    assert items(ops.print_text(file), *chunks) == chunks
    assert file.getvalue() == printed


def test_the_default_is_what_stdout_is_at_each_subscription(capsys: pytest.CaptureFixture[str]) -> None:
    """Not what it was when the operator was made."""
    operator = ops.print_text()
    with pytest.MonkeyPatch.context() as patch:
        elsewhere = io.StringIO()
        patch.setattr("sys.stdout", elsewhere)
        items(operator, of("there"))
    items(operator, of("here"))
    assert elsewhere.getvalue() == "there\n"
    assert capsys.readouterr().out == "here\n"


def test_an_error_of_the_source_prints_no_end() -> None:
    """Only a completion does."""
    file = io.StringIO()
    error = RuntimeError("broken")
    seen, raised = failure(rx.concat(rx.of(of("Hel")), rx.throw(error)).pipe(ops.print_text(file)))
    assert (len(seen), raised, file.getvalue()) == (1, error, "Hel")


def test_a_file_that_raises_ends_the_stream() -> None:
    """A broken pipe is an error of the stream, and the request is cancelled."""
    left: list[bool] = []

    class Broken(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError

    source = rx.concat(rx.of(of("Hel")), rx.never()).pipe(rx_ops.finally_action(lambda: left.append(True)))
    seen, error = failure(source.pipe(ops.print_text(Broken())))
    assert (seen, type(error), left) == ([], BrokenPipeError, [True])


def test_halves_of_a_pair_are_printed_as_one() -> None:
    """Neither half can be written by itself; one that stays alone shows as U+FFFD."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    collect(rx.of(of("a\ud83d"), of("\ude00"), of("\ude00\ud83d")).pipe(ops.print_text(file, end=".")))
    file.seek(0)
    assert file.read() == "a\U0001f600\ufffd\ufffd."


@pytest.mark.parametrize("arguments", [{"file": "a.txt"}, {"end": None}])
def test_arguments_are_checked_when_the_operator_is_made(arguments: Any) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(TypeError, match=r"file|end"):
        ops.print_text(**arguments)
