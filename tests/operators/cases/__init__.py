"""The cases of all families."""

from tests.operators.cases import core, resilience, structure, text
from tests.operators.cases.case import Case

__all__ = ["CASES", "CREATIONS", "Case"]

CREATIONS = resilience.CREATIONS

CASES: dict[str, Case] = {**core.CASES, **resilience.CASES, **structure.CASES, **text.CASES}
