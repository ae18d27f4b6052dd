import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast, overload

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SerialDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._accumulators._partial_shape import PartialShape, json_part
from rxllm._accumulators._schemas import PartialSchema
from rxllm._faults import reason_of
from rxllm._partial_json import NOTHING, partial_json
from rxllm._tool_calls import join_text
from rxllm.exceptions import APIResponseValidationError
from rxllm.operators._shared import check_choice, request_of
from rxllm.types import ModelResponseStream, Request

__all__ = ["parse_partial"]

_T = TypeVar("_T")
_Parsing = Callable[[Observable[ModelResponseStream]], Observable[_T]]


@overload
def parse_partial(shape: type[_T], *, interval: float = 0.05, choice: int = 0) -> _Parsing[_T]: ...
@overload
def parse_partial(shape: TypeAdapter[_T], *, interval: float = 0.05, choice: int = 0) -> _Parsing[_T]: ...
@overload
def parse_partial(
    shape: Mapping[str, Any] | None = None, *, interval: float = 0.05, choice: int = 0
) -> _Parsing[Any]: ...
def parse_partial(shape: Any = None, *, interval: float = 0.05, choice: int = 0) -> Any:
    """Gives the object that the JSON in the text amounts to so far, while it grows, and the whole one at the end.

    ::

        chunks   --'{"na'--'me":"Ro'--'me"}'--stop-----|
                        parse_partial(City)
        objects  --City(None)--City("Ro")--City("Rome")--City("Rome")|

    Strings come as far as they have got, numbers may grow yet, and what does not fit the shape yet is left out. In a
    model, however deep, a required field that has not come is None, another has its default, and ``model_fields_set``
    says which have come; so the type's promise holds for the last object alone, which is validated in full. Validators
    that a model has of its own are asked only where nothing is missing. With a JSON schema the JSON's own lists and
    dictionaries are given, and the last is checked; without a shape, any JSON is whole.

    The JSON may stand in a Markdown fence, and text before and after it is passed over. An object is given when the
    text has changed it, at most once an interval, on the scheduler of the subscription, and in any case at the end.
    Each time all the text is parsed again, at 5 microseconds a kilobyte, and some 100 for a model of many fields: with
    an interval of 0, at every chunk, that grows with the square of the text. A text that is no such JSON in the end is
    an ``APIResponseValidationError`` with the text as its ``body``; a stream without any text completes empty; an error
    passes. With ``n > 1`` the other choices are left out. After a restart (``chunk.restart``) only what follows counts:
    the next object is made of that alone. Held are the text and the last object.

    Args:
        shape: a pydantic class or another type that pydantic reads, such as ``list[City]``, a ``TypeAdapter``, or a
            JSON schema as a dictionary, also as ``response_format`` has it.
        interval: how many seconds at least lie between two objects.
        choice: the index of the choice.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.
        ImportError: it is a JSON schema, and the extra ``jsonschema`` is not installed; likewise.

    >>> import reactivex as rx
    >>> from pydantic import BaseModel
    >>> from rxllm.types import ModelResponseStream
    >>> class City(BaseModel):
    ...     name: str
    ...     people: int = 0
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ('{"name": "Ro', 'me", ', '"people": 3}')))
    >>> _ = chunks.pipe(parse_partial(City, interval=0)).subscribe(print)
    name='Ro' people=0
    name='Rome' people=0
    name='Rome' people=3
    name='Rome' people=3
    """
    check_choice(choice)
    _check_interval(interval)
    target = _shape(shape)

    def objects_of(source: Observable[ModelResponseStream]) -> Observable[Any]:
        request = request_of(source)

        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            timers: abc.SchedulerBase = scheduler or TimeoutScheduler.singleton()
            timer = SerialDisposable()
            # Off a loop, a timer comes on a thread of its own.
            mutex = threading.RLock()
            pieces: list[str] = []
            data = given = NOTHING
            resting = changed = False

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal changed, data, given
                with mutex:
                    if not chunk.choices and chunk.restart is not None:
                        pieces.clear()
                        data = given = NOTHING
                        changed = False
                    for entry in chunk.choices:
                        if entry.index == choice and entry.delta.content:
                            pieces.append(entry.delta.content)
                            changed = True
                    if changed and not resting:
                        give()

            def give() -> None:
                """Gives the object if there is another; then nothing for the interval."""
                nonlocal changed, data, given, resting
                changed = False
                if interval:
                    resting = True
                    timer.disposable = timers.schedule_relative(interval, wake)
                pieces[:] = [join_text(pieces)]
                came = partial_json(json_part(pieces[0]))
                if came is NOTHING or came == data:
                    return
                data = came
                made = target.partial(came)
                if made is not NOTHING and (given is NOTHING or made != given):
                    given = made
                    observer.on_next(made)

            def wake(_scheduler: abc.SchedulerBase, _state: Any = None) -> None:
                nonlocal resting
                with mutex:
                    resting = False
                    if changed:
                        give()

            def on_error(error: Exception) -> None:
                with mutex:
                    timer.dispose()
                    observer.on_error(error)

            def on_completed() -> None:
                with mutex:
                    timer.dispose()
                    if pieces:
                        try:
                            made = _whole(target, join_text(pieces), request)
                        except Exception as error:  # noqa: BLE001  validators are the caller's
                            observer.on_error(error)
                            return
                        observer.on_next(made)
                    observer.on_completed()

            return CompositeDisposable(source.subscribe(on_next, on_error, on_completed, scheduler=scheduler), timer)

        return Observable(subscribe)

    return objects_of


def _whole(target: PartialShape[Any] | PartialSchema, text: str, request: Request | None) -> Any:
    try:
        return target.whole(json_part(text))
    except ValueError as error:
        reason = reason_of(error)
    raise APIResponseValidationError(
        f"The answer does not fit {target.name}: {reason}",
        body=text,
        llm_provider=request.provider if request else None,
        model=request.model if request else None,
    )


def _shape(shape: Any) -> PartialShape[Any] | PartialSchema:
    if shape is None:
        return PartialShape[Any](TypeAdapter(Any))
    if isinstance(shape, Mapping):
        schema = cast("Mapping[str, Any]", shape)
        return PartialSchema(schema.get("json_schema", schema).get("schema", schema))
    try:
        if isinstance(shape, str):
            raise TypeError  # noqa: TRY301  which pydantic would take for the name of a type
        return PartialShape(shape)
    except (PydanticUserError, TypeError):
        raise TypeError(f"shape is a type that pydantic reads, a TypeAdapter or a JSON schema, not {shape!r}") from None


def _check_interval(interval: Any) -> None:
    if not isinstance(interval, int | float) or isinstance(interval, bool):
        raise TypeError(f"interval is a number of seconds, not {interval!r}")
    if not 0 <= interval < math.inf:
        raise ValueError(f"interval is a number of seconds, 0 or more, not {interval!r}")
