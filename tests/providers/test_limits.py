"""``max_event_bytes`` in every dialect: it is not sent; past it one error, and memory stays flat whatever comes."""

import json
import tracemalloc
from itertools import repeat
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from rxllm.exceptions import APIResponseValidationError
from rxllm.providers import PROVIDERS
from rxllm.providers._base import Dialect, Provider
from rxllm.types import Request
from tests.decoders.eventstream import event
from tests.providers.reading import EVENT_STREAM, sse, text

LIMIT = 1 << 20
PIECE = 1 << 16

SPOKEN = [
    pytest.param(provider, dialect, model, id=f"{provider.name} {type(dialect).__name__}")
    for provider in PROVIDERS.values()
    for dialect, model in [(provider.dialect, "m"), *((dialect, prefix + "m") for prefix, dialect in provider.variants)]
]


@pytest.mark.parametrize(("provider", "dialect", "model"), SPOKEN)
def test_it_is_not_sent(provider: Provider, dialect: Dialect, model: str) -> None:
    """It speaks to us, like ``api_version`` and others."""
    params: dict[str, Any] = {"max_event_bytes": 123_457}
    params |= {"vertex_project": "p", "vertex_location": "l"} if provider.name == "vertex_ai" else {}
    params |= {"aws_region_name": "us-east-1"} if provider.name == "bedrock" else {}
    request = Request(f"{provider.name}/{model}", [{"role": "user", "content": "Hi"}], params, provider.name, model)
    http = dialect.http_request(request, provider.base_url or "https://provider.test/v1", "key", provider)
    sent = f"{http.url} {dict(http.headers)} {http.body.decode()}"
    assert "123457" not in sent
    assert "max_event_bytes" not in sent


def reading_of(name: str, limit: int, headers: dict[str, str] | None = None) -> Any:
    """A fresh reading of a provider's dialect."""
    provider, model = PROVIDERS[name.partition("/")[0]].variant(name.partition("/")[2] + "m")
    request = Request(f"{name}m", [], {"max_event_bytes": limit}, provider.name, model)
    return provider.dialect.reading(request, headers or {})


ENDLESS = {
    # the model, how the body begins, what then comes without an end, and whether that grows
    "a line": ("openai/", b'data: {"choices": [{"delta": {"content": "', b"x", True),
    "a body that is none": ("openai/", b"<html>", b"x", True),
    "half a completion": ("openai/", b'{"choices": [{"message": {"content": "', b"x", True),
    "comments": ("openai/", b": hello\n", b": still here\n\n", False),
    "blanks before anything": ("openai/", b"", b" \r\n", False),
    "a line of Ollama's": ("ollama/", b'{"message": {"content": "', b"x", True),
    "a brace, and blanks": ("ollama/", b"{", b" ", True),
    "a JSON array": ("gemini/", b'[{"candidates": [{"content": {"parts": [{"text": "', b"x", True),
    "blanks before a JSON array": ("gemini/", b"\n", b" ", False),
    "an AWS message": ("bedrock/", event("chunk", "x" * 2 * LIMIT)[:PIECE], b"x", True),
    "blanks before an AWS message": ("bedrock/invoke/", b"\n", b" ", False),
}


@pytest.mark.parametrize(("name", "begin", "endless", "grows"), ENDLESS.values(), ids=ENDLESS)
def test_memory_stays_flat(name: str, begin: bytes, endless: bytes, grows: bool) -> None:
    """No more than the limit is held, and a few pieces; past it nothing is."""
    reading = reading_of(name, LIMIT)
    piece = endless * (PIECE // len(endless))
    tracemalloc.start()
    try:
        assert reading.feed(begin) == []
        for same in repeat(piece, 4 * LIMIT // PIECE):
            assert reading.feed(same) == []
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if grows:
        assert isinstance(reading.failure, APIResponseValidationError)
        assert f"more than {LIMIT:,} bytes" in str(reading.failure)
        assert "max_event_bytes" in str(reading.failure)
    else:
        assert reading.failure is None
    # A bytearray that grows has an eighth to spare; a line of a few bytes is an object of fifty while it is read.
    assert peak < LIMIT * 9 // 8 + 20 * PIECE
    assert held < 4 * PIECE


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_before_it_are_given(size: int) -> None:
    """Then the error, which says what came and whose it is; and nothing after it is read."""
    reading = reading_of("openai/", 300, EVENT_STREAM)
    body = sse(text("Hel"), text("lo"), text("x" * 300), text("more"))
    chunks = [chunk for at in range(0, len(body), size) for chunk in reading.feed(body[at : at + size])]
    chunks += reading.end()
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hel", "lo"]
    failure = reading.failure
    assert isinstance(failure, APIResponseValidationError)
    assert str(failure) == "The provider sent an event of more than 300 bytes, which is what max_event_bytes allows"
    assert (failure.llm_provider, failure.model, failure.status_code) == ("openai", "openai/m", 200)


def test_a_larger_limit_lets_larger_events_through() -> None:
    """It may be raised above 32 MiB as well; without it that is the limit."""
    whole = b'{"choices": [{"message": {"content": "' + b"x" * (33 << 20) + b'"}}]}'
    reading = reading_of("openai/", 40 << 20)
    reading.feed(whole)
    [chunk] = reading.end()
    assert len(chunk.choices[0].delta.content or "") == 33 << 20
    reading = PROVIDERS["openai"].dialect.reading(Request("gpt-4", []), {})
    assert reading.feed(whole) == []
    assert "33,554,432" in str(reading.failure)


def test_blanks_before_the_stream_are_no_part_of_it() -> None:
    """However many keep the connection open, what comes then is told by its own first bytes, in any pieces."""
    array = json.dumps([{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}]).encode()
    for blanks in (b"", b" " * 5000, b"\xef\xbb\xbf" + b"\n" * 5000):
        for size in (1, 4096, 10_000):
            body = blanks + array
            reading = PROVIDERS["gemini"].dialect.reading(Request("gemini/m", []), EVENT_STREAM)
            chunks = [chunk for at in range(0, len(body), size) for chunk in reading.feed(body[at : at + size])]
            chunks += reading.end()
            assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hi"]
            assert reading.complete


def test_a_byte_order_mark_that_comes_byte_by_byte() -> None:
    """It is no text: what comes behind it tells what the body is."""
    whole = b'\xef\xbb\xbf{"choices": [{"message": {"content": "Hi"}}]}'
    for size in (1, 2, 100):
        reading = PROVIDERS["openai"].dialect.reading(Request("gpt-4", []), EVENT_STREAM)
        assert not [chunk for at in range(0, len(whole), size) for chunk in reading.feed(whole[at : at + size])]
        assert [chunk.choices[0].delta.content for chunk in reading.end()] == ["Hi"]
