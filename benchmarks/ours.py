"""rxllm in the ways it can be consumed; each a function that reads one stream, as in ``benchmarks.peers``."""

import threading
import time
from typing import Any

from benchmarks.peers import AsyncRead, Read
from benchmarks.wire import QUESTION, WIRES

__all__ = ["rxllm_async", "rxllm_loop", "rxllm_merge", "rxllm_operators", "rxllm_subscribe"]

_MESSAGES = [{"role": "user", "content": QUESTION}]


def _stream(address: str, model: str, provider: str = "openai") -> Any:
    import rxllm

    base = address + WIRES[provider].base
    return rxllm.completion(f"{provider}/{model}", _MESSAGES, stream=True, api_base=base, api_key="none")


def _counted(stream: Any, most: int) -> tuple[int, float]:
    count = 0
    for _ in stream:
        count += 1
        if count == most:
            return count, time.monotonic()  # before the iterator goes, and the connection with it
    return count, time.monotonic()


def rxllm_loop(address: str, provider: str = "openai") -> Read:
    """A plain loop."""
    return lambda model, most: _counted(_stream(address, model, provider), most)


def rxllm_operators(address: str) -> Read:
    """A loop over a pipeline of four operators, one of them reactivex's own."""
    from reactivex import operators as rx_ops

    from rxllm import operators as ops

    def read(model: str, most: int) -> tuple[int, float]:
        four = (rx_ops.filter(lambda _: True), ops.require_finish(), ops.take_chunks(10**9), ops.text_deltas())
        return _counted(_stream(address, model).pipe(*four), most)

    return read


def rxllm_subscribe(address: str) -> Read:
    """A subscription, which has a worker, and an event that its end is waited for by."""
    from reactivex.disposable import SingleAssignmentDisposable

    def read(model: str, most: int) -> tuple[int, float]:
        over, subscription, failures = threading.Event(), SingleAssignmentDisposable(), list[Exception]()
        count, last = 0, 0.0

        def on_next(_: Any) -> None:
            nonlocal count, last
            count += 1
            if count == most:
                last = time.monotonic()
                subscription.dispose()
                over.set()

        def on_error(error: Exception) -> None:
            failures.append(error)
            over.set()

        subscription.disposable = _stream(address, model).subscribe(on_next, on_error, over.set)
        over.wait()
        if failures:
            raise failures[0]
        return count, last or time.monotonic()

    return read


def rxllm_async(address: str, provider: str = "openai") -> AsyncRead:
    """``async for``."""

    async def read(model: str, most: int) -> tuple[int, float]:
        count = 0
        async for _ in _stream(address, model, provider):
            count += 1
            if count == most:
                return count, time.monotonic()
        return count, time.monotonic()

    return read


def rxllm_merge(address: str, streams: int) -> Read:
    """A loop over so many streams merged."""
    import reactivex as rx

    from rxllm import as_stream

    def read(model: str, most: int) -> tuple[int, float]:
        return _counted(as_stream(rx.merge(*(_stream(address, model) for _ in range(streams)))), most)

    return read
