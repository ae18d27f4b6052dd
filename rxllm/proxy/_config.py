"""The configuration file: models by public name, in the form that LiteLLM's proxy reads."""

import difflib
import inspect
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from rxllm.exceptions import BadRequestError
from rxllm.proxy._models import Models
from rxllm.proxy._yaml import ConfigError, Lines, load_yaml

__all__ = ["Configuration", "read_config"]

_ENVIRONMENT: Final = "os.environ/"

# What OpenAI's and other dialects take beside what completion() names, as a default for all requests.
_PARAMETERS: Final = frozenset(
    "api_version drop_params extra_query frequency_penalty logit_bias logprobs max_completion_tokens metadata"
    " modalities parallel_tool_calls prediction presence_penalty prompt_cache_key reasoning reasoning_effort"
    " safety_identifier seed service_tier store thinking top_k top_logprobs top_p user verbosity web_search_options"
    " aws_access_key_id aws_secret_access_key aws_session_token aws_region_name aws_profile_name"
    " vertex_project vertex_location vertex_credentials".split()
)
_NOT_IN_A_FILE: Final = frozenset({"messages", "stream", "stream_options", "http_client", "provider_params"})

# What LiteLLM reads here and this server does not do.
_NOT_DONE: Final = {
    "rpm": "requests are not counted",
    "tpm": "tokens are not counted",
    "weight": "entries of one name are asked in turn, and not drawn by weight",
    "order": "entries of one name are asked in the order of the file",
    "max_parallel_requests": "requests are not limited",
    "stream_timeout": "say timeout, which bounds each wait",
    "input_cost_per_token": "costs are counted by attach_cost() in a pipeline",
    "output_cost_per_token": "costs are counted by attach_cost() in a pipeline",
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: str = Field(min_length=1)
    litellm_params: dict[str, Any]
    model_info: dict[str, Any] | None = None  # information for people


class _General(BaseModel):
    model_config = ConfigDict(extra="forbid")

    master_key: SecretStr | None = Field(None, min_length=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_list: list[_Entry] = Field(min_length=1)
    general_settings: _General = _General(master_key=None)


@dataclass(frozen=True)
class Configuration:
    """What a file says. Entries of one name are asked in the order of the file, the next where one fails.

    Attributes:
        models: for each public name the arguments of ``completion()``, in turn.
        master_key: the key of the server.
    """

    models: Mapping[str, list[dict[str, Any]]] = field(repr=False)  # keys are in it
    master_key: SecretStr | None


def read_config(path: str | Path) -> Configuration:
    """What the file says.

    Raises:
        ConfigError: something in it is wrong; the message has the file, the line, the field and what to do.
        OSError: it cannot be read.
        ImportError: the extra ``proxy`` is not installed.
    """
    document, lines = load_yaml(Path(path))
    if not isinstance(document, dict):
        raise lines.error((), "model_list is missing: a list of models, each with model_name and litellm_params")
    said: Any = _from_environment(document, (), lines)
    try:
        file = _File.model_validate(said)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _told(problem["loc"], problem["type"], problem["msg"], lines) from None
    models: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for index, entry in enumerate(file.model_list):
        place = ("model_list", index, "litellm_params")
        for name in entry.litellm_params:
            _check_name(name, (*place, name), lines)
        _try(entry, place, lines)
        models[entry.model_name].append(entry.litellm_params)
    return Configuration(models, file.general_settings.master_key)


def _from_environment(value: Any, place: tuple[int | str, ...], lines: Lines) -> Any:
    """``value`` with what the environment holds for each ``os.environ/NAME``."""
    if isinstance(value, dict):
        return {name: _from_environment(item, (*place, name), lines) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [_from_environment(item, (*place, index), lines) for index, item in enumerate(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if not isinstance(value, str) or not value.startswith(_ENVIRONMENT):
        return value
    name = value.removeprefix(_ENVIRONMENT)
    if held := os.environ.get(name):
        return held
    raise lines.error(place, f"the environment variable {name} is not set: set it, or leave this out")


def _told(place: tuple[int | str, ...], kind: str, message: str, lines: Lines) -> ConfigError:
    """What pydantic complains of, and what to do."""
    known = {0: _File, 1: _General if place[:1] == ("general_settings",) else _Entry}
    if kind == "extra_forbidden":
        names = list(known[min(len(place) - 1, 1)].model_fields)
        return lines.error(place, f"this is not known here; known are {', '.join(names)}")
    return lines.error(place, "this is missing" if kind == "missing" else message)


def _check_name(name: str, place: tuple[int | str, ...], lines: Lines) -> None:
    """A parameter that nobody knows would be sent to the provider, or change nothing, and nobody would notice."""
    known = _known()
    if name in known:
        return
    if name in _NOT_DONE:
        raise lines.error(place, f"this server has it not: {_NOT_DONE[name]}. Leave it out")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}."
    raise lines.error(place, f"this is not known here; {hint} What the provider alone knows goes under extra_body")


@cache
def _known() -> frozenset[str]:
    from rxllm import completion

    return (frozenset(inspect.signature(completion).parameters) | _PARAMETERS) - _NOT_IN_A_FILE


def _try(entry: _Entry, place: tuple[int | str, ...], lines: Lines) -> None:
    """What completion() would complain of at the first request."""
    if not isinstance(entry.litellm_params.get("model"), str):
        raise lines.error((*place, "model"), 'this is missing: such as "openai/gpt-4o"')
    try:
        Models({entry.model_name: entry.litellm_params})
    except BadRequestError as error:
        reason, name = error.message, "model"
    except (TypeError, ValueError) as error:
        reason = str(error)
        name = reason.partition(" ")[0]
    else:
        return
    raise lines.error((*place, name) if name in entry.litellm_params else place, reason)
