"""The arguments that a simulated model calls tools with: true to the schema, and to the prompt."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxllm._simulated_arguments import UnsatisfiableError, arguments_of_calls, value_for


@pytest.mark.parametrize(
    ("prompt", "properties", "expected"),
    [
        ("Add 3 and 4.5", {"a": {"type": "integer"}, "b": {"type": "number"}}, {"a": 3, "b": 4.5}),
        (
            "Find a flight from Paris to Rome on 2027-01-05",
            {
                "origin": {"type": "string"},
                "destination": {"type": "string"},
                "date": {"type": "string", "format": "date"},
            },
            {"origin": "Paris", "destination": "Rome", "date": "2027-01-05"},
        ),
        ("Who won in 1998?", {"query": {"type": "string"}}, {"query": "Who won in 1998?"}),
        ('Translate "good night" please', {"text": {"type": "string"}}, {"text": "good night"}),
        (
            "Mail bob@example.org the link https://example.org/x.",
            {"to": {"type": "string", "format": "email"}, "link": {"type": "string", "format": "uri"}},
            {"to": "bob@example.org", "link": "https://example.org/x"},
        ),
        (
            "Compare Oslo, Bergen and Narvik",
            {"cities": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
            {"cities": ["Oslo", "Bergen", "Narvik"]},
        ),
        ("Paint it dark green", {"colour": {"enum": ["red", "green"]}}, {"colour": "green"}),
        ("Set 5 as the level", {"level": {"type": "integer", "maximum": 4}}, {"level": 1}),
        ("Weather in Austin, TX", {"place": {"type": "string"}}, {"place": "Austin, TX"}),
    ],
)
def test_arguments_say_what_the_prompt_says(prompt: str, properties: dict[str, Any], expected: dict[str, Any]) -> None:
    """Names, quotes, numbers, dates and addresses of the prompt fill the parameters that can hold them."""
    assert value_for({"type": "object", "properties": properties, "required": list(properties)}, prompt) == expected


def test_one_call_where_the_things_fill_one_call() -> None:
    """Several names are no several calls where one call takes two of them, or a list."""
    two = {"type": "object", "properties": {"origin": {"type": "string"}, "goal": {"type": "string"}}}
    assert arguments_of_calls(two, "Trains between Paris and Rome", parallel=True) == [
        {"origin": "Paris", "goal": "Rome"}
    ]
    assert arguments_of_calls(None, "Paris and Rome", parallel=True) == [{}]


RECURSIVE: dict[str, Any] = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}


def test_recursive_schema_ends() -> None:
    """A schema that contains itself is filled as little deep as it allows."""
    value = value_for(RECURSIVE, "Draw a tree")
    assert (value["children"], value["next"]) == ([], None)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "string", "pattern": "^[0-9]{7}-[A-Z]{9}$"},
        {"type": "array", "items": {"enum": [1, 2]}, "minItems": 3, "uniqueItems": True},
        {"type": "object", "required": ["x"], "additionalProperties": False},
        {"$ref": "#/$defs/Nowhere"},
        {
            "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}},
            "$ref": "#/$defs/A",
        },
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "object", "patternProperties": {"^x": {}}},
        {"type": "poem"},
    ],
)
def test_what_cannot_be_satisfied_is_refused(schema: Any) -> None:
    """No value is made up for a schema that has none, or none that can be found."""
    with pytest.raises(UnsatisfiableError):
        value_for(schema, "Anything at 5")


def holds(value: Any, schema: Any, root: Any) -> bool:
    """Whether ``value`` satisfies ``schema``: a small validator of its own, for the keywords that the tests use."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and not holds(value, root["$defs"][schema["$ref"].split("/")[-1]], root):
        return False
    checks: dict[str, Callable[[Any], bool]] = {
        "const": lambda const: value == const and type(value) is type(const),
        "enum": lambda options: any(value == option and type(value) is type(option) for option in options),
        "type": lambda types: any(is_of(value, kind) for kind in ([types] if isinstance(types, str) else types)),
        "allOf": lambda parts: all(holds(value, part, root) for part in parts),
        "anyOf": lambda parts: any(holds(value, part, root) for part in parts),
    }
    if isinstance(value, str):
        checks["minLength"] = lambda least: len(value) >= least
        checks["maxLength"] = lambda most: len(value) <= most
        checks["pattern"] = lambda pattern: re.search(pattern, value) is not None
    elif isinstance(value, list):
        items = cast("Sequence[Any]", value)
        first = len(schema.get("prefixItems", ()))
        checks["minItems"] = lambda least: len(items) >= least
        checks["maxItems"] = lambda most: len(items) <= most
        checks["items"] = lambda part: all(holds(item, part, root) for item in items[first:])
        checks["prefixItems"] = lambda parts: all(map(holds, items, parts, [root] * len(parts)))
        checks["uniqueItems"] = lambda unique: not unique or len({json.dumps(item) for item in items}) == len(items)
    elif isinstance(value, dict):
        members = cast("Mapping[str, Any]", value)
        known = schema.get("properties", {})
        checks["required"] = lambda names: all(name in members for name in names)
        checks["properties"] = lambda parts: all(
            holds(members[name], parts[name], root) for name in parts.keys() & members
        )
        checks["additionalProperties"] = lambda part: all(
            holds(members[name], part, root) for name in members.keys() - known
        )
        checks["minProperties"] = lambda least: len(members) >= least
        checks["maxProperties"] = lambda most: len(members) <= most
    elif isinstance(value, int | float) and not isinstance(value, bool):
        checks["minimum"] = lambda least: value >= least
        checks["maximum"] = lambda most: value <= most
        checks["exclusiveMinimum"] = lambda least: value > least
        checks["exclusiveMaximum"] = lambda most: value < most
        checks["multipleOf"] = lambda step: math.isclose(value / step, round(value / step), abs_tol=1e-9)
    return all(check(schema[keyword]) for keyword, check in checks.items() if keyword in schema)


