"""Fenced code in a text that comes in pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rxllm._accumulators._code_blocks import CodeBlocks
from rxllm.types import CodeBlock


def blocks(pieces: list[str]) -> list[CodeBlock]:
    """The blocks of a text that comes in these pieces."""
    found = CodeBlocks()
    return [*(block for piece in pieces for block in found.feed(piece)), *found.flush()]


lines = st.sampled_from(
    ["```", "```py", "``` py title=x", "````", "~~~", "~~~~ sh", "   ```", "    ```", " ~~~ ", "``` a`b", "text",
     "  code", "", "`x`", "- item", "  ```", "1. one", "   ```js", "- ```rb", "\tx"]
)  # fmt: skip


@given(st.lists(lines, max_size=12).map("\n".join), st.lists(st.integers(0, 150), max_size=8))
def test_any_cutting_gives_the_same_blocks(text: str, cuts: list[int]) -> None:
    """In pieces and one character at a time."""
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    whole = blocks([text])
    assert blocks([text[a:b] for a, b in pairwise(places)]) == blocks(list(text)) == whole
    assert [block.index for block in whole] == list(range(len(whole)))


plain = st.sampled_from(
    ["```", "```py", "``` py title=x", "````", "~~~", "~~~~ sh", "   ```", "    ```", " ~~~ ", "``` a`b", "text",
     "text  ", "`x`", "``", "~~", "  x", "~~~ a`b", "```\t", "````js"]
)  # fmt: skip


@given(st.lists(plain, max_size=12).map("\n".join))
def test_blocks_are_those_of_commonmark(text: str) -> None:
    """As markdown-it, which passes its tests, finds them; outside of lists."""
    fences = [token for token in MarkdownIt("commonmark").parse(text + "\n") if token.type == "fence"]
    assert [(block.info, block.code) for block in blocks([text + "\n"])] == [
        (token.info.strip(), token.content) for token in fences
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python\nx = 1\n```", [("python", "x = 1\n", True)]),
        ("~~~\na\n~~~ \nb", [("", "a\n", True)]),
        ("````md\n```py\nx\n```\n````\n", [("md", "```py\nx\n```\n", True)]),
        ("```\na\n~~~\n``\n````\nb", [("", "a\n~~~\n``\n", True)]),
        ("```py\nx = 1", [("py", "x = 1", False)]),
        ("```py\n", [("py", "", False)]),
        ("  ```\n  a\n    b\n c\n  ```\n", [("", "a\n  b\nc\n", True)]),
        ("    ```\n    a\n    ```\n", []),
        ("one ``` two\n```x`\n", []),
        ("```\n    ```\n```\n", [("", "    ```\n", True)]),
        ("```py\r\na\r\n```\r\n", [("py", "a\r\n", True)]),
        ("1. One:\n\n   ```sh\n   ls\n     -l\n   ```\n2. Two", [("sh", "ls\n  -l\n", True)]),
        ("- One\n  - Two\n\n    ```sh\n    ls\n    ```\n", [("sh", "ls\n", True)]),
        ("- ```sh\n  ls\n  ```\n", [("sh", "ls\n", True)]),
        ("1. One:\n   ```py\nforgotten\n   ```\nText\n\n    ```\n", [("py", "forgotten\n", True)]),
        ("-\tOne\n\n\t```\n\tx\n\t```\n", [("", "x\n", True)]),
        ("```a\n```\n```b\n```\n", [("a", "", True), ("b", "", True)]),
    ],
)
def test_blocks(text: str, expected: list[tuple[str, str, bool]]) -> None:
    """Fences of both kinds, long ones, indented ones, in lists, and those that are none."""
    assert [(block.language, block.code, block.closed) for block in blocks(list(text))] == expected


def test_what_stands_behind_the_fence() -> None:
    """Its first word is the language."""
    (block,) = blocks(['```python  title="a.py" {1}  \n```\n'])
    assert (block.language, block.info) == ("python", 'python  title="a.py" {1}')
