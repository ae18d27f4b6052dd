"""Tool calls, told apart and put together from their deltas: pure accumulators, one choice each.

Real streams send several calls all at index 0 with new ids; no index at all; index -1; a first index of 1; ids and
names as empty strings or null on continuations, or repeated in full; null arguments; arguments never sent; whole calls
in one delta. So calls are told apart by id, then by index, then by completeness: whether the arguments so far are
whole JSON.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from rxllm.types import ChatCompletionDeltaToolCall, ChatCompletionMessageToolCall, Function

__all__ = [
    "JSONProgress",
    "ObjectInPieces",
    "ToolCallIndexer",
    "ToolCalls",
    "WaitingCalls",
    "join_text",
]

_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'["\\]')
_KNOWN_FIELDS = frozenset(ChatCompletionDeltaToolCall.model_fields)


class JSONProgress:
    """How far a JSON text has come, fed piece by piece at a cost that follows the piece.

    Attributes:
        begun: something other than white space has come.

    >>> progress = JSONProgress()
    >>> progress.feed('{"a": "}'); progress.whole
    False
    >>> progress.feed('"}'); progress.whole
    True
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "begun")

    def __init__(self) -> None:
        self.begun = False
        self._depth = 0
        self._in_string = False
        self._escaped = False

    @property
    def whole(self) -> bool:
        """Every bracket and string that was opened is closed; of bare scalars any piece counts as whole."""
        return self.begun and self._depth <= 0 and not self._in_string

    def feed(self, text: str) -> None:
        """More of the text."""
        if not self.begun:
            if not text or text.isspace():
                return
            self.begun = True
        position = 0
        if self._escaped and text:
            position = 1
            self._escaped = False
        while True:
            match = (_IN_STRING if self._in_string else _STRUCTURE).search(text, position)
            if match is None:
                return
            position = match.end()
            mark = match[0]
            if mark == '"':
                self._in_string = not self._in_string
            elif mark == "\\":
                self._escaped = position == len(text)
                position += 1
            elif mark in "{[":
                self._depth += 1
            else:
                self._depth -= 1


class _Known:
    """What tells one call of a choice from the others."""

    __slots__ = ("arguments", "id", "index", "name", "position", "repeats_name")

    def __init__(self, position: int, call_id: str, index: int | None, name: str) -> None:
        self.position = position
        self.id = call_id
        self.index = index
        self.name = name
        self.repeats_name = False
        self.arguments = JSONProgress()

    @property
    def broken_off(self) -> bool:
        """Its arguments have begun and are not whole: another call is not expected to start."""
        return self.arguments.begun and not self.arguments.whole


class ToolCallIndexer:
    """Tells the tool calls of one choice apart.

    Deltas whose ``index`` was rewritten to what ``position`` gave are told apart in the same way again.

    >>> indexer = ToolCallIndexer()
    >>> one = ChatCompletionDeltaToolCall.model_validate({"index": 0, "id": "a", "function": {"name": "f"}})
    >>> two = ChatCompletionDeltaToolCall.model_validate({"index": 0, "id": "b", "function": {"name": "f"}})
    >>> more = ChatCompletionDeltaToolCall.model_validate({"index": 0, "id": "", "function": {"arguments": "{}"}})
    >>> indexer.position(one), indexer.position(two), indexer.position(more)
    (0, 1, 1)
    """

    __slots__ = ("_by_id", "_by_index", "_count", "_current")

    def __init__(self) -> None:
        self._by_id: dict[str, _Known] = {}
        self._by_index: dict[int, _Known] = {}
        self._current: _Known | None = None
        self._count = 0

    def position(self, delta: ChatCompletionDeltaToolCall) -> int:
        """The place, counted from 0, of the call that ``delta`` belongs to among the calls of its choice."""
        # An index that is absent reads as its default; one below 0 says nothing.
        index = delta.index if "index" in delta.model_fields_set and delta.index >= 0 else None
        call_id = delta.id or ""
        name = delta.function.name or ""
        arguments = delta.function.arguments or ""
        call = self._find(call_id, index, name, arguments)
        if call is not None:
            call.repeats_name = call.repeats_name or bool(name and call.name)
        else:
            call = _Known(self._count, call_id, index, name)
            self._count += 1
        if call_id:
            call.id = call.id or call_id
            self._by_id[call_id] = call
        if index is not None:
            if call.index is None:
                call.index = index
            self._by_index[index] = call
        call.name = call.name or name
        call.arguments.feed(arguments)
        self._current = call
        return call.position

    def _find(self, call_id: str, index: int | None, name: str, arguments: str) -> _Known | None:
        """The call that a delta continues, or None where it starts one."""
        at_index = self._current if index is None else self._by_index.get(index)
        if call_id:
            same = at_index if at_index is not None and at_index.id == call_id else self._by_id.get(call_id)
            if same is not None:
                return None if _starts_again(same, index, name, arguments) else same
        if at_index is None:
            at_index = self._unnumbered(name)
        if at_index is None:
            return None
        if call_id and at_index.id:
            # A new id with a name is a new call. Without a name it is one of those ids that change on every delta,
            # if it carries on with arguments that are not whole.
            return None if name or at_index.arguments.whole or not arguments else at_index
        if name and at_index.name and _starts_anew(at_index, index, name, arguments):
            return None
        return at_index

    def _unnumbered(self, name: str) -> _Known | None:
        """The current call, for a delta with a new index, where only the first delta of the call had none."""
        current = self._current
        return current if current is not None and current.index is None and not name else None


