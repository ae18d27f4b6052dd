"""Events that are alike: their chunks are those that validating each would give, and share nothing that can change."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm.providers._alike import Alike, Likeness
from rxllm.providers._anthropic import AnthropicMessages
from rxllm.providers._base import Dialect
from rxllm.providers._gemini import Gemini
from rxllm.providers._openai import OpenAIChat, OpenAIChatReading
from rxllm.types import ModelResponseStream
from tests.providers.reading import EVENT_STREAM, event, request, sse

TOP = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 7,
    "model": "gpt-4o",
    "service_tier": "default",
}


def plain(content: str, **top: Any) -> dict[str, Any]:
    """An event as most are."""
    choice = {"index": 0, "delta": {"content": content}, "logprobs": None, "finish_reason": None}
    return {**TOP, "choices": [choice], "usage": None, **top}


def role_repeated(text: str) -> Any:
    """An event of a server that says each time who speaks."""
    return event({"role": "assistant", "content": text, "reasoning": None})


def padded(text: str) -> Any:
    """An event with padding."""
    return plain(text, obfuscation="xy" * len(text))


def thought(text: str) -> Any:
    """An event with reasoning."""
    return event({"reasoning_content": text, "content": None})


def thought_besides(text: str) -> Any:
    """An event with reasoning of another name."""
    return event({"content": "", "reasoning": text})


def at(text: str, index: int) -> Any:
    """An event of one choice among several."""
    return event({"content": text}, index=index)


def calling(text: str) -> Any:
    """An event with a tool call."""
    return event({"content": text, "tool_calls": [{"index": 0, "id": "a"}]})


def finishing(text: str) -> Any:
    """An event that ends its choice."""
    return event({"content": text}, finish="stop")


def with_more(text: str, of: str) -> Any:
    """An event with something that chunks cannot share."""
    return event({"content": text}, x={"of": of})


def read(body: bytes) -> OpenAIChatReading:
    """A reading that has been fed."""
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    reading.feed(body)
    return reading


def nothing(*_: object) -> None:
    """Learns nothing."""


TEXTS = st.one_of(
    st.text(max_size=5), st.sampled_from(['"', "\\", "\n", '"},', '"obfuscation":"x"', "é", "😀", "\x00"])
)
# Text and not encoded yet: what stands within a string, also what must not.
RAW = st.sampled_from(
    ['a"', "\\", "\\ud83d", "\\ude00", "\\x", "\n", "\x1f", "null", '","content":"b', '"', "\\u0041", ""]
)
EVENTS = st.one_of(
    st.builds(plain, TEXTS),
    st.builds(plain, TEXTS, obfuscation=TEXTS),
    st.builds(plain, TEXTS, p=TEXTS),
    st.builds(plain, TEXTS, created=st.integers(0, 2)),
    st.builds(plain, TEXTS, usage=st.just({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})),
    st.builds(role_repeated, TEXTS),
    st.builds(padded, TEXTS),
    st.builds(thought, TEXTS),
    st.builds(thought_besides, TEXTS),
    st.builds(at, TEXTS, st.integers(0, 1)),
    st.builds(calling, TEXTS),
    st.builds(finishing, TEXTS),
    st.builds(with_more, TEXTS, TEXTS),
)
BODIES = st.lists(
    st.one_of(
        EVENTS.map(json.dumps),
        EVENTS.map(lambda said: json.dumps(said, separators=(",", ":"), ensure_ascii=False)),
        RAW.map(lambda raw: json.dumps(plain("@")).replace("@", raw)),
        RAW.map(lambda raw: json.dumps(plain("hole", obfuscation="@")).replace("@", raw)),
    ).map(lambda text: b"data: " + text.encode("utf-8", "surrogatepass").replace(b"\n", b"\xff")),
    max_size=12,
)


@given(BODIES, st.integers(1, 4))
def test_a_reading_that_learns_reads_the_same(lines: list[bytes], times: int) -> None:
    """As one that never does: chunks, with what they keep of themselves, end and failure."""
    _compare(OpenAIChat(), [line for line in lines for _ in range(times)])


def claude(kind: str, **fields: Any) -> bytes:
    """One of Claude's events."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}".encode()


def of_block(index: int, **delta: Any) -> bytes:
    """More of a block."""
    return claude("content_block_delta", index=index, delta=delta)


