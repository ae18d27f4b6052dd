"""The first operators: text, tool calls, usage, the whole response."""

from functools import partial

from rxllm import operators as ops
from tests.operators.cases.case import Case

__all__ = ["CASES"]


class _Nowhere:
    """A file that takes everything and keeps nothing."""

    def write(self, _text: str, /) -> None:
        """Takes it."""

    def flush(self) -> None:
        """Nothing to do."""


CASES = {
    "accumulate_text": Case(ops.accumulate_text, of_nothing=("",), takes_choice=True),
    "assemble_tool_calls": Case(ops.assemble_tool_calls),
    "attach_usage": Case(partial(ops.attach_usage, "gpt-4"), passes=True),
    "build_response": Case(ops.build_response),
    "count_tokens": Case(partial(ops.count_tokens, "gpt-4"), of_nothing=(0,), takes_choice=True),
    "finish_reason": Case(ops.finish_reason, takes_choice=True),
    "print_text": Case(partial(ops.print_text, _Nowhere(), end=""), passes=True, takes_choice=True),
    "require_finish": Case(ops.require_finish, passes=True),
    "take_chunks": Case(partial(ops.take_chunks, 100), passes=True),
    "text_deltas": Case(ops.text_deltas, takes_choice=True),
}
