"""The errors of rxllm: one tree, every class a child of :class:`APIError`, so that ``except APIError`` catches all.

::

    APIError
    ├── APIConnectionError              nothing came, or not to its end
    │   ├── Timeout (APITimeoutError)   a bound on waiting was passed; also HTTP 408 and 504
    │   └── IncompleteStreamError       the stream stopped without the provider's own end
    ├── APIStatusError                  the provider refused: HTTP status 4xx or 5xx, or an error event in the stream
    │   ├── BadRequestError             400
    │   │   ├── ContextWindowExceededError
    │   │   ├── ContentPolicyViolationError
    │   │   └── UnsupportedParamsError
    │   ├── AuthenticationError         401, or no key could be found
    │   ├── PaymentRequiredError        402
    │   ├── PermissionDeniedError       403
    │   ├── NotFoundError               404
    │   ├── ConflictError               409
    │   ├── RequestTooLargeError        413
    │   ├── UnprocessableEntityError    422
    │   ├── RateLimitError              429
    │   └── InternalServerError         500 and above
    │       ├── BadGatewayError         502
    │       └── ServiceUnavailableError 503, 529
    ├── APIResponseValidationError      what came cannot be read
    └── GuardrailError                  the caller's own check refused what came

The names are those that openai-python and LiteLLM document, so that code written for them finds them here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rxllm.types import Usage

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "ConflictError",
    "ContentPolicyViolationError",
    "ContextWindowExceededError",
    "GuardrailError",
    "IncompleteStreamError",
    "InternalServerError",
    "NotFoundError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTooLargeError",
    "ServiceUnavailableError",
    "Timeout",
    "UnprocessableEntityError",
    "UnsupportedParamsError",
]


class APIError(Exception):
    """Anything that goes wrong between asking for a completion and its end.

    Attributes:
        message: what happened, in the provider's own words where it gave any.
        status_code: the HTTP status that came, ``None`` if none did.
        llm_provider: the provider's prefix, such as ``"openai"``.
        model: the model as it was asked for.
        code: the provider's own error code.
        type: the provider's own error type.
        param: the parameter that the provider objects to.
        body: the error body, parsed where it is JSON, else its text.
        request_id: the provider's id of the request, for its support.
        headers: the response's headers, lower-cased.
        usage: the tokens of what had come, where ``attach_usage()`` saw the error pass; ``None`` elsewhere.

    >>> error = RateLimitError("Too many requests", status_code=429, llm_provider="openai", model="gpt-4")
    >>> isinstance(error, APIError), str(error), error.status_code
    (True, 'Too many requests', 429)
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        llm_provider: str | None = None,
        model: str | None = None,
        code: str | None = None,
        type: str | None = None,  # noqa: A002  the field's own name
        param: str | None = None,
        body: Any = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.llm_provider = llm_provider
        self.model = model
        self.code = code
        self.type = type
        self.param = param
        self.body = body
        self.request_id = request_id
        self.headers: dict[str, str] = dict(headers or {})
        self.usage: Usage | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders (pools, queues): keyword-only arguments need the state spelled out.
        return (type(self), (self.message,), self.__dict__)


class APIConnectionError(APIError):
    """No connection could be made, or it broke before the provider's end.

    Attributes:
        chunks: how many chunks had come, and were delivered.
    """

    chunks: int = 0


class Timeout(APIConnectionError):  # noqa: N818  the documented name
    """A bound on waiting was passed, or the provider said so (HTTP 408 and 504).

    Attributes:
        bound: which of the ``Timeouts`` was passed; ``None`` where the provider said so.
        seconds: how long that bound is.
    """

    bound: Literal["connect", "first", "idle", "total"] | None = None
    seconds: float | None = None


APITimeoutError = Timeout


class IncompleteStreamError(APIConnectionError):
    """The stream stopped without the provider's own end: what came is not a whole answer."""


class APIStatusError(APIError):
    """The provider refused the request, by its HTTP status or by an error event in the stream."""


class BadRequestError(APIStatusError):
    """HTTP 400: the request is malformed."""


class ContextWindowExceededError(BadRequestError):
    """The prompt and the tokens asked for do not fit the model's context window."""


class ContentPolicyViolationError(BadRequestError):
    """The provider's content policy refuses the prompt."""


class UnsupportedParamsError(BadRequestError):
    """A parameter that the provider or the model does not have."""


class AuthenticationError(APIStatusError):
    """HTTP 401, or no key could be found."""


class PaymentRequiredError(APIStatusError):
    """HTTP 402: the account has no credit."""


class PermissionDeniedError(APIStatusError):
    """HTTP 403: the key may not do this."""


class NotFoundError(APIStatusError):
    """HTTP 404: no such model, deployment or path."""


class ConflictError(APIStatusError):
    """HTTP 409: the resource is in another state than the request needs."""


class RequestTooLargeError(APIStatusError):
    """HTTP 413: the request's body is too large."""


class UnprocessableEntityError(APIStatusError):
    """HTTP 422: the request is well-formed and cannot be followed."""


class RateLimitError(APIStatusError):
    """HTTP 429: too many requests, too many tokens, or the quota is used up."""


class InternalServerError(APIStatusError):
    """HTTP 500 and above: the provider failed."""


class BadGatewayError(InternalServerError):
    """HTTP 502: something before the provider failed."""


class ServiceUnavailableError(InternalServerError):
    """HTTP 503, or 529: the provider is overloaded or down."""


class APIResponseValidationError(APIError):
    """What the provider sent cannot be read as what it says it is."""


class GuardrailError(APIError):
    """A check of the caller's own, as ``guard()`` makes them, refused what the model wrote.

    Attributes:
        text: the text that was refused; the message does not show it.
        reason: why, in the check's own words, ``None`` where it gave none.
        choice: the index of the choice that it is of.
    """

    text: str = ""
    reason: str | None = None
    choice: int = 0
