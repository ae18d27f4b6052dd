"""Matches replaced in a text that comes in pieces: a pure accumulator.

A match may be cut anywhere, and what is to come may make it longer, or none at all. So text waits until its matches are
certain: until no path that a pattern could take through it reaches the end of what has come. ``regex``, which tells of
such paths where ``re`` does not, is asked for them alone; what matches, ``re`` says.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from rxllm._accumulators._rewriting import Segment, TextRewriter

__all__ = ["Redactor", "Rule"]

# What looks at the next character or the end without taking it. `regex` would judge it by the end of what has come.
_LOOKING = {r"\b": "(?=(?s:.))", r"\B": "(?=(?s:.))", "$": "(?=(?s:..))", r"\Z": "(?=(?s:..))"}
_PLAIN = r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$"
# Where a path that reaches the end is given up in favour of another, `regex` does not tell of it.
_GIVEN_UP = re.compile(r"[*+?}]\+|\(\?>")


class Rule:
    """A pattern, and what its matches are replaced by."""

    __slots__ = ("_matches", "_paths", "replace")

    def __init__(self, pattern: "re.Pattern[str]", replacement: "str | Callable[[re.Match[str]], str]") -> None:
        self._matches = pattern.finditer
        self._paths = _paths(pattern)
        self.replace: Callable[[re.Match[str]], Any]
        if not isinstance(replacement, str):
            self.replace = replacement
        elif "\\" in replacement:
            pattern.sub(replacement, "")  # raises where it is no template of this pattern
            self.replace = lambda match: match.expand(replacement)
        else:
            self.replace = lambda _: replacement

    def certain(self, text: str, start: int) -> int:
        """Up to where the matches that begin from ``start`` on are certain, whatever follows ``text``."""
        if self._paths is None:
            return start
        path = self._paths(text, start, partial=True)
        return len(text) if path is None else path.start()

    def next(self, text: str, start: int) -> "re.Match[str] | None":
        """The next match that is not empty."""
        return next((match for match in self._matches(text, start) if match[0]), None)


def _paths(pattern: "re.Pattern[str]") -> Any:
    """Searches for the first place from where some path through the pattern reaches the end of the text."""
    import regex

    verbose = pattern.flags & re.VERBOSE
    end = "\n" if verbose else ""
    if _GIVEN_UP.search(pattern.pattern):
        return None
    looking = re.compile(_PLAIN + (r"|#.*" if verbose else ""), re.DOTALL if not verbose else 0)
    source = looking.sub(lambda token: _LOOKING.get(token[0], "") + token[0], pattern.pattern)
    flags = sum(
        theirs
        for ours, theirs in (
            (re.IGNORECASE, regex.IGNORECASE),
            (re.MULTILINE, regex.MULTILINE),
            (re.DOTALL, regex.DOTALL),
            (re.VERBOSE, regex.VERBOSE),
            (re.ASCII, regex.ASCII),
        )
        if pattern.flags & ours
    )
    try:
        # It never matches, so that every path is tried; one that ends with the text looks beyond it.
        return regex.compile(f"(?:{source}{end})(?=(?s:.))(?!)", flags).search
    except regex.error:
        return None


class Redactor(TextRewriter):
    """Replaces the matches of ``rules``, the first that begins, of several the one whose rule comes first.

    At most ``window`` characters and a quarter wait for what follows; ``window`` that were given are kept to be looked
    back at.

    >>> redactor = Redactor("content", [Rule(re.compile("[0-9]{4,}"), "#")], 16)
    >>> redactor.feed("It is 12"), redactor.feed("345"), redactor.feed(" now")
    ([('content', 'It is ')], [], [('content', '# now')])
    """

    def __init__(self, field: str, rules: Iterable[Rule], window: int) -> None:
        super().__init__(field)
        self._rules = tuple(rules)
        self._window = window
        # What was given and may be looked back at, up to `_given`, and what waits.
        self._text = ""
        self._given = 0

    def feed(self, text: str) -> list[Segment]:
        """Takes more text, and gives what is certain."""
        self._text += text
        certain = min(rule.certain(self._text, self._given) for rule in self._rules)
        waiting = len(self._text) - certain
        # Looking for matches costs what waits: what is let go of uncertain is let go of in large pieces.
        if waiting > self._window + self._window // 4:
            certain = len(self._text) - self._window
        return self._redacted(certain) if certain > self._given else []

    def flush(self) -> list[Segment]:
        """Gives the rest: with the text at its end, all is certain."""
        segments = self._redacted(len(self._text))
        self._text = ""
        self._given = 0
        return segments

    def _redacted(self, until: int) -> list[Segment]:
        text, start = self._text, self._given
        pieces: list[str] = []
        matches = [(rule, rule.next(text, start)) for rule in self._rules] if start < until else []
        while start < until:
            place, rule, first = until, None, None
            for at, (each, match) in enumerate(matches):
                if match is not None and match.start() < start:
                    match = each.next(text, start)  # noqa: PLW2901  one that began in the last is none
                    matches[at] = each, match
                if match is not None and match.start() < place:
                    place, rule, first = match.start(), each, match
            pieces.append(text[start:place])
            start = place
            if rule is not None and first is not None:
                replaced = rule.replace(first)
                if not isinstance(replaced, str):
                    raise TypeError(f"what replaces a match is a string, not {replaced!r}")
                pieces.append(replaced)
                start = first.end()
        dropped = max(start - self._window, 0)
        self._text = text[dropped:]
        self._given = start - dropped
        redacted = "".join(pieces)
        return [(self.field, redacted)] if redacted else []
