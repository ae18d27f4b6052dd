"""A request becomes an HTTP request, with the key and the address as the environment has them when it is sent."""

import os
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from pydantic import SecretStr

from rxllm._secrets import Secrets
from rxllm._steps import Ask, Told
from rxllm._timeouts import Timeouts
from rxllm.exceptions import APIConnectionError, APIError, AuthenticationError, BadRequestError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.types import Request

__all__ = ["Call", "prepare"]


@dataclass(frozen=True)
class Call:
    """A request together with all that sending it takes. ``repr`` shows neither key nor headers nor address."""

    request: Request
    provider: Provider
    timeouts: Timeouts
    max_retries: int
    api_base: str | None = field(default=None, repr=False)
    api_key: SecretStr | None = None
    extra_headers: Mapping[str, SecretStr] = field(default_factory=dict[str, SecretStr])


def prepare(call: Call, secrets: Secrets) -> Generator[Ask, Told, HTTPRequest | APIError]:
    """The HTTP request for ``call``, or why there is none; ``secrets`` learns what must not be seen of it.

    An error is given and not raised, so that no traceback leads to the frames that hold the key.
    """
    provider, request = call.provider, call.request

    def refuse(kind: type[APIError], message: str) -> APIError:
        return kind(message, llm_provider=provider.name, model=request.model)

    base_url = call.api_base or _first_set(provider.base_url_variables) or provider.base_url
    if base_url is None:
        names = " or ".join(("api_base=", *provider.base_url_variables))
        return refuse(APIConnectionError, f"{provider.name} has no address of its own: say where it is with {names}.")
    secrets.add_address(base_url)
    secrets.add_parameters(request.params)
    key = call.api_key.get_secret_value() if call.api_key else _first_set(provider.key_variables)
    if not key and provider.credentials is not None:
        told = yield Ask(partial(provider.credentials, request))
        if isinstance(told, APIError):
            return told
        key = told if isinstance(told, str) else ""
    if not key and provider.key_required:
        return refuse(
            AuthenticationError,
            f"No key for {provider.name}: set {' or '.join(provider.key_variables)}, or pass api_key=.",
        )
    key = key.strip()  # files and pasted keys end in a new line
    secrets.add_key(key)
    if not (key.isascii() and key.isprintable()):
        return refuse(AuthenticationError, f"The key for {provider.name} has characters in it that no key has.")
    extra = {name.lower(): value.get_secret_value() for name, value in call.extra_headers.items()}
    secrets.add_headers(extra)
    try:
        http = provider.dialect.http_request(request, base_url.rstrip("/"), key or None, provider)
    except APIError as error:
        return error
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        # An argument of a shape that the dialect does not expect.
        return refuse(
            BadRequestError,
            f"The request cannot be put into {provider.name}'s form: {type(error).__name__}: {error}",
        )
    http = replace(http, headers={**http.headers, **extra})
    secrets.add_headers(http.headers)
    secrets.add_address(http.url)
    return http


def _first_set(variables: tuple[str, ...]) -> str:
    """The first of these environment variables that holds something; empty where none does."""
    return next((value for name in variables if (value := os.environ.get(name))), "")
