"""``completion()`` and ``acompletion()``: arguments become a Request, and a Request a Stream."""

import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from pydantic import Secret, SecretStr

from rxllm._loop import AsyncReading, SyncReading
from rxllm._mock import mock_chunks
from rxllm._prepare import Call
from rxllm._secrets import hidden_url
from rxllm._stream import Stream
from rxllm._timeouts import Timeouts, timeouts_from
from rxllm.exceptions import BadRequestError
from rxllm.providers._base import Dialect, Provider
from rxllm.types import ModelResponse, ModelResponseStream, Request

if TYPE_CHECKING:
    import httpx

__all__ = ["RequestSource", "acompletion", "completion"]

_log = logging.getLogger("rxllm")


@overload
def completion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: Literal[True],
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> Stream[ModelResponseStream]: ...
@overload
def completion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: Literal[False] | None = None,
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> ModelResponse: ...
@overload
def completion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: bool | None,
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> Stream[ModelResponseStream] | ModelResponse: ...
def completion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: bool | None = False,
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> Stream[ModelResponseStream] | ModelResponse:
    """A completion: a ``Stream`` of chunks with ``stream=True``, else the whole ``ModelResponse``.

    A Stream comes at once and nothing is sent before it is consumed; each loop over it sends a request of its own. The
    whole response is the same stream, reduced by ``build_response()``; its ``usage`` is always filled.

    Args:
        model: such as ``"gpt-4"``, ``"openai/gpt-4o"``, ``"hosted_vllm/..."`` or ``"sim/story"``, which needs no key.
        messages: the conversation, as dictionaries or as messages of an earlier response.
        stream: whether to give the Stream of chunks.
        stream_options: ``{"include_usage": True}`` for a last chunk that carries ``usage``.
        timeout: seconds to wait at most, for each wait by itself: for the connection, the first event, the next event;
            what keeps a connection alive is no event. ``Timeouts`` sets each apart, and the whole; an ``httpx.Timeout``
            sets connecting (``connect``) and waiting (``read``). By default ``Timeouts()``.
        max_tokens: how many tokens the answer may have at most.
        tools: the functions that the model may call: dictionaries, or Python functions, which ``function_tool()``
            describes.
        tool_choice: which of them it is to call, or ``"auto"``, ``"none"``, ``"required"``.
        temperature: how freely it chooses.
        n: how many choices to give.
        stop: sequences at which it stops.
        response_format: a JSON schema in OpenAI's form, or a pydantic class, which ``message.parsed`` then holds.
        api_key: the key; by default the provider's environment variable, read when the request is sent.
        api_base: where to send it; ``base_url`` is another name for it.
        base_url: see ``api_base``.
        custom_llm_provider: the provider, where ``model`` does not say it; ``"openai"`` for anything OpenAI-shaped.
        max_retries: how often to try again before the first chunk, two by default; ``num_retries`` is another name.
        num_retries: see ``max_retries``.
        max_event_bytes: how many bytes one event of the answer may have at most, 32 MiB by default; past that the
            stream ends with an ``APIResponseValidationError``.
        extra_headers: further HTTP headers; those that hold a key are hidden as ``api_key`` is.
        extra_body: further members of the request's body, sent as they are.
        fallbacks: what to ask where this fails before any content: models in turn, as ``["claude-sonnet-4-5"]``, or
            dictionaries of arguments that replace these, as ``{"model": "gpt-4o", "api_key": ...}``. One of another
            provider is not given this one's key, address, headers and ``extra_body``. It is ``fallback_to()``.
        mock_response: what to answer with, instead of sending anything: a text; a list of texts, of deltas as
            dictionaries or ``Delta``s, a chunk each; an exception to fail with, also at the end of such a list; or a
            whole ``ModelResponse``, which ``stream=False`` gives back. ``fallbacks`` send nothing either, unless one
            has a ``mock_response`` of its own, or ``None``.
        http_client: an ``httpx.Client`` or ``httpx.AsyncClient`` of one's own.
        provider_params: whatever else the provider takes, sent as it is.

    Raises:
        BadRequestError: the model names no known provider.
        TypeError: an argument is of the wrong kind.
        ValueError: an argument has an impossible value.
        APIError: with ``stream=False``, whatever the stream would have ended with.

    >>> from rxllm import completion
    >>> response = completion("sim/echo", [{"role": "user", "content": "Hello"}], extra_body={"delay": 0})
    >>> response.choices[0].message.content
    'Hello'
    """
    # Out of sight before anything can fail: a traceback shows the locals of every frame that it comes through.
    given = Secret[dict[str, Any]](
        {
            "max_tokens": max_tokens,
            "tools": tools,
            "tool_choice": tool_choice,
            "temperature": temperature,
            "n": n,
            "stop": stop,
            "response_format": response_format,
            "max_event_bytes": max_event_bytes,
            "stream_options": stream_options,
            "extra_body": extra_body,
            **provider_params,
        }
    )
    key, headers = Secret(api_key), Secret(extra_headers)
    addresses = Secret((api_base, base_url))
    arguments = Secret[dict[str, Any]](
        {
            **given.get_secret_value(),
            "model": model,
            "messages": messages,
            "timeout": timeout,
            "api_key": api_key,
            "api_base": api_base,
            "base_url": base_url,
            "custom_llm_provider": custom_llm_provider,
            "max_retries": max_retries,
            "num_retries": num_retries,
            "extra_headers": extra_headers,
            "mock_response": mock_response,
            "http_client": http_client,
        }
    )
    others = Secret[Any](fallbacks)
    del tools, extra_body, provider_params, api_key, extra_headers, api_base, base_url, fallbacks
    if not stream and _is_http_client(http_client, "AsyncClient"):
        raise TypeError(
            "completion() without stream=True blocks, and an httpx.AsyncClient cannot: use an httpx.Client."
        )
    _check_names(model, custom_llm_provider)
    _check(http_client, stream_options, n, max_event_bytes)
    from rxllm._fallbacks import fallback_calls
    from rxllm.providers import resolve

    chunks: Stream[ModelResponseStream]
    following: list[Stream[ModelResponseStream]] = [
        completion(stream=True, **another.get_secret_value()) for another in fallback_calls(others, arguments)
    ]
    try:
        provider, wire_model = resolve(model, custom_llm_provider)
    except BadRequestError as error:
        if not following:
            raise
        # As documented, a model that nobody knows has fallbacks like one that does not answer.
        _log.info("Falling back: %s", error)
        chunks = following.pop(0)
    else:
        request = Request(
            model=model,
            messages=_plain(messages),
            params=_parameters(given, provider),
            provider=provider.name,
            wire_model=wire_model,
        )
        call = Call(
            request=request,
            provider=provider,
            timeouts=timeouts_from(timeout),
            max_retries=_retries(max_retries, num_retries),
            api_base=_address(addresses),
            api_key=_key(key, given, provider),
            extra_headers=_headers(headers),
        )
        if mock_response is not None:
            chunks = Stream.from_source(mock_chunks(mock_response, request), request)
        else:
            chunks = Stream.from_source(RequestSource(call, http_client), request)
    if following:
        from rxllm.operators import fallback_to

        chunks = chunks.pipe(fallback_to(*following))
    if not stream:
        return _whole(chunks).run()
    if stream_options and stream_options.get("include_usage"):
        # "Supported across all providers": where one reports none, it is counted.
        from rxllm.operators import attach_usage

        chunks = chunks.pipe(attach_usage(own_chunk=True))
    return chunks


