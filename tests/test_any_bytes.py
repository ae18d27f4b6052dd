"""Any bytes at all: fed to any decoder or dialect, in any pieces, they give chunks or one typed error, and no more."""

import gzip
import importlib
import inspect
import json
import pkgutil
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxllm._decoders._events import Decoder, Event
from rxllm._decoders._inflate import BrokenCompressionError, inflating
from rxllm.exceptions import APIError, APIResponseValidationError
from rxllm.providers import PROVIDERS
from rxllm.providers._base import Dialect
from rxllm.types import ModelResponseStream, Request
from tests.any_bytes import (
    CONTENT_TYPES,
    HEADER_BLOCKS,
    answers,
    best_framing,
    garbage,
    known_answers,
    pieces,
    replaced,
)

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

# -- what there is: found, not named


Speaker = tuple[str, Dialect]


def _speakers() -> dict[str, list[Speaker]]:
    """The dialects in the registry, variants too, with the providers that speak them, by how they are read."""
    kinds: dict[type, list[Speaker]] = {}
    for provider in PROVIDERS.values():
        for dialect in (provider.dialect, *(dialect for _, dialect in provider.variants)):
            reading = dialect.reading(Request("m", []), {})
            kinds.setdefault(type(reading), []).append((provider.name, dialect))
    return {type(speakers[0][1]).__name__: speakers for speakers in kinds.values()}


def _decoders() -> dict[str, Any]:
    """Each decoder."""
    package = importlib.import_module("rxllm._decoders")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    kinds = {kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)}
    return {kind.__name__: kind for kind in kinds - {Decoder} if hasattr(kind, "flush")}


DECODERS = _decoders()
SPEAKERS = _speakers()

every_dialect = pytest.mark.parametrize("speakers", SPEAKERS.values(), ids=SPEAKERS)
some = settings(max_examples=settings().max_examples // 2)

CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.just(2),
        "stream_options": st.just({"include_usage": True}),
        "tools": st.just([{"type": "custom", "custom": {"name": "g"}}]),
        "max_event_bytes": st.sampled_from([1, 20, 300, 1 << 20]),
    },
)
HEADERS: st.SearchStrategy[dict[str, str]] = st.sampled_from(
    [{"content-type": kind} if kind else {} for kind in CONTENT_TYPES]
)
Case = tuple[dict[str, Any], dict[str, str]]  # the parameters of a request, the headers of its response
CASES: st.SearchStrategy[Case] = st.tuples(PARAMS, HEADERS)


def small(body: bytes) -> list[bytes]:
    """The body in the smallest pieces that time allows: single bytes, for nearly all."""
    size = 1 + len(body) // 4000
    return [body[at : at + size] for at in range(0, len(body), size)]


# -- decoders


def decoded(decoder: Decoder, fed: Iterable[bytes]) -> tuple[list[Event], str]:
    """All events, and the words of the error, after which nothing else comes."""
    events: list[Event] = []
    try:
        for piece in fed:
            events += decoder.feed(piece)
        events += decoder.flush()
    except APIResponseValidationError as error:
        with pytest.raises(APIResponseValidationError):
            decoder.feed(b"data: 1\n\n")
        with pytest.raises(APIResponseValidationError):
            decoder.flush()
        return events, str(error)
    return events, ""


MARKS = b'\n|\r|\r\n|\n\n|data: |data|event: e|:|[|]|{|}|"|,|\\|1| |\xef\xbb\xbf|aaaaaaaaa'.split(b"|")
BYTES = st.binary(max_size=60) | st.lists(st.sampled_from(MARKS), max_size=25).map(b"".join) | HEADER_BLOCKS


@pytest.mark.parametrize("name", sorted(DECODERS))
@given(body=BYTES, cuts=CUTS, limit=st.integers(1, 60) | st.just(1 << 20))
def test_decoders(name: str, body: bytes, cuts: list[int], limit: int) -> None:
    """Events or the typed error, the same for every split; an event that is too large is so in any pieces."""
    whole = decoded(DECODERS[name](limit), [body])
    assert whole == decoded(DECODERS[name](limit), pieces(body, cuts)) == decoded(DECODERS[name](limit), small(body))


# -- dialects


