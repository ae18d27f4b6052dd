"""Thinking between tags in the content, told apart from the answer: a pure accumulator."""

from rxllm._accumulators._rewriting import Segment, TextRewriter
from rxllm._accumulators._sequences import Sequences, SequenceSearch

__all__ = ["ReasoningSplitter"]


class ReasoningSplitter(TextRewriter):
    r"""Content with tags becomes reasoning and content; other fields are as they come.

    >>> splitter = ReasoningSplitter("content", ("<think>", "</think>"))
    >>> splitter.feed("<think>\nGreet them.\n</th"), splitter.feed("ink>\n\nHello")
    ([('reasoning_content', 'Greet them.')], [('content', 'Hello')])
    """

    def __init__(self, field: str, tags: tuple[str, str], *, inside: bool = False) -> None:
        super().__init__(field)
        opening, self._closing = tags
        self._outer = SequenceSearch(Sequences([opening]))
        self._inner = SequenceSearch(Sequences(tags))
        self._inside = inside
        # White space that is given if text of the same kind follows, and dropped if a tag does.
        self._space: list[str] = []
        # Whether there has been any text: in this block of thinking, in any, in an answer; and whether a block is over.
        self._thinking = self._thought = self._answering = self._closed = False

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives what no tag can begin in any more."""
        if self.field != "content":
            return super().feed(text)
        segments: list[Segment] = []
        while text:
            clear, tag, text = (self._inner if self._inside else self._outer).feed(text)
            if clear:
                segments += self._text(clear)
            if tag is not None:
                segments += self._tag(tag)
        return segments

    def flush(self) -> list[Segment]:
        """Gives the beginning of a tag that did not come, and white space."""
        if self.field != "content":
            return []
        search = self._inner if self._inside else self._outer
        held = search.flush()
        segments = self._text(held) if held else []
        space = "".join(self._space)
        self._space.clear()
        return [*segments, (self._kind(), space)] if space else segments

    def _kind(self) -> str:
        return "reasoning_content" if self._inside else "content"

    def _text(self, text: str) -> list[Segment]:
        if self._inside:
            if not self._thinking:
                text = text.lstrip()
            body = text.rstrip()
            if not body:
                self._space.append(text)
                return []
            before = "" if self._thinking or not self._thought else "\n"
            self._thinking = self._thought = True
            given = "".join((before, *self._space, body))
            self._space[:] = (text[len(body) :],)
            return [("reasoning_content", given)]
        if self._answering:
            return [("content", text)]
        body = text.lstrip()
        if not self._closed:
            self._space.append(text[: len(text) - len(body)])
        if not body:
            return []
        self._answering = True
        given = "".join((*self._space, body))
        self._space.clear()
        return [("content", given)]

    def _tag(self, tag: str) -> list[Segment]:
        if self._inside and tag != self._closing:
            # The tag of a block that has begun already, as where the prompt's template ends with it and the model says
            # it again; anywhere else it is part of the thinking.
            return self._text(tag) if self._thinking else []
        self._space.clear()
        self._closed = self._inside
        self._inside = not self._inside
        self._thinking = False
        return []
