"""The exact token count of a text that grows, at a cost that follows what is new.

Only a tail is encoded again: the text since the last *settled* boundary, one over which no later text can reach. Where
a run without any such boundary gets long, its tokens are counted byte by byte as they come.
"""

import re
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING

from rxllm._tokens import count_text, packed_ranks

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

# What Unicode has always called white space.
_SPACE = "\t-\r \u00a0\u3000"
# White space in front of something visible: one piece up to its last newline, one more up to its last character.
_SPACE_PIECES = re.compile(rf"((?>[{_SPACE}]*[\r\n]))?+(?:([{_SPACE}]*)[{_SPACE}])?(?=[{_LETTER}0-9'{_PUNCTUATION}])")
# The newlines after punctuation are in one piece with it (and, in o200k_base, with a slash after them).
_PUNCTUATED_LINES = re.compile(
    rf"[{_SPACE}]?(?:[{_PUNCTUATION}]+[\r\n]+)+(?=(?!/)[\t\v\f \u00a0\u3000{_LETTER}0-9'{_PUNCTUATION}])"
)

# Runs: what may stand before, and what repeats. Each is one piece for the encoding however long it gets.
_RULE = "[-=_*#~.]"
_SHARED_RUNS = ((f"[ ]?{_RULE}+", r"[\r\n]"), ("[ ]?", _RULE))
_LOWER = "a-z\u00df-\u00f6\u00f8-\u00ff\u03b1-\u03c9\u0430-\u045f"
_CL100K_RUNS = (("[ ]?", f"[{_LETTER}]"), *_SHARED_RUNS)
_O200K_RUNS = (("[ ]?[A-Z]*", f"[{_LOWER}{_CASELESS}]"), ("[ ]?", "[A-Z]"), *_SHARED_RUNS)
_WHITE_SPACE = re.compile(f"[{_SPACE}]+")
# White space at the end of the text is one piece here; in the others it is parted after its last newline.
_OPEN_END = frozenset({"cl100k_base"})

_BOUNDARIES = {"cl100k_base": _CL100K_BOUNDARY, "o200k_base": _O200K_BOUNDARY, "o200k_harmony": _O200K_BOUNDARY}
_RUNS = {"cl100k_base": _CL100K_RUNS, "o200k_base": _O200K_RUNS, "o200k_harmony": _O200K_RUNS}
# The older encodings share the rule about spaces.
_OLDER = frozenset({"gpt2", "r50k_base", "p50k_base", "p50k_edit"})

_LONG = 200
"""Characters of a tail from which on counting byte by byte is cheaper than encoding it again."""
_MANY = 20
"""Tokens to be tried for a byte, from which on the outcome is worth remembering."""
_REMEMBERED = 20_000


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
    what it is itself, also in a long run of letters, of rules or of white space. Held is the tail since the last
    boundary: usually a word. What has neither boundary nor run is encoded again with each piece, at 0.1 to 0.2
    microseconds a character: emoji on end, letters with nothing but apostrophes between them (``a'a'a``), uncommon
    scripts without spaces; and all of the text for an encoding of one's own, whose splitting is not known.

    >>> from rxllm._tokens import get_encoding
    >>> counter = TokenCounter(get_encoding("cl100k_base"))
    >>> counter.add("hap"), counter.add("pin"), counter.add("ess")
    (1, 3, 2)
    """

    __slots__ = (
        "_boundary",
        "_encoding",
        "_grow",
        "_known",
        "_pieces",
        "_run",
        "_settled",
        "_tail",
        "_tail_count",
        "total",
    )

    def __init__(self, encoding: "Encoding") -> None:
        self._encoding = encoding
        self._boundary = _last_boundary(encoding.name)
        self._known = encoding.name in _BOUNDARIES
        self._settled = 0
        self._tail = ""
        self._tail_count = 0
        self._run: _Run | _PartedRun | None = None
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
            if self._run is not None:
                text = self._continue_run(self._run, text)
            if text:
                self._encode_tail(text)
            self.total = self._settled + self._tail_count
        return self.total

    def _encode_tail(self, text: str) -> None:
        old, count = self._tail, self._tail_count
        tail = old + text
        if self._known and len(tail) > _LONG:
            cut = self._settle_pieces(tail)
            if cut:
                old, count, tail = "", 0, tail[cut:]
        if self._boundary is not None:
            match = self._boundary.match(tail, len(old))
            if match is not None:
                cut = match.end()
                self._settled += count if cut == len(old) else count_text(self._encoding, tail[:cut])
                tail = tail[cut:]
            # From here on the tail is what a digit group may follow: it starts at a boundary.
            if self._known and "0" <= tail[-1] <= "9":
                match = _DIGIT_GROUPS.match(tail)
                if match is not None:
                    self._settled += count_text(self._encoding, match[0])
                    tail = tail[match.end() :]
        self._tail = tail
        if not self._known or len(tail) <= _LONG or not self._begin_run(tail):
            self._tail_count = count_text(self._encoding, tail) if tail else 0

    def _settle_pieces(self, tail: str) -> int:
        """Settles what a long tail begins with and nothing can change any more; gives how many characters that is."""
        settled = 0
        match = _SPACE_PIECES.match(tail)
        if match is not None:
            for piece in match.groups(""):
                if piece:
                    settled += len(piece)
                    self._settled += _piece_count(self._encoding, piece)
        match = _PUNCTUATED_LINES.match(tail, settled)
        if match is not None:
            self._settled += count_text(self._encoding, match[0])
            settled = match.end()
        return settled

    def _begin_run(self, tail: str) -> bool:
        """Counts the tail byte by byte from here on, if it is a run."""
        if _WHITE_SPACE.fullmatch(tail):
            parted = self._encoding.name not in _OPEN_END
            self._run, self._grow = (_PartedRun if parted else _Run)(self._encoding), _WHITE_SPACE
        else:
            for run, grow in _run_patterns(self._encoding.name):
                if run.fullmatch(tail):
                    self._run, self._grow = _Run(self._encoding), grow
                    break
            else:
                return False
        self._run.feed(tail.encode())
        self._tail_count = self._run.count
        return True

    def _continue_run(self, run: "_Run | _PartedRun", text: str) -> str:
        """Takes in what of ``text`` is of the run's kind; gives the rest, with which the run is over."""
        match = self._grow.match(text) if self._grow is not None else None
        if match is not None:
            self._pieces.append(match[0])
            run.feed(match[0].encode())
            self._tail_count = run.count
            text = text[match.end() :]
        if text:
            self._tail += "".join(self._pieces)
            self._pieces.clear()
            self._run = self._grow = None
        return text


