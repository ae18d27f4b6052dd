"""Sentences of a text that comes in pieces: a pure accumulator.

The rules are those of Unicode's sentence boundaries (UAX 29), but for what they leave to others: abbreviations,
initials and numbered items end none, a lower-case letter begins none, and a stop wants white space after it, lest names
such as ``Node.js`` and addresses be cut. How far one has to see is bounded, so that the cost follows the text.
"""

import re

__all__ = ["SentenceSplitter"]

# Stops that want white space after them, and those of scripts that write none.
_SPACED = ".!?\u2026\u2025\u203c\u2047-\u2049"
_UNSPACED = (
    "\u3002\uff01\uff0e\uff1f\uff61"  # Chinese and Japanese
    "\u0589\u061f\u06d4\u0964\u0965\u104b\u1362\u1367\u1368\u17d4\u17d5\u1803\u1809"  # Armenian to Mongolian
)
_CLOSING = "\\])}\"'\u2019\u201d\u00bb\u203a\u300d\u300f\u300b\u3009\u3011\u3015\u3017\uff09*_`~"
_OPENING = "\\[({\"'\u2018\u201c\u00ab\u2039\u201e\u201a\u00bf\u00a1*_`~"
# A French quotation has a space before its end.
_STOP = re.compile(
    rf"([{_SPACED}{_UNSPACED}]{{1,16}})(?:[{_CLOSING}]|[ \u00a0\u202f]\u00bb){{0,16}}|[\r\n\u2028\u2029]"
)
_MOST_SPACE = 256
_SPACE = re.compile(rf"\s{{0,{_MOST_SPACE}}}")
_OPENED = re.compile(rf"[{_OPENING}]{{0,8}}")
_LINE_END = re.compile(r".*[\r\n\u2028\u2029]", re.DOTALL)
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LAST_WORD = re.compile(r"(?:^|[^\w.])((?:\w+\.)*\w+)\Z")
# "1. ", "a. ", "iv. " at the beginning, behind whatever marks an item or a heading.
_ITEM = re.compile(r"[\W_]*(?:\d{1,3}|[^\W\d_]|[ivxIVX]{1,5})")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")

# Abbreviations that something always follows, and those that a number follows where they are any.
_NEVER_LAST = frozenset(
    "mr mrs ms mx dr prof rev hon gov sen rep gen col maj capt cmdr lt sgt st mt messrs mme mlle sra srta dra hr "
    "e.g i.e cf vs viz resp approx ca z.b d.h u.a bzw vgl sog p.ej".split()
)
_BEFORE_NUMBERS = frozenset(
    "no nos nr n\u00ba fig figs vol sec sect ch chap eq eqs p pp art abb kap tab ref par "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)

# How far a decision looks back, in characters.
_BACK = 32


class SentenceSplitter:
    """Gives each sentence as soon as it is known to be over, with the white space after it.

    >>> splitter = SentenceSplitter()
    >>> splitter.feed("Dr. Who is 3.5 m ta"), splitter.feed("ll. "), splitter.feed("Is he?"), splitter.flush()
    ([], [], ['Dr. Who is 3.5 m tall. '], ['Is he?'])
    """

    over = False

    def __init__(self) -> None:
        # The sentence so far: in pieces where nothing looks back to any more, then the text that may decide something.
        self._begun: list[str] = []
        self._text = ""
        # From where on stops are still to be judged, and whether there was anything but white space before that.
        self._judged = 0
        self._blank = True

    def feed(self, text: str) -> list[str]:
        """Takes more text, and gives the sentences that are over."""
        self._text += text
        sentences: list[str] = []
        start = 0
        while (stop := _STOP.search(self._text, self._judged)) is not None:
            self._blank = self._blank and not self._text[self._judged : stop.start()].strip()
            end = self._judge(stop, start)
            if end is None:
                self._judged = stop.start()
                break
            if end:
                sentences.append("".join((*self._begun, self._text[start:end])))
                self._begun.clear()
                self._blank = True
                self._judged = start = end
            else:
                self._blank = self._blank and stop[1] is None
                self._judged = stop.end()
        else:
            self._blank = self._blank and not self._text[self._judged :].strip()
            self._judged = len(self._text)
        settled = max(start, self._judged - _BACK)
        if settled > start:
            self._begun.append(self._text[start:settled])
        self._text = self._text[settled:]
        self._judged -= settled
        return sentences

    def flush(self) -> list[str]:
        """Gives what is left."""
        rest = "".join((*self._begun, self._text))
        self._begun.clear()
        self._text = ""
        self._judged = 0
        self._blank = True
        return [rest] if rest else []

    def _judge(self, stop: re.Match[str], start: int) -> int | None:
        """Where the sentence ends, if it does with this stop; 0 if not, ``None`` if that is still to be seen."""
        text, end = self._text, stop.end()
        stops: str = stop[1] or ""
        if not stops and self._blank:
            return 0
        if end == len(text):
            return None
        after = _SPACE.match(text, end)
        assert after is not None  # noqa: S101  it matches nothing, too
        following = after.end()
        if following == end and stops:
            unspaced = stops[-1] in _UNSPACED and not (stops[-1] == "\uff0e" and text[end].isdecimal())
            if stops == "." or stops[-1] in "!?":
                # Western stops between ideographs; dots there are a pause.
                unspaced = bool(_IDEOGRAPH.match(text, end) and _IDEOGRAPH.match(text, max(stop.start() - 1, 0)))
            return end if unspaced else 0
        endless = following - end == _MOST_SPACE
        if following == len(text) and not endless:
            return None
        line_end = _LINE_END.match(text, end if stops else stop.start(), following)
        if line_end is not None:
            return line_end.end()
        if endless or stops[-1] in _UNSPACED:
            return following
        opened = _OPENED.match(text, following)
        assert opened is not None  # noqa: S101  likewise
        first = opened.end()
        if first == len(text):
            return None
        if text[first].islower():
            return 0
        if stops == "." and end == stop.end(1) and self._goes_on(stop.start(), start, text[first]):
            return 0
        return following

    def _goes_on(self, stop: int, start: int, first: str) -> bool:
        """Whether the full stop at ``stop`` belongs to an abbreviation, an initial or the number of an item."""
        if not self._begun and stop - start < _BACK // 2 and _ITEM.fullmatch(self._text, start, stop):
            return True
        word = _LAST_WORD.search(self._text[max(stop - _BACK // 2, start) : stop])
        if word is None:
            return False
        name = word[1]
        if _INITIALS.fullmatch(name) and name.isupper() and name != "I":
            return True
        return name.lower() in _NEVER_LAST or (name.lower() in _BEFORE_NUMBERS and first.isdecimal())
