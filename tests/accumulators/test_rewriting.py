"""The text of chunks, rewritten choice by choice."""

from typing import Any

import pytest

from rxllm._accumulators._rewriting import ChunkRewriter, Segment, TextRewriter, is_text
from rxllm.types import ChatCompletionMessageToolCall, ModelResponseStream, StreamingChoices, ToolResult, Usage
from tests.operators.sources import call_piece, calling, of, reported


class Holding(TextRewriter):
    """Holds the last character back, and makes the text large."""

    held = ""

    def feed(self, text: str) -> list[Segment]:
        text, self.held = (self.held + text)[:-1].upper(), text[-1]
        return [(self.field, text)] if text else []

    def flush(self) -> list[Segment]:
        held, self.held = self.held, ""
        return [(self.field, held.upper())] if held else []


def said(chunks: list[ModelResponseStream]) -> list[Any]:
    """What each chunk says, choice by choice, in short."""
    return [
        [
            {"index": choice.index, **choice.model_dump(exclude_none=True, exclude_defaults=True)}
            for choice in chunk.choices
        ]
        for chunk in chunks
    ]


def choice(index: int = 0, **fields: Any) -> dict[str, Any]:
    """A choice that says this in its delta."""
    reason = fields.pop("finish_reason", None)
    return {"index": index} | ({"delta": fields} if fields else {}) | ({"finish_reason": reason} if reason else {})


def test_text_that_stays_as_it_is_passes_as_it_is() -> None:
    """The chunk itself, whatever it is."""
    rewriter = ChunkRewriter(TextRewriter)
    for chunk in (
        of("", role="assistant"),
        of("a", reasoning_content="b", refusal="c"),
        calling(call_piece("{}", index=0, id="a", name="f")),
        of("a", finish_reason="stop"),
        ModelResponseStream(choices=[*of("a").choices, *of("b", index=1).choices]),
        reported(prompt_tokens=1),
        ModelResponseStream.restarting("again"),
    ):
        (given,) = rewriter.feed(chunk)
        assert given is chunk
    assert rewriter.flush() == []


def test_chunks_that_lose_their_text_are_left_out_unless_they_say_more() -> None:
    """Roles, finish reasons, calls, log probabilities, unknown fields and headers stay."""
    rewriter = ChunkRewriter(Holding)
    assert rewriter.feed(of("a")) == []
    assert said(rewriter.feed(of("b", role="assistant"))) == [[choice(role="assistant", content="A")]]
    rewriter = ChunkRewriter(Holding)
    assert said(rewriter.feed(of("a", role="assistant"))) == [[choice(role="assistant")]]
    assert said(rewriter.feed(of("b", strange=1))) == [[choice(content="A", strange=1)]]
    rewriter = ChunkRewriter(Holding)
    first = of("a")
    first.response_headers = {"x-request-id": "1"}
    (given,) = rewriter.feed(first)
    assert (list(given.choices), given.request_id) == ([], "1")
    assert given.choices[0].delta.content is None


def test_log_probabilities_stay_or_go() -> None:
    """They spell the text out as it came."""
    chunk = ModelResponseStream(choices=[StreamingChoices(delta=of("a").choices[0].delta, logprobs={"content": [1]})])
    (given,) = ChunkRewriter(Holding).feed(chunk)
    assert given.choices[0].logprobs == {"content": [1]}
    assert ChunkRewriter(Holding, keeps_logprobs=False).feed(chunk) == []
    (given,) = ChunkRewriter(TextRewriter, keeps_logprobs=False).feed(chunk)
    assert (given.choices[0].logprobs, given.choices[0].delta.content) == (None, "a")
    assert chunk.choices[0].logprobs == {"content": [1]}


@pytest.mark.parametrize(
    "chunk",
    [of(finish_reason="stop"), calling(call_piece("{}", index=0, id="a", name="f")), of("b", finish_reason="stop")],
)
def test_held_text_comes_before_what_is_no_text(chunk: ModelResponseStream) -> None:
    """A finish reason or a tool call gives it, on the same chunk."""
    rewriter = ChunkRewriter(Holding)
    rewriter.feed(of("a"))
    (given,) = rewriter.feed(chunk)
    assert given.choices[0].delta.content == "A" + (chunk.choices[0].delta.content or "").upper()
    assert given.choices[0].finish_reason == chunk.choices[0].finish_reason
    assert given.choices[0].delta.tool_calls == chunk.choices[0].delta.tool_calls
    assert rewriter.flush() == []


def test_held_text_comes_before_chunks_without_choices_that_end_it() -> None:
    """Usage and a tool's result; others pass by, and a new beginning makes it void."""
    result = ModelResponseStream.of_tool(ToolResult(call=ChatCompletionMessageToolCall(), content=""))
    for ending in (reported(prompt_tokens=1), ModelResponseStream(usage=Usage()), result):
        rewriter = ChunkRewriter(Holding)
        rewriter.feed(of("a"))
        held, given = rewriter.feed(ending)
        assert (said([held]), given) == ([[choice(content="A")]], ending)
    rewriter = ChunkRewriter(Holding)
    rewriter.feed(of("a"))
    assert rewriter.feed(ModelResponseStream()) == [ModelResponseStream()]
    assert said(rewriter.feed(of("b"))) == [[choice(content="A")]]
    (marker,) = rewriter.feed(ModelResponseStream.restarting("again"))
    assert marker.restart == "again"
    assert rewriter.flush() == []


