"""What a dialect is: sans I/O, a Request becomes an HTTP request, and the bytes that come back become chunks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from rxllm._secrets import hidden_url
from rxllm.exceptions import APIError
from rxllm.types import ModelResponseStream, Request

__all__ = ["Dialect", "HTTPRequest", "Provider", "Reading"]


@dataclass(frozen=True)
class HTTPRequest:
    """One HTTP request, ready to be sent. ``repr`` shows no header, since one of them carries the key.

    >>> HTTPRequest("POST", "https://me:secret@llm.example/v1?key=AIza0", {}, b"{}")
    HTTPRequest(POST https://***@llm.example/v1?key=***, 2 bytes)
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HTTPRequest({self.method} {hidden_url(self.url)}, {len(self.body)} bytes)"


class Reading(Protocol):
    """One response body being read: fed with bytes, it gives chunks.

    Attributes:
        events: how many events have come; keep-alive comments are none.
        complete: the provider's own end has come; nothing after it is read.
        failure: the error that the provider sent, or that what it sent amounts to; nothing after it is read.
    """

    events: int
    complete: bool
    failure: APIError | None

    def feed(self, data: bytes) -> list[ModelResponseStream]:
        """The chunks that ``data`` completes. After an error the chunks before it are given, and ``failure`` is set."""
        ...

    def end(self) -> list[ModelResponseStream]:
        """The body has ended, or broken off: what was held back. ``complete`` tells whether the end was proven."""
        ...


class Dialect(Protocol):
    """A wire dialect: how a provider is asked and how it answers."""

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: "Provider") -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream."""
        ...

    def reading(self, request: Request, headers: Mapping[str, str]) -> Reading:
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        ...

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        ...


@dataclass(frozen=True)
class Provider:
    """A line of the registry: who speaks which dialect, where, and with whose key.

    Attributes:
        name: the prefix before the model, ``openai`` in ``openai/gpt-4o``.
        dialect: the wire dialect.
        base_url: where it is, without a slash at the end; ``None`` where the caller must say it.
        base_url_variables: environment variables that replace ``base_url``, first set wins.
        key_variables: environment variables that hold the key, first set wins; none where there is no key.
        key_required: whether a request without a key is refused before it is sent.
        key_header: the header that takes the key: as ``Bearer`` in ``authorization``, as it is in any other.
        credentials: gives a key where neither the caller nor the environment has one, and may block for it. What it
            raises should be an ``AuthenticationError``.
        key_parameters: parameters that together are a key, and so are neither sent nor shown as others are: where no
            ``api_key`` is given, the key is a JSON object of them.
        stream_usage: whether usage can be asked for in a stream.
        unsupported: parameters in the OpenAI shape that the provider has not: ``UnsupportedParamsError``, or left out
            with ``drop_params=True``.
        renamed: parameters in the OpenAI shape, each with what the provider calls it; where both are given, the
            provider's own counts.
        variants: prefixes of the model, and the dialect that models of such names are spoken to in; the first that fits
            wins. A prefix that ends in ``/`` is no part of the model's name and is taken off.
    """

    name: str
    dialect: Dialect
    base_url: str | None
    base_url_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    key_required: bool = True
    key_header: str = "authorization"
    credentials: Callable[[Request], str] | None = None
    key_parameters: tuple[str, ...] = ()
    stream_usage: bool = True
    unsupported: frozenset[str] = frozenset()
    renamed: tuple[tuple[str, str], ...] = ()
    variants: tuple[tuple[str, Dialect], ...] = ()

    def variant(self, model: str) -> tuple["Provider", str]:
        """The provider as it serves ``model``, with the dialect of the variant that fits, and the model's own name."""
        for prefix, dialect in self.variants:
            if model.startswith(prefix):
                return replace(self, dialect=dialect), model.removeprefix(prefix) if prefix.endswith("/") else model
        return self, model
