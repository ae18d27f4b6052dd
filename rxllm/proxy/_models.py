"""Which models are served, and what answers for each."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from reactivex import Observable

from rxllm import Stream, as_stream
from rxllm.exceptions import BadRequestError
from rxllm.providers import PROVIDERS, resolve
from rxllm.proxy._errors import Refusal
from rxllm.proxy._request import ProxyRequest
from rxllm.types import ModelResponseStream

__all__ = ["Answerer", "Models", "unknown_model"]

Answerer = Callable[[ProxyRequest], Any] | str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""What answers: a function of the request, a model's name, arguments of ``completion()``, or several of these, which
then are asked in turn where one fails before any content."""

_SIMULATED: Final = ("sim/story", "sim/echo", "sim/reason")
_LONGEST_NAME: Final = 200  # that is told: a client may ask for megabytes
_SOME_REQUEST: Final = ProxyRequest("any", [{"role": "user", "content": "Hello"}])


class Models:
    """The models by their public names; without any given, all that rxllm can resolve.

    A name that ends in ``*`` serves all that begin so; where the arguments' model has a ``*`` too, what the star stood
    for takes its place.

    Args:
        given: see ``create_app()``.

    Raises:
        TypeError: what is to answer is of the wrong kind, or an argument of ``completion()`` is.
        ValueError: an argument of ``completion()`` has an impossible value.
        BadRequestError: a model names no known provider.
    """

    def __init__(self, given: Mapping[str, Answerer] | None) -> None:
        self._open = given is None
        self._answerers: dict[str, Answerer] = dict(given or {})
        for name, answerer in self._answerers.items():
            _check(name, answerer)

    @property
    def listed(self) -> bool:
        """Whether ``names()`` are all that there are."""
        return not self._open and not any(name.endswith("*") for name in self._answerers)

    def names(self) -> list[str]:
        """What ``GET /v1/models`` lists; what can be resolved without configuration is listed by its prefix."""
        if not self._open:
            return list(self._answerers)
        with_key = [
            f"{provider.name}/*"
            for provider in PROVIDERS.values()
            if any(os.environ.get(variable) for variable in provider.key_variables)
        ]
        return [*_SIMULATED, *with_key]

    def has(self, name: str) -> bool:
        """Whether a request for this name can be answered."""
        if not self._open:
            return self._find(name) is not None
        try:
            resolve(name)
        except BadRequestError:
            return False
        return True

    async def stream(self, request: ProxyRequest) -> Stream[ModelResponseStream]:
        """The Stream that answers ``request``; nothing is sent before somebody consumes it.

        Raises:
            Refusal: there is no such model, or an argument is wrong.
            Exception: whatever a function of the owner's raised.
        """
        found = ({"model": request.model}, "") if self._open else self._find(request.model)
        if found is None:
            raise unknown_model(request.model)
        answerer, rest = found
        if callable(answerer):
            made: Any = answerer(request)
            # A Stream can be awaited too: that would be its last chunk.
            if inspect.isawaitable(made) and not isinstance(made, Observable):
                made = await made
            stream: Any = made
            return as_stream(stream)
        try:
            first, *others = [
                request.complete(**{**arguments, **request.params, "model": arguments["model"].replace("*", rest)})
                for arguments in _each(answerer)
            ]
        except BadRequestError as error:
            raise (unknown_model(request.model, error.message) if self._open else error) from None
        except (TypeError, ValueError) as error:
            reason = str(error)
            param = reason.partition(" ")[0]
            raise Refusal(400, reason, param=param if param in request.params else None) from None
        if others:
            from rxllm.operators import fallback_to

            return first.pipe(fallback_to(*others))
        return first

    def _find(self, name: str) -> tuple[Answerer, str] | None:
        if name in self._answerers and not name.endswith("*"):
            return self._answerers[name], ""
        fitting = [pattern for pattern in self._answerers if pattern.endswith("*") and name.startswith(pattern[:-1])]
        if not fitting:
            return None
        pattern = max(fitting, key=len)
        return self._answerers[pattern], name[len(pattern) - 1 :]


def _each(answerer: Any) -> list[Mapping[str, Any]]:
    if isinstance(answerer, str):
        return [{"model": answerer}]
    return [answerer] if isinstance(answerer, Mapping) else list(answerer)  # pyright: ignore[reportUnknownVariableType]


def _check(name: Any, answerer: Any) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"A model's public name is a text, not {name!r}.")
    if callable(answerer):
        return
    if not isinstance(answerer, str | Mapping | Sequence) or isinstance(answerer, bytes) or not answerer:
        kind = type(cast("object", answerer)).__name__
        raise TypeError(
            f"What answers for {name!r} is a function of the request, a model's name or arguments of completion(), "
            f"not {kind}."
        )
    for arguments in _each(answerer):
        checked: Any = arguments
        if not isinstance(checked, Mapping) or not isinstance(arguments.get("model"), str):
            raise TypeError(f"Of the arguments for {name!r}, model is missing.")
        _SOME_REQUEST.complete(**{**arguments, "model": arguments["model"].replace("*", "any")})


def unknown_model(name: str, reason: str = "") -> Refusal:
    """The refusal of a model that is not served."""
    words = f": {reason}" if reason and len(name) <= _LONGEST_NAME else ""
    return Refusal(
        404,
        f"The model `{name[:_LONGEST_NAME]}` does not exist{words}",
        param="model",
        code="model_not_found",
        kind="invalid_request_error",
    )
