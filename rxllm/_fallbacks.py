"""``fallbacks=`` of ``completion()``: the arguments of a call, for another model.

Nothing of what may hold a key is bound to a name while something can fail: a traceback shows the locals of its frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Secret

from rxllm.exceptions import BadRequestError
from rxllm.providers import resolve
from rxllm.providers._base import Provider

__all__ = ["fallback_calls"]

_Arguments = Secret[dict[str, Any]]

# Another provider has a key and an address of its own, and is not to see these.
_OF_ONE_PROVIDER: Final = frozenset(
    {"api_base", "api_key", "base_url", "custom_llm_provider", "extra_body", "extra_headers"}
)
_OF_THE_CALL: Final = ("fallbacks", "stream")
_TWO_NAMES: Final = ({"api_base", "base_url"}, {"max_retries", "num_retries"})


def fallback_calls(fallbacks: Secret[Any], arguments: _Arguments) -> list[_Arguments]:
    """The arguments of the call for each fallback: those of the call itself, but for what the fallback says.

    Args:
        fallbacks: a list of models' names and of dictionaries of arguments; ``None`` for none.
        arguments: those of the call, its model and messages among them.

    Raises:
        TypeError: it is no such list.
    """
    if fallbacks.get_secret_value() is None:
        return []
    if isinstance(fallbacks.get_secret_value(), str | bytes) or not isinstance(fallbacks.get_secret_value(), Sequence):
        raise TypeError(
            'fallbacks is a list of models, or of dictionaries such as {"model": "gpt-4o", "api_key": ...}.'
        )
    return [
        _call(position, Secret(fallbacks.get_secret_value()[position]), arguments)
        for position in range(len(fallbacks.get_secret_value()))
    ]


def _call(position: int, given: Secret[Any], arguments: _Arguments) -> _Arguments:
    if isinstance(given.get_secret_value(), str):
        given = Secret({"model": given.get_secret_value()})
    if not isinstance(given.get_secret_value(), Mapping):
        kind = type(given.get_secret_value()).__name__
        raise TypeError(f"fallbacks[{position}] is a model's name or a dictionary of arguments, not {kind}.")
    for name in _OF_THE_CALL:
        if name in given.get_secret_value():
            raise TypeError(f"fallbacks[{position}] has no {name!r} of its own.")
    left_out = _left_out(given, arguments)
    return Secret(
        {name: value for name, value in arguments.get_secret_value().items() if name not in left_out}
        | {**given.get_secret_value()}
    )


def _left_out(given: Secret[Any], arguments: _Arguments) -> frozenset[str]:
    """Which arguments of the call the fallback does not share."""
    own = frozenset(given.get_secret_value())
    replaced = frozenset[str]().union(*(names for names in _TWO_NAMES if names & own))
    if not {"model", "custom_llm_provider"} & own:
        return replaced
    model, custom = (arguments.get_secret_value()[name] for name in ("model", "custom_llm_provider"))
    provider = _provider(model, custom)
    other_model = given.get_secret_value().get("model", model)
    other = _provider(other_model, given.get_secret_value().get("custom_llm_provider"))
    if other is None and "custom_llm_provider" not in own:
        # A name that is known where the call goes, if anywhere.
        other = _provider(other_model, custom)
    if provider is not None and other is not None and provider.name == other.name:
        return replaced
    return replaced | _OF_ONE_PROVIDER | frozenset(provider.key_parameters if provider is not None else ())


def _provider(model: str, custom_llm_provider: str | None) -> Provider | None:
    try:
        return resolve(model, custom_llm_provider)[0]
    except BadRequestError:
        return None
