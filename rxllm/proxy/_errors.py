"""Errors in OpenAI's form: as the body of a response, and as an event within a stream."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from rxllm import exceptions
from rxllm._plain import json_line
from rxllm.exceptions import APIError

__all__ = ["Refusal", "error_body", "error_event", "log_failure", "retry_headers", "status_of"]

_log = logging.getLogger("rxllm.proxy")

# Of classes that stand below one another, the nearest to the error's own counts.
_STATUS: Final[dict[type[APIError], int]] = {
    exceptions.BadRequestError: 400,
    exceptions.AuthenticationError: 401,
    exceptions.PaymentRequiredError: 402,
    exceptions.PermissionDeniedError: 403,
    exceptions.NotFoundError: 404,
    exceptions.ConflictError: 409,
    exceptions.RequestTooLargeError: 413,
    exceptions.UnprocessableEntityError: 422,
    exceptions.RateLimitError: 429,
    exceptions.InternalServerError: 500,
    exceptions.BadGatewayError: 502,
    exceptions.ServiceUnavailableError: 503,
    exceptions.Timeout: 504,
    exceptions.APIConnectionError: 502,
    exceptions.APIResponseValidationError: 502,
    exceptions.GuardrailError: 400,
}

# What OpenAI calls the kinds, by status.
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(Exception):  # noqa: N818  it is an answer
    """The proxy's own refusal of a request: its status, and what OpenAI's error body says of it."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.type = kind


def status_of(error: Exception) -> int:
    """The HTTP status that an error is answered with."""
    if isinstance(error, Refusal):
        return error.status
    if not isinstance(error, APIError):
        return 500
    if error.status_code is not None and 400 <= error.status_code < 600:
        return error.status_code
    if error.status_code is not None and 300 <= error.status_code < 400:
        return 502  # the upstream's address is wrong, and not the client's request
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def error_body(error: Exception) -> dict[str, Any]:
    """What OpenAI's clients read: ``{"error": {"message", "type", "param", "code"}}``.

    >>> error_body(exceptions.RateLimitError("Slow down", status_code=429))
    {'error': {'message': 'Slow down', 'type': 'rate_limit_error', 'param': None, 'code': None}}
    """
    status = status_of(error)
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if not isinstance(error, Refusal | APIError):
        # What a function of the owner's raised may say anything: it is for the log.
        return {"error": {"message": "The server failed.", "type": kind, "param": None, "code": "internal_error"}}
    if isinstance(error, exceptions.GuardrailError):
        kind = "guardrail_error"
    told = {"message": error.message, "type": error.type or kind, "param": error.param, "code": error.code}
    return {"error": told}


def error_event(error: Exception) -> bytes:
    """The event that ends a stream which cannot go on. No ``[DONE]`` follows it."""
    return b"data: " + json_line(error_body(error)) + b"\n"


def retry_headers(error: Exception) -> Mapping[str, str]:
    """Of the upstream's headers, those that say when to come again."""
    headers = error.headers if isinstance(error, APIError) else {}
    return {name: headers[name] for name in ("retry-after", "retry-after-ms") if name in headers}


def log_failure(error: Exception, request_id: str) -> None:
    """Logs what is no refusal: something of the owner's has failed, and the client is not told what."""
    if not isinstance(error, Refusal | APIError):
        _log.error("%s", json.dumps({"request_id": request_id, "failed": type(error).__name__}), exc_info=error)