@overload
async def acompletion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: Literal[True],
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> Stream[ModelResponseStream]: ...
@overload
async def acompletion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: Literal[False] | None = None,
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> ModelResponse: ...
@overload
async def acompletion(
    model: str,
    messages: Sequence[Any],
    *,
    stream: bool | None,
    stream_options: Mapping[str, Any] | None = None,
    timeout: "float | Timeouts | httpx.Timeout | None" = None,
    max_tokens: int | None = None,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    temperature: float | None = None,
    n: int | None = None,
    stop: str | Sequence[str] | None = None,
    response_format: Any = None,
    api_key: str | None = None,
    api_base: str | None = None,
    base_url: str | None = None,
    custom_llm_provider: str | None = None,
    max_retries: int | None = None,
    num_retries: int | None = None,
    max_event_bytes: int | None = None,
    extra_headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    fallbacks: Sequence[str | Mapping[str, Any]] | None = None,
    mock_response: Any = None,
    http_client: "httpx.Client | httpx.AsyncClient | None" = None,
    **provider_params: Any,
) -> Stream[ModelResponseStream] | ModelResponse: ...
async def acompletion(
    model: str, messages: Sequence[Any], *, stream: bool | None = False, **parameters: Any
) -> Stream[ModelResponseStream] | ModelResponse:
    """``completion()`` on an event loop: the same arguments, and the same results, awaited.

    With ``stream=True`` the Stream is meant for ``async for``; awaiting ``acompletion`` sends nothing yet.

    Raises:
        TypeError: ``http_client`` is an ``httpx.Client``, which would block the event loop.

    >>> import asyncio
    >>> from rxllm import acompletion
    >>> asking = acompletion("sim/echo", [{"role": "user", "content": "Hello"}], extra_body={"delay": 0})
    >>> asyncio.run(asking).choices[0].message.content
    'Hello'
    """
    given = Secret(parameters)
    del parameters
    if _is_http_client(given.get_secret_value().get("http_client"), "Client"):
        raise TypeError("acompletion() cannot use an httpx.Client, which would block: use an httpx.AsyncClient.")
    chunks: Stream[ModelResponseStream] = completion(model, messages, stream=True, **given.get_secret_value())
    if stream:
        return chunks
    return await _whole(chunks)


