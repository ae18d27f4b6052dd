"""function_tool: a Python function described as a tool, by its signature, annotations and docstring."""

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import jsonschema
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel, Field, TypeAdapter

import rxllm
from rxllm import ModelResponseStream, Stream, function_tool
from rxllm import operators as ops
from rxllm.types import ChatCompletionMessageToolCall, Function
from tests.operators.sources import call_piece, calling, of

HI = [{"role": "user", "content": "Hi"}]


class Unit(StrEnum):
    """A unit of temperature."""

    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Place(BaseModel):
    """Where it is.

    Attributes:
        city: the city.
    """

    city: str
    title: str = Field(default="", description="how it is called")


@dataclass
class Span:
    """From when to when."""

    first: int
    last: int = 7


def google(
    city: str,
    days: Annotated[int, Field(ge=1, le=7, description="how many days")] = 1,
    unit: Unit = Unit.CELSIUS,
    *,
    places: list[Place] | None = None,
    span: Span | None = None,
) -> str:
    """Tells the weather.

    Of today, or of more days.

    Args:
        city (str): the city, as
            "Paris, France".
        days: is said by the annotation.
        unit: of temperatures
        places: where
        span: when
        nobody: there is no such argument.

    Returns:
        A sentence: it is short.

    Raises:
        KeyError: there is no such city.
    """
    return f"{city} {days} {unit} {places} {span}"


def numpy(city: str, days: int = 1) -> str:
    """Tells the weather.

    Of today, or of more days.

    Parameters
    ----------
    city : str
        the city, as
        "Paris, France".
    days : int, optional
        how many days

    Returns
    -------
    str
        A sentence.
    """
    return f"{city} {days}"


def sphinx(city: str, days: int = 1) -> str:
    """Tells the weather.

    Of today, or of more days.

    :param str city: the city, as
        "Paris, France".
    :param days: how many days
    :type days: int
    :returns: A sentence: it is short.
    """
    return f"{city} {days}"


def parameters(function: Any) -> dict[str, Any]:
    """The schema of its arguments, which is one."""
    tool = function_tool(function)
    TypeAdapter(ChatCompletionToolParam).validate_python(tool)
    schema: dict[str, Any] = tool["function"]["parameters"]
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_the_docstring_tells_what_it_does_and_what_its_arguments_are(function: Callable[..., str]) -> None:
    """In the three styles that there are; what it returns and raises is no matter of the model's."""
    described = function_tool(function)["function"]
    assert described["name"] == function.__name__
    assert described["description"] == "Tells the weather.\n\nOf today, or of more days."
    properties = described["parameters"]["properties"]
    assert properties["city"] == {"type": "string", "description": 'the city, as "Paris, France".'}
    assert properties["days"]["description"] == "how many days"
    assert described["parameters"]["required"] == ["city"]


def test_annotations_are_the_schema() -> None:
    """Limits, enumerations, pydantic classes, dataclasses; no name is said twice."""
    schema = parameters(google)
    assert schema["properties"]["days"] == {
        "type": "integer", "minimum": 1, "maximum": 7, "default": 1, "description": "how many days",
    }  # fmt: skip
    assert schema["properties"]["unit"]["description"] == "of temperatures"
    assert schema["$defs"]["Unit"]["enum"] == ["celsius", "kelvin"]
    assert schema["$defs"]["Place"]["properties"] == {
        "city": {"type": "string"},
        "title": {"type": "string", "default": "", "description": "how it is called"},
    }
    assert "Span" in schema["$defs"]
    assert schema["additionalProperties"] is False
    assert "nobody" not in schema["properties"]


def test_what_can_be_described() -> None:
    """Coroutine functions, methods, partials with a name, callables without a docstring or annotations, classes."""

    async def wait(seconds: float) -> None:
        """Waits."""

    untyped: dict[str, Any] = {}
    exec("def bare(anything, mode='a', **more): ...", untyped)  # noqa: S102  no checker likes to see it
    bare = untyped["bare"]

    class Clock:
        def tell(self, zone: str) -> str:
            """Tells the time."""
            return zone

    assert function_tool(wait)["function"]["description"] == "Waits."
    assert parameters(wait)["properties"] == {"seconds": {"type": "number"}}
    assert parameters(Clock().tell)["properties"] == {"zone": {"type": "string"}}
    partial = function_tool(functools.partial(numpy, days=2), name="weather")["function"]
    assert (partial["name"], partial["parameters"]["required"]) == ("weather", ["city"])
    assert partial["description"].startswith("Tells the weather.")
    assert "description" not in function_tool(bare)["function"]
    schema = parameters(bare)
    assert schema["properties"]["anything"] == {}
    assert schema["properties"]["mode"] == {"default": "a"}
    assert "additionalProperties" not in schema
    place = function_tool(Place)["function"]
    assert (place["name"], place["description"]) == ("Place", "Where it is.")
    assert place["parameters"]["properties"]["city"] == {"type": "string", "description": "the city."}

    class Called:
        def __call__(self, zone: str) -> str:
            """Tells the time."""
            return zone

    assert function_tool(Called(), name="time")["function"]["parameters"]["required"] == ["zone"]

    class Untold(BaseModel):
        x: int

    assert "description" not in function_tool(Untold)["function"]
    assert function_tool(Untold, description="Given")["function"]["description"] == "Given"


