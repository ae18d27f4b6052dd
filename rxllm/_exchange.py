"""One request's life, sans I/O: it says what to do next and is told what came.

``Exchange.steps()`` is a generator. What it yields, and what it wants to be sent back:

======================  ==============================================================================
``Send``                send this HTTP request; a ``Head``, or a ``Failure``
``BODY``                read the body, ``feed()`` each piece of it and deliver what that gives, until ``over`` is set;
                        and while it has a ``rest`` before reading more; ``None``, also at the body's end, or a
                        ``Failure``
``READ``                read one piece of the body; bytes, ``None`` at its end, or a ``Failure``
a list of chunks        deliver them; nothing
``CLOSE``               hang up; nothing
``Sleep``               wait that many seconds; nothing
``Ask``                 call this, which may block; a ``str``, or the ``APIError`` that it raised
======================  ==============================================================================

It returns when the provider's own end has come, and raises an ``APIError`` otherwise. ``time_left()`` says, whenever
somebody is about to wait, for how long.
"""

import logging
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from itertools import chain
from typing import Final, Literal, TypeVar

from rxllm._decoders._inflate import BrokenCompressionError, Inflater, inflating
from rxllm._prepare import Call, prepare
from rxllm._retry import retry_wait
from rxllm._secrets import Secrets
from rxllm._steps import BODY, CLOSE, READ, Failure, Head, Send, Sleep, Step, Told
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    BadRequestError,
    ConflictError,
    IncompleteStreamError,
    InternalServerError,
    RateLimitError,
    Timeout,
)
from rxllm.providers._base import Reading
from rxllm.types import ModelResponseStream

__all__ = ["Exchange"]

_E = TypeVar("_E", bound=APIError)
_Bound = Literal["connect", "first", "idle", "total"]

_log = logging.getLogger("rxllm")

# What may go better the next time: not a certificate that cannot be trusted, and not a wait for an event, which is paid
# for by then.
_PASSING: Final = frozenset({"connect", "connect timeout", "broken"})

# Nobody says more, and all of it is looked through for keys; but the connection can be used again once the rest came.
_LARGEST_ERROR: Final = 1 << 17
_LARGEST_ERROR_BODY: Final = 1 << 20
# What cannot be read here, and was not asked for. Other encodings, "utf-8" or "none", are mistakes: the body is plain.
_COMPRESSIONS: Final = frozenset({"br", "compress", "gzip", "deflate", "zstd"})