class _Vocabulary:
    """What the runs of an encoding share: its tokens by how they end, and what has been found out about them.

    An ending is the last byte as often as it is repeated, and the two bytes before.
    """

    def __init__(self, encoding: "Encoding") -> None:
        self.ranks = packed_ranks(encoding.name)
        self.longest = max(map(len, self.ranks))
        # How long the tokens with an ending are, the longest first; and those that are one repeated byte, ascending.
        self.by_ending: dict[bytes, tuple[int, ...]] = {}
        self.of_one_byte: dict[int, tuple[int, ...]] = {}
        by_ending: dict[bytes, list[int]] = {}
        of_one_byte: dict[int, list[int]] = {}
        for token in sorted(self.ranks, key=len, reverse=True):
            stem = len(token.rstrip(token[-1:]))
            if stem > 1:
                lengths = by_ending.setdefault(token[stem - 2 :], [])
                if not lengths or lengths[-1] != len(token):
                    lengths.append(len(token))
            elif not stem:
                of_one_byte.setdefault(token[0], []).insert(0, len(token))
        self.by_ending = {ending: tuple(lengths) for ending, lengths in by_ending.items()}
        self.of_one_byte = {byte: tuple(lengths) for byte, lengths in of_one_byte.items()}
        # No pattern may split what is encoded, which every public way of encoding has.
        self._encode = encoding._encode_single_piece  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._chains: dict[bytes, tuple[bytes, ...]] = {}
        # The first of the two tokens that these bytes are; -1 where they are not two.
        self._firsts: dict[bytes, int] = {}
        self.states: dict[tuple[bytes, bytes], bytes] = {}

    def chain(self, token: bytes) -> tuple[bytes, ...]:
        """The token, and all tokens that it ends with, the longest first."""
        chain = self._chains.get(token)
        if chain is None:
            if len(self._chains) > _REMEMBERED:
                self._chains.clear()
            endings = (token[start:] for start in range(len(token)))
            chain = self._chains[token] = tuple(ending for ending in endings if ending in self.ranks)
        return chain

    def stands(self, before: bytes, token: bytes) -> bool:
        """Whether the two tokens, encoded together, give just the two."""
        pair = before + token
        first = self._firsts.get(pair)
        if first is None:
            if len(self._firsts) > _REMEMBERED:
                self._firsts.clear()
            ids = self._encode(pair)
            first = self._firsts[pair] = ids[0] if len(ids) == 2 else -1
        return first == self.ranks[before]


_vocabularies: dict[str, _Vocabulary] = {}


def _vocabulary(encoding: "Encoding") -> _Vocabulary:
    if encoding.name not in _vocabularies:
        _vocabularies[encoding.name] = _Vocabulary(encoding)
    return _vocabularies[encoding.name]


def _piece_count(encoding: "Encoding", piece: str) -> int:
    """How many tokens a piece is that no pattern splits; however long, unlike with tiktoken."""
    run = _Run(encoding)
    run.feed(piece.encode())
    return run.count


