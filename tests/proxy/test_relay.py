"""What passes unparsed is what would have come of parsing it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxllm.providers._openai import OpenAIChat
from rxllm.proxy._encoding import ChunkEncoder
from rxllm.proxy._relay import RelayedEvent, _Relaying  # pyright: ignore[reportPrivateUsage]
from rxllm.testing import LLMServer
from rxllm.types import Request
from tests.proxy.serving import ask, events_in, serving, texts_of
from tests.server import Answering, Server, chunk

_REQUEST = Request(model="gpt-4", messages=[])
_HEADERS = {"content-type": "text/event-stream"}


def _read(dialect: Any, pieces: list[bytes]) -> tuple[list[Any], int, str, bool]:
    """The events that come of a body, how many passed unparsed, the failure, and whether the end was proven."""
    reading = dialect.reading(_REQUEST, _HEADERS)
    encoder = ChunkEncoder("gpt-4")
    items = [item for piece in pieces for item in reading.feed(piece)] + reading.end()
    passed = [item for item in items if isinstance(item, RelayedEvent)]
    data = b"".join(item if isinstance(item, RelayedEvent) else encoder.encode(item) for item in items)
    events = [json.loads(event) for event in f"\n\n{data.decode()}".split("\n\ndata: ")[1:]]
    for event in events:
        event.pop("usage", None)
        if event["id"] != "chatcmpl-1":  # of the encoder's own
            event["id"], event["created"] = "", 0
        for choice in event["choices"]:
            choice["delta"] = {name: value for name, value in choice["delta"].items() if value is not None}
            choice.pop("native_finish_reason", None)
    return events, len(passed), str(reading.failure), reading.complete


def _event(data: Any, *, ascii_only: bool) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=ascii_only)
    return f"data: {text}\n\n".encode("utf-8", "surrogatepass")


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", '\\"', "\n", '"},"finish_reason":"stop"', "\x7f", "é", "\U0001f600", '{"error":1}', "[DONE]", "data: "]
)
_PARTS: list[Any] = [
    chunk("x", index=1),
    chunk(finish="stop"),
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "r"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "l"}, "logprobs": {"content": []}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]},
    {"choices": [{"index": 0, "delta": {"content": "t", "reasoning": "hm"}}]},
    {"choices": [{"index": 0, "delta": {"content": "t"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    {"error": {"message": "no", "code": 500}},
    '{"choices": [{"index": 0, "delta": {"content": "a", "content": "b"}, "finish_reason": null}]}',
    '{"choices": [{"index": 0, "delta": {"content": "\\ud83d"}, "finish_reason": null}]}',
    '{"choices": [{"index": 0, "delta": {"content": "\\ude00"}, "finish_reason": null}]}',
    '{"choices": [{"index": 0, "delta": {"content": "a\\',
    '{"choices": [{"index": 0, "delta":\ndata: {"content": "in two lines"}, "finish_reason": null}]}',
    "no json",
    "[DONE]",
]
_OTHERS = st.sampled_from(_PARTS)


@given(
    parts=st.lists(_TEXTS | _OTHERS, max_size=12),
    padding=st.none() | st.text("abcXYZ019", min_size=1, max_size=9),
    ascii_only=st.booleans(),
    cut=st.integers(1, 200),
)
def test_relaying_changes_nothing(parts: list[Any], padding: str | None, cut: int, *, ascii_only: bool) -> None:
    """Of any events, however they are cut, the same comes with and without parsing each of them."""
    events: list[bytes] = []
    for number, part in enumerate(parts):
        data: Any = (
            chunk(part) if isinstance(part, str) and part not in ("no json", "[DONE]") and part[:1] != "{" else part
        )
        if padding and not isinstance(data, str) and "error" not in data:
            data = {**data, "obfuscation": padding * (1 + number % 2)}
        events.append(_event(data, ascii_only=ascii_only))
    body = b"".join(events)
    pieces = [body[start : start + cut] for start in range(0, len(body), cut)]
    parsed = _read(OpenAIChat(), pieces)
    relayed = _read(_Relaying(OpenAIChat()), pieces)
    if padding:
        for event in parsed[0] + relayed[0]:
            event.pop("obfuscation", None)
    assert relayed[0] == parsed[0]
    assert relayed[2:] == parsed[2:]


@pytest.mark.parametrize("padding", [None, "aB3"])
def test_most_events_of_an_answer_pass(padding: str | None) -> None:
    """Of a hundred texts all but the first two pass: one has the role, one shows what texts look like."""
    extra = {"obfuscation": padding} if padding else {}
    events = [_event({**chunk(f" word {number}\n"), **extra}, ascii_only=True) for number in range(100)]
    events += [_event(chunk(finish="stop"), ascii_only=True), b"data: [DONE]\n\n"]
    items, passed, failure, complete = _read(_Relaying(OpenAIChat()), events)
    assert (len(items), passed, failure, complete) == (101, 98, "None", True)


def test_events_of_several_lines_stay_whole() -> None:
    """However many of them come: each is one event, and none of its lines is lost."""
    events = [_event(chunk(text), ascii_only=True).replace(b', "', b',\ndata: "') for text in "abcd"]
    events += [_event(chunk(finish="stop"), ascii_only=True), b"data: [DONE]\n\n"]
    reading = _Relaying(OpenAIChat()).reading(_REQUEST, _HEADERS)
    items: list[Any] = [item for event in events for item in reading.feed(event)]
    encoder = ChunkEncoder("gpt-4")
    framed = [item if isinstance(item, RelayedEvent) else encoder.encode(item) for item in items]
    assert [text for event in framed if (text := texts_of(events_in(event.decode())))] == [*"abcd"]


@pytest.mark.parametrize("cut", ["content", "obfuscation"])
def test_an_event_in_several_lines_like_one_in_a_single_line_stays_whole(cut: str) -> None:
    """White space is no part of a text: where it is a line's end, the event is framed anew."""
    events = [_event({**chunk(text), "obfuscation": "aB"}, ascii_only=True) for text in "abcd"]
    events[3] = events[3].replace(f'"{cut}": '.encode(), f'"{cut}": \ndata: '.encode())
    reading = _Relaying(OpenAIChat()).reading(_REQUEST, _HEADERS)
    items: list[Any] = [item for event in events for item in reading.feed(event)]
    assert [type(item) is RelayedEvent for item in items] == [False, False, True, False]
    assert [texts_of(events_in(ChunkEncoder("gpt-4").encode(item).decode())) for item in items[3:]] == ["d"]


