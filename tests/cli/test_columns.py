"""Answers side by side: what stands on screens of several sizes, while they come and in the end."""

import re
from collections.abc import Iterable
from contextlib import suppress
from io import StringIO

import pytest
from reactivex import throw
from rich.cells import cell_len
from rich.console import Console

from rxllm import as_stream
from rxllm.cli._columns import Columns
from rxllm.cli._watching import Watch
from rxllm.exceptions import APIError, RateLimitError
from rxllm.types import ModelResponseStream

WORDS = " ".join(f"word{number}" for number in range(400))


def watched(label: str, texts: Iterable[str], error: Exception | None = None) -> Watch:
    """One answer, which has come."""
    watch = Watch(label, None, drawn=False)
    chunks = as_stream([ModelResponseStream.of(text) for text in texts])
    with suppress(APIError):
        for _ in watch.over(chunks + throw(error) if error else chunks):
            pass
    return watch


def screen(watches: list[Watch], *, width: int, height: int = 24, whole: bool = False) -> list[str]:
    """The lines of a terminal of that size."""
    file = StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    drawing = Columns(watches, console)
    console.print(drawing.drawn(whole=whole))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).splitlines()


def words_in(lines: list[str]) -> list[int]:
    """The numbers of the words that stand there."""
    return [int(number) for line in lines for number in re.findall(r"word(\d+)", line)]


@pytest.mark.parametrize("width", [20, 29, 59, 80, 200])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("whole", [False, True])
def test_no_line_is_wider_than_the_screen(width: int, count: int, whole: bool) -> None:
    """However many answers there are, with letters of two cells and words that have to be cut."""
    texts = [WORDS, "漢字" * 200, "x" * 500, "line\n" * 50, "", "a\tb", "word"]
    watches = [watched(f"provider/model-{number}", [texts[number]]) for number in range(count)]
    lines = screen(watches, width=width, whole=whole)
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (60, 20), (200, 12)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_picture_fits_the_screen_and_has_the_end(width: int, height: int, count: int) -> None:
    """While answers come, no more lines than the screen has, less one; and the last words are among them."""
    watches = [watched(f"model {number}", [WORDS]) for number in range(count)]
    lines = screen(watches, width=width, height=height)
    assert len(lines) < height
    assert words_in(lines).count(399) == count


def test_in_the_end_all_of_it_stands_there() -> None:
    """Each word of each answer, once and in order."""
    watches = [watched("one", [WORDS]), watched("two", [WORDS])]
    lines = screen(watches, width=90, height=10, whole=True)
    halves = [[line.partition("│")[side] for line in lines] for side in (0, 2)]
    assert [words_in(half) for half in halves] == [list(range(400))] * 2


def test_narrow_screen_has_one_below_the_other() -> None:
    """Where there is no room for two columns."""
    lines = screen([watched("one", ["first"]), watched("two", ["second"])], width=50, whole=True)
    assert not any("│" in line for line in lines)
    assert [line.strip() for line in lines if line.strip() in {"one", "two", "first", "second"}] == [
        *("one", "first"),
        *("two", "second"),
    ]


def test_rows_are_even() -> None:
    """Four answers where there is room for three are two and two."""
    lines = screen([watched(f"m{number}", ["x"]) for number in range(4)], width=100, whole=True)
    assert [line.split() for line in lines if "m" in line and "x" not in line and "chunks" not in line][:1] == [
        ["m0", "│", "m1"]
    ]


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_lines_stay_as_they_are_while_text_comes(steps: int) -> None:
    """From one picture to the next the lines move up; none is broken anew, but once in a screenful."""
    words = WORDS.split()
    seen: list[str] = []
    broken_anew = 0
    for count in range(steps, len(words), steps):
        watch = watched("model", [" ".join(words[:count])])
        lines = [line.strip() for line in screen([watch], width=60, height=14) if "word" in line]
        common = [line for line in seen[1:-1] if line not in lines and line in " ".join(lines)]
        broken_anew += bool(common)
        seen = lines
    assert broken_anew <= len(WORDS) // (60 * 8) + 1


def test_error_stands_after_what_came() -> None:
    """In its column, by its name."""
    watch = watched("one", ["half of"], RateLimitError("Slow down"))
    lines = [line.strip() for line in screen([watch], width=60, whole=True)]
    assert lines[2:4] == ["half of", "RateLimitError: Slow down"]


def test_escapes_in_an_answer_do_nothing() -> None:
    """What would move the cursor or clear the screen is left out."""
    watch = watched("one", ["a\x1b[2Jb\r\x07c\x9b1md"])
    file = StringIO()
    console = Console(file=file, width=60, height=20, force_terminal=True, color_system=None)
    console.print(Columns([watch], console).drawn(whole=True))
    assert "\x1b[2J" not in file.getvalue()
    assert "a[2Jbc1md" in file.getvalue()
