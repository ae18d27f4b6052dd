"""JSON that is still being written."""

import datetime as dt
import enum
import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rxllm._accumulators._partial_shape import PartialShape, json_part
from rxllm._partial_json import NOTHING, partial_json


class Colour(enum.Enum):
    """One of few."""

    RED = "red"


class Step(BaseModel):
    """A part of a part."""

    text: str
    minutes: int
    after: "Step | None" = None


class Square(BaseModel):
    """A member of a union."""

    kind: Literal["square"]
    side: int


class Circle(BaseModel):
    """The other."""

    kind: Literal["circle"]
    radius: int


class Recipe(BaseModel):
    """A bit of everything."""

    model_config = ConfigDict(frozen=True)

    title: str = Field(min_length=2)
    steps: list[Step]
    when: dt.date | None
    colour: Colour = Colour.RED
    by_name: dict[str, Step] = {}
    form: Annotated[Square | Circle, Field(discriminator="kind")] | None = None
    nick: str | None = Field(default=None, alias="nickName")
    tags: tuple[str, ...] = ()


WHOLE: dict[str, Any] = {
    "title": "Soup",
    "steps": [{"text": "boil", "minutes": 12}, {"minutes": 3, "text": "eat"}],
    "when": "2024-01-02",
    "colour": "red",
    "by_name": {"a": {"minutes": 2, "text": "x", "after": {"minutes": 1, "text": "y"}}},
    "form": {"kind": "circle", "radius": 3},
    "nickName": "s",
    "tags": ["a", "b"],
}


CAME: list[tuple[dict[str, Any], str, Any]] = [
    ({"title": "S"}, "title", None),
    ({"title": "So"}, "title", "So"),
    ({"steps": [{"minutes": 3}]}, "steps", [Step.model_construct(text=None, minutes=3, after=None)]),
    ({"steps": [{}, 5]}, "steps", [Step.model_construct(text=None, minutes=None, after=None)]),
    ({"steps": 5}, "steps", None),
    ({"when": "2024-01-"}, "when", None),
    ({"when": "2024-01-02"}, "when", dt.date(2024, 1, 2)),
    ({"colour": "re"}, "colour", Colour.RED),
    ({"form": {"kind": "circle"}}, "form", Circle.model_construct(kind="circle", radius=None)),
    ({"form": {"kind": "circ"}}, "form", Square.model_construct(kind=None, side=None)),
    ({"form": None}, "form", None),
    ({"nickName": "n"}, "nick", "n"),
    ({"tags": ["a", 5]}, "tags", ("a",)),
    ({"by_name": {"a": {"minutes": 1}}}, "by_name", {"a": Step.model_construct(text=None, minutes=1, after=None)}),
]


@pytest.mark.parametrize(("data", "field", "value"), CAME)
def test_what_has_come_of_a_model(data: dict[str, Any], field: str, value: Any) -> None:
    """What fits is there, however deep; the rest is None or its default, and not among the fields that came."""
    partial = PartialShape(Recipe).partial(data)
    assert getattr(partial, field) == value
    assert set(vars(partial)) == set(Recipe.model_fields)


def test_only_what_came_can_be_dumped() -> None:
    """Without a warning of what does not fit."""
    partial = PartialShape(Recipe).partial({"title": "Soup", "steps": [{"minutes": 3}]})
    assert partial.model_dump(exclude_unset=True) == {"title": "Soup", "steps": [{"minutes": 3}]}
    assert partial.model_fields_set == {"title", "steps"}


@given(st.permutations(list(WHOLE)), st.data())
def test_every_beginning_amounts_to_something(names: list[str], data: st.DataObject) -> None:
    """A model from its bracket on; nothing that came is lost again; and the whole is the whole."""
    text = json.dumps({name: WHOLE[name] for name in names}, ensure_ascii=data.draw(st.booleans()))
    shape = PartialShape(Recipe)
    came: set[str] = set()
    for end in range(1, len(text) + 1):
        partial = shape.partial(partial_json(text[:end]))
        assert isinstance(partial, Recipe)
        assert came <= partial.model_fields_set
        came = set(partial.model_fields_set)
    assert partial == shape.whole(text) == Recipe.model_validate(WHOLE)  # pyright: ignore[reportPossiblyUnboundVariable]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", ""),
        ("  ", ""),
        ("Here", "Here"),
        (' {"a"', '{"a"'),
        ('Here: {"a"', '{"a"'),
        ('See [1]:\n```json\n{"a"', '{"a"'),
        ("```\n[", "["),
        ('{"code": "```js\n{', '{"code": "```js\n{'),
        ('"text [', "["),
    ],
)
def test_where_the_json_begins(text: str, part: str) -> None:
    """Behind prose, behind a fence; what is JSON from its start on has fences as text."""
    assert json_part(text) == part


@pytest.mark.parametrize("text", ["", " ", "Here", "nul", "]", "-"])
def test_what_is_no_json_is_nothing(text: str) -> None:
    """None is something: null."""
    assert partial_json(text) is NOTHING
    assert partial_json("null") is None


@pytest.mark.parametrize("text", ['{"a": "\ud83d', '["\ud83d"]', '["\\ud83d"]', '["\\ud83d'])
def test_half_a_surrogate_pair_is_no_end(text: str) -> None:
    """Whether it came as it is or escaped, another half may follow."""
    partial_json(text)


@pytest.mark.parametrize("text", ["12 apples", "[1", '{"a": 1} and more', "```"])
def test_the_whole_is_strict(text: str) -> None:
    """Text after the JSON is no part of it; JSON that is not whole, or another, is an error."""
    if text[0] == "{":
        assert PartialShape(dict[str, int]).whole(text) == {"a": 1}
    elif text[0] == "1":
        assert PartialShape(int).whole(text) == 12
    else:
        with pytest.raises(ValidationError):
            PartialShape(list[int]).whole(text)


def test_a_shape_is_named() -> None:
    """For messages."""
    assert PartialShape(Recipe).name == "Recipe"
    assert PartialShape(TypeAdapter(list[int])).name == PartialShape(list[int]).name == "list[int]"