def _whole(chunks: Stream[ModelResponseStream]) -> Stream[ModelResponse]:
    from rxllm.operators import build_response

    return chunks.pipe(build_response())


class RequestSource:
    """Opens a request for each subscription. Nothing of httpx is imported before."""

    def __init__(self, call: Call, http_client: Any) -> None:
        self._call = call
        self._http_client = http_client

    @property
    def dialect(self) -> Dialect:
        """What is spoken with the provider."""
        return self._call.provider.dialect

    def spoken_in(self, dialect: Dialect) -> "RequestSource":
        """The same request over the same client, in another dialect."""
        provider = replace(self._call.provider, dialect=dialect)
        return RequestSource(replace(self._call, provider=provider), self._http_client)

    def open(self) -> SyncReading:
        from rxllm._transport import SyncReader

        if _is_http_client(self._http_client, "AsyncClient"):
            raise TypeError("This Stream has an httpx.AsyncClient: it can be consumed on an event loop only.")
        return cast(SyncReading, SyncReader(self._call, self._http_client or self._simulator()))

    def open_async(self) -> AsyncReading:
        from rxllm._transport import AsyncReader

        if _is_http_client(self._http_client, "Client"):
            raise TypeError("This Stream has an httpx.Client, which would block the event loop: use an AsyncClient.")
        return cast(AsyncReading, AsyncReader(self._call, self._http_client or self._simulator()))

    def _simulator(self) -> Any:
        if self._call.provider.name != "sim":
            return None
        from rxllm._simulator import Simulator

        return Simulator()


def _is_http_client(value: Any, name: str) -> bool:
    """Whether it is an httpx client of that name; whoever has one has imported httpx."""
    httpx = sys.modules.get("httpx")
    return httpx is not None and isinstance(value, getattr(httpx, name))


def _check_names(model: Any, custom_llm_provider: Any) -> None:
    if not isinstance(model, str):
        raise TypeError(f"model is a model's name, a text, not {type(model).__name__}.")
    if not isinstance(custom_llm_provider, str | None):
        raise TypeError(f"custom_llm_provider is a provider's name, a text, not {type(custom_llm_provider).__name__}.")


def _check(http_client: Any, stream_options: Any, n: Any, max_event_bytes: Any) -> None:
    if http_client is not None and not (
        _is_http_client(http_client, "Client") or _is_http_client(http_client, "AsyncClient")
    ):
        raise TypeError(f"http_client is an httpx.Client or httpx.AsyncClient, not {type(http_client).__name__}.")
    if stream_options is not None and not isinstance(stream_options, Mapping):
        raise TypeError('stream_options is a dictionary such as {"include_usage": True}.')
    if n is not None and (not isinstance(n, int) or n < 1):
        raise ValueError(f"n is a number of choices from 1 on, not {n!r}.")
    if max_event_bytes is not None:
        if isinstance(max_event_bytes, bool) or not isinstance(max_event_bytes, int):
            raise TypeError(f"max_event_bytes is a whole number of bytes, not {type(max_event_bytes).__name__}.")
        if max_event_bytes < 1:
            raise ValueError(f"max_event_bytes is a number of bytes above zero, not {max_event_bytes!r}.")


