"""For testing what is built on rxllm: offline, and without waiting.

On virtual time, for operators: ``cold_chunks()`` and ``hot_chunks()`` draw streams of chunks, ``VirtualTime`` runs
them, and ``assert_operator()`` says what an operator makes of one. Over a real socket, for whole applications:
``LLMServer`` plays answers, whole and broken, and tells what it was asked; with pytest it is the fixture
``llm_server``.
"""

from rxllm.testing._asserting import assert_operator
from rxllm.testing._llm_server import LLMRequest, LLMServer
from rxllm.testing._marbles import cold_chunks, hot_chunks, tool_call
from rxllm.testing._virtual_time import VirtualTime, Watched

__all__ = [
    "LLMRequest",
    "LLMServer",
    "VirtualTime",
    "Watched",
    "assert_operator",
    "cold_chunks",
    "hot_chunks",
    "tool_call",
]
