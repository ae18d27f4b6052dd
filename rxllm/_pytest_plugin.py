"""pytest's fixtures for who tests what is built on rxllm; found by their entry point, once rxllm is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rxllm.testing import LLMServer

__all__ = ["llm_server"]


@pytest.fixture
def llm_server() -> "Iterator[LLMServer]":
    """A provider on loopback that plays what it is given: see ``rxllm.testing.LLMServer``."""
    # Here, so that tests that do not use it do not pay for it.
    from rxllm.testing import LLMServer

    with LLMServer() as server:
        yield server
