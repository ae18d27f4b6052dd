"""Fenced code in a text of Markdown that comes in pieces: a pure accumulator."""

import re

from rxllm._accumulators._lines import LineSplitter
from rxllm.types import CodeBlock

__all__ = ["CodeBlocks"]

# Behind a fence of backticks none may stand: that is code within a line.
_OPENING = re.compile(r"([ \t]*)(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*?)[ \t]*$")
_CLOSING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]{1,4}(?=\S)|[ \t]*$)")
_INDENTATION = re.compile(r"[ \t]*")


class CodeBlocks:
    r"""Gives each fenced block of code when its closing fence has come.

    The rules are CommonMark's: a fence has three backticks or tildes or more, is indented by three spaces at most
    beyond the item of a list that it stands in, and closed by one of its kind that is as long or longer. Only does a
    block not end with its item, since models forget to indent code.

    >>> blocks = CodeBlocks()
    >>> blocks.feed("So:\n```py\nx = "), [block.code for block in blocks.feed("1\n```\n")]
    ([], ['x = 1\n'])
    """

    over = False

    def __init__(self) -> None:
        self._lines = LineSplitter()
        self._index = 0
        # Where the text of each open item of a list begins, in columns.
        self._items: list[int] = []
        # The open block: its fence, how far the item is indented that it stands in, how far the fence is, its lines.
        self._fence = ""
        self._item = self._indented = 0
        self._info = ""
        self._code: list[str] = []

    def feed(self, text: str) -> list[CodeBlock]:
        """Takes more text, and gives the blocks that are closed."""
        return [block for line in self._lines.feed(text) if (block := self._take(line)) is not None]

    def flush(self) -> list[CodeBlock]:
        """Gives the block that is closed by the last line, or is not closed."""
        blocks = [block for line in self._lines.flush() if (block := self._take(line)) is not None]
        return [*blocks, self._block(closed=False)] if self._fence else blocks

    def _take(self, line: str) -> CodeBlock | None:
        if self._fence:
            closing = _CLOSING.match(line.rstrip("\r\n"))
            if closing is not None and closing[2].startswith(self._fence) and _columns(closing[1]) < self._item + 4:
                return self._block(closed=True)
            self._code.append(_unindented(line, self._indented))
            return None
        text = line.rstrip("\r\n")
        if not text.strip():
            return None
        indentation = _INDENTATION.match(text)
        column = _columns(indentation[0] if indentation is not None else "")
        while self._items and column < self._items[-1]:
            self._items.pop()
        while (item := _ITEM.match(text)) is not None and column < self._container() + 4:
            # What stands behind the mark may be an item again, or a fence.
            column = _columns(item[0])
            self._items.append(column)
            text = " " * column + text[item.end() :]
        opening = _OPENING.match(text)
        if opening is not None and column < self._container() + 4:
            self._fence = opening[2]
            self._item, self._indented = self._container(), column
            self._info = opening[3]
        return None

    def _container(self) -> int:
        return self._items[-1] if self._items else 0

    def _block(self, *, closed: bool) -> CodeBlock:
        language, *_ = self._info.split(maxsplit=1) or [""]
        code = "".join(self._code)
        block = CodeBlock(language=language, info=self._info, code=code, index=self._index, closed=closed)
        self._index += 1
        self._fence = ""
        self._code.clear()
        return block


def _columns(text: str) -> int:
    return len(text.expandtabs(4))


def _unindented(line: str, columns: int) -> str:
    """The line without as much of its indentation as the fence has."""
    if not columns:
        return line
    body = line.lstrip(" \t")
    indentation = line[: len(line) - len(body)].expandtabs(4)
    return indentation[columns:] + body
