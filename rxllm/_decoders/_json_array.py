"""One JSON array that comes bit by bit, as Gemini's stream does without ``alt=sse``: its elements, as they complete."""

import re
from typing import Final

from rxllm._decoders._events import MAX_EVENT_BYTES, Event, too_large

__all__ = ["JSONArrayDecoder"]

_STRUCTURE: Final = re.compile(rb'[\[\]{}",]')
_IN_STRING: Final = re.compile(rb'["\\]')
_QUOTE, _COMMA, _OPEN_BRACKET, _CLOSE_BRACKET, _OPEN_BRACE, _CLOSE_BRACE = b'",[]{}'


class JSONArrayDecoder:
    r"""Reads the elements of a JSON array from pieces of bytes that may be cut anywhere.

    An object or an array is given with its last bracket, before the comma behind it. What an element holds is not
    looked at: whether it is JSON is for its reader to say. Nothing is read after the array's end. The time it takes is
    linear in the input, however that is cut.

    Args:
        limit: the most bytes that one element may hold, with the white space around it.

    >>> decoder = JSONArrayDecoder()
    >>> decoder.feed(b'[{"text": "a]"}\n,\n{"te'), decoder.feed(b'xt": "b"}, 7')
    ([b'{"text": "a]"}'], [b'{"text": "b"}'])
    >>> decoder.feed(b"]"), decoder.ended
    ([b'7'], True)
    """

    __slots__ = ("_depth", "_element", "_escaped", "_in_string", "_limit", "_oversized", "ended")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.ended = False
        """The array's closing bracket has come."""
        self._limit = limit
        self._depth = 0  # 0 before the array, 1 between its elements
        self._in_string = False
        self._escaped = False
        self._oversized = False
        self._element = bytearray()  # the element that is not whole yet

    def feed(self, data: bytes) -> list[Event]:
        """The elements that ``data`` completes.

        Raises:
            APIResponseValidationError: an element is larger than the limit. Elements before it are given first, then
                the next call raises.
        """
        if self._oversized:
            self._refuse()
        elements: list[Event] = []
        if self.ended:
            return elements
        begin = position = 0
        if self._escaped and data:
            position = 1
            self._escaped = False
        while match := (_IN_STRING if self._in_string else _STRUCTURE).search(data, position):
            mark, position = data[match.start()], match.end()
            if mark == _QUOTE:
                self._in_string = self._depth > 0 and not self._in_string
            elif self._in_string:
                # A backslash, and whatever it escapes.
                self._escaped = position == len(data)
                position += 1
            elif mark == _COMMA:
                if self._depth == 1:
                    self._give(data[begin : match.start()], elements)
                    begin = position
            elif mark in (_OPEN_BRACKET, _OPEN_BRACE):
                if self._depth == 0:
                    if mark == _OPEN_BRACE:
                        continue
                    begin = position
                self._depth += 1
            elif self._depth > 1:
                self._depth -= 1
                if self._depth == 1:
                    self._give(data[begin:position], elements)
                    begin = position
            elif self._depth == 1 and mark == _CLOSE_BRACKET:
                self._give(data[begin : match.start()], elements)
                self.ended = True
                return elements
            if self._oversized:
                break
        if self._depth and not self._oversized:
            if len(self._element) + len(data) - begin > self._limit:
                self._overflow()
            else:
                self._element += data[begin:]
        if self._oversized and not elements:
            self._refuse()
        return elements

    def flush(self) -> list[Event]:
        """The body has ended: an element that is not whole is none.

        Raises:
            APIResponseValidationError: an element was larger than the limit.
        """
        if self._oversized:
            self._refuse()
        self._element.clear()
        return []

    def _give(self, rest: bytes, elements: list[Event]) -> None:
        if len(self._element) + len(rest) > self._limit:
            self._overflow()
            return
        element = (b"".join((self._element, rest)) if self._element else rest).strip()
        self._element.clear()
        if element:
            elements.append(element)

    def _overflow(self) -> None:
        self._oversized = True
        self._element = bytearray()

    def _refuse(self) -> None:
        raise too_large("an element", self._limit)
