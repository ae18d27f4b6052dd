"""A text that ends where one of several sequences begins: a pure accumulator."""

from rxllm._accumulators._rewriting import Segment, TextRewriter
from rxllm._accumulators._sequences import Sequences, SequenceSearch
from rxllm.types import Delta, StreamingChoices

__all__ = ["StopCutter"]


class StopCutter(TextRewriter):
    """The content up to the first sequence that is complete; other fields as they come.

    >>> cutter = StopCutter("content", Sequences(["END"]))
    >>> cutter.feed("the EN"), cutter.feed("D of it"), cutter.finish.finish_reason
    ([('content', 'the ')], [], 'stop')
    """

    def __init__(self, field: str, sequences: Sequences) -> None:
        super().__init__(field)
        self._search = SequenceSearch(sequences) if field == "content" else None

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives what no sequence can begin in any more."""
        if self._search is None:
            return super().feed(text)
        clear, found, _ = self._search.feed(text)
        if found is not None:
            # As the provider tells of a sequence that it stopped at itself.
            self.finish = StreamingChoices(
                delta=Delta(provider_specific_fields={"stop_sequence": found}),
                finish_reason="stop",
                native_finish_reason="stop_sequence",
            )
        return [(self.field, clear)] if clear else []

    def flush(self) -> list[Segment]:
        """Gives the beginning of a sequence that did not come."""
        held = self._search.flush() if self._search is not None else ""
        return [(self.field, held)] if held else []