def _starts_again(call: _Known, index: int | None, name: str, arguments: str) -> bool:
    """Whether a delta with the id of ``call`` starts another all the same: some ids are but the function's name."""
    if not name or call.broken_off:
        return False
    if index is not None and call.index is not None and index != call.index:
        return True
    return call.arguments.whole and bool(arguments.strip())


def _starts_anew(call: _Known, index: int | None, name: str, arguments: str) -> bool:
    """Whether a delta with a name, no id of its own and the index of ``call``, or none, starts another call."""
    if call.arguments.whole:
        repeated = call.repeats_name or index is not None
        return name != call.name or bool(arguments.strip()) or not repeated
    # A differing name at one index, before any arguments, is the rest of the name.
    return name != call.name and (index is None or call.arguments.begun or bool(arguments.strip()))


class ObjectInPieces:
    """An object with a text that comes in pieces: a custom call's ``input``, a legacy function call's ``arguments``.

    Its other fields are kept as they came first.

    >>> custom = ObjectInPieces("input")
    >>> for piece in ({"name": "sql", "input": "SELECT"}, {"name": "", "input": " 1"}):
    ...     custom.add(piece)
    >>> custom.whole()
    {'name': 'sql', 'input': 'SELECT 1'}
    """

    __slots__ = ("_fields", "_pieces", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._fields: dict[str, Any] = {}
        self._pieces: list[str] = []

    def add(self, piece: Mapping[str, Any]) -> None:
        """Takes the next piece in."""
        for key, value in piece.items():
            if key == self._text and isinstance(value, str):
                self._pieces.append(value)
            elif not self._fields.get(key):
                self._fields[key] = value

    def whole(self) -> dict[str, Any]:
        """The object as far as it has come."""
        return {**self._fields, self._text: join_text(self._pieces)} if self._pieces else dict(self._fields)


class _Call:
    """One call being put together."""

    __slots__ = ("_custom", "_extra", "_id", "_name", "_pieces", "_type", "progress")

    def __init__(self) -> None:
        self._custom: ObjectInPieces | None = None
        self._id = ""
        self._type = ""
        self._name = ""
        self._pieces: list[str] = []
        self._extra: dict[str, Any] = {}
        self.progress = JSONProgress()

    def add(self, delta: ChatCompletionDeltaToolCall) -> None:
        self._id = self._id or delta.id or ""
        self._type = self._type or delta.type or ""
        function = delta.function
        if function.name and function.name != self._name and not self.progress.begun:
            self._name += function.name
        if function.arguments:
            self._pieces.append(function.arguments)
            self.progress.feed(function.arguments)
        if delta.model_extra:
            # Gemini's thought signatures stand in such fields, and have to be sent back.
            self._extra.update((key, value) for key, value in delta.model_extra.items() if value is not None)
            custom = self._extra.pop("custom", None)
            if isinstance(custom, Mapping):
                self._custom = self._custom or ObjectInPieces("input")
                self._custom.add(cast("Mapping[str, Any]", custom))

    def parses(self) -> bool:
        """Whether its arguments are JSON; that they were never sent is not known before the choice finishes."""
        if not self.progress.whole:
            return False
        self._pieces = ["".join(self._pieces)]
        try:
            json.loads(self._pieces[0])
        except ValueError:
            return False
        return True

    def whole(self, index: int, choice: int) -> ChatCompletionMessageToolCall:
        extra = self._extra if self._custom is None else {**self._extra, "custom": self._custom.whole()}
        return ChatCompletionMessageToolCall(
            id=self._id,
            type=self._type or "function",
            function=Function(name=self._name, arguments=join_text(self._pieces)),
            index=index,
            choice=choice,
            **extra,
        )


class ToolCalls:
    """The tool calls of one choice, put together from their deltas.

    The arguments are kept in pieces, so that memory and time follow what came.

    >>> calls = ToolCalls()
    >>> deltas = [
    ...     {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": ""}},
    ...     {"index": 0, "function": {"arguments": '{"a"'}},
    ...     {"index": 0, "function": {"arguments": ": 1}"}},
    ... ]
    >>> [calls.add(ChatCompletionDeltaToolCall.model_validate(delta)) for delta in deltas]
    [0, 0, 0]
    >>> calls.whole(0).function.arguments
    '{"a": 1}'
    """

    __slots__ = ("_calls", "_choice", "_indexer")

    def __init__(self, choice: int = 0) -> None:
        self._choice = choice
        self._indexer = ToolCallIndexer()
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, delta: ChatCompletionDeltaToolCall) -> int:
        """Takes one delta in; gives the position of its call."""
        position = self._indexer.position(delta)
        if position == len(self._calls):
            self._calls.append(_Call())
        self._calls[position].add(delta)
        return position

    def parses(self, position: int) -> bool:
        """Whether the arguments that came for the call at ``position`` are whole JSON; none at all are not."""
        return self._calls[position].parses()

    def whole(self, position: int) -> ChatCompletionMessageToolCall:
        """The call at ``position`` as far as it has come."""
        return self._calls[position].whole(position, self._choice)

    def all(self) -> list[ChatCompletionMessageToolCall]:
        """Every call as far as it has come, in the order in which they started."""
        return [call.whole(position, self._choice) for position, call in enumerate(self._calls)]


