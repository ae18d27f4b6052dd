"""Operators over the chunks of a completion: each a function that returns a function from Observable to Observable.

They go into ``pipe`` beside reactivex's own, and none of them knows where its chunks come from.
"""

from rxllm.operators._accumulate_text import accumulate_text
from rxllm.operators._assemble_tool_calls import assemble_tool_calls
from rxllm.operators._attach_cost import attach_cost
from rxllm.operators._attach_usage import attach_usage
from rxllm.operators._build_response import build_response
from rxllm.operators._by_choice import by_choice
from rxllm.operators._cached import cached
from rxllm.operators._count_tokens import count_tokens
from rxllm.operators._extract_code_blocks import extract_code_blocks
from rxllm.operators._fallback_to import fallback_to
from rxllm.operators._finish_reason import finish_reason
from rxllm.operators._guard import guard
from rxllm.operators._hedge import hedge
from rxllm.operators._measure import measure
from rxllm.operators._merge_models import merge_models
from rxllm.operators._observe_from import observe_from
from rxllm.operators._parse_partial import parse_partial
from rxllm.operators._print_text import print_text
from rxllm.operators._publish_to import publish_to
from rxllm.operators._race import race
from rxllm.operators._record import record
from rxllm.operators._redact import redact
from rxllm.operators._replay import replay
from rxllm.operators._require_finish import require_finish
from rxllm.operators._retry_before_content import retry_before_content
from rxllm.operators._run_tools import run_tools
from rxllm.operators._share_replay import share_replay
from rxllm.operators._smooth_text import smooth_text
from rxllm.operators._split_lines import split_lines
from rxllm.operators._split_reasoning import split_reasoning
from rxllm.operators._split_sentences import split_sentences
from rxllm.operators._stop_at import stop_at
from rxllm.operators._tag import tag
from rxllm.operators._take_chunks import take_chunks
from rxllm.operators._take_until_budget import take_until_budget
from rxllm.operators._text_deltas import text_deltas

__all__ = [
    "accumulate_text",
    "assemble_tool_calls",
    "attach_cost",
    "attach_usage",
    "build_response",
    "by_choice",
    "cached",
    "count_tokens",
    "extract_code_blocks",
    "fallback_to",
    "finish_reason",
    "guard",
    "hedge",
    "measure",
    "merge_models",
    "observe_from",
    "parse_partial",
    "print_text",
    "publish_to",
    "race",
    "record",
    "redact",
    "replay",
    "require_finish",
    "retry_before_content",
    "run_tools",
    "share_replay",
    "smooth_text",
    "split_lines",
    "split_reasoning",
    "split_sentences",
    "stop_at",
    "tag",
    "take_chunks",
    "take_until_budget",
    "text_deltas",
]
