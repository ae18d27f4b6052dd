"""What has come of one Stream of any items, as a notebook shows it. No I/O; the clock alone."""

import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import BaseModel
from reactivex import Observable, abc

from rxllm._accumulators._figures import figure
from rxllm._accumulators._transcript import Round, Transcript, said_in
from rxllm._display_html import (
    calls_table,
    code_block,
    folded,
    heading,
    members_table,
    rendered,
    shortened,
    small,
    sources,
    warning,
    wellformed,
)
from rxllm._tool_calls import join_text
from rxllm.types import ChatCompletionMessageToolCall, CodeBlock, ModelResponse, ModelResponseStream, Restart

__all__ = ["Shown"]

_LAST: Final = 10
"""How many items of a kind that we do not know are shown."""
_CERTAIN: Final = 8
"""After so many texts, each of which begins with the one before, they are one text that grows."""


class Shown:
    """One Stream: what has come of it, and how it ended.

    Attributes:
        label: what it is called.
        error: what it failed with, or was left with.
    """

    def __init__(self, label: str, model: str | None) -> None:
        self.label = label
        self.error: BaseException | None = None
        self._model = model
        self._begun = self._at = time.monotonic()
        self._ended: Literal["completed", "failed", "cancelled"] | None = None
        self._count = 0
        # By what tag() and merge_models() say that a chunk comes of.
        self._answers: dict[str | None, Transcript] = {}
        self._texts = _Texts()
        self._calls: dict[tuple[int, int], ChatCompletionMessageToolCall] = {}
        self._blocks: list[CodeBlock] = []
        self._newest: Any = None
        self._others: deque[Any] = deque(maxlen=_LAST)

    def over(self, source: Observable[Any]) -> Observable[None]:
        """A tick for each thing that comes of ``source`` and for its end; an error is kept, and goes no further."""

        def subscribe(
            observer: abc.ObserverBase[None], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            self._begun = time.monotonic()

            def on_next(item: Any) -> None:
                self._add(item)
                observer.on_next(None)

            def on_error(error: Exception) -> None:
                self.end("failed", error)
                observer.on_next(None)
                observer.on_completed()

            def on_completed() -> None:
                self.end("completed")
                observer.on_next(None)
                observer.on_completed()

            return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    def end(self, ended: Literal["completed", "failed", "cancelled"], error: BaseException | None = None) -> None:
        """It is over, unless it was before."""
        if self._ended is not None:
            return
        self._at = time.monotonic()
        self._ended, self.error = ended, error
        for answer in self._answers.values():
            reasons = [said.finish_reason for said in answer.choices.values()]
            # Of several, those that had ended before are whole.
            whole = len(self._answers) > 1 and reasons and all(reasons)
            answer.end(self._at, "completed" if whole else ended, error if isinstance(error, Exception) else None)

    def html(self) -> str:
        """All of it, as HTML."""
        parts: list[str] = []
        for source, answer in self._answers.items():
            parts += [heading(source)] if source is not None else []
            parts += self._html_of(answer.rounds)
            parts += [small(answer.figures(self._now))] if len(self._answers) > 1 else []
        if isinstance(self._newest, ModelResponse):
            parts += self._html_of([Round(said_in(self._newest), [])])
        elif self._newest is not None:
            parts.append(members_table(_members(self._newest)))
        parts.append(rendered(self._texts.text) if self._texts.text else "")
        parts.append(calls_table(list(self._calls.values())))
        parts += [code_block(block.code, block.language) for block in self._blocks]
        parts.append(code_block(self._other_lines, "") if self._others else "")
        parts.append(warning(self.failure) if self.failure else "")
        parts.append(small(self.figures))
        return "".join(parts)

    def said(self) -> str:
        """What was said, as Markdown."""
        parts: list[str] = []
        for source, answer in self._answers.items():
            texts = _texts_of(answer.rounds)
            parts += [f"**{source}**", *texts] if source is not None else texts
        if isinstance(self._newest, ModelResponse):
            parts += _texts_of([Round(said_in(self._newest), [])])
        parts.append(self._texts.text)
        parts += [_fenced(block.code, block.language) for block in self._blocks]
        return wellformed("\n\n".join(filter(None, parts)))

    def markdown(self) -> str:
        """What was said, and what came besides as code, since nothing in that is Markdown."""
        besides = self._besides
        return "\n\n".join(filter(None, [self.said(), besides and _fenced(besides, "")]))

    def plain(self) -> str:
        """What was said, what came besides, and the figures, as plain text."""
        return "\n".join(filter(None, [self.said(), self._besides, wellformed(f"({self.figures})")]))

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in any way."""
        return self._ended is not None

    @property
    def figures(self) -> str:
        """What it comes to, in one line."""
        if not self._count and self._ended is None:
            return f"waiting{f' for {self._model}' if self._model else ''}, {self._now - self._begun:.0f} s"
        if len(self._answers) == 1:
            (answer,) = self._answers.values()
            return answer.figures(self._now)
        line = f"{figure(self._count, 'item')}, {self._now - self._begun:.2f} s"
        return line if self._ended in {None, "completed"} else f"{line}, {self._ended}"

    @property
    def failure(self) -> str:
        """What it failed with; "" where it did not."""
        return f"{type(self.error).__name__}: {self.error}" if self._ended == "failed" else ""

    def _add(self, item: Any) -> None:
        self._count += 1
        if isinstance(item, ModelResponseStream):
            tag = item.get("source")
            source = tag if isinstance(tag, str) else None
            if item.restart is not None and source not in self._answers:
                self._answers.clear()  # of all: it does not say which
            if source not in self._answers:
                self._answers[source] = Transcript(item.model or self._model, begun=self._begun)
            self._answers[source].add(item, time.monotonic())
        elif isinstance(item, Restart):
            self._texts = _Texts()
        elif isinstance(item, str):
            self._texts.add(item)
        elif isinstance(item, ChatCompletionMessageToolCall):
            self._calls[item.choice, item.index] = item
        elif isinstance(item, CodeBlock):
            self._blocks.append(item)
        elif isinstance(item, BaseModel | dict):
            self._newest = item
        else:
            self._others.append(item)

    @property
    def _now(self) -> float:
        return time.monotonic() if self._ended is None else self._at

    @property
    def _besides(self) -> str:
        """The calls, the newest object, the last of other items and the failure, a line each."""
        calls = [call for answer in self._answers.values() for call in _calls_of(answer.rounds)]
        if isinstance(self._newest, ModelResponse):
            calls += _calls_of([Round(said_in(self._newest), [])])
        calls += self._calls.values()
        parts = [
            *(f"{call.function.name}({call.function.arguments})" for call in calls),
            "" if self._newest is None or isinstance(self._newest, ModelResponse) else shortened(repr(self._newest)),
            self._other_lines,
            self.failure,
        ]
        return wellformed("\n".join(filter(None, parts)))

    @property
    def _other_lines(self) -> str:
        return "\n".join(shortened(repr(item)) for item in self._others)

    def _html_of(self, rounds: Iterable[Round]) -> list[str]:
        parts: list[str] = []
        for each in rounds:
            for said in each.choices.values():
                if len(each.choices) > 1:
                    parts.append(heading(f"choice {said.index}"))
                if said.reasoning:
                    is_newest = not (said.text or said.calls or said.refusal or said.finish_reason or self._ended)
                    parts.append(folded("Reasoning", rendered(said.reasoning), is_open=is_newest))
                parts.append(rendered(said.text) if said.text else "")
                parts.append(f"<p><i>Refused:</i></p>\n{rendered(said.refusal)}" if said.refusal else "")
                parts.append(sources(said.annotations))
                parts.append(calls_table(said.calls, each.results))
        return parts


class _Texts:
    """Texts that come one by one: one text that grows, the pieces of one, or lines."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._newest = ""
        self._count = 0
        self._grows = True
        self._certain = False

    def add(self, text: str) -> None:
        """One more."""
        self._count += 1
        is_more = self._count == 1 or (len(text) > len(self._newest) and text.startswith(self._newest))
        self._grows = (self._grows and is_more) or self._certain
        self._newest = text
        if self._grows and self._count > _CERTAIN:
            self._certain = True  # what does not go on from there begins anew
            self._pieces.clear()
        else:
            self._pieces.append(text)

    @property
    def text(self) -> str:
        """All of it, so far."""
        if self._grows:
            return self._newest
        # Sentences and lines have spaces within and none around them.
        lines = all(piece == piece.strip() for piece in self._pieces) and any(" " in piece for piece in self._pieces)
        return "\n\n".join(self._pieces) if lines else join_text(self._pieces)


def _members(item: Any) -> dict[str, Any]:
    members: dict[str, Any] = dict(item)  # of a model: its members as they are
    return members


def _fenced(code: str, language: str) -> str:
    """Code as Markdown, whatever is in it."""
    fence = "~" * max([3, *map(len, re.findall("~+", code))]) + "~"
    end = "" if code.endswith("\n") else "\n"
    return f"{fence}{language}\n{code}{end}{fence}"


def _texts_of(rounds: Iterable[Round]) -> list[str]:
    return [said.text or said.refusal for each in rounds for said in each.choices.values()]


def _calls_of(rounds: Iterable[Round]) -> list[ChatCompletionMessageToolCall]:
    return [call for each in rounds for said in each.choices.values() for call in said.calls]