def test_what_takes_no_arguments() -> None:
    """Has a schema all the same, which every provider takes."""

    def now() -> str:
        return ""

    assert parameters(now) == {"type": "object", "properties": {}, "additionalProperties": False}


def after_google(city: str, days: int = 1) -> str:
    """Tells the weather.

    :class:`Place` tells where.

    Args:
        city: the city.

            As it is written there.
        days: how many

    It is that of an office.

    Hint:
        days: is told above.
    """
    return f"{city} {days}"


def after_sphinx(city: str, days: int = 1) -> str:
    """Tells the weather.

    :class:`Place` tells where.

    :param city: the city.
      As it is written there.
    :param days: how many

    It is that of an office.
    """
    return f"{city} {days}"


@pytest.mark.parametrize("function", [after_google, after_sphinx])
def test_what_stands_below_the_arguments_is_not_about_them(function: Callable[..., str]) -> None:
    """What is indented goes on with one, over an empty line too; a paragraph at the margin does not."""
    described = function_tool(function)["function"]
    assert described["description"] == "Tells the weather.\n\n:class:`Place` tells where."
    properties = described["parameters"]["properties"]
    assert properties["city"]["description"] == "the city. As it is written there."
    assert properties["days"]["description"] == "how many"


def search(query: str, *, api_key: str = "none", tenant: int = 0) -> str:
    """Searches."""
    return f"{tenant} {api_key} {query}"


def test_what_a_partial_has_bound_is_nobody_elses() -> None:
    """A key is in no schema and no error, and who asks is not for the model to say."""
    bound = functools.partial(search, api_key="sk-secret", tenant=7)
    unfit: Any = search
    tool = function_tool(bound, name="search")
    assert "sk-secret" not in repr(tool)
    assert tool["function"]["parameters"]["properties"] == {"query": {"type": "string"}}
    with pytest.raises(ValueError, match="name=") as unnamed:
        function_tool(bound)
    with pytest.raises(TypeError, match="incorrect arguments") as misfit:
        function_tool(functools.partial(unfit, key="sk-secret"), name="search")
    with pytest.raises(TypeError, match="__name__") as listed:
        ops.run_tools([bound], send=lambda _: rxllm.as_stream([]))
    assert "sk-secret" not in f"{unnamed.value} {misfit.value} {listed.value}"

    def results(arguments: str) -> list[str]:
        piece = call_piece(arguments, index=0, id="a", name="search")
        asking = rxllm.as_stream([calling(piece, finish_reason="tool_calls")])
        running = ops.run_tools({"search": bound}, send=lambda _: rxllm.as_stream([of("I see.")]), messages=HI)
        return [chunk.tool_result.content for chunk in asking.pipe(running) if chunk.tool_result]

    assert results('{"query": "x"}') == ["7 sk-secret x"]
    assert results('{"query": "x", "tenant": 8}') == ["There is no such argument: tenant."]


NOTHING: Any = object()


def test_defaults_that_are_no_json_are_not_told() -> None:
    """Nor is anybody warned of them: the argument may be left out, and that is all that matters."""

    def choose(where: str = NOTHING, most: float = float("inf")) -> str:
        return f"{where} {most}"

    schema = parameters(choose)
    assert schema["properties"] == {"where": {"type": "string"}, "most": {"type": "number"}}
    assert "required" not in schema


class Node(BaseModel):
    """A node.

    Attributes:
        label: what it says
    """

    label: str
    below: list["Node"] = []


