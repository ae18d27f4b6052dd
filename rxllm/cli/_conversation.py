"""``rxllm chat`` without a prompt, on a terminal: question and answer, until Ctrl-D."""

import contextlib
import importlib
import sys
from typing import Any

from reactivex import operators as rx_ops

from rxllm import ModelResponseStream
from rxllm.cli._asking import AskingArguments, asked, question
from rxllm.cli._output import failure, forgive, note
from rxllm.cli._showing import show
from rxllm.cli._signals import Terminated
from rxllm.exceptions import APIError

__all__ = ["converse"]


def converse(arguments: AskingArguments, model: str) -> int:
    """Asks what is typed, line by line, each together with what was said before.

    What has no answer in words, since it failed, was broken off before the first or has tool calls alone, is as if it
    had not been asked.
    """
    with contextlib.suppress(ImportError):  # Windows has none
        importlib.import_module("readline")  # gives input() its line editing, and its history
    importlib.import_module("rxllm._transport")  # so that Ctrl-C meets an answer, and not the loading of it
    asked(arguments, model, question(arguments, "?"))  # sends nothing: what is wrong with it is said before a prompt is
    forgive(sys.stdin)
    note(f"rxllm: a conversation with {model}: Ctrl-C ends an answer, Ctrl-D the conversation")
    said: list[Any] = []
    while (prompt := _typed()) is not None:
        if not prompt.strip():
            continue
        asking = [*said, {"role": "user", "content": prompt}] if said else question(arguments, prompt)
        answer = _answer(arguments, model, asking)
        if answer:
            said = [*asking, {"role": "assistant", "content": answer}]
    note("")  # ends the line that Ctrl-D was typed on
    return 0


def _typed() -> str | None:
    """A line; ``None`` when there will be no more."""
    try:
        return input("> ")
    except EOFError:
        return None
    except KeyboardInterrupt:
        note("")
        raise


def _answer(arguments: AskingArguments, model: str, messages: list[Any]) -> str:
    """The answer, shown as it comes; as much of it as came, where it is broken off."""
    texts: list[str] = []

    def keep(chunk: ModelResponseStream) -> None:
        texts.extend(choice.delta.content or "" for choice in chunk.choices if choice.index == 0)

    try:
        chunks = asked(arguments, model, messages).pipe(rx_ops.do_action(keep))
        show(chunks, as_json=False, timeline=None, refuse=arguments.refuse)
    except Terminated:
        raise
    except KeyboardInterrupt:  # of this answer
        pass
    except APIError as error:
        note(f"rxllm: {failure(error)}")
    return "".join(texts)
