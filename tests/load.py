"""Streams in a row, each with a fate of its own."""

from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import rxllm
from rxllm.exceptions import APIError, APIStatusError, BadRequestError, IncompleteStreamError
from tests.server import PATIENCE, Answering, chunk, texts

__all__ = ["FAILURES", "Row", "as_fated", "of", "words"]

CHUNKS = 8


def words(name: str) -> list[str]:
    """What the stream of that name says."""
    return [f"{name}:{number}" for number in range(CHUNKS)]


def of(url: str, name: str) -> rxllm.Stream[rxllm.ModelResponseStream]:
    """The stream of that name, from the server there."""
    messages = [{"role": "user", "content": name}]
    return rxllm.completion(
        "gpt-4", messages, stream=True, api_base=url, api_key="sk-secret-key", timeout=PATIENCE, max_retries=0
    )


# A third of the streams in a row is left half-way, and a tenth fails, each time in another way.
FAILURES: dict[str, type[APIError]] = {
    "refused": BadRequestError,
    "cut off": IncompleteStreamError,
    "broken": IncompleteStreamError,
    "told": APIStatusError,
}


def fate_of(number: int) -> str:
    """What becomes of the stream of that number."""
    if number % 3 == 0:
        return "left"
    if number % 30 in (1, 11, 22):
        return list(FAILURES)[number // 10 % len(FAILURES)]
    return "whole"


async def as_fated(answering: Answering) -> None:
    """Answers in whole, half, or not at all, as the request names it."""
    fate = answering.json["messages"][0]["content"]
    answering.server.requests.clear()  # the server remembers none of the many either
    if fate == "whole":
        await answering.stream(*words(fate))
    elif fate == "refused":
        await answering.json_answer(400, {"error": {"message": "Not like this."}})
    else:
        await answering.start()
        for word in words(fate)[: CHUNKS // 2]:
            await answering.event(chunk(word))
        if fate == "left":
            await answering.closed()
        elif fate == "told":
            await answering.event({"error": {"message": "Not any more."}})
            await answering.end()
        elif fate == "cut off":
            await answering.end()
        else:
            answering.reset()


class Row:
    """Streams that are consumed one after the other, each of which has to end as is its fate."""

    def __init__(self, url: str) -> None:
        self.ends: Counter[str] = Counter()
        self._url = url
        self._numbers = count()

    def streams(self, number: int) -> Iterator[tuple[str, rxllm.Stream[rxllm.ModelResponseStream]]]:
        """The next so many."""
        for fate in map(fate_of, islice(self._numbers, number)):
            yield fate, of(self._url, fate)

    def note(self, fate: str, got: list[Any], error: APIError | None = None) -> None:
        """One has ended."""
        self.ends[fate] += 1
        wanted = {"whole": CHUNKS, "refused": 0}.get(fate, CHUNKS // 2)
        assert texts(got) == words(fate)[:wanted]
        assert type(error) is FAILURES.get(fate, type(None))

    def by_for(self, number: int) -> None:
        """Consumes the next so many in this thread."""
        for fate, stream in self.streams(number):
            got: list[Any] = []
            try:
                for item in stream:
                    got.append(item)
                    if fate == "left" and len(got) == CHUNKS // 2:
                        break
            except APIError as error:
                self.note(fate, got, error)
            else:
                self.note(fate, got)

    async def by_async_for(self, number: int) -> None:
        """The same on the running event loop."""
        for fate, stream in self.streams(number):
            got: list[Any] = []
            try:
                async for item in stream:
                    got.append(item)
                    if fate == "left" and len(got) == CHUNKS // 2:
                        break
            except APIError as error:
                self.note(fate, got, error)
            else:
                self.note(fate, got)
