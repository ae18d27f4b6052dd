"""What a provider might send: valid answers of every dialect, all that can be done to them, and mere garbage."""

import ast
import base64
import copy
import inspect
import json
import re
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

from hypothesis import strategies as st

from rxllm.providers._base import Dialect
from rxllm.types import Request
from tests.decoders.eventstream import framed, message

__all__ = [
    "CONTENT_TYPES",
    "HEADER_BLOCKS",
    "answers",
    "best_framing",
    "garbage",
    "known_answers",
    "pieces",
    "replaced",
]

CONTENT_TYPES: Final = (
    "text/event-stream; charset=utf-8",
    "application/json",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "text/html",
    "",
)

# -- valid answers

Event = tuple[str, Any]  # its name, and what it says

# By the names of dialects: answers, each of them a list of events.
_ANSWERS: Final[dict[str, list[list[Event]]]] = json.loads(
    Path(__file__).with_name("answers.json").read_text(encoding="utf-8")
)


def known_answers(dialect: Dialect) -> list[list[Event]]:
    """Valid answers of a dialect, or of the one that it is a kind of; of one that is not known here, anybody's."""
    known = (_ANSWERS.get(kind.__name__) for kind in type(dialect).__mro__)
    return next((answers for answers in known if answers), [answer for group in _ANSWERS.values() for answer in group])


# -- what can be done to them

# One of each kind that goes wrong in a way of its own.
_KINDS: Final = (
    *(b"null", b"true", b"-1", b"NaN", b"1e999", b"7" * 4300, b'""', b'"\xc3\xa9\\ud83d"', b"[]", b'["a"]', b"{}"),
    *(b'{"a":[{"error":"e"}]}', b"[" * 190 + b"]" * 190, b'"$[' + b"7" * 5000 + b']"'),
)

# JSON as it is written, for what Python's own writer has not: too large, too deep, broken, twice the same name.
_RAW: Final = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"1.5", b"9007199254740993", b"7" * 400, b"-" + b"7" * 4300, b"7" * 5000),
    *(b"[" * 150 + b"]" * 150, b"[" * 210 + b"]" * 210, b'{"a":' * 1200 + b"1" + b"}" * 1200),
    *(b'"\\ud83d"', b'"\\ude00"', b'"a\\ud83d\\ud83db"', b'{"\\ud83d":"\\ude00"}', b'"{\\"a\\":\\"\\\\ud83d\\"}"'),
    *(b'"\\u0000\\u2028"', b'"\xff\xed\xa0\xbd"', b'"$[' + b"7" * 5000 + b']"'),
    *(b"{}", b"[]", b"[{}]", b'[[],null,"a",{"error":"e"}]', b'{"error":{"message":"\\ud83d","code":[]}}', b"nul"),
    b'{"id":1,"id":"two","content":"a","content":["b"]}',
    *_KINDS,
)
_SCALARS: Final = (None, True, False, 0, -1, 3, 10**30, 0.5, 1e300, "", "0", "error", "stop", "[DONE]", "\x00", "é")

_MARK: Final = "@@raw:%d@@"
_MARKED: Final = re.compile(rb'"@@raw:(\d+)@@"')


def _odd() -> st.SearchStrategy[Any]:
    """A value that nobody expects; a mark stands for one that has to be put in as text."""
    return st.sampled_from(_SCALARS) | st.integers(0, len(_RAW) - 1).map(lambda number: _MARK % number)