def test_a_class_that_has_itself_among_its_fields() -> None:
    """Is an object at the top, as providers want it."""
    described = function_tool(Node)["function"]
    schema = parameters(Node)
    assert described["description"] == "A node."
    assert (schema["type"], schema["required"]) == ("object", ["label"])
    assert schema["properties"]["label"] == {"type": "string", "description": "what it says"}
    jsonschema.validate({"label": "a", "below": [{"label": "b"}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"label": "a", "below": [{"label": 1}]}, schema)


def test_what_wraps_a_function_is_described_as_it() -> None:
    """Results that are kept, objects that can be called, methods and partials of these."""

    @functools.cache
    def kept(city: str) -> str:
        """Tells the weather."""
        return city

    class Called:
        @functools.cache  # noqa: B019  it is not called
        def kept(self, city: str) -> str:
            """Tells the weather."""
            return city

        def __call__(self, city: str, days: int = 1) -> str:
            """Tells the weather.

            Args:
                city: where
                days: how many
            """
            return f"{city} {days}"

    for cached in (kept, Called().kept):
        described = function_tool(cached)["function"]
        assert described["description"] == "Tells the weather."
        assert described["parameters"]["properties"] == {"city": {"type": "string"}}
    for called in (Called(), functools.partial(Called(), days=2)):
        described = function_tool(called, name="weather")["function"]
        assert described["description"] == "Tells the weather."
        assert described["parameters"]["properties"]["city"] == {"type": "string", "description": "where"}


def positional(a: int, /) -> int:
    """Cannot be called by name."""
    return a


def many(*numbers: int) -> int:
    """Takes no names."""
    return sum(numbers)


def opaque(stream: Stream[Any]) -> None:
    """Takes what has no form in JSON."""
    del stream


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (positional, TypeError, "'positional'"),
        (many, TypeError, "'many'"),
        (opaque, TypeError, "'opaque'"),
        (len, TypeError, "'len'"),
        (str.upper, TypeError, "'upper'"),
        (dict, TypeError, "classes"),
        (Span, TypeError, "classes"),
        (5, TypeError, "takes a function"),
        (lambda: None, ValueError, "name="),
        (functools.partial(numpy), ValueError, "name="),
    ],
)
def test_what_cannot_be_described_is_refused(function: Any, error: type[Exception], match: str) -> None:
    """By name, and with a word of why."""
    with pytest.raises(error, match=match):
        function_tool(function)


def test_names_are_those_that_a_model_can_call() -> None:
    """As OpenAI takes them."""
    for name in ("", "a b", "é", "x" * 65):
        with pytest.raises(ValueError, match="64 letters"):
            function_tool(google, name=name)


def test_completion_takes_functions_among_its_tools() -> None:
    """They are in the request as dictionaries, beside others; one that cannot be described is refused at once."""
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    stream = rxllm.completion("sim/story", HI, stream=True, tools=[google, other, Place])
    assert stream.request is not None
    assert stream.request.params["tools"] == [function_tool(google), other, function_tool(Place)]
    same = rxllm.completion("sim/story", HI, stream=True, tools=[other])
    assert same.request is not None
    assert same.request.params["tools"] == [other]
    with pytest.raises(TypeError, match="'many'") as raised:
        rxllm.completion("sim/story", HI, tools=[{"type": "mcp", "authorization": "sk-secret"}, many])
    # As with every key, no traceback shows those of other tools.
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
    assert "sk-secret" not in repr(frames[1:])


def test_a_function_is_offered_called_and_answered_for() -> None:
    """All the way on the embedded model, which fills the schema in."""
    called: list[tuple[str, int]] = []

    def get_weather(city: str, days: Annotated[int, Field(ge=1, le=7)]) -> dict[str, int]:
        """Tells the weather."""
        called.append((city, days))
        return {"degrees": 18}

    def send(messages: list[Any]) -> Stream[ModelResponseStream]:
        extra = {"delay": 0}
        return rxllm.completion("sim/story", messages, stream=True, tools=[get_weather], extra_body=extra)

    asking = send([{"role": "user", "content": "What is the weather in Paris?"}])
    chunks = list(asking.pipe(ops.run_tools([get_weather], send=send)))
    assert [(type(city), 1 <= days <= 7) for city, days in called] == [(str, True)]
    (result,) = [chunk.tool_result for chunk in chunks if chunk.tool_result]
    assert (result.content, result.failed) == ('{"degrees":18}', False)


def test_what_does_not_fit_the_schema_is_told_to_the_model() -> None:
    """By the same annotations that made it."""
    call = ChatCompletionMessageToolCall(id="a", function=Function(name="google", arguments='{"city": "X", "days": 9}'))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(call.parsed, parameters(google))
    piece = call_piece(call.function.arguments, index=0, id="a", name="google")
    sent: list[Any] = []

    def send(messages: list[Any]) -> Stream[ModelResponseStream]:
        sent.append(messages[-1])
        return rxllm.as_stream([of("I see.", finish_reason="stop")])

    stream = rxllm.as_stream([calling(piece, finish_reason="tool_calls")])
    list(stream.pipe(ops.run_tools([google], send=send, messages=HI)))
    assert sent == [
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": "ValidationError: days: Input should be less than or equal to 7",
        }
    ]