BLOCKS = st.sampled_from([{"type": "text"}, {"type": "thinking"}, {"type": "tool_use", "id": "a", "name": "f"}])
INDICES = st.integers(0, 1)
CLAUDES = st.lists(
    st.one_of(
        st.builds(of_block, INDICES, type=st.just("text_delta"), text=TEXTS),
        st.builds(of_block, INDICES, type=st.just("text_delta"), text=TEXTS, more=st.just(1)),
        st.builds(of_block, INDICES, type=st.just("thinking_delta"), thinking=TEXTS),
        st.builds(of_block, INDICES, type=st.just("text_delta"), thinking=TEXTS),
        st.builds(of_block, INDICES, type=st.just("input_json_delta"), partial_json=TEXTS),
        st.builds(of_block, INDICES, type=st.just("citations_delta"), citation=st.just({"url": "u"})),
        st.builds(claude, st.just("content_block_stop"), index=INDICES),
        st.builds(claude, st.just("content_block_start"), index=INDICES, content_block=BLOCKS),
        RAW.map(
            lambda raw: of_block(0, type="text_delta", text="@").replace(b"@", raw.encode().replace(b"\n", b"\xff"))
        ),
        st.just(claude("ping")),
        st.just(claude("message_start", message={"id": "msg_1", "model": "claude"})),
        st.just(claude("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})),
        st.just(claude("message_stop")),
    ),
    max_size=12,
)


@given(CLAUDES, st.integers(1, 4), st.booleans())
def test_a_reading_of_claude_that_learns_reads_the_same(lines: list[bytes], times: int, filled: bool) -> None:
    """Its blocks, too, have all their texts, also where events are filled up with spaces."""
    repeated = [line[:-1] + b" " * (filled * number) + line[-1:] for line in lines for number in range(times)]
    _compare(AnthropicMessages(), repeated)


def said_by_gemini(*parts: Any, index: int = 0, finish: str | None = None, **top: Any) -> bytes:
    """One of Gemini's events."""
    candidate: dict[str, Any] = {"content": {"parts": [*parts], "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    return b"data: " + json.dumps({"candidates": [candidate], "modelVersion": "gemini", **top}).encode()


def spoken(text: str, thought: bool | None, index: int, used: Any) -> bytes:
    """An event with a text, and perhaps with usage."""
    part = {"text": text} if thought is None else {"text": text, "thought": thought}
    return said_by_gemini(part, index=index, **({} if used is None else {"usageMetadata": used}))


def a_part(text: str) -> dict[str, Any]:
    """A part of an answer that is text."""
    return {"text": text}


USED = st.one_of(
    st.none(),
    st.integers(0, 30).map(lambda count: {"promptTokenCount": 7, "totalTokenCount": count}),
    st.integers(0, 3).map(
        lambda count: {"promptTokenCount": 1, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": count}]}
    ),
    st.sampled_from([{}, {"trafficType": "ON_DEMAND"}, {"a": {"b": {"c": 1}}, "totalTokenCount": 3}, [], 7]),
)
GEMINIS = st.lists(
    st.one_of(
        st.builds(spoken, TEXTS, st.sampled_from([None, True]), st.integers(0, 1), USED),
        st.builds(spoken, TEXTS, st.none(), st.just(0), USED),
        st.builds(said_by_gemini, TEXTS.map(a_part), usageMetadata=USED, finish=st.just("STOP")),
        st.builds(said_by_gemini, TEXTS.map(a_part), usageMetadata=USED, createTime=TEXTS),
        RAW.map(lambda raw: spoken("@", None, 0, None).replace(b"@", raw.encode().replace(b"\n", b"\xff"))),
        RAW.map(
            lambda raw: spoken("a", None, 0, {"totalTokenCount": 12}).replace(
                b"12", raw.encode().replace(b"\n", b"\xff")
            )
        ),
        st.sampled_from(
            [
                said_by_gemini({"text": "a"}, usageMetadata={"totalTokenCount": 1})[:-1]
                + b', "usageMetadata": {"totalTokenCount": 2}}',
                said_by_gemini({"text": "a"}, {"usageMetadata": {"totalTokenCount": 3}}),
                said_by_gemini({"functionCall": {"name": "f", "args": {}}}),
                said_by_gemini({"functionCall": {"name": "f", "willContinue": True}}),
                said_by_gemini({"text": "a"}, {"text": "b"}),
                said_by_gemini({"text": "a", "thoughtSignature": "s"}),
                said_by_gemini({"text": "a"}, error={"message": "no"}),
                b'data: {"usageMetadata": {"totalTokenCount": 9}}',
                b'data: {"response": {"candidates": [{"content": {"parts": [{"text": "w"}]}}]}}',
                b"data: [DONE]",
            ]
        ),
    ),
    max_size=12,
)


@given(GEMINIS, st.integers(1, 4))
def test_a_reading_of_gemini_that_learns_reads_the_same(lines: list[bytes], times: int) -> None:
    """Its usage, too, is the last that was said."""
    _compare(Gemini(), [line for line in lines for _ in range(times)])


def _compare(dialect: Dialect, lines: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        learning = _all(dialect, lines)
        patch.setattr(Likeness, "_alike", nothing)
        assert learning == _all(dialect, lines)


def _all(dialect: Dialect, lines: list[bytes]) -> tuple[Any, ...]:
    reading = dialect.reading(request(), EVENT_STREAM)
    chunks = [chunk for line in lines for chunk in reading.feed(line + b"\n\n")]
    chunks += reading.end()
    return chunks, [repr(chunk) for chunk in chunks], reading.complete, str(reading.failure), reading.events


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of chunks that were made without validating."""
    texts: list[str] = []

    def noting(self: Alike, event: bytes, text: str, padding: Any) -> ModelResponseStream:
        texts.append(text)
        return self.as_chunk(event, text, padding)

    for kind in (Alike, *Alike.__subclasses__()):
        monkeypatch.setattr(kind, "made", noting)
    return texts


@pytest.mark.parametrize("said", [plain, padded, role_repeated, thought, thought_besides])
def test_most_events_are_alike(said: Callable[[str], Any], validated: list[str]) -> None:
    """In the forms that providers send: all but the first, which brings the role, and the one that is learnt from."""
    words = [f"word {number}\n" for number in range(50)]
    reading = read(sse(*map(said, words), done=False))
    assert [text for text in validated if "word" in text] == words[2:]
    assert reading.failure is None


@pytest.mark.parametrize(("kind", "field"), [("text_delta", "text"), ("thinking_delta", "thinking")])
def test_most_of_claudes_events_are_alike(kind: str, field: str, validated: list[str]) -> None:
    """All of a block but the one that is learnt from."""
    reading = AnthropicMessages().reading(request(), EVENT_STREAM)
    words = [f"word {number}\n" for number in range(50)]
    reading.feed(claude("message_start", message={"id": "msg_1", "model": "claude"}) + b"\n\n")
    for place, word in enumerate(words):
        filled = of_block(0, **{"type": kind, field: word}).removesuffix(b"}") + b" " * (place % 7) + b"}"
        reading.feed(filled + b"\n\n")
    assert [text for text in validated if "word" in text] == words[1:]


@pytest.mark.parametrize("thought", [{}, {"thought": True}])
def test_most_of_geminis_events_are_alike(thought: dict[str, Any], validated: list[str]) -> None:
    """Though each has the usage so far, which comes with the last."""
    reading = Gemini().reading(request(), EVENT_STREAM)
    words = [f"word {number}\n" for number in range(50)]
    for count, word in enumerate(words):
        used = {"promptTokenCount": 5, "totalTokenCount": 5 + count, "promptTokensDetails": [{"tokenCount": 5}]}
        reading.feed(said_by_gemini({"text": word, **thought}, usageMetadata=used) + b"\r\n\r\n")
    assert [text for text in validated if "word" in text] == words[2:]
    reading.feed(said_by_gemini({"text": ""}, finish="STOP") + b"\r\n\r\n")
    [last] = reading.end()
    assert last.reported_usage is not None
    assert last.reported_usage.total_tokens == 54


def test_events_that_are_all_different_are_soon_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them are learnt from ten times."""
    tried: list[bytes] = []
    read_again = OpenAIChatReading._read_again  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001

    def noting(self: OpenAIChatReading, event: bytes) -> ModelResponseStream | None:
        tried.append(event)
        return read_again(self, event)

    monkeypatch.setattr(OpenAIChatReading, "_read_again", noting)
    read(sse(*(plain("a", id=f"chunk {number}") for number in range(1000)), done=False))
    assert len(tried) == 9


def test_their_chunks_are_chunks() -> None:
    """Equal to those that were validated in every way that people look at them, and each with parts of its own."""
    said = [plain("a"), plain("b"), plain("b"), plain("c")]
    reading = OpenAIChat().reading(request(), EVENT_STREAM)
    validated, learnt, *stamped = reading.feed(sse(plain("first"), *said, done=False))[1:]
    like = ModelResponseStream.model_validate_json(json.dumps(plain("b")))
    for chunk in (learnt, stamped[0]):
        assert chunk == like
        assert chunk.model_dump() == like.model_dump()
        assert chunk.model_dump_json(exclude_unset=True) == like.model_dump_json(exclude_unset=True)
        assert chunk.model_fields_set == like.model_fields_set
        assert pickle.loads(pickle.dumps(chunk)) == like  # noqa: S301  our own
        assert copy.deepcopy(chunk) == copy.copy(chunk) == like
        assert chunk["service_tier"] == "default"
    one, other = stamped
    one.choices[0].delta.role = "assistant"
    one.choices[0].finish_reason = "stop"
    setattr(one.choices[0].delta, "mine", 1)  # noqa: B010  a field of its own
    one.id = "mine"
    one.choices.append(one.choices[0])
    assert other == ModelResponseStream.model_validate_json(json.dumps(plain("c")))
    assert validated == ModelResponseStream.model_validate_json(json.dumps(plain("a")))
    further = reading.feed(sse(plain("d"), done=False))
    assert further == [ModelResponseStream.model_validate_json(json.dumps(plain("d")))]