class WaitingCalls:
    """The tool calls of one choice, and which of them are whole and have not been taken yet.

    A call is whole when another starts, or the choice has come to an end, and its arguments are JSON by then.

    >>> calls = WaitingCalls()
    >>> one = ChatCompletionDeltaToolCall.model_validate({"index": 0, "id": "a", "function": {"arguments": "{}"}})
    >>> two = ChatCompletionDeltaToolCall.model_validate({"index": 1, "id": "b", "function": {"name": "f"}})
    >>> [[call.id for call in calls.add(delta)] for delta in (one, two)]
    [[], ['a']]
    >>> [call.id for call in calls.take_whole()], [call.id for call in calls.take_rest()]
    ([], ['b'])
    """

    __slots__ = ("_calls", "_last", "_waiting")

    def __init__(self, choice: int = 0) -> None:
        self._calls = ToolCalls(choice)
        self._last = 0
        self._waiting: list[int] = []

    def add(self, delta: ChatCompletionDeltaToolCall) -> list[ChatCompletionMessageToolCall]:
        """Takes a delta in; gives the calls that are whole now that another starts."""
        known = len(self._calls)
        self._last = self._calls.add(delta)
        if len(self._calls) == known:
            return []
        whole = self.take_whole()
        self._waiting.append(known)
        return whole

    def growing(self) -> ChatCompletionMessageToolCall | None:
        """The call that the last delta belongs to, as far as it has come; None where it was taken before."""
        return self._calls.whole(self._last) if self._last in self._waiting else None

    def take_whole(self) -> list[ChatCompletionMessageToolCall]:
        """The waiting calls whose arguments are JSON."""
        if not self._waiting:
            return []
        whole = [position for position in self._waiting if self._calls.parses(position)]
        self._waiting = [position for position in self._waiting if position not in whole]
        return [self._calls.whole(position) for position in whole]

    def take_rest(self) -> list[ChatCompletionMessageToolCall]:
        """All the waiting calls, as far as they have come."""
        rest, self._waiting = self._waiting, []
        return [self._calls.whole(position) for position in rest]


def join_text(pieces: list[str]) -> str:
    r"""The pieces as one string; the halves of a surrogate pair that came in two pieces are one character again.

    >>> join_text(["\ud83d", "\ude00"]) == "\U0001f600"
    True
    """
    text = "".join(pieces)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 pairs the halves; one that stays alone is kept as it came.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
