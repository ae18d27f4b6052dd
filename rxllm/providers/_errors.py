"""What providers say when they refuse, in whatever shape, as typed errors."""

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from rxllm._decoders._events import NamedEvent
from rxllm._decoders._json import parse, whole_text
from rxllm._decoders._sse import SSEDecoder
from rxllm._headers import request_id_of
from rxllm.exceptions import (
    APIError,
    APIStatusError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    ContentPolicyViolationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    Timeout,
    UnprocessableEntityError,
    UnsupportedParamsError,
)
from rxllm.types import Request

__all__ = ["response_error", "stream_error"]

_LONGEST_MESSAGE: Final = 4000

_BY_STATUS: Final[dict[int, type[APIError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: Timeout,
    409: ConflictError,
    413: RequestTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    502: BadGatewayError,
    503: ServiceUnavailableError,
    504: Timeout,
    529: ServiceUnavailableError,
}

# Where the words of an error stand, the most telling first; the last ones only where there are no others at all.
_WORDS: Final = tuple(
    "error message Message detail msg error_message errorMessage errors issues error_description title".split()
)
_LAST_WORDS: Final = ("error", "errors", "reason", "description")
# Says more than an ``error`` that is a mere text.
_BESIDE_ERROR: Final = ("message", "Message", "detail", "error_description", "errors", "issues")

# For errors in a stream, whose HTTP status was 200: what OpenAI, Anthropic, gRPC and AWS call the same things.
_BY_WORD: Final[dict[str, int]] = {
    word: status
    for status, words in {
        400: "invalid_request_error bad_request bad_request_error invalid_argument failed_precondition"
        " context_length_exceeded content_filter content_policy_violation unsupported_parameter unknown_parameter"
        " tool_use_failed validationexception",
        401: "authentication_error invalid_api_key unauthenticated unauthorized",
        402: "billing_error payment_required insufficient_balance",
        403: "permission_error permission_denied permission_denied_error forbidden accessdeniedexception",
        404: "not_found_error model_not_found not_found notfounderror resourcenotfoundexception",
        413: "request_too_large",
        422: "unprocessable_entity unprocessable_entity_error",
        429: "rate_limit_error rate_limit_exceeded rate_limit requests tokens insufficient_quota too_many_requests"
        " resource_exhausted throttlingexception modelnotreadyexception",
        500: "server_error api_error internal_server_error internal_error internal internalservererror"
        " internalserverexception modelerrorexception modelstreamerrorexception",
        503: "overloaded_error overloaded unavailable service_unavailable engine_overloaded_error"
        " serviceunavailableexception",
        504: "timeout timeout_error deadline_exceeded modeltimeoutexception",
    }.items()
    for word in words.split()
}

# What the words of a 400 come to: the class, and codes or phrases that say so, in lower case.
_REFINED: Final[tuple[tuple[type[BadRequestError], re.Pattern[str]], ...]] = (
    (
        ContextWindowExceededError,
        re.compile(
            r"context_length_exceeded|context_window_exceeded|too_many_prompt_tokens|model_max_prompt_tokens_exceeded"
            r"|max(?:imum)? context[ _](?:length|window|size)|context (?:length|window|size) (?:is |was )?exceeded"
            r"|exceed\w*(?: (?:the|this|its|your|available|allowed|model|model's|max|maximum))* context"
            r"|(?:prompt|input|request) (?:is |was )?too long|too long for (?:the|this) model|input tokens? exceed"
            r"|(?:prompt|input|token)[ _](?:token )?count\b.{0,40}\bexceeds?|length of all messages is too long"
            r"|exceeds? (?:the )?maximum (?:prompt|input|number of (?:input |prompt )?tokens)|maximum prompt length"
            r"|too many (?:input |prompt )tokens|too many tokens: ",
        ),
    ),
    (
        ContentPolicyViolationError,
        re.compile(
            r"content_policy|content_filter|content policy|content management policy|responsibleaipolicyviolation"
            r"|usage guidelines|safety system|data_inspection_failed|moderation_blocked",
        ),
    ),
    (
        UnsupportedParamsError,
        re.compile(
            r"unsupported_parameter|unknown_parameter|unsupported parameter|unknown parameter"
            r"|unrecognized request argument|does not support (?:parameter|tools|thinking)|unexpected keyword argument",
        ),
    ),
)


def response_error(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The typed error that an unsuccessful response amounts to: the status decides, the provider's words refine a 400.

    Args:
        request: what was asked for.
        status: the HTTP status, 300 or above.
        headers: the response's, lower-cased.
        body: the response's body, of any shape.

    >>> body = b'{"error": {"message": "Prompt is too long", "code": "context_length_exceeded"}}'
    >>> error = response_error(Request(model="gpt-4", messages=[]), 400, {}, body)
    >>> type(error).__name__, str(error), error.code
    ('ContextWindowExceededError', 'Prompt is too long', 'context_length_exceeded')
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        payload: Any = parse(text)
    except ValueError:
        payload = _event(body) or text
    said = _Said(payload)
    if not said.message:
        said.message = _from_status(status, headers, text)
    return _error(request, said, _class_of(status), status, headers, payload if payload != "" else None)


def stream_error(request: Request, status: int, headers: Mapping[str, str], payload: Any) -> APIError:
    """The typed error that an error inside a successful response amounts to.

    The class follows a status that the payload names, else its words; ``status_code`` is the HTTP status that came.

    >>> payload = {"error": {"message": "Upstream is down", "code": 502}}
    >>> error = stream_error(Request(model="gpt-4", messages=[]), 200, {}, payload)
    >>> type(error).__name__, str(error), error.code, error.status_code
    ('BadGatewayError', 'Upstream is down', '502', 200)
    """
    payload = whole_text(payload)
    said = _Said(payload)
    if not said.message:
        said.message = f"The provider sent an error without words: {_shortened(json.dumps(payload), 200)}"
    words = [word.lower() for word in (said.code, said.type) if word]
    named = said.status or next((_BY_WORD[word] for word in words if word in _BY_WORD), 0)
    return _error(request, said, _class_of(named), status, headers, payload)


class _Said:
    """What a provider's error says, in whatever shape it says it."""

    def __init__(self, payload: Any) -> None:
        if isinstance(payload, list) and payload and isinstance(payload[0], dict) and "error" in payload[0]:
            payload = cast(Any, payload[0])  # Gemini wraps it in a list
        members = [cast("dict[str, Any]", member) for member in _members(payload)]
        self.message = _shortened(_words(payload) or _words(payload, _LAST_WORDS), _LONGEST_MESSAGE)
        self.code = _first(members, "code", "status", "reason")
        self.type = _first(members, "type", "__type")
        self.param = _first(members, "param")
        self.request_id = _first(members, "request_id")
        if self.type == "error":
            self.type = None  # Anthropic's outer object, which only says that it is one
        self.status = next(
            (
                status
                for name in ("status_code", "statusCode", "StatusCode", "code", "status", "originalStatusCode")
                for member in members
                if (status := _as_status(member.get(name)))
            ),
            0,
        )


def _error(
    request: Request,
    said: _Said,
    kind: type[APIError],
    status: int,
    headers: Mapping[str, str],
    body: Any,
) -> APIError:
    code, type_ = said.code, said.type
    if kind is BadRequestError:
        said_in_all = f"{(code or '')[:200]} {(type_ or '')[:200]} {said.message}".lower()
        kind = next((refined for refined, pattern in _REFINED if pattern.search(said_in_all)), kind)
    if type_ is None and "x-amzn-errortype" in headers:
        type_ = headers["x-amzn-errortype"].partition(":")[0]
    return kind(
        said.message,
        status_code=status,
        llm_provider=request.provider,
        model=request.model,
        code=code,
        type=type_,
        param=said.param,
        body=body,
        request_id=request_id_of(headers) or said.request_id,
        headers=headers,
    )


def _class_of(status: int) -> type[APIError]:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return InternalServerError if 500 <= status < 600 else APIStatusError


def _members(payload: Any) -> Iterator[Any]:
    """The objects that may hold code, type and param, the most telling first."""
    if not isinstance(payload, dict):
        return
    fields = cast("dict[str, Any]", payload)
    inner = fields.get("error")
    if isinstance(inner, dict):
        yield cast(Any, inner)
    yield fields
    raw = _raw(inner)
    if isinstance(raw, dict):
        yield from _members(raw)


def _raw(error: Any) -> Any:
    """OpenRouter's ``metadata.raw``: what its upstream said, JSON or text."""
    metadata = cast("dict[str, Any]", error).get("metadata") if isinstance(error, dict) else None
    raw = cast("dict[str, Any]", metadata).get("raw") if isinstance(metadata, dict) else None
    if not isinstance(raw, str):
        return raw
    try:
        return parse(raw)
    except ValueError:
        return raw


def _event(body: bytes) -> dict[str, Any] | None:
    """The first object among the data of server-sent events: some refuse in the shape of the stream asked for."""
    if b"data:" not in body:
        return None
    decoder = SSEDecoder(limit=len(body))
    for event in decoder.feed(body) + decoder.flush():
        try:
            payload: Any = parse(event.data if isinstance(event, NamedEvent) else event)
        except ValueError:
            continue
        if isinstance(payload, dict):
            return cast("dict[str, Any]", payload)
    return None


def _words(payload: Any, names: tuple[str, ...] = _WORDS, depth: int = 0) -> str:
    """The provider's own words, by the first of ``names``, in an error of any shape; empty where it has none."""
    if isinstance(payload, str):
        # No more than will be shown: it may be looked at several times on the way up.
        text = _shortened(payload.strip(), _LONGEST_MESSAGE)
        return "" if text[:1] == "<" else text
    if depth > 8:
        return ""
    if isinstance(payload, list):
        said = (_words(item, names, depth + 1) for item in cast("list[object]", payload)[:10])
        return "; ".join(words for words in said if words)
    if not isinstance(payload, dict):
        return ""
    fields = cast("dict[str, Any]", payload)
    if isinstance(fields.get("msg"), str) and "loc" in fields:
        # FastAPI's and pydantic's: where, and what.
        where = fields["loc"]
        place = ".".join(map(str, cast("list[object]", where))) if isinstance(where, list) else str(where)
        return f"{place}: {fields['msg']}"
    for name in names:
        words = _words(fields.get(name), names, depth + 1)
        if words:
            beside = [_raw(fields), fields.get("details"), fields.get("originalMessage")]
            if name == "error" and isinstance(fields[name], str):
                beside = [*map(fields.get, _BESIDE_ERROR), *beside]  # it may be no more than the status' name
            further = next((told for value in beside if (told := _words(value, names, depth + 1))), "")
            return further if words in further else f"{words}: {further}" if further not in words else words
    return ""


def _from_status(status: int, headers: Mapping[str, str], text: str) -> str:
    """Words for a response that has none of its own: its title if it is a page, else what it was."""
    try:
        phrase = f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = f"HTTP {status}"
    if 300 <= status < 400 and "location" in headers:
        return f"{phrase}, to {headers['location']}: redirects are not followed"
    if not text:
        return f"{phrase}, with an empty body"
    if text.startswith("<"):
        import html

        title = " ".join(html.unescape(_title(text)).split())
        return (
            f"{phrase}: {_shortened(title, 200)}" if title and title not in phrase else f"{phrase}, with a page of HTML"
        )
    return f"{phrase}: {_shortened(text, 200)}"


def _title(page: str) -> str:
    """What stands between the tags of a page's title, or a piece of it."""
    tag = re.search("<title", page, re.IGNORECASE)
    begin = page.find(">", tag.end()) + 1 if tag else 0
    if not begin:
        return ""
    end = re.search("</title", page[begin:], re.IGNORECASE)
    return page[begin:][: end.start()][:1000] if end else ""


def _first(members: list[dict[str, Any]], *names: str) -> str | None:
    """The first of these fields that holds a string or a number, as a string; words before numbers."""
    found: list[str] = []
    for name in names:
        for member in members:
            value = member.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                found.append(str(value))
    return next((value for value in found if not value.isdigit()), found[0] if found else None)


def _as_status(value: Any) -> int:
    """An HTTP status of an error, where ``value`` is one; else 0."""
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and "400" <= text < "600" else 0


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
