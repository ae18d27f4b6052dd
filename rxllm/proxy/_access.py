"""Who may ask: whoever has the key; without a key, this machine alone."""

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request as HTTPRequest

from rxllm.proxy._errors import Refusal

__all__ = ["Gate", "is_loopback"]


class Gate:
    """Lets a request pass, or refuses it.

    With a key: who sends it as ``Authorization: Bearer KEY`` or ``x-api-key: KEY``. Without: who comes from this
    machine, by a name of this machine, and not sent by another site's page in a browser. A page can make a browser send
    requests to ``localhost``, or to a name of its own that it lets point to this machine; the ``Host`` and ``Origin``
    headers, which it cannot choose, tell. ``open_to_all`` lets everybody pass: for where something before decides.

    Args:
        key: the key, if there is one.
        open_to_all: whether without a key everybody may ask.
        origins: the origins of pages that may ask.
    """

    def __init__(self, key: str | None, *, open_to_all: bool = False, origins: frozenset[str] = frozenset()) -> None:
        self._key = key.encode() if key else None
        self._open = open_to_all
        self._origins = origins

    def check(self, http: HTTPRequest) -> None:
        """Returns where the request may pass.

        Raises:
            Refusal: it may not.
        """
        if self._key is not None:
            given = _given(http.headers)
            if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._key):
                said = "Incorrect API key provided." if given else "No API key provided."
                raise Refusal(
                    401,
                    f"{said} Send this server's key as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
                    code="invalid_api_key",
                    kind="invalid_request_error",
                )
            return
        if self._open:
            return
        origin = http.headers.get("origin")
        host = _host_of(f"//{http.headers.get('host', '')}")
        client = http.client.host if http.client else "127.0.0.1"
        if not is_loopback(client) or not is_loopback(host):
            raise _forbidden("it serves only requests of its own machine that name it localhost")
        if origin is not None and origin not in self._origins and not is_loopback(_host_of(origin)):
            raise _forbidden("it serves no page of another origin")


def _given(headers: Mapping[str, str]) -> str:
    """The key in a request's headers; empty where there is none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _host_of(address: str) -> str:
    """The name in an address; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # half of a bracket
        return ""


def _forbidden(reason: str) -> Refusal:
    return Refusal(
        403, f"This server has no key, so {reason}. Give it one with RXLLM_MASTER_KEY.", code="no_master_key"
    )


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own for itself.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "192.168.1.2", "example.com")]
    [True, True, True, True, False, False]
    """
    if host.lower().rstrip(".") in ("localhost", "0.0.0.0", "ip6-localhost"):  # noqa: S104  as a name, not to bind to
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
