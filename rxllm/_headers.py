"""What a response's headers say, under the names that the providers have for it."""

from collections.abc import Mapping
from typing import Final

__all__ = ["rate_limits_of", "request_id_of"]

_REQUEST_IDS: Final = ("x-request-id", "request-id", "x-amzn-requestid")
_RATE_LIMITS: Final = ("x-ratelimit-", "anthropic-ratelimit-")


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request, by which its support finds it; ``headers`` are lower-cased.

    >>> request_id_of({"request-id": "req_1"})
    'req_1'
    """
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)


def rate_limits_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The rate limits, by name without the prefix.

    >>> rate_limits_of({"x-ratelimit-remaining-requests": "9", "server": "x"})
    {'remaining-requests': '9'}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in headers.items()
        for prefix in _RATE_LIMITS
        if name.startswith(prefix)
    }
