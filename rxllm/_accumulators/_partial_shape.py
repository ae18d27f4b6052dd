"""JSON that is still being written: the best object of a shape that it amounts to so far. Pure."""

import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from rxllm._partial_json import NOTHING

__all__ = ["PartialShape", "end_of_json", "json_part"]

_T = TypeVar("_T")


# What reads JSON data as some type, or gives NOTHING.
_Reader = Callable[[Any], Any]

_FENCE = re.compile(r"```[\w-]*\s*(?=[\[{])")
_BRACKET = re.compile(r"[\[{]")


def json_part(text: str) -> str:
    r"""The text from where its JSON begins: behind a Markdown fence, else at the first bracket, else all of it.

    What stands behind the JSON is left on it. Fences inside of JSON are text.

    >>> json_part('Here it is:\n```json\n{"a": 1'), json_part('{"a": "```{'), json_part(" 12 ")
    ('{"a": 1', '{"a": "```{', '12 ')
    """
    text = text.lstrip()
    if text[:1] in ("{", "["):
        return text
    fence = _FENCE.search(text)
    if fence is not None:
        return text[fence.end() :]
    bracket = _BRACKET.search(text)
    return text[bracket.start() :] if bracket is not None else text


def end_of_json(text: str) -> int:
    """Where the JSON at the beginning of ``text`` ends; the text's own end where it is none.

    >>> end_of_json('{"a": 1} is all'), end_of_json('{"a"')
    (8, 4)
    """
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (ValueError, RecursionError):
        return len(text)


class PartialShape(Generic[_T]):
    """A type that JSON is to have, and what of it there is when only a part of the JSON has come.

    >>> class City(BaseModel):
    ...     name: str
    ...     people: int
    >>> shape = PartialShape(City)
    >>> shape.partial({"name": "Ro"}), shape.whole('{"name": "Rome", "people": "3"}')
    (City(name='Ro', people=None), City(name='Rome', people=3))
    """

    def __init__(self, shape: "type[_T] | TypeAdapter[_T]") -> None:
        self._adapter: TypeAdapter[_T] = shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
        kind: Any = self._adapter._type if isinstance(shape, TypeAdapter) else shape  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._fields: dict[tuple[type[BaseModel], str], _Reader] = {}
        self._read = self._reader(kind)
        self.name: str = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)

    def partial(self, data: Any) -> _T:
        """The object of the shape that ``data`` amounts to, or ``NOTHING``.

        What does not fit yet is left out. Of a model, a required field that is not there is None, and
        ``model_fields_set`` says which are; validators of the model's own are not asked while it has gaps.
        """
        return cast("_T", self._read(data))

    def whole(self, text: str) -> _T:
        """The object that the JSON at the beginning of ``text`` is; anything may follow it.

        Raises:
            ValidationError: it does not fit, or is no JSON.
        """
        return self._adapter.validate_json(text[: end_of_json(text)])

    def _reader(self, kind: Any) -> _Reader:
        """What reads JSON data, whole or not, as ``kind``; ``NOTHING`` where it is none yet."""
        gaps = self._gaps_reader(get_args(kind)[0] if get_origin(kind) is Annotated else kind)
        if gaps is None:
            return _whole_reader(kind, allow_partial="trailing-strings")
        whole = _whole_reader(kind, allow_partial="off")

        def read(data: Any) -> Any:
            value = whole(data)
            return gaps(data) if value is NOTHING else value

        return read

    def _gaps_reader(self, kind: Any) -> _Reader | None:
        """What reads data that lacks something, where ``kind`` has parts."""
        origin, arguments = get_origin(kind), get_args(kind)
        if isinstance(origin or kind, type) and issubclass(origin or kind, BaseModel):
            return lambda data: self._read_model(kind, data)
        if origin in (Union, types.UnionType):
            readers = [self._reader(member) for member in arguments]
            return lambda data: max((read(data) for read in readers), key=_how_much)
        if origin is list or (origin is tuple and arguments[-1:] == (...,)):
            read_item = self._reader(arguments[0])
            return lambda data: _read_items(origin, read_item, data)
        if origin is dict:
            read_member = self._reader(arguments[1])
            return lambda data: _read_members(read_member, data)
        return None

    def _read_model(self, model: type[BaseModel], data: Any) -> Any:
        if not isinstance(data, Mapping):
            return NOTHING
        given = cast("Mapping[str, Any]", data)
        came: dict[str, Any] = {}
        for name, field in model.model_fields.items():
            key = next((key for key in _keys(name, field) if key in given), None)
            if key is not None:
                value = self._field_reader(model, name, field)(given[key])
                if value is not NOTHING:
                    came[name] = value
        # The defaults come from it, and the rest by the fields' names: it would look for the aliases first.
        made = model.model_construct(_fields_set=set(came))
        values = {name: came.get(name, vars(made).get(name)) for name in model.model_fields}
        fields = vars(made)
        fields.clear()
        fields.update(values)
        return made

    def _field_reader(self, model: type[BaseModel], name: str, field: FieldInfo) -> _Reader:
        # Made when first asked for, since a model may have fields of its own kind.
        read = self._fields.get((model, name))
        if read is None:
            kind: Any = field.annotation
            read = self._reader(Annotated[kind, *field.metadata] if field.metadata else kind)
            self._fields[model, name] = read
        return read


def _whole_reader(kind: Any, *, allow_partial: Literal["off", "trailing-strings"]) -> _Reader:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def read(data: Any) -> Any:
        try:
            # As JSON: strict types take from it what they take from nothing else.
            return adapter.validate_json(to_json(data), experimental_allow_partial=allow_partial)
        except Exception:  # noqa: BLE001  validators are the caller's, and the end asks them again
            return NOTHING

    return read


def _how_much(value: Any) -> int:
    """How much of a union's member has come: of two models, the one with more fields is meant."""
    return -1 if value is NOTHING else len(getattr(value, "model_fields_set", ()))


def _read_items(kind: Callable[[list[Any]], Any], read: _Reader, data: Any) -> Any:
    if not isinstance(data, list):
        return NOTHING
    items: list[Any] = data  # pyright: ignore[reportUnknownVariableType]
    return kind([value for item in items if (value := read(item)) is not NOTHING])


def _read_members(read: _Reader, data: Any) -> Any:
    if not isinstance(data, dict):
        return NOTHING
    members = cast("dict[str, Any]", data).items()
    return {name: value for name, item in members if (value := read(item)) is not NOTHING}


def _keys(name: str, field: FieldInfo) -> tuple[str, ...]:
    """What a field may be called in JSON."""
    alias = field.validation_alias if field.validation_alias is not None else field.alias
    return (alias, name) if isinstance(alias, str) else (name,)