def _written(value: Any) -> bytes:
    text = json.dumps(value).encode()
    return _MARKED.sub(lambda found: _RAW[int(found[1])], text)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in some JSON."""
    yield place
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _places(inner, (*place, key))
    elif isinstance(value, list):
        for position, inner in enumerate(cast("Any", value)):
            yield from _places(inner, (*place, position))


def _replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    whole = copy.copy(value)
    whole[place[0]] = _replaced(value[place[0]], place[1:], new)
    return whole


def _sse(events: list[Event], end: bytes = b"\n") -> bytes:
    lines = (
        (b"event: " + name.encode() + end if name else b"") + b"data: " + _event_text(said) + end + end
        for name, said in events
    )
    return b"".join(lines)


def _event_text(said: Any) -> bytes:
    return b"[DONE]" if said == "[DONE]" else _written(said)


def _array(events: list[Event]) -> bytes:
    return b"[" + b",\r\n".join(_event_text(said) for _, said in events) + b"]"


def _aws(events: list[Event]) -> bytes:
    return b"".join(
        message({":message-type": "exception" if name == "error" else "event", ":event-type": name}, _event_text(said))
        for name, said in events
    )


def _aws_invoke(events: list[Event]) -> bytes:
    return b"".join(
        message({":message-type": "event", ":event-type": "chunk"}, json.dumps({"bytes": _base64(said)}).encode())
        for _, said in events
    )


def _base64(said: Any) -> str:
    return base64.b64encode(_event_text(said)).decode()


_FRAMINGS: Final[tuple[Callable[[list[Event]], bytes], ...]] = (
    _sse,
    lambda events: _sse(events, b"\r\n"),
    lambda events: b"\xef\xbb\xbf" + _sse([("", said) for _, said in events], b"\r"),
    lambda events: b"".join(_event_text(said) + b"\n" for _, said in events),
    _array,
    lambda events: b" \n" + _event_text(events[0][1]) if events else b"",
    _aws,
    _aws_invoke,
)


def _framed(framing: Callable[[list[Event]], bytes], events: list[Event]) -> bytes:
    return framing(events)


def replaced(framing: Callable[[list[Event]], bytes], events: list[Event]) -> Iterator[bytes]:
    """The answer, in which one value at a time is replaced by one of each kind."""
    for at, (name, said) in enumerate(events):
        for place in _places(said):
            for number in range(len(_RAW) - len(_KINDS), len(_RAW)):
                yield framing([*events[:at], (name, _replaced(said, place, _MARK % number)), *events[at + 1 :]])


def best_framing(read: Callable[[bytes], int], events: list[Event]) -> Callable[[list[Event]], bytes]:
    """The framing in which most of an answer is read."""
    return max(_FRAMINGS, key=lambda framing: read(framing(events)))


@st.composite
def answers(draw: st.DrawFn, dialect: Dialect) -> bytes:
    """A valid answer of the dialect, in any framing, with up to three things done to what it says and two to bytes."""
    events = list(draw(st.sampled_from(known_answers(dialect))))
    for _ in range(draw(st.integers(0, 3))):
        if not events:
            break
        at = draw(st.integers(0, len(events) - 1))
        match draw(st.integers(0, 8)):
            case 0:
                del events[at]
            case 1:
                events.insert(draw(st.integers(0, len(events))), events[at])
            case 2:
                events.append(events.pop(at))
            case 3:
                events[at] = (draw(st.sampled_from(["", "error", "ping", "chunk"])), events[at][1])
            case _:
                name, said = events[at]
                place = draw(st.sampled_from(list(_places(said))))
                events[at] = (name, _replaced(said, place, draw(_odd())))
    body = draw(st.sampled_from(_FRAMINGS))(events)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at, to = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        body = draw(
            st.sampled_from(
                [
                    body[:at],
                    body[:at] + body[to:],
                    body[:to] + body[at:],
                    body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at:],
                    body[:at] + bytes([body[at] ^ 1 << to % 8]) + body[at + 1 :] if at < len(body) else body,
                ]
            )
        )
    return body


@cache
def _events(dialect: type, reading: type) -> st.SearchStrategy[list[Event]]:
    """Events of the words in the source of a dialect and its reading: among them are the fields that it reads."""
    modules = {sys.modules[kind.__module__] for kind in (*dialect.__mro__, *reading.__mro__)}
    modules |= {
        sys.modules[value.__module__]
        for module in modules
        if module.__name__.startswith("rxllm.providers")
        for value in vars(module).values()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    words: set[str] = set()
    for module in modules:
        if module.__name__.startswith("rxllm.providers") and not module.__name__.endswith("_request"):
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    words.update(word for word in node.value.split() if re.fullmatch(r"[\w.-]{1,40}", word))
    names = st.sampled_from(sorted(words))
    values: st.SearchStrategy[Any] = st.recursive(
        names | _odd(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
        max_leaves=12,
    )
    return st.lists(st.tuples(st.just("") | names, values), max_size=5)


def garbage(dialect: Dialect) -> st.SearchStrategy[bytes]:
    """JSON of no shape, made of the words that the dialect knows, in any framing."""
    events = _events(type(dialect), type(dialect.reading(Request("m", []), {})))
    return st.builds(_framed, st.sampled_from(_FRAMINGS), events)


def _header(name: bytes, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([kind]) + value


_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


@st.composite
def _header_value(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from([b":message-type", b":event-type", b":exception-type", b":error-code", b"\xff"]))
    kind = draw(st.integers(0, 10))
    if kind in _SIZES:
        return _header(name, kind, draw(st.binary(min_size=_SIZES[kind], max_size=_SIZES[kind])))
    value = draw(st.sampled_from([b"event", b"exception", b"error", b"chunk"]) | st.binary(max_size=8))
    return _header(name, kind, struct.pack("!H", len(value)) + value)


def _messages(said: list[tuple[list[bytes], bytes]]) -> bytes:
    return b"".join(framed(b"".join(headers), payload) for headers, payload in said)


HEADER_BLOCKS: Final = st.builds(
    _messages,
    st.lists(
        st.tuples(st.lists(_header_value(), max_size=4), st.sampled_from([b"{}", b"[]", b"", b'{"message": NaN}'])),
        max_size=3,
    ),
)
"""AWS messages whose sums are right, and whose headers are of any kind."""


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body, cut at these places, which count from its end where they are too large."""
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in cuts)})
    return [body[at:to] for at, to in pairwise(places)]
