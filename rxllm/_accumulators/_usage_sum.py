"""What several answers have used together. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

from rxllm._accumulators._prices import EXACT
from rxllm.types import Usage

__all__ = ["usage_of_all"]


def usage_of_all(usages: Iterable[Usage]) -> Usage:
    """The sum of usages: their tokens of each kind, also those that only one provider tells of.

    It is ``estimated`` where one of them is. A ``cost`` that some do not have is left out: it would be that of a part.
    One usage alone is given as it is.

    >>> told = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    >>> both = usage_of_all([told, Usage(completion_tokens=1, total_tokens=1, estimated=True)])
    >>> both.prompt_tokens, both.completion_tokens, both.total_tokens, both.estimated
    (3, 5, 8, True)
    """
    given = list(usages)
    if len(given) == 1:
        return given[0]
    total: dict[str, Any] = {}
    for usage in given:
        total = _added(total, usage.model_dump(exclude_none=True))
    if any(usage.cost is None for usage in given):
        total.pop("cost", None)
    return Usage.model_validate(total)


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    added = {**one, **other}
    for name in one.keys() & other.keys():
        before, more = one[name], other[name]
        if isinstance(before, bool) or isinstance(more, bool):
            added[name] = before or more
        elif isinstance(before, Mapping) and isinstance(more, Mapping):
            added[name] = _added(cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", more))
        elif isinstance(before, int | float | Decimal) and isinstance(more, int | float | Decimal):
            added[name] = _sum(before, more)
    return added


def _sum(one: "float | Decimal", other: "float | Decimal") -> "float | Decimal":
    if isinstance(one, Decimal) or isinstance(other, Decimal):
        return EXACT.add(Decimal(str(one)), Decimal(str(other)))
    return one + other