@pytest.mark.parametrize("none_yet", ["", "null"])
def test_what_servers_write_for_no_finish_reason_yet_is_none(none_yet: str) -> None:
    """However alike the events are: clients end where there is a finish reason."""
    said = [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": none_yet}]} for text in "abcd"]
    events = [_event({**chunk(""), **choices}, ascii_only=True) for choices in said]
    items, passed, *_ = _read(_Relaying(OpenAIChat()), events)
    assert [item["choices"][0]["finish_reason"] for item in items] == [None] * 4
    assert (texts_of(items), passed) == ("abcd", 0)


def test_thoughts_pass_too() -> None:
    """What has not to be touched is found by trying, and not by its names."""
    said = [{"choices": [{"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}]} for text in "abcd"]
    events = [_event({**chunk(""), **choices}, ascii_only=True) for choices in said]
    items, passed, *_ = _read(_Relaying(OpenAIChat()), events)
    assert ([item["choices"][0]["delta"]["reasoning_content"] for item in items], passed) == ([*"abcd"], 2)


def test_an_answer_is_relayed_through_the_server() -> None:
    """The bytes of a text's event are the upstream's own, members that nobody knows too; the end is proven."""
    with LLMServer() as upstream:
        upstream.answer("Hel", "lo", " wor", "ld", fault="truncated")
        upstream.answer("Hel", "lo", " wor", "ld")
        model = {"model": "openai/gpt-4", "api_base": upstream.url, "api_key": "k", "max_retries": 0}
        with serving({"gpt-4": model}) as address:
            broken = events_in(ask(address, stream=True).text)
            whole = events_in(ask(address, stream=True).text)
    assert texts_of(broken) == texts_of(whole) == "Hello world"
    assert "error" in broken[-1]
    assert whole[-1] == "[DONE]"


def test_an_error_event_between_relayed_ones_ends_the_stream(server: Server) -> None:
    """An error in the middle of texts that pass is told, and what follows it is not sent."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("a"), chunk("b"), chunk("c"), chunk("d"))
        await answering.event({"error": {"message": "Out of order"}}, chunk("e"), "[DONE]")
        await answering.end()

    server.script = script
    with serving({"gpt-4": {"model": "openai/gpt-4", "api_base": server.url, "api_key": "k"}}) as address:
        events = events_in(ask(address, stream=True).text)
    assert texts_of(events) == "abcd"
    assert events[-1]["error"]["message"] == "Out of order"
