"""Keeping keys out of what people see."""

from collections.abc import Iterable
from typing import Any

from rxllm.exceptions import APIError

__all__ = ["scrub"]


def scrub(error: APIError, secrets: Iterable[str]) -> APIError:
    """``error`` with every secret in it replaced by ``***``: some servers echo the key they were sent."""
    # A longer secret first, in case one is part of another; very short ones would tear ordinary words apart.
    # Libraries quote what they complain of, so that its quoted form is looked for too.
    forms = {form for secret in secrets for form in (secret, repr(secret)[1:-1]) if len(form) >= 4}
    found = sorted(forms, key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret in found:
                value = value.replace(secret, "***")
            return value
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if isinstance(value, list):
            return [clean(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        return value

    if found:
        error.__dict__.update({name: clean(value) for name, value in error.__dict__.items()})
        error.args = tuple(clean(argument) for argument in error.args)
    return error
