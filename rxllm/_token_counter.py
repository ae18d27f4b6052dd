"""The exact token count of a text that grows, at a cost that follows what is new.

Only a tail is encoded again: the text since the last *settled* boundary, one over which no later text can reach. Where
a run without any such boundary gets long, its tokens are counted byte by byte as they come.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rxllm._tokens import count_text

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["TokenCounter"]

# Fixed old ranges: Python's and tiktoken's Unicode tables differ by version, and these are letters in all of them.
_CASELESS = (
    "\u05d0-\u05ea\u0620-\u064a"  # Hebrew, Arabic
    "\u3041-\u3096\u30a1-\u30fa"  # kana
    "\u3400-\u4db5\u4e00-\u9fa5\uac00-\ud7a3"  # Han, Hangul
)
_CASED = (
    "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af"  # Latin
    "\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u0523"  # Greek, Cyrillic
)
_LETTER = _CASED + _CASELESS
# Never the apostrophe, which contractions begin with.
_ASCII_PUNCTUATION = re.escape('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~')
_WIDE_PUNCTUATION = "\u3001\u3002\u300a-\u300f\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"
_PUNCTUATION = _ASCII_PUNCTUATION + _WIDE_PUNCTUATION

_BEFORE_SPACE = r"(?<=\S)(?=[\t \u00a0\u3000])"
_CL100K_BOUNDARY = "|".join(
    [
        _BEFORE_SPACE,
        rf"(?<=[{_LETTER}0-9])(?=[\r\n{_PUNCTUATION}])",
        rf"(?<=[{_LETTER}{_PUNCTUATION}'])(?=[0-9])",
        rf"(?<=[0-9])(?=[{_LETTER}'])",
    ]
)
_O200K_BOUNDARY = _CL100K_BOUNDARY + "|(?<=[a-z])(?=[A-Z])"
# Numbers are split into groups of three, from their first digit on.
_DIGIT_GROUPS = re.compile(r"[ \t\r\n]*(?:[0-9]{3})+")

# White space that the pattern of any version takes as such.
_SPACE = "\t-\r \u00a0\u3000"
# What follows white space in a long tail settles it: a piece of white space reaches up to its last newline, and
# without a newline after it up to the character before the last.
_SPACE_PIECES = re.compile(rf"([{_SPACE}]*[\r\n])?(?:([{_SPACE}]*)[{_SPACE}])?(?=[{_LETTER}0-9'{_PUNCTUATION}])")
# The newlines after punctuation belong to it; white space that then goes on otherwise is a piece of its own.
_PUNCTUATED = re.compile(rf"[{_SPACE}]*[{_PUNCTUATION}]+[\r\n]+(?=[\t \u00a0\u3000])")

# Runs: what may stand before, and what repeats. Each is one piece for the encoding however long it gets.
_RULE = "[-=_*#~.]"
_SHARED_RUNS = ((f"[ ]?{_RULE}+", r"[\r\n]"), ("[ ]?", _RULE))
_LOWER = "a-z\u00df-\u00f6\u00f8-\u00ff\u03b1-\u03c1\u03c3-\u03c9\u0430-\u045f"
_CL100K_RUNS = (("[ ]?", f"[{_LETTER}]"), *_SHARED_RUNS)
_O200K_RUNS = (("[ ]?[A-Z]*", f"[{_LOWER}{_CASELESS}]"), ("[ ]?", "[A-Z]"), *_SHARED_RUNS)
_WHITE_SPACE = re.compile(f"[{_SPACE}]+")

_BOUNDARIES = {"cl100k_base": _CL100K_BOUNDARY, "o200k_base": _O200K_BOUNDARY, "o200k_harmony": _O200K_BOUNDARY}
_RUNS = {"cl100k_base": _CL100K_RUNS, "o200k_base": _O200K_RUNS, "o200k_harmony": _O200K_RUNS}
# The older encodings share the rule about spaces.
_OLDER = frozenset({"gpt2", "r50k_base", "p50k_base", "p50k_edit"})

_PAIRS_KEPT = 10_000
_LONG = 1_000
"""Characters of a tail from which on counting byte by byte is cheaper than encoding it again."""


@cache
def _last_boundary(encoding_name: str) -> "re.Pattern[str] | None":
    """Matches from where it is asked to the last settled boundary; None where none is known for the encoding."""
    boundary = _BOUNDARIES.get(encoding_name, _BEFORE_SPACE if encoding_name in _OLDER else None)
    return None if boundary is None else re.compile(rf"[\s\S]*(?:{boundary})")


@cache
def _run_patterns(encoding_name: str) -> "tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]":
    """For each kind of run, what one is from its start and what it goes on with."""
    runs = _RUNS.get(encoding_name, ())
    return tuple((re.compile(f"{before}{repeated}+"), re.compile(f"{repeated}+")) for before, repeated in runs)


class TokenCounter:
    """Counts the tokens of a text that grows.

    Exact after every piece, wherever the text is cut; halves of a surrogate pair may come in two pieces. A piece costs
    what it is itself, also in a long run without spaces. Held is the tail only: usually a word. For an encoding of
    one's own, whose splitting is not known, all of the text is encoded each time.

    >>> from rxllm._tokens import get_encoding
    >>> counter = TokenCounter(get_encoding("cl100k_base"))
    >>> counter.add("hap"), counter.add("pin"), counter.add("ess")
    (1, 3, 2)
    """

    __slots__ = ("_boundary", "_encoding", "_grow", "_pieces", "_run", "_settled", "_tail", "_tail_count", "total")

    def __init__(self, encoding: "Encoding") -> None:
        self._encoding = encoding
        self._boundary = _last_boundary(encoding.name)
        self._settled = 0
        self._tail = ""
        self._tail_count = 0
        self._run: _Run | None = None
        self._grow: re.Pattern[str] | None = None
        self._pieces: list[str] = []
        self.total = 0
        """The count so far."""

    def add(self, text: str) -> int:
        """The count of all text so far, ``text`` with it.

        Raises:
            RuntimeError: tiktoken gives up.
        """
        if text:
            if self._run is None or not self._goes_on(self._run, text):
                self._encode_tail(text)
            self.total = self._settled + self._tail_count
        return self.total

    def _encode_tail(self, text: str) -> None:
        old, count = self._tail, self._tail_count
        tail = old + text
        if self._boundary is not None:
            match = self._boundary.match(tail, len(old))
            if match is not None:
                cut = match.end()
                self._settled += count if cut == len(old) else count_text(self._encoding, tail[:cut])
                tail = tail[cut:]
            # From here on the tail is what a digit group may follow: it starts at a boundary.
            if "0" <= tail[-1] <= "9" and self._encoding.name in _BOUNDARIES:
                match = _DIGIT_GROUPS.match(tail)
                if match is not None:
                    self._settled += count_text(self._encoding, match[0])
                    tail = tail[match.end() :]
        self._tail = tail
        self._tail_count = count_text(self._encoding, tail) if tail else 0
        if len(tail) > _LONG:
            self._begin_run()

    def _begin_run(self) -> None:
        for run, grow in _run_patterns(self._encoding.name):
            if run.fullmatch(self._tail):
                self._run = _Run(self._encoding)
                self._run.feed(self._tail.encode())
                self._grow = grow
                return

    def _goes_on(self, run: "_Run", text: str) -> bool:
        """Takes ``text`` into the run if it is of its kind; else the run is over, and its text is the tail again."""
        if self._grow is not None and self._grow.fullmatch(text):
            self._pieces.append(text)
            run.feed(text.encode())
            self._tail_count = run.count
            return True
        self._tail += "".join(self._pieces)
        self._pieces.clear()
        self._run = self._grow = None
        return False


@dataclass(frozen=True)
class _Vocabulary:
    """The tokens of an encoding, and by their last two bytes how long they are, the longest first."""

    tokens: frozenset[bytes]
    lengths: dict[bytes, tuple[int, ...]]
    longest: int


_vocabularies: dict[str, _Vocabulary] = {}


def _vocabulary(encoding: "Encoding") -> _Vocabulary:
    if encoding.name not in _vocabularies:
        tokens = frozenset(encoding.token_byte_values())
        lengths: dict[bytes, set[int]] = {}
        for token in tokens:
            lengths.setdefault(token[-2:], {1}).add(len(token))
        longest_first = {ending: tuple(sorted(sizes, reverse=True)) for ending, sizes in lengths.items()}
        _vocabularies[encoding.name] = _Vocabulary(tokens, longest_first, max(map(len, tokens)))
    return _vocabularies[encoding.name]


class _Run:
    """Byte-pair encoding of one piece that grows, byte by byte.

    The last token up to a byte is the longest one, t, that ends there and stands after the last token up to t's start:
    the two of them, encoded together, give just the two. The count there is that up to t's start, and one.
    """

    __slots__ = ("_bytes", "_counts", "_encoding", "_kept", "_last", "_pairs", "_vocabulary")

    def __init__(self, encoding: "Encoding") -> None:
        self._encoding = encoding
        self._vocabulary = _vocabulary(encoding)
        self._kept = self._vocabulary.longest
        self._bytes = bytearray()
        # By position: how many tokens the text up to there is, and the last of them.
        self._counts = [0]
        self._last = [b""]
        self._pairs: dict[tuple[bytes, bytes], bool] = {}

    @property
    def count(self) -> int:
        """How many tokens the run is so far."""
        return self._counts[-1]

    def feed(self, data: bytes) -> None:
        """More of the run."""
        for byte in data:
            self._bytes.append(byte)
            self._step()
        # No token reaches further back than the longest.
        surplus = len(self._counts) - 1 - 2 * self._kept
        if surplus > self._kept:
            del self._bytes[:surplus], self._counts[:surplus], self._last[:surplus]

    def _step(self) -> None:
        end = len(self._bytes)
        tokens = self._vocabulary.tokens
        for length in self._vocabulary.lengths.get(bytes(self._bytes[-2:]), (1,)):
            start = end - length
            if start < 0:
                continue
            token = bytes(self._bytes[start:])
            if token in tokens and self._stands_after(self._last[start], token):
                self._counts.append(self._counts[start] + 1)
                self._last.append(token)
                return
        raise RuntimeError(f"{self._encoding.name} has no token for the byte {self._bytes[-1]}")

    def _stands_after(self, before: bytes, token: bytes) -> bool:
        if not before:
            return True
        pair = (before, token)
        stands = self._pairs.get(pair)
        if stands is None:
            if len(self._pairs) > _PAIRS_KEPT:
                self._pairs.clear()
            # No pattern may split it, which every public way of encoding has.
            ids = self._encoding._encode_single_piece(before + token)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            single = self._encoding.encode_single_token
            stands = self._pairs[pair] = ids == [single(before), single(token)]
        return stands
