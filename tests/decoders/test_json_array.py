"""The JSON array decoder: every cut of an array gives the same elements, as soon as they are whole."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxllm._decoders._json_array import JSONArrayDecoder

# Of few characters: tables of all that there are take seconds to make, the first time.
TEXT = st.text('ab1[]{},"\\\n é\u2028\U0001f600', max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.sampled_from(['"', "\\", '\\"', "]}", ",", "é\U0001f600"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body, cut at these places."""
    places = sorted({at % (len(body) + 1) for at in cuts} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


def decode(pieces: list[bytes]) -> tuple[list[Any], bool]:
    """The elements of an array that comes in pieces, and whether it ended."""
    decoder = JSONArrayDecoder()
    elements = [element for piece in pieces for element in decoder.feed(piece)]
    return elements + decoder.flush(), decoder.ended


@given(st.lists(JSON, max_size=5), st.lists(st.integers(min_value=0)), st.booleans(), st.sampled_from([None, 1]))
def test_any_array_cut_anywhere(array: list[Any], cuts: list[int], ascii_only: bool, indent: int | None) -> None:
    """The elements are those of the array, however it is written and cut."""
    body = ("\ufeff \r\n" + json.dumps(array, ensure_ascii=ascii_only, indent=indent) + "\n").encode()
    elements, ended = decode(cut(body, cuts))
    assert [json.loads(element) for element in elements] == array
    assert ended


def test_an_element_is_given_with_its_last_bracket() -> None:
    """A provider may wait before it sends the comma."""
    decoder = JSONArrayDecoder()
    assert decoder.feed(b'[{"a": [1, {"b": "}"}]') == []
    assert decoder.feed(b"}") == [b'{"a": [1, {"b": "}"}]}']
    assert decoder.feed(b"\r\n,\r\n") == []
    assert not decoder.ended


def test_nothing_is_read_after_the_end() -> None:
    """Whatever follows the array is not looked at."""
    assert decode([b"[1]", b", [2]"]) == ([b"1"], True)


def test_an_element_that_broke_off_is_none() -> None:
    """The end of the body does not make half an element whole."""
    assert decode([b'[{"a": 1}, {"b"']) == ([b'{"a": 1}'], False)