class Exchange:
    """The life of one request: open, retry, read, deadlines, proof of the end."""

    _reading: Reading
    _headers: dict[str, str]
    _events: int

    def __init__(self, call: Call, clock: Callable[[], float] = time.monotonic) -> None:
        self.call = call
        self.over = False
        self._clock = clock
        self._bound: _Bound = "first"
        self._deadline = self._end = math.inf
        self._began = 0.0  # when the first try did
        self._fresh = False  # content has come since somebody last waited
        self._late = False
        self._inflater: Inflater | None = None
        self._garbled = ""  # what is wrong with a compressed body
        self.rest: Iterator[bytes] | None = None
        self._chunks = 0
        self.secrets = Secrets()

    def steps(self) -> Generator[Step, Told, None]:
        """The steps, retried before the first chunk where the failure is one that passes."""
        self._began = self._clock()
        self._end = self._began + _or_for_ever(self.call.timeouts.total)
        for attempt in range(self.call.max_retries + 1):
            error, passing = yield from self._attempt()
            if error is None:
                return
            self.secrets.scrub(error)
            seconds = retry_wait(attempt, error.headers)
            # Raised here and not where it was met: no traceback of ours then leads to a frame that holds the key.
            if not passing or self._chunks or attempt == self.call.max_retries or self._clock() + seconds >= self._end:
                raise error
            _log.info("%s: trying again in %.2f s: %s", self.call.request.model, seconds, error)
            yield Sleep(seconds)

    def _attempt(self) -> Generator[Step, Told, tuple[APIError | None, bool]]:
        """One try: its error, if any, and whether that is one that may pass."""
        call = self.call
        http = yield from prepare(call, self.secrets)
        if isinstance(http, APIError):
            return http, False
        self._expect("first")
        told = yield Send(http, call.timeouts.connect)
        if not isinstance(told, Head):
            return self._broken(told, "before an answer"), isinstance(told, Failure) and told.kind in _PASSING
        head = replace(told, headers=self.secrets.clean(told.headers))
        encoding = head.headers.get("content-encoding", "identity")
        self._inflater = None if encoding == "identity" else inflating(encoding)
        if not 200 <= head.status < 300:
            body = yield from self._error_body()
            yield CLOSE
            error = call.provider.dialect.error(call.request, head.status, head.headers, body)
            return error, head.status in (408, 409, 429) or head.status >= 500
        if self._inflater is None and not _COMPRESSIONS.isdisjoint(encoding.lower().replace(",", " ").split()):
            yield CLOSE
            return self._broken(
                Failure("encoding", f"it is encoded as {encoding!r}, which was not asked for"), ""
            ), False
        return (yield from self._body(head))

    def feed(self, data: bytes) -> list[ModelResponseStream]:
        """The chunks that a piece of the body completes; while there is a ``rest``, those that come next in it."""
        if self._inflater is not None:
            return self._inflate(self._inflater, data)
        return self._take(data)

    def _inflate(self, inflater: Inflater, data: bytes) -> list[ModelResponseStream]:
        pieces = chain(self.rest or (), inflater.feed(data))
        self.rest = None
        try:
            for piece in pieces:
                chunks = self._take(piece)
                if chunks or self.over:
                    self.rest = None if self.over else pieces
                    return chunks
        except BrokenCompressionError as error:
            self._garbled = str(error)
            self.over = True
        return []

    def _take(self, data: bytes) -> list[ModelResponseStream]:
        reading = self._reading
        chunks = reading.feed(data)
        if chunks:
            if not self._chunks:
                chunks[0].response_headers = self._headers
            self._chunks += len(chunks)
            self._fresh = True
            # Of the bounds, content moves all but one.
            late = self._end != math.inf and self._clock() >= self._end
            if late:
                self._bound = "total"
        else:
            # It was the end, an event that gives no chunk, or mere keep-alive.
            if reading.events != self._events:
                self._events = reading.events
                self._fresh = True
            late = self._is_late()
        if reading.complete or reading.failure is not None:
            self.over = True
        elif late:
            self._late = self.over = True
        return chunks

    def time_left(self) -> float | None:
        """Seconds to wait for content from now on; ``None`` where nothing bounds it.

        An idle time begins when somebody waits: how long the consumer took over the last chunk does not count.
        """
        if self._fresh:
            self._fresh = False
            self._events = self._reading.events
            self._expect("idle")
        return None if self._deadline == math.inf else self._deadline - self._clock()

    def drain(self, seconds: float) -> None:
        """The answer is over; what is left of the body may be waited for that long."""
        self._fresh = False
        self._deadline = self._clock() + seconds

    def _is_late(self) -> bool:
        """Whether a bound has passed; of what comes without a pause and is no content, nobody else would notice."""
        left = self.time_left()
        return left is not None and left < 0

    def _body(self, head: Head) -> Generator[Step, Told, tuple[APIError | None, bool]]:
        reading = self._reading = self.call.provider.dialect.reading(self.call.request, head.headers)
        self._headers = head.headers
        self._events = 0
        self.over = self._late = self._fresh = False
        self.rest = None
        self._garbled = ""
        told = yield BODY
        if self._late:
            told = Failure("timeout", "")
        elif self._garbled:
            told = Failure("encoding", self._garbled)
        if reading.failure is None and not reading.complete:
            chunks = reading.end()
            if chunks:
                if not self._chunks:
                    chunks[0].response_headers = head.headers
                self._chunks += len(chunks)
                yield chunks
            if reading.failure is None and not reading.complete:
                error = self._broken(told, "in the middle of the answer")
                return error, isinstance(told, Failure) and told.kind in _PASSING
        if reading.failure is None:
            return None, False
        yield CLOSE
        # Some answer 200 and then say in the first event that they cannot.
        return reading.failure, isinstance(reading.failure, ConflictError | RateLimitError | InternalServerError)

    def _error_body(self) -> Generator[Step, Told, bytes]:
        body, came = bytearray(), 0
        while came < _LARGEST_ERROR_BODY and not self._is_late():
            data = yield READ
            if not isinstance(data, bytes):
                break
            try:
                for piece in (data,) if self._inflater is None else self._inflater.feed(data):
                    came += len(piece)
                    body += piece[: _LARGEST_ERROR - len(body)]
                    if came >= _LARGEST_ERROR_BODY:
                        break
            except BrokenCompressionError:
                break
        return bytes(body)

    def _expect(self, bound: Literal["first", "idle"]) -> None:
        """From now on this bound counts, or the total one, if that passes before."""
        deadline = self._clock() + _or_for_ever(getattr(self.call.timeouts, bound))
        self._bound = bound if deadline < self._end else "total"
        self._deadline = min(deadline, self._end)

    def _broken(self, failure: Told, when: str) -> APIError:
        """The typed error for a connection that failed, or ended without the provider's end."""
        came = f"{self._chunks} chunk{'' if self._chunks == 1 else 's'} had come"
        kind: type[APIConnectionError]
        match failure:
            case Failure("connect timeout" | "timeout" as what):
                return self._timed_out(came, connecting=what == "connect timeout")
            case Failure("invalid"):
                return self._error(
                    BadRequestError, "The request is no valid HTTP: look at the headers and the address."
                )
            case Failure("encoding", reason):
                return self._error(APIResponseValidationError, f"The answer cannot be decoded: {reason}; {came}.")
            case Failure("connect" | "untrusted", reason):
                kind, message = APIConnectionError, f"No connection: {reason}"
            case Failure(_, reason):
                kind = IncompleteStreamError if self._chunks else APIConnectionError
                message = f"The connection broke {when}: {reason}; {came}."
            case _:
                kind = IncompleteStreamError
                message = f"The stream ended {when}, without the provider's own end; {came}."
        error = self._error(kind, message)
        error.chunks = self._chunks
        return error

    def _timed_out(self, came: str, *, connecting: bool) -> Timeout:
        """Which bound was passed, after how long, and how much had come."""
        timeouts, now = self.call.timeouts, self._clock()
        # What the others leave may be less than connecting may take.
        bound: _Bound = "connect" if connecting and now < self._deadline else self._bound
        seconds: float | None = getattr(timeouts, bound)
        wanted = "connection" if connecting else {"first": "first event", "idle": "further event"}.get(bound, "end")
        within = "in time" if seconds is None else f"within {seconds:g} s"
        after = f"{now - self._began:.2f} s after the request was made"
        error = self._error(Timeout, f"No {wanted} {within} (the {bound} timeout), {after}; {came}.")
        error.bound, error.seconds, error.chunks = bound, seconds, self._chunks
        return error

    def _error(self, kind: type[_E], message: str) -> _E:
        return kind(message, llm_provider=self.call.provider.name, model=self.call.request.model)


def _or_for_ever(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
