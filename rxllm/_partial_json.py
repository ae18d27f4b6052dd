"""JSON that is still being written."""

import re
from typing import Any

from pydantic_core import from_json

__all__ = ["NOTHING", "partial_json"]

_SURROGATE = re.compile("[\ud800-\udfff]")


class _Nothing:
    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Any = _Nothing()
"""That there is no value yet, of which ``None`` is one."""


def partial_json(text: str) -> Any:
    """What a JSON text amounts to so far: strings as far as they have come, members once they have a value.

    A number may grow yet. ``NOTHING`` where the text is no JSON, or none so far.

    >>> partial_json('{"a": [1, "on'), partial_json('{"a'), partial_json("")
    ({'a': [1, 'on']}, {}, NOTHING)
    """
    try:
        return from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return NOTHING
    except TypeError:
        # A half of a surrogate pair, which is no text for pydantic.
        return partial_json(_SURROGATE.sub("\ufffd", text))
