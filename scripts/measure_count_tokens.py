"""Measures what a delta costs to count, as the text before it grows.

    python scripts/measure_count_tokens.py

For each kind of text and each encoding: microseconds per delta over streams of 1,000, 10,000 and 100,000 deltas, and
the ratio of the dearest to the cheapest. A ratio near 1 says that a delta costs what is new in it, however much has
been before. What costs once in a process is done before: an encoding is loaded, and the same text has been counted
backwards for a while. Each time is the best of several rounds, in which all sizes take turns, in seconds of this
thread's own work, since other work on the machine only ever adds.
"""

import itertools
import random
import time

from rxllm import _token_counter
from rxllm._token_counter import TokenCounter
from rxllm._tokens import count_text, get_encoding

SIZES = (1_000, 10_000, 100_000)
DELTA = 4
"""Characters in a delta; Chinese comes in half as many."""

ENGLISH = """
Once upon a time, in a village by the sea, there lived an old clockmaker who could not sleep. Each night she walked
down to the harbour, counted the boats - there were 27 of them - and went home again. "It isn't the sea," she'd say;
"it's the clocks. They don't agree." In 1984 the mayor gave her a key, and with it she opened the tower.
"""
CHINESE = (
    "今天天气很好\uff0c我们一起去公园散步。孩子们在草地上奔跑\uff0c老人坐在树下聊天\uff0c"
    "2024年的春天来得特别早。你觉得怎么样\uff1f"
)
CODE = '''
def count(self, text: str) -> int:
    """How many tokens there are."""
    if text not in self._cache:
        self._cache[text] = len(self.encoding.encode(text, disallowed_special=()))  # 100 % exact
    return self._cache[text] + OFFSETS["utf-8"][0x1F]
'''


def texts() -> "dict[str, tuple[str, int]]":
    """By name: a text that is long enough, and the characters of a delta."""
    characters = DELTA * max(SIZES)
    word = "".join(random.Random(1).choices("etaoinshrdlucmfwypvbgkjqxz", k=characters))  # noqa: S311  a fixed text
    mixed = "".join(random.Random(2).choices(["\n", "  ", "    ", "\t", "\n\n"], k=characters))  # noqa: S311  likewise
    return {
        "English": (ENGLISH.replace("\n", " "), DELTA),
        "Chinese": (CHINESE, DELTA // 2),
        "code": (CODE, DELTA),
        "one endless word": (word, DELTA),
        "only spaces": (" ", DELTA),
        "only newlines": ("\n", DELTA),
        "spaces and newlines": (mixed, DELTA),
    }


def deltas(text: str, characters: int, count: int) -> list[str]:
    """``count`` deltas of a text that repeats."""
    whole = "".join(itertools.islice(itertools.cycle(text), characters * count))
    return [whole[start : start + characters] for start in range(0, len(whole), characters)]


def seconds(encoding_name: str, pieces: list[str]) -> float:
    """The time that counting the deltas takes."""
    encoding = get_encoding(encoding_name)
    vocabularies = _token_counter._vocabularies  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    vocabularies[encoding_name] = _token_counter._Vocabulary(encoding)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    before = TokenCounter(encoding)
    for piece in pieces[1_000::-1]:
        before.add(piece[::-1])
    add = TokenCounter(encoding).add
    start = time.thread_time()
    for piece in pieces:
        add(piece)
    return time.thread_time() - start


def check(encoding_name: str, pieces: list[str]) -> None:
    """What is measured counts right; tiktoken takes no longer text of any kind."""
    counter = TokenCounter(get_encoding(encoding_name))
    for piece in pieces:
        counter.add(piece)
    assert counter.total == count_text(get_encoding(encoding_name), "".join(pieces))


def main() -> None:
    """Prints the table."""
    heads = [f"{size:,}" for size in SIZES]
    print("microseconds a delta".ljust(34), *(head.rjust(9) for head in heads), "ratio".rjust(8))
    for encoding_name in ("cl100k_base", "o200k_base"):
        for name, (text, characters) in texts().items():
            streams = {size: deltas(text, characters, size) for size in SIZES}
            check(encoding_name, streams[SIZES[0]])
            best = dict.fromkeys(SIZES, float("inf"))
            for size in SIZES * 2 + SIZES[:2] * 4:
                best[size] = min(best[size], seconds(encoding_name, streams[size]) / size * 1e6)
            ratio = max(best.values()) / min(best.values())
            figures = (f"{best[size]:9.2f}" for size in SIZES)
            print(f"{encoding_name:12} {name:21}", *figures, f"{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
