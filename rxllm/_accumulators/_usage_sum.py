"""What several answers have used together. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from rxllm._accumulators._prices import EXACT
from rxllm.types import Usage

__all__ = ["counted_once", "usage_of_all", "usage_of_parts"]


def usage_of_all(usages: Iterable[Usage]) -> Usage:
    """The sum of the usages of several answers: their tokens of each kind, also those that one provider alone tells of.

    It is ``estimated`` where one of them is, and says of how many ``answers`` it is. A ``cost`` that some do not have
    is left out: it would be that of a part. One usage alone is given as it is.

    >>> told = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7)
    >>> both = usage_of_all([told, Usage(completion_tokens=1, total_tokens=1, estimated=True)])
    >>> both.prompt_tokens, both.completion_tokens, both.total_tokens, both.estimated, both.answers
    (3, 5, 8, True, 2)
    """
    given = list(usages)
    if len(given) == 1:
        return given[0]
    answers = sum(usage.answers for usage in given)
    return usage_of_parts(given).model_copy(update={"answers": answers} if answers > 1 else {})


def usage_of_parts(usages: Iterable[Usage]) -> Usage:
    """The same of several requests that one answer took.

    >>> usage_of_parts([Usage(prompt_tokens=3), Usage(prompt_tokens=4)]).answers
    1
    """
    given = list(usages)
    total: dict[str, Any] = {}
    for usage in given:
        total = _added(total, {**usage.model_dump(exclude_none=True), "cost": usage.cost})
    answers = max((usage.answers for usage in given), default=1)
    total.pop("answers", None)
    if answers > 1:
        total["answers"] = answers
    if any(usage.cost is None for usage in given):
        total.pop("cost", None)
    return Usage.model_validate(total)


def counted_once(usages: Sequence[tuple[str | None, int]]) -> list[int]:
    """Which of several usages to add up, where one may be a sum that takes in those before it.

    Args:
        usages: in the order in which they came, the source of each, and of how many answers it is.

    >>> counted_once([(None, 1), (None, 1), (None, 2)])
    [0, 2]
    >>> counted_once([("a", 1), ("b", 1), ("a", 2), ("b", 1)])
    [1, 2, 3]
    """
    kept: list[int] = []
    for place, (source, answers) in enumerate(usages):
        more = answers - 1
        if more:
            # The last ones of its own source; it is of others, too, where somebody has summed below a merge.
            for each in sorted(kept, key=lambda it: (usages[it][0] != source, -it)):
                if more <= 0:
                    break
                kept.remove(each)
                more -= usages[each][1]
        kept.append(place)
    return kept


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
