"""The ways to consume a Stream, and what they give."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable
from typing import assert_type

from reactivex import Observable, abc
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxllm import ModelResponseStream, Stream
from rxllm import operators as ops


def loops(chunks: Stream[ModelResponseStream], texts: Stream[str]) -> None:
    """``for`` gives items; iterators have ``close()``."""
    for chunk in chunks:
        assert_type(chunk, ModelResponseStream)
    for text in texts:
        assert_type(text, str)
    for text in chunks.pipe(ops.accumulate_text()):
        assert_type(text, str)
    assert_type(iter(texts), Generator[str, None, None])
    assert_type(next(iter(texts)), str)
    assert_type(list(texts), list[str])
    assert_type([text.upper() for text in texts], list[str])
    assert_type(texts.run(), str)
    iter(texts).close()


async def asynchronous_loops(chunks: Stream[ModelResponseStream], texts: Stream[str]) -> None:
    """``async for`` gives items, ``await`` the last one; iterators have ``aclose()``."""
    async for chunk in chunks:
        assert_type(chunk, ModelResponseStream)
    async for text in chunks.pipe(ops.accumulate_text()):
        assert_type(text, str)
    assert_type(aiter(texts), AsyncGenerator[str, None])
    assert_type([text async for text in texts], list[str])
    assert_type(await texts, str)
    assert_type(await asyncio.wait_for(texts, 1.0), str)
    assert_type(await anext(aiter(texts)), str)
    await aiter(texts).aclose()


def subscriptions(texts: Stream[str], loop: asyncio.AbstractEventLoop) -> None:
    """``subscribe()`` as reactivex types it."""
    assert_type(texts.subscribe(print), abc.DisposableBase)
    assert_type(texts.subscribe(on_next=lambda text: print(text.upper())), abc.DisposableBase)  # noqa: T201
    assert_type(texts.subscribe(print, scheduler=AsyncIOScheduler(loop)), abc.DisposableBase)


def slices(texts: Stream[str], chunks: Stream[ModelResponseStream]) -> None:
    """Slices and the empty pipe are Streams."""
    assert_type(texts[:2], Stream[str])
    assert_type(texts[1], Stream[str])
    assert_type(chunks[1:].pipe(ops.finish_reason()), Stream[str])
    assert_type(texts.pipe(), Stream[str])


def substitutes(texts: Stream[str]) -> None:
    """A Stream goes wherever an Observable, an iterable or an awaitable of such items, or of wider ones, is wanted."""
    wants(texts, texts, texts, texts, texts)


def wants(
    stream: Stream[object],
    observable: Observable[str | None],
    iterable: Iterable[str | None],
    asynchronous: AsyncIterable[str | None],
    awaitable: Awaitable[str | None],
) -> None:
    """Takes each."""