def test_choices_and_fields_are_told_apart_and_keep_their_order() -> None:
    """Text of another field ends the text before it; what cannot share a delta in order comes on two chunks."""
    rewriter = ChunkRewriter(Holding)
    rewriter.feed(ModelResponseStream(choices=[*of("a").choices, *of("b", index=1).choices]))
    assert said(rewriter.feed(of("cd", index=1))) == [[choice(1, content="BC")]]
    assert said(rewriter.feed(of(reasoning_content="ef"))) == [[choice(content="A")], [choice(reasoning_content="E")]]
    assert said(rewriter.feed(of("gh"))) == [[choice(reasoning_content="F", content="G")]]
    assert said(rewriter.flush()) == [[choice(content="H")], [choice(1, content="D")]]


def test_the_role_is_said_once_and_first() -> None:
    """Also where a chunk becomes several."""

    class Each(TextRewriter):
        def feed(self, text: str) -> list[Segment]:
            return [(self.field, character) for character in text]

    chunk = of("abc", role="assistant", finish_reason="stop")
    assert said(ChunkRewriter(Each, joins=False).feed(chunk)) == [
        [choice(role="assistant", content="a")],
        [choice(content="b")],
        [choice(content="c", finish_reason="stop")],
    ]
    assert ChunkRewriter(Each).feed(chunk) == [chunk]


def test_halves_of_a_character_are_put_together() -> None:
    """The rewriter sees whole characters, and a half that stays alone at the end."""
    seen: list[str] = []

    class Seeing(TextRewriter):
        def feed(self, text: str) -> list[Segment]:
            seen.append(text)
            return super().feed(text)

    rewriter = ChunkRewriter(Seeing)
    for text in ("a\ud83d", "\ude00b", "\ud83d"):
        rewriter.feed(of(text))
    assert said(rewriter.flush()) == [[choice(content="\ud83d")]]
    assert seen == ["a", "\U0001f600b", "\ud83d"]


class Ending(TextRewriter):
    """Ends the choice with its first full stop."""

    def feed(self, text: str) -> list[Segment]:
        before, stop, _ = text.partition(".")
        if stop:
            self.finish = StreamingChoices(finish_reason="stop")
        return [(self.field, before)] if before else []


def test_a_choice_that_ends_says_so_and_nothing_more() -> None:
    """Its text, a chunk with the finish, and whatever else is of other choices."""
    rewriter = ChunkRewriter(Ending)
    assert said(rewriter.feed(of("a.b", role="assistant", finish_reason="length"))) == [
        [choice(role="assistant", content="a")],
        [choice(finish_reason="stop")],
    ]
    assert rewriter.feed(of("c")) == []
    assert rewriter.flush() == []


def test_it_is_over_when_all_choices_are() -> None:
    """Not while one goes on, nor while one is still expected; nor where the provider comes to its own end."""
    rewriter = ChunkRewriter(Ending)
    rewriter.feed(ModelResponseStream(choices=[*of("a").choices, *of("b", index=1).choices]))
    rewriter.feed(of("."))
    assert not rewriter.over
    rewriter.feed(of(index=1, finish_reason="length"))
    assert rewriter.over
    rewriter = ChunkRewriter(Ending, expected=2)
    rewriter.feed(of("."))
    assert not rewriter.over
    rewriter.feed(of(".", index=1))
    assert rewriter.over
    rewriter = ChunkRewriter(Ending)
    rewriter.feed(of(".", finish_reason="stop"))
    assert not rewriter.over
    rewriter = ChunkRewriter(Ending)
    rewriter.feed(ModelResponseStream(choices=[*of(".").choices, *of("b", index=1).choices]))
    rewriter.feed(ModelResponseStream.restarting("again"))
    assert said(rewriter.feed(of("a"))) == [[choice(content="a")]]
    assert not rewriter.over


def test_what_the_first_chunk_bears_is_on_its_first_piece() -> None:
    """The headers of the response; what is left of the chunk is text like any other."""

    class Words(TextRewriter):
        def feed(self, text: str) -> list[Segment]:
            return [(self.field, word) for word in text.split(" ")]

        def flush(self) -> list[Segment]:
            return []

    chunk = ModelResponseStream.of("one two three")
    chunk.response_headers = {"x-request-id": "req_1"}
    pieces = ChunkRewriter(Words, joins=False).feed(chunk)
    assert [piece.choices[0].delta.content for piece in pieces] == ["one", "two", "three"]
    assert [piece.request_id for piece in pieces] == ["req_1", None, None]
    assert [is_text(piece) for piece in pieces] == [False, True, True]