def _plain(messages: Any) -> list[dict[str, Any]]:
    """The messages as dictionaries; those of an earlier response may stand among them as they are."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise TypeError('messages is a list of dictionaries such as {"role": "user", "content": "Hello"}.')
    plain: list[dict[str, Any]] = []
    for position, message in enumerate(cast("Sequence[Any]", messages)):  # type: ignore[redundant-cast]
        if isinstance(message, Mapping) or hasattr(message, "model_dump"):
            plain.append(_as_json(message))
        else:
            raise TypeError(f"messages[{position}] is a dictionary or a message, not {type(message).__name__}.")
    if not plain:
        raise ValueError("messages is empty: there is nothing to complete.")
    return plain


def _as_json(value: Any) -> Any:
    """``value`` with dictionaries for models, however deep: an earlier response's tool calls may stand in a message."""
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [_as_json(item) for item in items]
    return value.model_dump(exclude_none=True) if hasattr(value, "model_dump") else value


def _retries(max_retries: Any, num_retries: Any) -> int:
    if max_retries is not None and num_retries is not None and max_retries != num_retries:
        raise ValueError("max_retries and num_retries are two names of one argument: give one of them.")
    retries = max_retries if max_retries is not None else num_retries
    if retries is None:
        return 2
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"max_retries is a whole number from 0 on, not {retries!r}.")
    return retries


# These look into what is hidden, and bind nothing of it to a name while something can fail.


def _parameters(given: Secret[dict[str, Any]], provider: Provider) -> dict[str, Any]:
    """What was given, and is no part of the key."""
    hidden = provider.key_parameters
    described = _described_tools(given)
    kept = {name: value for name, value in given.get_secret_value().items() if value is not None and name not in hidden}
    return {**kept, **described}


def _described_tools(given: Secret[dict[str, Any]]) -> dict[str, Any]:
    """The tools, where there are functions among them."""
    if not any(map(callable, given.get_secret_value()["tools"] or ())):
        return {}
    from rxllm._function_tool import function_tool

    described = [function_tool(tool) if callable(tool) else tool for tool in given.get_secret_value()["tools"]]
    return {"tools": described}


def _key(api_key: Secret[Any], given: Secret[dict[str, Any]], provider: Provider) -> SecretStr | None:
    """The key that was given, whole or as the parameters that it consists of."""
    if not isinstance(api_key.get_secret_value(), str | None):
        raise TypeError(f"api_key is a text, not {type(api_key.get_secret_value()).__name__}.")
    if api_key.get_secret_value():
        return SecretStr(api_key.get_secret_value())
    names = [name for name in provider.key_parameters if given.get_secret_value().get(name) is not None]
    # What is no text is told as one: json's frames would show it while they complain.
    return SecretStr(json.dumps({name: str(given.get_secret_value()[name]) for name in names})) if names else None


def _headers(extra_headers: Secret[Any]) -> dict[str, SecretStr]:
    if extra_headers.get_secret_value() is None:
        return {}
    if not isinstance(extra_headers.get_secret_value(), Mapping):
        raise TypeError(f"extra_headers is a dictionary, not {type(extra_headers.get_secret_value()).__name__}.")
    return {str(name): SecretStr(str(value)) for name, value in extra_headers.get_secret_value().items()}


def _address(addresses: Secret[tuple[Any, Any]]) -> str | None:
    if not all(isinstance(address, str | None) for address in addresses.get_secret_value()):
        raise TypeError("api_base is a text.")
    given = Secret({address for address in addresses.get_secret_value() if address})
    if len(given.get_secret_value()) > 1:
        raise ValueError("api_base and base_url are two names of one argument: give one of them.")
    if not all(address.startswith(("http://", "https://")) for address in given.get_secret_value()):
        shown = hidden_url(*given.get_secret_value())
        raise ValueError(f"api_base starts with http:// or https://, and {shown!r} does not.")
    return next(iter(given.get_secret_value()), None)


# What is typed so above is told to whoever asks at run time too: notebooks, documentation.
acompletion.__signature__ = inspect.signature(completion)  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
