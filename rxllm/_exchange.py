"""One request's life, sans I/O: it says what to do next and is told what came.

``Exchange.steps()`` is a generator. What it yields, and what it wants to be sent back:

======================  ==============================================================================
``Send``                send this HTTP request; a ``Head``, or a ``Failure``
``BODY``                read the body, ``feed()`` each piece of it and deliver what that gives, until ``over`` is set;
                        ``None``, also at the body's end, or a ``Failure``
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
import os
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

from pydantic import SecretStr

from rxllm._secrets import scrub
from rxllm._timeouts import Timeouts
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    IncompleteStreamError,
    Timeout,
)
from rxllm.providers._base import HTTPRequest, Provider, Reading
from rxllm.types import ModelResponseStream, Request

__all__ = [
    "BODY",
    "CLOSE",
    "READ",
    "Ask",
    "Call",
    "Exchange",
    "Failure",
    "Head",
    "Send",
    "Signal",
    "Sleep",
    "Step",
    "Told",
]

_log = logging.getLogger("rxllm")

_LARGEST_ERROR_BODY: Final = 1 << 20
_LONGEST_RETRY_WAIT: Final = 60.0


class Signal:
    """A step without anything more to say."""


BODY: Final = Signal()
READ: Final = Signal()
CLOSE: Final = Signal()


@dataclass(frozen=True, slots=True)
class Send:
    """Send this; ``connect`` bounds connecting, in seconds."""

    http: HTTPRequest
    connect: float | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Call this; it may block."""

    question: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Head:
    """The status and the headers, lower-cased, of a response."""

    status: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong on the network, and in what words."""

    kind: Literal["connect", "connect timeout", "timeout", "broken", "invalid"]
    reason: str


Step = Send | Sleep | Ask | Signal | list[ModelResponseStream]
Told = Head | Failure | bytes | str | APIError | None


@dataclass(frozen=True)
class Call:
    """A request together with all that sending it takes. The key is hidden from ``repr``, as the headers are."""

    request: Request
    provider: Provider
    timeouts: Timeouts
    max_retries: int
    api_base: str | None = None
    api_key: SecretStr | None = None
    extra_headers: Mapping[str, SecretStr] = field(default_factory=dict[str, SecretStr])


class Exchange:
    """The life of one request: open, retry, read, deadlines, proof of the end."""

    _reading: Reading
    _headers: dict[str, str]
    _events: int

    def __init__(self, call: Call, clock: Callable[[], float] = time.monotonic) -> None:
        self.call = call
        self.deadline: float | None = None
        self.over = False
        self._clock = clock
        self._idle = call.timeouts.idle
        self._fresh = False  # content has come since somebody last waited
        self._late = False
        self._chunks = 0
        self._secrets: list[str] = []

    def steps(self) -> Generator[Step, Told, None]:
        """The steps, retried before the first chunk where the failure is one that passes."""
        for attempt in range(self.call.max_retries + 1):
            error, passing = yield from self._attempt()
            if error is None:
                return
            # Raised here and not where it was met: no traceback of ours then leads to a frame that holds the key.
            if not passing or self._chunks or attempt == self.call.max_retries:
                raise scrub(error, self._secrets)
            seconds = _retry_wait(attempt, error.headers)
            _log.info("%s: trying again in %.2f s: %s", self.call.request.model, seconds, scrub(error, self._secrets))
            yield Sleep(seconds)

    def _attempt(self) -> Generator[Step, Told, tuple[APIError | None, bool]]:
        """One try: its error, if any, and whether that is one that may pass."""
        call = self.call
        http = yield from self._http_request()
        self._expect(call.timeouts.first)
        head = yield Send(http, call.timeouts.connect)
        if not isinstance(head, Head):
            return self._broken(head, "before an answer"), isinstance(head, Failure) and head.kind not in (
                "timeout",
                "invalid",
            )
        if not 200 <= head.status < 300:
            body = yield from self._error_body()
            yield CLOSE
            error = call.provider.dialect.error(call.request, head.status, head.headers, body)
            return error, head.status in (408, 409, 429) or head.status >= 500
        return (yield from self._body(head)), False

    def feed(self, data: bytes) -> list[ModelResponseStream]:
        """The chunks that a piece of the body completes."""
        reading = self._reading
        chunks = reading.feed(data)
        if chunks:
            if not self._chunks:
                chunks[0].response_headers = self._headers
            self._chunks += len(chunks)
            self._fresh = True
        else:
            self._consider()
        if reading.complete or reading.failure is not None:
            self.over = True
        return chunks

    def time_left(self) -> float | None:
        """Seconds to wait for content from now on; ``None`` where nothing bounds it.

        An idle time begins when somebody waits: how long the consumer took over the last chunk does not count.
        """
        if self._fresh:
            self._fresh = False
            self._events = self._reading.events
            self._expect(self._idle)
        return None if self.deadline is None else self.deadline - self._clock()

    def drain(self, seconds: float) -> None:
        """The answer is over; what is left of the body may be waited for that long."""
        self._fresh = False
        self._expect(seconds)

    def _consider(self) -> None:
        """A piece of the body gave no chunk: it was the end, an event that gives none, or mere keep-alive."""
        reading = self._reading
        if reading.events != self._events:
            self._events = reading.events
            self._fresh = True
        elif (left := self.time_left()) is not None and left < 0:
            # With a client of the user's own, nothing else would notice that only comments come.
            self._late = self.over = True

    def _body(self, head: Head) -> Generator[Step, Told, APIError | None]:
        reading = self._reading = self.call.provider.dialect.reading(self.call.request, head.headers)
        self._headers = head.headers
        self._events = 0
        self.over = self._late = self._fresh = False
        told = yield BODY
        if self._late:
            told = Failure("timeout", "")
        if reading.failure is None and not reading.complete:
            chunks = reading.end()
            if chunks:
                if not self._chunks:
                    chunks[0].response_headers = head.headers
                self._chunks += len(chunks)
                yield chunks
            if reading.failure is None and not reading.complete:
                return self._broken(told, "in the middle of the answer")
        if reading.failure is not None:
            yield CLOSE
        return reading.failure

    def _error_body(self) -> Generator[Step, Told, bytes]:
        body = bytearray()
        while len(body) < _LARGEST_ERROR_BODY:
            data = yield READ
            if not isinstance(data, bytes):
                break
            body += data
        return bytes(body)

    def _http_request(self) -> Generator[Step, Told, HTTPRequest]:
        """The HTTP request, with the key and the base URL as the environment has them now."""
        call, provider = self.call, self.call.provider
        variables = (os.environ.get(name) for name in provider.base_url_variables)
        base_url = call.api_base or next((value for value in variables if value), None) or provider.base_url
        if base_url is None:
            names = " or ".join(("api_base=", *provider.base_url_variables))
            raise APIConnectionError(
                f"{provider.name} has no address of its own: say where it is with {names}.",
                llm_provider=provider.name,
                model=call.request.model,
            )
        key = call.api_key.get_secret_value() if call.api_key else ""
        if not key:
            key = next((value for name in provider.key_variables if (value := os.environ.get(name))), "")
        if not key and provider.credentials is not None:
            told = yield Ask(partial(provider.credentials, call.request))
            if isinstance(told, APIError):
                raise told
            key = told if isinstance(told, str) else ""
        if not key and provider.key_required:
            raise AuthenticationError(
                f"No key for {provider.name}: set {' or '.join(provider.key_variables)}, or pass api_key=.",
                llm_provider=provider.name,
                model=call.request.model,
            )
        key = key.strip()  # files and pasted keys end in a new line
        if not (key.isascii() and key.isprintable()):
            key = ""
            raise AuthenticationError(
                f"The key for {provider.name} has characters in it that no key has.",
                llm_provider=provider.name,
                model=call.request.model,
            )
        extra = {name.lower(): value.get_secret_value() for name, value in call.extra_headers.items()}
        self._secrets = [secret for secret in (key, *extra.values()) if secret]
        problem: APIError
        try:
            http = provider.dialect.http_request(call.request, base_url.rstrip("/"), key or None, provider)
        except APIError as error:
            problem = error.with_traceback(None)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            # An argument of a shape that the dialect does not expect.
            problem = BadRequestError(
                f"The request cannot be put into {provider.name}'s form: {type(error).__name__}: {error}",
                llm_provider=provider.name,
                model=call.request.model,
            )
        else:
            return replace(http, headers={**http.headers, **extra})
        key = ""
        extra.clear()
        raise scrub(problem, self._secrets)

    def _expect(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else self._clock() + seconds

    def _broken(self, failure: Told, when: str) -> APIError:
        """The typed error for a connection that failed, or ended without the provider's end."""
        timeouts = self.call.timeouts
        came = f"{self._chunks} chunk{'' if self._chunks == 1 else 's'} had come"
        kind: type[APIError]
        match failure:
            case Failure("connect timeout"):
                kind, message = Timeout, f"No connection within {timeouts.connect or timeouts.first:g} seconds."
            case Failure("timeout"):
                what, bound = ("further", timeouts.idle) if self._chunks else ("first", timeouts.first)
                kind, message = Timeout, f"No {what} event within {bound:g} seconds; {came}."
            case Failure("invalid"):
                kind, message = BadRequestError, "The request is no valid HTTP: look at the headers and the address."
            case Failure("connect", reason):
                kind, message = APIConnectionError, f"No connection: {reason}"
            case Failure(_, reason):
                kind = IncompleteStreamError if self._chunks else APIConnectionError
                message = f"The connection broke {when}: {reason}; {came}."
            case _:
                kind = IncompleteStreamError
                message = f"The stream ended {when}, without the provider's own end; {came}."
        return kind(message, llm_provider=self.call.provider.name, model=self.call.request.model)


def _retry_wait(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds to wait: as the server says, up to a minute, else growing from half a second to eight, with jitter."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds <= _LONGEST_RETRY_WAIT:
            return seconds
    return min(0.5 * 2.0**attempt, 8.0) * random.uniform(0.75, 1.0)  # noqa: S311  jitter, no secret