def told(speaker: Speaker, params: Mapping[str, Any], headers: Mapping[str, str], fed: Iterable[bytes]) -> Any:
    """All that comes of a body, each part of which keeps what is promised."""
    name, dialect = speaker
    reading = dialect.reading(Request(f"{name}/m", [], params, name, "m"), headers)
    given_chunks: list[ModelResponseStream] = []
    dumped: list[Any] = []

    def take(chunks: list[ModelResponseStream]) -> None:
        assert all(type(chunk) is ModelResponseStream for chunk in chunks)
        given_chunks.extend(chunks)
        dumped.extend(chunk.model_dump_json() for chunk in chunks)
        json.dumps([chunk.model_dump() for chunk in chunks])

    over = False
    for piece in fed:
        chunks = reading.feed(piece)
        assert not (over and chunks)
        take(chunks)
        over = over or reading.complete or reading.failure is not None
    take(reading.end())
    assert (reading.end(), reading.feed(b"data: {}\n\n")) == ([], [])
    assert [chunk.model_dump_json() for chunk in given_chunks] == dumped, "a chunk was changed after it was given"
    failure = reading.failure
    assert not (reading.complete and failure)
    if failure is not None:
        assert isinstance(failure, APIError)
        assert str(failure).encode()
        json.dumps(failure.body)
    ended = [choice.index for chunk in given_chunks for choice in chunk.choices if choice.finish_reason is not None]
    assert len(ended) == len(set(ended)), "a choice has finished twice"
    usage = [chunk.reported_usage and chunk.reported_usage.model_dump_json() for chunk in given_chunks]
    return dumped, usage, reading.complete, type(failure), str(failure)


def hold(speaker: Speaker, case: Case, body: bytes, cuts: list[int]) -> None:
    """The same comes of a body in whatever pieces."""
    whole = told(speaker, *case, [body])
    assert told(speaker, *case, pieces(body, cuts)) == whole
    assert told(speaker, *case, small(body)) == whole


@every_dialect
def test_each_value_replaced(speakers: list[Speaker]) -> None:
    """Each value of each known answer is replaced by one of each kind that goes wrong in a way of its own."""
    speaker = speakers[0]
    for events in known_answers(speaker[1]):
        framing = best_framing(lambda body: len(told(speaker, {}, {}, [body])[0]), events)
        for body in replaced(framing, events):
            told(speaker, {}, {}, [body])


@every_dialect
@some
@given(data=st.data(), body=BYTES | st.binary(max_size=300), case=CASES, cuts=CUTS)
def test_any_bytes(speakers: list[Speaker], data: st.DataObject, body: bytes, case: Case, cuts: list[int]) -> None:
    """Whatever the bytes are."""
    hold(data.draw(st.sampled_from(speakers)), case, body, cuts)


@every_dialect
@given(data=st.data(), case=CASES, cuts=CUTS)
def test_answers_that_went_wrong(speakers: list[Speaker], data: st.DataObject, case: Case, cuts: list[int]) -> None:
    """A valid answer in which bytes, values or events are others, are missing, moved, repeated or cut off."""
    speaker = data.draw(st.sampled_from(speakers))
    hold(speaker, case, data.draw(answers(speaker[1])), cuts)


@every_dialect
@some
@given(data=st.data(), case=CASES, cuts=CUTS)
def test_json_of_no_shape(speakers: list[Speaker], data: st.DataObject, case: Case, cuts: list[int]) -> None:
    """JSON out of the very words that the dialect reads."""
    speaker = data.draw(st.sampled_from(speakers))
    hold(speaker, case, data.draw(garbage(speaker[1])), cuts)


@every_dialect
@some
@given(
    data=st.data(),
    status=st.integers(300, 599),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "x-request-id", "location", "x-amzn-errortype", "retry-after"])
        | st.text(max_size=5),
        st.text(max_size=8),
    ),
)
def test_errors(speakers: list[Speaker], data: st.DataObject, status: int, headers: dict[str, str]) -> None:
    """Any body with any headers is a typed error with words, which can be shown and written down."""
    name, dialect = data.draw(st.sampled_from(speakers))
    body = data.draw(st.binary(max_size=80) | answers(dialect) | garbage(dialect))
    error = dialect.error(Request(f"{name}/m", [], {}, name, "m"), status, headers, body)
    assert isinstance(error, APIError)
    assert error.status_code == status
    assert str(error).strip().encode()
    json.dumps(error.body)


# -- compressed bodies


def inflated(encoding: str, fed: Iterable[bytes]) -> tuple[bytes, bool]:
    """What the pieces come to, and whether they break off."""
    inflater = inflating(encoding)
    assert inflater is not None
    out = bytearray()
    try:
        for piece in fed:
            for part in inflater.feed(piece):
                out += part
    except BrokenCompressionError:
        return bytes(out), True
    return bytes(out), False


ZIPPED = st.binary(max_size=300).map(gzip.compress) | st.binary(max_size=300).map(zlib.compress)


@given(
    encoding=st.sampled_from(["gzip", "deflate", "x-gzip, deflate", "identity"]),
    body=st.binary(max_size=40) | ZIPPED,
    change=st.tuples(st.integers(0, 400), st.binary(max_size=2)),
    cuts=CUTS,
)
def test_inflating(encoding: str, body: bytes, change: tuple[int, bytes], cuts: list[int]) -> None:
    """Whatever is said to be compressed comes to bytes, or to the typed error; the same in any pieces."""
    at, new = change
    body = body[:at] + new + body[at + len(new) :]
    assert inflated(encoding, [body]) == inflated(encoding, pieces(body, cuts)) == inflated(encoding, small(body))