class _Run:
    """Byte-pair encoding of one piece that grows, byte by byte.

    The last token up to a byte is the longest one, t, that ends there and stands after the last token up to t's start:
    the two of them, encoded together, give just the two. The count there is that up to t's start, and one.
    """

    __slots__ = ("_counts", "_last", "_repeated", "_sizes", "_skipped", "_text", "_vocabulary")

    def __init__(self, encoding: "Encoding") -> None:
        self._vocabulary = _vocabulary(encoding)
        self._text = bytearray()
        # How often its last byte is repeated at its end.
        self._repeated = 0
        # For the text before its first byte, up to that one, up to each: the last token, and how many there are.
        self._last = [b""]
        self._counts = [0]
        # How many there are beside, in periods that were not gone through.
        self._skipped = 0
        # How long the last tokens are, up to the first byte, up to each.
        self._sizes = bytearray()

    @property
    def count(self) -> int:
        """How many tokens the run is so far."""
        return self._skipped + self._counts[-1]

    def feed(self, data: bytes) -> None:
        """More of the run."""
        alike = len(data) - len(data.rstrip(data[-1:]))
        enough = 8 * self._vocabulary.longest
        if alike > 2 * enough:
            left = alike - enough
            self._feed(data[:-left])
            self._feed(data[len(data) - left % self._repeat(left) :])
        else:
            self._feed(data)

    def _repeat(self, bytes_alike: int) -> int:
        """Takes in whole periods of what is to come, where the last byte has long repeated; gives how long one is.

        As nothing else counts than how long the last tokens are, with these the rest comes again too.
        """
        window = bytes(self._sizes[-self._vocabulary.longest :])
        before = self._sizes.rfind(window, 0, -1)
        if before < 0:
            return bytes_alike + 1
        period = len(self._sizes) - len(window) - before
        self._skipped += bytes_alike // period * (self._counts[-1] - self._counts[-1 - period])
        return period

    def _feed(self, data: bytes) -> None:
        text, counts, longest = self._text, self._counts, self._vocabulary.longest
        for byte in data:
            self._repeated = self._repeated + 1 if text and text[-1] == byte else 1
            text.append(byte)
            token = self._last_token(self._vocabulary.chain(self._longest_match()))
            counts.append(counts[-len(token)] + 1)
            self._last.append(token)
            self._sizes.append(len(token))
            if len(text) > 8 * longest:
                # No token reaches further back than the longest, and the one before it no further than twice that.
                surplus = len(text) - 2 * longest
                del text[:surplus], counts[:surplus], self._last[:surplus], self._sizes[:surplus]

    def _longest_match(self) -> bytes:
        """The longest token that the text ends with, whatever stands before it."""
        text, repeated, vocabulary = self._text, self._repeated, self._vocabulary
        if repeated < vocabulary.longest:
            for size in vocabulary.by_ending.get(bytes(text[-repeated - 2 :]), ()):
                if size <= len(text):
                    token = bytes(text[-size:])
                    if token in vocabulary.ranks:
                        return token
            token = bytes(text[-repeated - 1 :])
            if token in vocabulary.ranks:
                return token
        sizes = vocabulary.of_one_byte[text[-1]]
        return bytes(text[-sizes[bisect_right(sizes, repeated) - 1] :])

    def _last_token(self, candidates: tuple[bytes, ...]) -> bytes:
        """The candidate that the text ends with when it is encoded."""
        if len(candidates) < _MANY:
            return self._standing(candidates)
        # Of nothing else does it depend. In a run of spaces the same comes again and again.
        longest, states = self._vocabulary.longest, self._vocabulary.states
        state = bytes(self._text[-2 * longest :]), bytes(self._sizes[-longest:])
        token = states.get(state)
        if token is None:
            token = self._standing(candidates)
            if len(states) > _REMEMBERED // 4:
                states.clear()
            states[state] = token
        return token

    def _standing(self, candidates: tuple[bytes, ...]) -> bytes:
        last, stands = self._last, self._vocabulary.stands
        for token in candidates:
            before = last[-len(token)]
            if not before or stands(before, token):
                return token
        raise RuntimeError(f"No token stands for the byte {self._text[-1]}")


class _PartedRun:
    """White space that grows: a piece up to its last newline, and a piece after it."""

    __slots__ = ("_after", "_encoding", "_up_to_newline", "_waiting", "_whole")

    def __init__(self, encoding: "Encoding") -> None:
        self._encoding = encoding
        self._whole = _Run(encoding)
        self._after = _Run(encoding)
        # What came since the last newline, which belongs to the whole once there is another.
        self._waiting = bytearray()
        self._up_to_newline = 0

    @property
    def count(self) -> int:
        """How many tokens the white space is so far."""
        return self._up_to_newline + self._after.count

    def feed(self, data: bytes) -> None:
        """More white space."""
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if cut:
            self._whole.feed(bytes(self._waiting) + data[:cut])
            self._up_to_newline = self._whole.count
            self._waiting.clear()
            self._after = _Run(self._encoding)
        self._waiting += data[cut:]
        self._after.feed(data[cut:])
