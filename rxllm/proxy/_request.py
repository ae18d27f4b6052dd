"""What a client asks: read within bounds, checked, and without what only the owner of the server may say."""

import asyncio
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, ValidationError
from starlette.requests import Request as HTTPRequest

from rxllm import Stream, completion
from rxllm.proxy._errors import Refusal
from rxllm.types import ModelResponseStream

__all__ = ["OWNERS_NAMES", "ChatBody", "ProxyRequest", "owners", "read_request"]

# Arguments of completion() that are OpenAI's too; all others that it names are the owner's.
_CLIENTS: Final = frozenset(
    "model messages stream stream_options max_tokens tools tool_choice temperature n stop response_format".split()
)
# What LiteLLM's proxy takes beside these, and what would come of it is not what would come of it here: who asks for a
# guardrail must not get an answer without it.
_OWNERS: Final = frozenset(
    "api_version extra_query organization region_name headers client guardrails policies prompt_id prompt_variables"
    " prompt_version prompt_label context_window_fallback_dict content_policy_fallback_dict model_list model_info"
    " mock_timeout mock_tool_calls mock_delay user_config allowed_openai_params request_timeout stream_timeout"
    " provider_specific_header secret_fields proxy_server_request routing_strategy retry_policy".split()
)
# What it takes too, and what only says something about the request, or asks for what is done in any case or would have
# changed nothing in the answer. ``metadata`` is such a one where OpenAI would refuse it: without ``store``.
_NOTES: Final = frozenset(
    "tags cache caching ttl no-log enable_prompt_caching litellm_metadata litellm_session_id litellm_trace_id"
    " litellm_call_id litellm_request_debug".split()
)
# Where requests are sent, with whose key and to which service that logs them. No key of a client's goes to a provider.
OWNERS_NAMES: Final = (
    "^(aws_|azure_|vertex_|google_|langfuse_|langsmith_|arize_|posthog_|humanloop_|wandb_|weave_|gcs_|s3_|dd_|signoz_"
    f"|newrelic_|slack_|litellm_(?!({'|'.join(sorted(n.removeprefix('litellm_') for n in _NOTES))})$))"
)
_is_owners: Final = re.compile(OWNERS_NAMES).search

_OURS: Final = frozenset({"model", "messages", "stream", "stream_options"})
_COUNTS: Final = ("max_tokens", "max_completion_tokens", "n", "seed")

# How long a piece of the body may be waited for, in seconds.
_PIECE_WITHIN: Final = 60.0

# Headers that hold what the client proved itself with; the rest may tell a budget whose request it is.
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Number = Annotated[float, Field(strict=True)]
_Whole = Annotated[int, Field(strict=True), BeforeValidator(_whole)]
_Count = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_whole)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool | None = None


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: StrictStr
    content: StrictStr | list[dict[str, Any]] | None = None


