"""rxllm.testing.LLMServer: what it plays, how it breaks, and what it tells; each way over a real socket."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
import reactivex as rx
from reactivex import operators as rx_ops

import rxllm
from rxllm import ModelResponse, Stream, Timeouts, completion
from rxllm import operators as ops
from rxllm.exceptions import (
    APIConnectionError,
    BadRequestError,
    IncompleteStreamError,
    InternalServerError,
    RateLimitError,
    Timeout,
)
from rxllm.testing import LLMRequest, LLMServer, tool_call
from rxllm.types import Choices, Message, ModelResponseStream, Usage
from tests.consume import WAYS
from tests.server import PATIENCE, texts

HELLO = [{"role": "user", "content": "Hello"}]
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def playing() -> Iterator[LLMServer]:
    """A server."""
    with LLMServer() as server:
        yield server
    rxllm.close()


def stream(server: LLMServer, model: str = "gpt-4", **parameters: Any) -> Stream[ModelResponseStream]:
    """A stream from the server."""
    settings: dict[str, Any] = {"api_base": server.url, "api_key": "test", "max_retries": 0, **parameters}
    made: Stream[ModelResponseStream] = completion(model, HELLO, stream=True, **settings)
    return made


@each_way
def test_texts(playing: LLMServer, way: str) -> None:
    """Each comes as one chunk, and the end is added; each request gets the next answer."""
    playing.answer("Hel", "lo")
    playing.answer("Good", "bye", finish="length")
    for said, reason in ((["Hel", "lo"], "stop"), (["Good", "bye"], "length")):
        chunks = WAYS[way](stream(playing))
        assert texts(chunks) == said
        assert chunks[-1].choices[0].finish_reason == reason
        assert chunks[0].model == "gpt-4"


def test_what_was_asked(playing: LLMServer) -> None:
    """Method, path, headers, body; in the order of arrival, and without a key in what is shown."""
    playing.answer("a")
    playing.answer("b")
    stream(playing).run()
    stream(playing, temperature=0.5).run()
    first, second = playing.requests
    assert [playing.next_request(), playing.next_request()] == [first, second]
    assert (first.method, first.path) == ("POST", "/v1/chat/completions")
    assert first.headers["authorization"] == "Bearer test"
    assert first.json["messages"] == HELLO == json.loads(first.body)["messages"]
    assert second.json["temperature"] == 0.5
    assert repr(first) == "<LLMRequest POST /v1/chat/completions>"
    with pytest.raises(TimeoutError, match="there were 2"):
        playing.next_request(timeout=0.05)


def test_chunks_and_dictionaries(playing: LLMServer) -> None:
    """Chunks come as they are, several choices and tool calls too; a finish reason of theirs is the last."""
    said: list[Any] = [
        ModelResponseStream.of("a", index=1, role="assistant"),
        tool_call("add", {"x": 1}),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "model": "mine"},
        ModelResponseStream.of(index=1, finish_reason="length"),
    ]
    playing.answer(*said, usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})
    response = stream(playing).pipe(ops.build_response()).run()
    assert [choice.finish_reason for choice in response.choices] == ["tool_calls", "length"]
    assert response.choices[1].message.content == "a"
    (call,) = response.choices[0].message.tool_calls or []
    assert (call.function.name, call.parsed) == ("add", {"x": 1})
    assert response.usage is not None
    assert (response.usage.total_tokens, response.usage.estimated) == (7, False)


WHOLE = ModelResponse(
    id="r1",
    choices=[Choices(message=Message(content="Hello"), finish_reason="length"), Choices(index=1)],
    usage=Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3),
)


@pytest.mark.parametrize("said", [WHOLE, WHOLE.model_dump()], ids=["ModelResponse", "dictionary"])
def test_whole_responses(playing: LLMServer, said: Any) -> None:
    """As a stream to who asks for one, and whole to who does not."""
    playing.answer(said, times=2)
    response = stream(playing).pipe(ops.build_response()).run()
    assert (response.id, response.choices[0].message.content) == ("r1", "Hello")
    assert (response.choices[0].finish_reason, len(response.choices)) == ("length", 2)
    assert response.usage is not None
    assert response.usage.total_tokens == 3
    with openai.OpenAI(base_url=playing.url, api_key="test", max_retries=0) as client:
        whole = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("Hello", "length")
    assert whole.usage is not None
    assert whole.usage.total_tokens == 3


def test_chunks_to_who_wants_them_whole(playing: LLMServer) -> None:
    """Texts and tool calls become one message."""
    playing.answer("Hel", "lo", tool_call("add", {"x": 1}), finish="tool_calls")
    with openai.OpenAI(base_url=playing.url, api_key="test", max_retries=0) as client:
        whole = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    message = whole.choices[0].message
    assert message.content == "Hello"
    assert message.tool_calls is not None
    assert message.tool_calls[0].to_dict()["function"] == {"name": "add", "arguments": '{"x": 1}'}
    assert whole.choices[0].finish_reason == "tool_calls"


EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
]


def test_events_of_another_dialect(playing: LLMServer) -> None:
    """Dictionaries of Anthropic's, to this library and to Anthropic's own, which looks at the names before them."""
    playing.answer(*EVENTS, times=2)
    model = "anthropic/claude-sonnet-4-5"
    response = stream(playing, model).pipe(ops.build_response()).run()
    assert response.choices[0].message.content == "Hello"
    with (
        anthropic.Anthropic(base_url=playing.url, api_key="test", max_retries=0) as client,
        client.messages.stream(model="claude-x", max_tokens=5, messages=[{"role": "user", "content": "Hi"}]) as said,
    ):
        assert said.get_final_text() == "Hello"


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_recorded_bodies(playing: LLMServer, cut: int | None) -> None:
    """Bytes with their content type, in whatever pieces, and lines of JSON."""
    lines: list[Any] = [
        {"message": {"content": "Hel"}},
        {"message": {"content": "lo"}},
        {"done": True, "done_reason": "stop"},
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    playing.answer(body[:20], body[20:], content_type="application/x-ndjson", cut=cut)
    playing.answer(*lines, content_type="application/x-ndjson", cut=cut)
    for _ in range(2):
        assert stream(playing, "ollama/llama3").pipe(ops.accumulate_text()).run() == "Hello"


def test_a_whole_body_of_another_dialect(playing: LLMServer) -> None:
    """A dictionary that is no stream."""
    playing.answer({"content": []}, content_type="application/json", headers={"x-request-id": "r7"})
    answered = httpx.post(f"{playing.url}/messages", json={}, trust_env=False)
    assert (answered.json(), answered.headers["x-request-id"]) == ({"content": []}, "r7")


@each_way
@pytest.mark.parametrize(
    ("fault", "error"),
    [("truncated", IncompleteStreamError), ("reset", APIConnectionError), ("stalled", Timeout)],
)
def test_faults(playing: LLMServer, way: str, fault: Any, error: type[APIConnectionError]) -> None:
    """What was said before comes, and then the error that there would be."""
    playing.answer("Hel", "lo", fault=fault)
    seen: list[str] = []
    stream_of_it = stream(playing, timeout=Timeouts(idle=0.2)).pipe(ops.text_deltas())
    with pytest.raises(error) as caught:
        WAYS[way](as_noted(stream_of_it, seen))
    assert seen == ["Hel", "lo"]
    assert caught.value.chunks == 2


def as_noted(source: Stream[str], seen: list[str]) -> Stream[str]:
    """The stream, whose items are noted."""
    return source.pipe(rx_ops.do_action(seen.append))


def test_a_whole_answer_that_breaks_off(playing: LLMServer) -> None:
    """Who asked for no stream gets half of it."""
    playing.answer("Hello", fault="truncated")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{playing.url}/chat/completions", json={}, trust_env=False)


def test_statuses(playing: LLMServer) -> None:
    """With a message, a body or none; how long to wait is told, and done."""
    playing.answer("Slow down", status=429, retry_after=0)
    playing.answer("Hello")
    assert stream(playing, max_retries=1).pipe(ops.accumulate_text()).run() == "Hello"
    playing.answer("Slow down", status=429, retry_after=1.5)
    with pytest.raises(RateLimitError, match="Slow down") as limited:
        stream(playing).run()
    assert limited.value.headers["retry-after"] == "1.5"
    playing.answer(status=503)
    with pytest.raises(InternalServerError, match="status 503"):
        stream(playing).run()
    playing.answer({"error": {"message": "No", "code": "mine"}}, status=400)
    with pytest.raises(BadRequestError) as refused:
        stream(playing).run()
    assert refused.value.code == "mine"
    playing.answer(b"<html>", status=502, content_type="text/html")
    with pytest.raises(InternalServerError):
        stream(playing).run()


def test_delays(playing: LLMServer) -> None:
    """Before the headers, and between the pieces, they are longer than the client waits."""
    playing.answer("Hello", delay=3600)
    playing.answer("Hel", "lo", pause=3600)
    with pytest.raises(Timeout) as first:
        stream(playing, timeout=Timeouts(first=0.2)).run()
    with pytest.raises(Timeout) as idle:
        stream(playing, timeout=Timeouts(idle=0.2)).run()
    assert (first.value.bound, first.value.chunks) == ("first", 0)
    assert (idle.value.bound, idle.value.chunks) == ("idle", 1)
    assert [playing.next_request().cancelled() for _ in range(2)] == [True, True]


def test_pauses_end(playing: LLMServer) -> None:
    """What is slow comes all the same."""
    playing.answer("Hel", "lo", delay=0.01, pause=0.001, cut=50)
    assert stream(playing).pipe(ops.accumulate_text()).run() == "Hello"
    assert not playing.requests[0].cancelled()


@each_way
def test_leaving_is_seen(playing: LLMServer, way: str) -> None:
    """Who has had enough cancels; who hears all to the end does not."""
    playing.answer("Hel", "lo", fault="stalled")
    playing.answer("Hel", "lo")
    assert len(WAYS[way](stream(playing).pipe(ops.take_chunks(1)))) == 1
    assert playing.requests[0].cancelled()
    WAYS[way](stream(playing))
    assert not playing.requests[1].cancelled()


def test_who_is_still_there(playing: LLMServer) -> None:
    """Neither over nor left is told after the time that one waits."""
    playing.answer("Hel", fault="stalled")
    iterator = iter(stream(playing))
    next(iterator)
    with pytest.raises(TimeoutError, match="still there"):
        playing.next_request().cancelled(timeout=0.05)
    iterator.close()
    assert playing.requests[0].cancelled()


def test_the_end_of_the_server_is_no_leaving() -> None:
    """Who waits for more when it ends has not left."""
    with LLMServer() as server:
        server.answer("Hel", fault="stalled")
        iterator = iter(stream(server))
        next(iterator)
    assert not server.requests[0].cancelled()
    with pytest.raises(APIConnectionError):
        next(iterator)
    rxllm.close()


def test_answers_for_some_requests(playing: LLMServer) -> None:
    """The first that takes a request is its answer, and one without a number is for all."""

    def asks(model: str) -> Any:
        def when(request: LLMRequest) -> bool:
            return bool(request.json["model"] == model)

        return when

    playing.answer("for b", when=asks("b"))
    playing.answer("for a", when=asks("a"), times=2)
    playing.answer("for all", times=None)
    said = [stream(playing, f"openai/{model}").pipe(ops.accumulate_text()).run() for model in "abaabc"]
    assert said == ["for a", "for b", "for a", "for all", "for all", "for all"]


def test_many_at_once(playing: LLMServer) -> None:
    """Requests beside each other each have an answer."""
    playing.answer("Hello", times=20)
    merged = rxllm.as_stream(rx.merge(*(stream(playing) for _ in range(20))))
    assert len(texts(list(merged))) == len(playing.requests) == 20


def test_a_request_without_an_answer(playing: LLMServer) -> None:
    """It is refused, once, in words that say so; so is one that ``when`` fails at."""
    with pytest.raises(BadRequestError, match="no answer to this request"):
        stream(playing, max_retries=5).run()
    assert len(playing.requests) == 1

    def fail(_request: LLMRequest) -> bool:
        raise LookupError("where?")

    playing.answer("a", when=fail)
    with pytest.raises(BadRequestError, match=r"LookupError\('where\?'\)"):
        stream(playing).run()


def test_other_clients(playing: LLMServer) -> None:
    """A connection is kept; bodies may come in pieces, or be none, or be no JSON."""
    playing.answer("Hello", times=None)
    with httpx.Client(trust_env=False) as client:
        pieces = client.post(playing.url, content=iter([b'{"a"', b": 1}"]))
        nothing = client.get(f"{playing.url}/models?limit=1")
        assert client.post(playing.url, content=b"no JSON").status_code == 200
    assert pieces.json()["choices"][0]["message"]["content"] == "Hello"
    assert nothing.status_code == 200
    assert playing.connections == 1
    assert playing.requests[0].json == {"a": 1}
    assert (playing.requests[1].method, playing.requests[1].path) == ("GET", "/v1/models?limit=1")
    with pytest.raises(ValueError, match="Expecting value"):
        _ = playing.requests[2].json
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    playing.answer()
    with opener.open(playing.url, b"{}", timeout=PATIENCE) as answered:
        assert json.loads(answered.read())["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize(
    ("parts", "settings", "error"),
    [
        ((1,), {}, TypeError),
        ((None,), {}, TypeError),
        ((b"", "text"), {}, TypeError),
        (({"type": "x"}, ModelResponseStream.of("a")), {}, TypeError),
        (({"x": object()},), {}, TypeError),
        (("a", "b"), {"status": 500}, ValueError),
        (("a",), {"status": 101}, ValueError),
        (("a",), {"cut": 0}, ValueError),
        (("a",), {"delay": -1}, ValueError),
        (("a",), {"pause": -1}, ValueError),
        (("a",), {"fault": "fire"}, ValueError),
        (("a",), {"times": 0}, ValueError),
        ((), {"usage": {"prompt_tokens": "many"}}, ValueError),
    ],
)
def test_what_is_no_answer(parts: Any, settings: Any, error: type[Exception]) -> None:
    """It is refused where it is given."""
    with pytest.raises(error):
        LLMServer().answer(*parts, **settings)


def test_the_environment(playing: LLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that names no address and no key asks the server."""
    for name, value in playing.environment("openai", "anthropic", "ollama").items():
        monkeypatch.setenv(name, value)
    playing.answer("Hello")
    playing.answer(*EVENTS)
    for model in ("gpt-4", "claude-sonnet-4-5"):
        assert completion(model, HELLO).choices[0].message.content == "Hello"
    for name in ("nobody", "sim"):
        with pytest.raises(ValueError, match=name):
            playing.environment(name)


def test_recordings_of_the_library(playing: LLMServer, tmp_path: Any) -> None:
    """What ``record()`` wrote can be played."""
    playing.answer("Hel", "lo", finish="length")
    path = tmp_path / "answer.jsonl"
    chunks = list(stream(playing).pipe(ops.record(path)))
    playing.answer(*ops.replay(path, speed=1e9))
    assert texts(list(stream(playing))) == texts(chunks) == ["Hel", "lo"]
