"""What a failure means for whoever could try again, or try something else."""

from collections.abc import Sequence
from typing import Final

from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    ConflictError,
    InternalServerError,
    RateLimitError,
    Timeout,
)

__all__ = ["all_failed", "may_pass"]

_PASSING: Final = (APIConnectionError, ConflictError, RateLimitError, InternalServerError)

# Providers send these with 429 as well, and no waiting helps.
_OUT_OF_CREDIT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "credit_balance_too_low"})


def may_pass(error: Exception) -> bool:
    """Whether the same request may go better the next time.

    So may broken connections, streams without an end, timeouts, 409, 429 and 5xx. Not a quota that is used up, nor the
    bound on the whole time; not what the provider objects to (400, 401, 403, 404, 413, 422); and nothing that is no
    ``APIError``, which is a fault in a program.

    >>> may_pass(RateLimitError("Slow down", status_code=429)), may_pass(APIError("Whatever"))
    (True, False)
    """
    if not isinstance(error, _PASSING):
        return False
    if isinstance(error, RateLimitError):
        return not {error.code, error.type} & _OUT_OF_CREDIT
    return not (isinstance(error, Timeout) and error.bound == "total")


def all_failed(errors: Sequence[Exception]) -> Exception:
    """The last of several errors, which tells of the earlier ones in its notes; its class says what to catch.

    >>> error = all_failed([RateLimitError("Slow down", model="gpt-4"), InternalServerError("Out of order")])
    >>> str(error), error.__notes__
    ('Out of order', ['Before it failed gpt-4: RateLimitError: Slow down'])
    """
    *earlier, last = errors
    for error in earlier:
        model = error.model if isinstance(error, APIError) else None
        note = f"Before it failed {model or 'another'}: {type(error).__name__}: {error}"
        # A source that gives one error object again and again gives it with the notes that it has.
        if error is not last and note not in getattr(last, "__notes__", ()):
            last.add_note(note)
    return last