class Tool(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: StrictStr = "function"


class ChatBody(BaseModel):
    """The body of ``POST /v1/chat/completions``. What is not named here goes to the provider as it is."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: StrictStr = Field(min_length=1)
    messages: list[ChatMessage] = Field(min_length=1)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: _Number | None = None
    top_p: _Number | None = None
    n: Annotated[int, Field(strict=True, ge=1, le=128), BeforeValidator(_whole)] | None = None
    stop: StrictStr | list[StrictStr] | None = None
    tools: list[Tool] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    seed: _Whole | None = None
    user: StrictStr | None = None


@dataclass(frozen=True)
class ProxyRequest:
    """What a client asked for: what a model's function is given.

    Attributes:
        model: the public name that was asked for.
        messages: the messages, as plain dictionaries.
        params: every other parameter, in the OpenAI shape, but for ``stream`` and ``stream_options``.
        headers: the request's headers, by name in small letters, without those that prove who the client is.
        stream: whether the client wants a stream; the function gives a Stream in any case.
        include_usage: whether the client wants the chunk with the usage.
        notes: what the client said to the proxy and not to the model, as clients of LiteLLM's do: ``tags``,
            ``metadata`` (without ``store``), ``cache``, ``litellm_metadata`` and the like. It goes to no provider, and
            nothing acts on it but the model's function.

    >>> request = ProxyRequest("gpt-4", [{"role": "user", "content": "Hi"}], {"temperature": 0})
    >>> request.arguments
    {'messages': [{'role': 'user', 'content': 'Hi'}], 'stream': True, 'temperature': 0}
    """

    model: str
    messages: list[dict[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    stream: bool = True
    include_usage: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments for ``completion()``, all but the model: ``completion("openai/gpt-4o", **request.arguments)``."""
        return {"messages": self.messages, "stream": True, **self.params}

    def complete(self, model: str, **replaced: Any) -> Stream[ModelResponseStream]:
        """What ``model`` answers to it: ``completion()`` with its arguments, some of them replaced.

        >>> request = ProxyRequest("gpt-4", [{"role": "user", "content": "Hi"}])
        >>> request.complete("sim/echo", temperature=0)
        <Stream of sim/echo>
        """
        ask: Any = completion
        try:
            stream: Stream[ModelResponseStream] = ask(**{**self.arguments, **replaced, "model": model})
        except RecursionError:
            raise _too_deep() from None
        return stream


async def read_request(http: HTTPRequest, most_bytes: int) -> ProxyRequest:
    """The request in an HTTP request.

    Raises:
        Refusal: it is too large, no JSON, or says what is wrong or not the client's to say.
    """
    return _parsed(await _body(http, most_bytes), {k: v for k, v in http.headers.items() if k not in _CREDENTIALS})


async def _body(http: HTTPRequest, most_bytes: int) -> bytes:
    too_large = Refusal(413, f"The body is larger than {most_bytes:,} bytes.", code="request_too_large")
    said = http.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_PIECE_WITHIN) as bound:
            async for piece in http.stream():
                body += piece
                if len(body) > most_bytes:
                    raise too_large
                bound.reschedule(asyncio.get_running_loop().time() + _PIECE_WITHIN)
    except TimeoutError:
        raise Refusal(408, "The rest of the body has not come.", code="request_timeout") from None
    return bytes(body)


def _parsed(body: bytes, headers: dict[str, str]) -> ProxyRequest:
    try:
        fields: Any = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise (_too_deep() if isinstance(error, RecursionError) else _no_json(str(error))) from None
    if not isinstance(fields, dict):
        raise Refusal(400, "The body is a JSON object.")
    given: dict[str, Any] = fields  # pyright: ignore[reportUnknownVariableType]
    for name in given:
        if name in owners() or _is_owners(name):
            raise Refusal(
                400, f"{name} is for the owner of this server to say.", param=name, code="unsupported_parameter"
            )
    try:
        checked = ChatBody.model_validate(given)
    except ValidationError as error:
        raise _invalid(error) from None
    said = {name: value for name, value in given.items() if value is not None}
    notes = {name: said.pop(name) for name in _NOTES & said.keys()}
    if "metadata" in said and said.get("store") is not True:
        notes["metadata"] = said.pop("metadata")
    params = {name: value for name, value in said.items() if name not in _OURS}
    params |= {name: value for name in _COUNTS if (value := getattr(checked, name)) is not None}
    return ProxyRequest(
        checked.model,
        given["messages"],
        params,
        headers,
        stream=bool(checked.stream),
        include_usage=bool(checked.stream_options and checked.stream_options.include_usage),
        notes=notes,
    )


def _invalid(error: ValidationError) -> Refusal:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(str(step) for step in problem["loc"] if not (isinstance(step, str) and "[" in step))
    return Refusal(400, f"{param}: {problem['msg']}", param=param, code="invalid_value")


def _no_json(reason: str) -> Refusal:
    return Refusal(400, f"The body is no JSON: {reason}")


def _too_deep() -> Refusal:
    return Refusal(400, "The body is nested too deeply.")


def _no_number(name: str) -> Literal[0]:
    raise ValueError(f"{name} is no JSON")


@cache
def owners() -> frozenset[str]:
    """Whatever completion() takes beside what OpenAI's clients send: what is added there, is refused here."""
    named = {
        name
        for name, parameter in inspect.signature(completion).parameters.items()
        if parameter.kind != parameter.VAR_KEYWORD
    }
    return frozenset(named - _CLIENTS) | _OWNERS
