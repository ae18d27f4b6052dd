import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reactivex import Observable

from rxllm._accumulators._redaction import Redactor, Rule
from rxllm._accumulators._rewriting import ChunkRewriter
from rxllm.operators._shared import accumulated, check_count
from rxllm.types import ModelResponseStream

__all__ = ["redact"]

_Pattern = str | re.Pattern[str]
_Replacement = str | Callable[[re.Match[str]], str]


def redact(
    patterns: _Pattern | Iterable[_Pattern] | Mapping[Any, _Replacement],
    replacement: _Replacement = "[redacted]",
    *,
    window: int = 256,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    r"""Replaces what matches ``patterns`` in the text, also where a match is cut into several chunks.

    ::

        chunks  --"Call 555-"--"12"---"34 or"--" me"--|
                     redact(r"\d{3}-\d{4}")
        chunks  --"Call "-------------"[redacted] or"--" me"--|

    The text is what ``re.sub()`` makes of the whole, however it is cut; a match that begins within another is none, and
    of two that begin at the same character the pattern that comes first counts. Reasoning and refusals are redacted as
    content is, each by itself, and log probabilities are left out, since they spell the text out. What has to be sent
    back as it came is not touched: tool calls, ``thinking_blocks``, and whatever else stands beside the text.

    Text waits while something in it may still be, or become, part of a match, and no longer: text in which no match can
    begin passes at once, and chunks in which nothing changes pass as they are. At most ``window`` characters and a
    quarter wait. A match longer than ``window``, with what its pattern looks at on both sides, may be redacted in part
    or not at all. What waits is given before a tool call, at the end, and before an error, its matches redacted. Text
    always waits for ``window`` characters where a pattern has possessive quantifiers or atomic groups. An empty stream
    completes empty. With ``n > 1`` each choice is redacted by itself. What waits when the answer begins anew
    (``chunk.restart``) is void. Held are the characters that wait, and ``window`` more to look back at.

    Args:
        patterns: regular expressions as those of ``re``, compiled or not: one, several, or a mapping of each to what
            replaces its matches.
        replacement: what replaces a match: a string, in which ``\1`` is the match's first group, or a function that
            takes the ``re.Match`` and gives a string. What it raises ends the stream, and cancels the request.
        window: the longest match, in characters, 1 or more.

    Raises:
        TypeError: an argument is of the wrong kind; raised, as the other, when the operator is made.
        ValueError: there is no pattern, one is no regular expression, or ``window`` is less than 1.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("Mail to ann@exa", "mple.org", " or call")))
    >>> redacted = chunks.pipe(redact({r"[\w.+-]+@[\w-]+\.[\w.-]*\w": "<mail>", r"\bsk-\w{20,}": "<key>"}))
    >>> _ = redacted.subscribe(lambda chunk: print(repr(chunk.choices[0].delta.content)))
    'Mail to '
    '<mail> or '
    'call'
    """
    check_count("window", window)
    if window < 1:
        raise ValueError(f"window is 1 character or more, not {window}")
    given: Any = [patterns] if isinstance(patterns, str | re.Pattern) else patterns
    if not isinstance(given, Iterable):
        raise TypeError(f"patterns are regular expressions, not {given!r}")
    pairs: Any = given.items() if isinstance(given, Mapping) else ((pattern, replacement) for pattern in given)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    rules = [_rule(pattern, replaced) for pattern, replaced in pairs]
    if not rules:
        raise ValueError("redact() takes one pattern or more")
    return accumulated(lambda: ChunkRewriter(lambda field: Redactor(field, rules, window), keeps_logprobs=False))


def _rule(pattern: Any, replacement: Any) -> Rule:
    if not isinstance(getattr(pattern, "pattern", pattern), str) or not isinstance(pattern, str | re.Pattern):
        raise TypeError(f"a pattern is a regular expression of strings, not {pattern!r}")
    given: object = replacement
    if not isinstance(given, str) and not callable(given):
        raise TypeError(f"what replaces a match is a string or a function, not {replacement!r}")
    try:
        return Rule(re.compile(pattern), replacement)  # pyright: ignore[reportUnknownArgumentType]
    except (re.error, IndexError) as error:
        raise ValueError(f"{pattern!r}, replaced by {replacement!r}, is no regular expression: {error}") from None
