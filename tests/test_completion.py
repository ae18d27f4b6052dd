"""What ``completion()`` makes of its arguments, before anything is sent."""

from typing import Any

import httpx
import pytest

import rxllm
from rxllm import Stream
from rxllm._timeouts import Timeouts
from rxllm._transport import SyncReader
from tests.server import Server

MESSAGES = [{"role": "user", "content": "Hello"}]


def asking(model: Any = "gpt-4", **parameters: Any) -> Stream[rxllm.ModelResponseStream]:
    """A Stream of that request, which is not sent."""
    stream: Stream[rxllm.ModelResponseStream] = rxllm.completion(model, MESSAGES, stream=True, **parameters)
    return stream


@pytest.mark.parametrize("size", [1, 32 << 20])
def test_the_size_of_an_event(server: Server, size: int) -> None:
    """max_event_bytes= is among the request's parameters where it is given, and speaks to us alone."""
    stream = asking(max_event_bytes=size, api_base=server.url, api_key="sk-secret-key")
    assert stream.request is not None
    assert stream.request.params == {"max_event_bytes": size}
    assert "max_event_bytes" not in (asking().request or stream.request).params
    if size > 1:
        list(stream)
        assert "max_event_bytes" not in server.requests[0].json


@pytest.mark.parametrize(("size", "kind"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("1", TypeError)])
def test_no_size_of_an_event(size: Any, kind: type[Exception]) -> None:
    """A whole number of bytes above zero, and nothing else."""
    with pytest.raises(kind, match="max_event_bytes"):
        asking(max_event_bytes=size)


@pytest.mark.parametrize(
    ("timeout", "bounds"),
    [
        (None, Timeouts()),
        (5, Timeouts(5, 5, 5)),
        (Timeouts(idle=1, total=2), Timeouts(idle=1, total=2)),
        (httpx.Timeout(3, connect=1), Timeouts(1, 3, 3)),
    ],
)
def test_timeouts(timeout: Any, bounds: Timeouts) -> None:
    """A number, rxllm's Timeouts, an httpx.Timeout or nothing."""
    stream = asking(timeout=timeout)
    assert stream.source is not None
    reader: Any = stream.source.open()
    assert isinstance(reader, SyncReader)
    assert reader._exchange.call.timeouts == bounds  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    reader.close()


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"model": 5}, TypeError, "model is a model's name, a text, not int"),
        ({"custom_llm_provider": 5}, TypeError, "custom_llm_provider is a provider's name, a text, not int"),
        ({"api_key": 5}, TypeError, "api_key is a text, not int"),
        ({"api_base": 5}, TypeError, "api_base is a text"),
        ({"extra_headers": ["a"]}, TypeError, "extra_headers is a dictionary, not list"),
        ({"api_base": "http://a/v1", "base_url": "http://b/v1"}, ValueError, "two names of one argument"),
        ({"base_url": "me:pass@a/v1"}, ValueError, r"'\*\*\*@a/v1' does not"),
    ],
)
def test_wrong_arguments(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    """Each is refused at once, in words that show no value that may be secret."""
    with pytest.raises(kind, match=words):
        asking(**given)
