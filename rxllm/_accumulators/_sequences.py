"""Strings found in a text that comes in pieces, at a cost that follows the text: Aho and Corasick's automaton."""

import re
from collections import deque
from collections.abc import Iterable

__all__ = ["SequenceSearch", "Sequences"]


class Sequences:
    """Several strings to search for. A state is the longest end of the text so far that one of them begins with."""

    __slots__ = ("ending", "fallback", "first", "following", "prefix")

    def __init__(self, sequences: Iterable[str]) -> None:
        self.following: list[dict[str, int]] = [{}]
        # For each state: what it has read, the longest sequence that this ends with, and the next shorter state.
        self.prefix = [""]
        self.ending: list[str | None] = [None]
        self.fallback = [0]
        for sequence in sequences:
            state = 0
            for character in sequence:
                if character not in self.following[state]:
                    self.following[state][character] = len(self.following)
                    self.following.append({})
                    self.prefix.append(self.prefix[state] + character)
                    self.ending.append(None)
                    self.fallback.append(0)
                state = self.following[state][character]
            self.ending[state] = sequence
        # From the short to the long, so that what a state falls back to is known.
        waiting = deque(self.following[0].values())
        while waiting:
            state = waiting.popleft()
            shorter = self.fallback[state]
            self.ending[state] = self.ending[state] or self.ending[shorter]
            for character, longer in self.following[state].items():
                back = shorter
                while back and character not in self.following[back]:
                    back = self.fallback[back]
                self.fallback[longer] = self.following[back].get(character, 0)
                waiting.append(longer)
        self.first = re.compile(f"[{''.join(map(re.escape, self.following[0]))}]")


class SequenceSearch:
    """Searches a text that comes in pieces for the first of the sequences that is complete.

    Where several are complete with the same character, the longest is found. Held back is the end of the text that a
    sequence may begin with: at most a character less than the longest has.

    >>> search = SequenceSearch(Sequences(["END", "STOP"]))
    >>> search.feed("one EN"), search.feed("TER ST"), search.feed("OP two")
    (('one ', None, ''), ('ENTER ', None, ''), ('', 'STOP', ' two'))
    """

    __slots__ = ("_sequences", "_state")

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        self._state = 0

    def feed(self, text: str) -> tuple[str, str | None, str]:
        """Takes more text: gives what is before any sequence, the sequence found, and what comes after that.

        What comes after it has not been searched.
        """
        sequences = self._sequences
        following, fallback, ending = sequences.following, sequences.fallback, sequences.ending
        state = self._state
        held = sequences.prefix[state]
        position, end = 0, len(text)
        while position < end:
            if not state:
                begun = sequences.first.search(text, position)
                if begun is None:
                    break
                position = begun.start()
            character = text[position]
            while state and character not in following[state]:
                state = fallback[state]
            state = following[state].get(character, 0)
            position += 1
            found = ending[state]
            if found is not None:
                self._state = 0
                return (held + text[:position])[: -len(found)], found, text[position:]
        self._state = state
        clear = held + text if held else text
        pending = len(sequences.prefix[state])
        return clear[:-pending] if pending else clear, None, ""

    def flush(self) -> str:
        """What is held back; text that follows begins anew."""
        held = self._sequences.prefix[self._state]
        self._state = 0
        return held
