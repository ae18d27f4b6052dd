"""A table of the recorded families that held, at the end of the run."""

from collections import Counter

import pytest

from tests.recordings import WIRE

HELD: "pytest.StashKey[Counter[str]]" = pytest.StashKey()


@pytest.fixture
def held(request: pytest.FixtureRequest) -> "Counter[str]":
    """How many recordings of each family have held so far, sync and async counted each."""
    return request.config.stash.setdefault(HELD, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    counted = terminalreporter.config.stash.get(HELD, None)
    if not counted:
        return
    terminalreporter.section("recordings over sockets, sync and async")
    for family, count in sorted(counted.items()):
        there = sum((case / "response.json").is_file() for case in (WIRE / family).iterdir())
        terminalreporter.line(f"{family:32}{count:5} of {2 * there:5}")
