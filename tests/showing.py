"""All that people may get to see of an exception, and whether a key is in it."""

import html
import json
import pickle
import re
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote, quote_plus

from rich.traceback import Traceback

__all__ = ["KEYS", "assert_hidden", "assert_says_nothing", "everything_shown", "forms"]

# By name, so that no frame of a test has one among its locals.
KEYS: Final = {
    "plain": "sk-proj-A1b2C3d4E5f6G7h8I9j0",
    # What has to be escaped somewhere, and may stand in a header.
    "awkward": "sk-aw/k+w=rd%41&\"'<b>\\n?#~0123456789",
    # rich and pytest cut texts, and what they cut off of a text that hides itself is plain.
    "long": "sk-long-" + "".join(f"{number:x}Z" for number in range(100)),
}

_SHORTEST_PIECE = 16


def forms(secret: str) -> set[str]:
    """A secret as it is written in Python, JSON, HTML and URLs."""
    encoded = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    encoded |= {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}
    escaped = {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/")}
    return {secret, html.escape(secret), *encoded, *escaped}


def assert_hidden(text: str, *secrets: str) -> None:
    """No secret is in the text, in any form, nor any piece of one that is worth having."""
    for secret in secrets:
        for form in forms(secret):
            size = min(_SHORTEST_PIECE, len(form))
            for start in range(len(form) - size + 1):
                place = text.find(form[start : start + size])
                # Without an assertion's own explanation, which would go on for pages.
                if place >= 0:
                    raise AssertionError(f"shown: {text[max(place - 300, 0) : place + 100]}")


def assert_says_nothing(error: BaseException, *secrets: str, frames_of: tuple[str, ...] = ("",)) -> None:
    """No secret is in anything that is shown of the exception; of frames, those of files with such a part in them."""
    assert_hidden("\n".join(everything_shown(error, frames_of)), *secrets)


def everything_shown(error: BaseException, frames_of: tuple[str, ...] = ("",)) -> Iterator[str]:
    """What prints an exception, debuggers and loggers included, prints of it."""
    trace = _frames_of(error.__traceback__, frames_of)
    for link in _chain(error):
        link.__traceback__ = _frames_of(link.__traceback__, frames_of)
        yield str(link)
        yield repr(link)
        yield repr((link.args, link.__dict__))
        yield repr(getattr(link, "__notes__", ()))
        yield pickle.dumps(link, protocol=0).decode("latin-1")
        yield repr(pickle.loads(pickle.dumps(link)).__dict__)  # noqa: S301  it is ours
    yield from traceback.TracebackException(type(error), error, trace, capture_locals=True).format()
    for longest in (80, 1_000_000):
        shown = Traceback.extract(
            type(error), error, trace, show_locals=True, locals_max_string=longest, locals_max_length=1_000
        )
        # What rich prints of them; highlighting the code of every frame around it would take seconds.
        for stack in shown.stacks:
            yield stack.exc_value
            for frame in stack.frames:
                yield from (str(value) for value in (frame.locals or {}).values())


def _chain(error: BaseException | None) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__]


def _frames_of(trace: TracebackType | None, parts: tuple[str, ...]) -> TracebackType | None:
    if trace is None:
        return None
    rest = _frames_of(trace.tb_next, parts)
    if not any(part in trace.tb_frame.f_code.co_filename for part in parts):
        return rest
    return TracebackType(rest, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
