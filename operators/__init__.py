"""Operators over the chunks of a completion: each a function that returns a function from Observable to Observable.

They go into ``pipe`` beside reactivex's own, and none of them knows where its chunks come from.
"""

from rxllm.operators._accumulate_text import accumulate_text
from rxllm.operators._assemble_tool_calls import assemble_tool_calls
from rxllm.operators._attach_usage import attach_usage
from rxllm.operators._build_response import build_response
from rxllm.operators._count_tokens import count_tokens
from rxllm.operators._finish_reason import finish_reason
from rxllm.operators._print_text import print_text
from rxllm.operators._require_finish import require_finish
from rxllm.operators._take_chunks import take_chunks
from rxllm.operators._text_deltas import text_deltas

__all__ = [
    "accumulate_text",
    "assemble_tool_calls",
    "attach_usage",
    "build_response",
    "count_tokens",
    "finish_reason",
    "print_text",
    "require_finish",
    "take_chunks",
    "text_deltas",
]
