"""JSON as providers send it, read by one set of rules: whatever it gives can be walked, joined and dumped again."""

import json
from typing import Any, Final, cast

from pydantic_core import from_json

__all__ = ["parse", "parse_loosely", "whole_text"]

# As deep as from_json goes. Pydantic dumps 250 levels, and what a provider sends gets some more around it.
_DEEPEST: Final = 200


def parse(text: str | bytes) -> Any:
    r"""Some JSON; halves of surrogate pairs that stand alone become U+FFFD.

    Raises:
        ValueError: it is no JSON, nested more than 200 levels deep, or has a number of more than 4,300 digits.

    >>> parse('{"a": [1, NaN]}'), parse(b'"\\ud83d\\ude00 \\ud83d"')
    ({'a': [1, nan]}, '😀 \ufffd')
    """
    try:
        return from_json(text)
    except ValueError:
        return whole_text(parse_loosely(text))


def parse_loosely(text: str | bytes) -> Any:
    r"""Some JSON that ``from_json`` has refused, perhaps because of halves of surrogate pairs, which are left alone.

    Raises:
        ValueError: as ``parse`` does.

    >>> parse_loosely(r'["\ud83d"]') == ["\ud83d"]
    True
    """
    try:
        value = json.loads(text)
    except RecursionError:
        pass
    else:
        if not _is_too_deep(value):
            return value
    raise ValueError("it is nested too deeply")


def whole_text(value: Any) -> Any:
    r"""JSON without halves of surrogate pairs: two that belong together are joined, and one alone becomes U+FFFD.

    >>> whole_text({"a\ud83d": ["\ud83d\ude00"]})
    {'a\ufffd': ['😀']}
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not text.isascii():
        whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if whole != text:
            return whole if isinstance(value, str) else json.loads(whole)
    return value


def _is_too_deep(value: object) -> bool:
    """Whether lists and objects stand in each other more than ``_DEEPEST`` levels deep."""
    level: list[object] = [value]
    for _ in range(_DEEPEST + 2):
        if not level:
            return False
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += cast("dict[str, object]", item).values()
            elif isinstance(item, list):
                inner += cast("list[object]", item)
        level = inner
    return True
