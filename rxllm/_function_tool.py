"""A Python function as a tool that a model may call: its name, what it is for, and a JSON schema of its arguments."""

import inspect
import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import PydanticSerializationError

__all__ = ["function_tool"]

_CONFIG: Final = ConfigDict(arbitrary_types_allowed=True)
_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)
# Where a docstring goes over from what the function does to its arguments and the rest.
_GOOGLE: Final = re.compile(r"(Args|Arguments|Parameters|Attributes|Returns?|Raises|Yields?|Examples?|Notes?):")
_SPHINX: Final = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:]*?\s)?(\w+)\s*:\s*(.*)")
_SPHINX_FIELD: Final = re.compile(r":(?:\w+)(?:\s+[^:]*)?:(?!`)")
_GOOGLE_ENTRY: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_ENTRY: Final = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?()")
_OF_ARGUMENTS: Final = frozenset({"Args", "Arguments", "Parameters", "Attributes"})


class _WithoutTitles(GenerateJsonSchema):
    """Schemas that do not say each name twice: a model pays for every word.

    Nor do they tell of a default that is no JSON, and nobody is warned of it: it is for the function alone.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        if kind != "non-serializable-default":
            super().emit_warning(kind, detail)

    def encode_default(self, dft: Any) -> Any:
        encoded = super().encode_default(dft)
        try:
            json.dumps(encoded, allow_nan=False)
        except ValueError as error:
            raise PydanticSerializationError(str(error)) from None
        return encoded


def function_tool(
    function: Callable[..., Any], *, name: str | None = None, description: str | None = None
) -> dict[str, Any]:
    """Describes ``function`` as a tool in OpenAI's form, for ``tools=``, by its signature, annotations and docstring.

    ``completion(tools=[function])`` does so by itself, and ``run_tools([function], send=...)`` calls it with arguments
    that pydantic has validated by the same annotations: what does not fit is told to the model, which may try again.

    The schema is pydantic's: parameters without a default are required, further ones are refused, ``Field(...)`` in an
    ``Annotated`` says limits and descriptions, and pydantic classes and dataclasses may be arguments. Where it says
    nothing, what the docstring says of its arguments does, in the style of Google, numpy or Sphinx; what stands before
    them tells what the function does. A pydantic class is described by its fields: calling it makes an object of it.
    What a ``functools.partial`` has bound, such as a key or who asks, is not told, and not taken from the model either.

    Args:
        function: a function, a coroutine function, a method, a ``functools.partial`` or a pydantic class.
        name: what the model is to call it; by default its ``__name__``. ``run_tools()`` takes a mapping of such names.
        description: what it is for; by default what its docstring says.

    Returns:
        A dictionary of its own, to be changed at will, such as by ``["function"]["strict"] = True``.

    Raises:
        TypeError: it is no function, or has parameters that cannot be told in JSON, such as ``*args``.
        ValueError: its name is none that a model can call: up to 64 letters, digits, ``_`` and ``-``.

    >>> def get_weather(city: str, celsius: bool = True) -> str:
    ...     '''Tells the weather of today.
    ...
    ...     Args:
    ...         city: the city, as "Paris, France".
    ...     '''
    >>> tool = function_tool(get_weather)
    >>> tool["function"]["name"], tool["function"]["description"]
    ('get_weather', 'Tells the weather of today.')
    >>> tool["function"]["parameters"]["properties"]["city"]
    {'type': 'string', 'description': 'the city, as "Paris, France".'}
    >>> tool["function"]["parameters"]["required"]
    ['city']
    """
    given: Any = function
    if not callable(given):
        raise TypeError(f"function_tool() takes a function, and a {type(given).__name__} is none")
    called = name if name is not None else getattr(given, "__name__", None)
    if not isinstance(called, str) or not _NAME.fullmatch(called):
        # The function itself is not shown: a partial may have bound a key.
        raise ValueError(f"A tool's name has up to 64 letters, digits, _ and -, and {called!r} is none: pass name=")
    purpose, arguments = _documented(given)
    schema = _schema(given, called)
    # What a class says is in its description already.
    schema.pop("title", None)
    own = schema.pop("description", None)
    properties: dict[str, Any] = schema.get("properties", {})
    if isinstance(given, partial):
        for bound in given.keywords:
            properties.pop(bound, None)
    for argument, text in arguments.items():
        if argument in properties:
            properties[argument].setdefault("description", text)
    described: dict[str, Any] = {"name": called}
    if told := description if description is not None else purpose or own:
        described["description"] = told
    return {"type": "function", "function": {**described, "parameters": schema}}


def _schema(function: Any, name: str) -> dict[str, Any]:
    called = _called(function)
    try:
        if isinstance(called, type) and not issubclass(called, BaseModel):
            raise TypeError("of classes only pydantic's are described")  # noqa: TRY301  told below
        if inspect.isbuiltin(called) or inspect.ismethoddescriptor(called):
            raise TypeError("it is not written in Python")  # noqa: TRY301  likewise
        # A pydantic class has a configuration of its own, which TypeAdapter would not have replaced.
        adapter = TypeAdapter[Any](called, config=None if isinstance(called, type) else _CONFIG)
        schema = adapter.json_schema(schema_generator=_WithoutTitles)
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        # What a partial has bound is shown nowhere.
        reason = str(error).replace(repr(called), "it").split("\n", maxsplit=1)[0]
    else:
        if "$ref" in schema:
            # As of a class that has itself among its fields. Providers want to see an object.
            itself: str = schema.pop("$ref").removeprefix("#/$defs/")
            schema = {**deepcopy(schema["$defs"][itself]), **schema}
        if schema.get("type") == "object":
            return schema
        reason = "its arguments cannot be given by name"
    raise TypeError(f"function_tool() cannot describe {name!r} in JSON: {reason}")


def _called(function: Any) -> Any:
    """The function that tells of the arguments: of an object that can be called what it does then."""
    if isinstance(function, partial):
        return partial(_called(cast("Any", function).func), *function.args, **function.keywords)
    if inspect.ismethoddescriptor(function):
        # As of a function whose results functools.cache keeps.
        function = getattr(function, "__wrapped__", function)
    return function if isinstance(function, type) or inspect.isroutine(function) else function.__call__


def _documented(function: Any) -> tuple[str, dict[str, str]]:
    """What a docstring says of the whole, and of each argument."""
    # That of a class is its own, and none that it inherits; of a partial, that of what it calls.
    called = getattr(function, "func", function)
    text = vars(called).get("__doc__") if isinstance(called, type) else getattr(called, "__doc__", None)
    if text is None and not isinstance(called, type):
        text = getattr(_called(called), "__doc__", None)
    lines = inspect.cleandoc(text).splitlines() if isinstance(text, str) else []
    end = next((place for place in range(len(lines)) if _section(lines, place) is not None), len(lines))
    return "\n".join(lines[:end]).strip(), _arguments(lines, end)


def _section(lines: list[str], place: int) -> str | None:
    """The title of the section that begins here; ``""`` for a field of Sphinx's."""
    line = lines[place].rstrip()
    if match := _GOOGLE.fullmatch(line):
        return match[1]
    if place + 1 < len(lines) and line and re.fullmatch(r"-{3,}", lines[place + 1].strip()):
        return line
    return "" if _SPHINX_FIELD.match(line) else None


def _arguments(lines: list[str], start: int) -> dict[str, str]:
    """What is said of each argument from here on."""
    found: dict[str, list[str]] = {}
    words: list[str] = []
    entry: re.Pattern[str] | None = None
    margin = -1
    for place in range(start, len(lines)):
        line = lines[place]
        title = _section(lines, place)
        depth = len(line) - len(line.lstrip())
        match = _SPHINX.fullmatch(line)
        if title is not None:
            # numpy's arguments stand below a rule and at the margin, Google's are indented.
            entry = (
                None if title not in _OF_ARGUMENTS else _GOOGLE_ENTRY if line.rstrip().endswith(":") else _NUMPY_ENTRY
            )
            # What goes on with a field of Sphinx's is indented below it.
            margin = -1 if title else depth
        elif entry is not None and line.strip(" -"):
            margin = depth if margin < 0 else margin
            match = entry.fullmatch(line.strip()) if depth == margin else None
            entry = entry if depth >= margin else None
        if match is not None:
            words = found.setdefault(match[1], [])
            words.append(match[2])
        elif title is not None or (line.strip() and depth <= margin):
            words = []
        elif line.strip():
            words.append(line.strip())
    return {name: " ".join(filter(None, said)) for name, said in found.items() if any(said)}
