"""All that is measured, by name."""

import importlib.metadata
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks import ours, peers

__all__ = [
    "ANTHROPIC",
    "ASYNC",
    "BREAK",
    "GEMINI",
    "LOOPS",
    "MERGED",
    "PEERS",
    "SUBJECTS",
    "VLLM",
    "Subject",
    "installed",
]


class Subject(NamedTuple):
    """One way to read streams."""

    name: str
    package: str
    """What it needs, ``""`` for nothing but Python."""
    open: Callable[[str], Any]
    """Makes a ``Read``, or an ``AsyncRead``, for the address of the server."""
    on_event_loop: bool = False
    merged: int = 1
    """How many streams one reading is."""
    slow: bool = False
    """It is measured on less, or less often."""


MERGED = 100

LOOPS = ["raw socket", "httpx + json.loads", "rxllm", "rxllm, four operators", "rxllm, subscribe", "openai", "litellm"]
"""What reads OpenAI's events in a thread."""
ASYNC = ["raw socket, async", "httpx + json.loads, async", "rxllm, async", "openai, async", "litellm, async"]
"""What reads them on an event loop."""
VLLM = ["httpx + json.loads, vLLM", "rxllm, vLLM"]
ANTHROPIC = ["httpx + json.loads, Anthropic", "rxllm, Anthropic"]
GEMINI = ["httpx + json.loads, Gemini", "rxllm, Gemini"]
BREAK = ["openai, left by break alone", "litellm, left by break alone"]
"""The peers where the loop is left and nothing else is done; in all else they are closed, as rxllm need not be."""

PEERS = {"openai": "openai", "litellm": "litellm"}

SUBJECTS = {
    subject.name: subject
    for subject in (
        Subject("raw socket", "", peers.socket_loop),
        Subject("raw socket, async", "", peers.socket_async, on_event_loop=True),
        Subject("httpx + json.loads", "httpx", peers.httpx_loop),
        Subject("httpx + json.loads, async", "httpx", peers.httpx_async, on_event_loop=True),
        Subject("httpx + json.loads, vLLM", "httpx", partial(peers.httpx_loop, provider="hosted_vllm")),
        Subject("httpx + json.loads, Anthropic", "httpx", partial(peers.httpx_loop, provider="anthropic")),
        Subject("httpx + json.loads, Gemini", "httpx", partial(peers.httpx_loop, provider="gemini")),
        Subject("rxllm", "rxllm", ours.rxllm_loop),
        Subject("rxllm, four operators", "rxllm", ours.rxllm_operators),
        Subject("rxllm, subscribe", "rxllm", ours.rxllm_subscribe),
        Subject("rxllm, async", "rxllm", ours.rxllm_async, on_event_loop=True),
        Subject("rxllm, merge", "rxllm", partial(ours.rxllm_merge, streams=MERGED), merged=MERGED),
        Subject("rxllm, vLLM", "rxllm", partial(ours.rxllm_loop, provider="hosted_vllm")),
        Subject("rxllm, Anthropic", "rxllm", partial(ours.rxllm_loop, provider="anthropic")),
        Subject("rxllm, Gemini", "rxllm", partial(ours.rxllm_loop, provider="gemini")),
        Subject("openai", "openai", peers.openai_loop),
        Subject("openai, async", "openai", peers.openai_async, on_event_loop=True),
        Subject("openai, left by break alone", "openai", partial(peers.openai_loop, close=False)),
        Subject("litellm", "litellm", peers.litellm_loop, slow=True),
        Subject("litellm, async", "litellm", peers.litellm_async, on_event_loop=True, slow=True),
        Subject("litellm, left by break alone", "litellm", partial(peers.litellm_loop, close=False), slow=True),
    )
}


def installed(package: str) -> str | None:
    """The version of a package; ``None`` where it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