def is_of(value: Any, kind: str) -> bool:
    """Whether ``value`` is of a JSON type."""
    match kind:
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string" | "array" | "object" | "boolean":
            return isinstance(value, {"string": str, "array": list, "object": dict, "boolean": bool}[kind])
        case _:
            return kind == "null" and value is None


NAMES = st.sampled_from(["location", "city", "query", "amount", "tags", "unit", "when", "x"])
LEAVES: list[dict[str, Any]] = [
    *({"type": "string"}, {"type": "string", "format": "date"}, {"type": "string", "pattern": "^[A-Z]{3}$"}),
    *({"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}, {"type": "integer"}),
    *({"const": value} for value in ("celsius", 3, None, True)),
]


@st.composite
def numbers(draw: st.DrawFn, *, steps: tuple[float | None, ...] = (None, 1, 2, 5, 0.5, 0.1, 7)) -> dict[str, Any]:
    """A schema for numbers that has at least one."""
    low = draw(st.integers(-100, 100))
    schema = {"type": draw(st.sampled_from(["integer", "number"])), "minimum": low}
    schema["maximum"] = low + draw(st.integers(7, 50))
    step = draw(st.sampled_from(steps))
    return schema if step is None else schema | {"multipleOf": step}


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    """A schema for strings of bounded length."""
    least = draw(st.integers(0, 30))
    return {"type": "string", "minLength": least, "maxLength": least + draw(st.integers(0, 30))}


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Any]:
    """A schema that lists its values."""
    return {"enum": draw(st.lists(st.sampled_from(["a", "b", 1, 2.5, True, None]), min_size=1, max_size=4))}


@st.composite
def arrays(draw: st.DrawFn, parts: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A schema for arrays, with bounds, or with a part of its own for each place, or of different items."""
    least = draw(st.integers(0, 3))
    match draw(st.sampled_from(["bounded", "tuple", "set"])):
        case "bounded":
            bounds = {"minItems": least, "maxItems": least + draw(st.integers(0, 3))}
            return {"type": "array", "items": draw(parts)} | bounds
        case "tuple":
            first = draw(st.lists(parts, max_size=3))
            return {"type": "array", "prefixItems": first, "minItems": len(first)}
        case _:
            items = draw(st.one_of(numbers(steps=(None, 1, 2, 0.5)), st.just({"type": "string"})))
            return {"type": "array", "items": items, "minItems": least, "uniqueItems": True}


@st.composite
def objects(draw: st.DrawFn, parts: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A schema for objects, open or closed, with some of their properties required."""
    properties = draw(st.dictionaries(NAMES, parts, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    extras: list[dict[str, Any]] = [{}, {"additionalProperties": False}, {"minProperties": 2}, {"maxProperties": 4}]
    extra = draw(st.sampled_from(extras))
    return {"type": "object", "properties": properties, "required": required, **extra}


@st.composite
def combined(draw: st.DrawFn, parts: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A schema that refers to several others."""
    if draw(st.booleans()):
        return {"anyOf": draw(st.lists(parts, min_size=1, max_size=3))}
    return {"allOf": [draw(parts), {"description": "anything"}]}


SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(numbers(), strings(), choices(), st.sampled_from(LEAVES)),
    lambda parts: st.one_of(arrays(parts), objects(parts), combined(parts)),
    max_leaves=8,
)
PROMPTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["What's the weather in Paris and Rome?", "Add 3 and 4", 'Say "hello"', "12 -3 0.5 celsius"]),
)


@settings(max_examples=300)
@given(schema=SCHEMAS, prompt=PROMPTS)
def test_arguments_satisfy_their_schema(schema: Any, prompt: str) -> None:
    """Whatever the prompt says, the value satisfies the schema."""
    assert holds(value_for(schema, prompt), schema, schema)


@settings(max_examples=100)
@given(schema=SCHEMAS, prompt=PROMPTS)
def test_arguments_satisfy_a_referenced_schema(schema: Any, prompt: str) -> None:
    """References are followed, to schemas that contain themselves too."""
    root = {
        "$defs": {"Part": schema, "Node": RECURSIVE["$defs"]["Node"]},
        "type": "object",
        "properties": {"part": {"$ref": "#/$defs/Part"}, "node": {"$ref": "#/$defs/Node"}},
        "required": ["part", "node"],
    }
    for value in arguments_of_calls(root, prompt, parallel=True):
        assert holds(value, root, root)
