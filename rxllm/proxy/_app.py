"""The application: its routes."""

import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from rxllm._plain import json_line
from rxllm._stores._store import seconds
from rxllm.exceptions import APIError
from rxllm.proxy._access import Gate
from rxllm.proxy._answering import Completion, Resumed
from rxllm.proxy._client import Client
from rxllm.proxy._config import read_config
from rxllm.proxy._errors import Refusal, error_body, status_of
from rxllm.proxy._log import Access, Ending
from rxllm.proxy._models import Answerer, Models, unknown_model
from rxllm.proxy._openapi import document
from rxllm.proxy._request import read_request
from rxllm.proxy._resuming import Resuming, no_entry, place_of

__all__ = ["MAX_BODY_BYTES", "create_app"]

MAX_BODY_BYTES: Final = 10 << 20

_LONGEST_PATH: Final = 200  # that is logged


def create_app(
    models: Mapping[str, Answerer] | None = None,
    *,
    config: str | Path | None = None,
    master_key: str | None = None,
    store: Any = None,
    resume_for: float = 60.0,
    keep_alive: float = 15.0,
    write_timeout: float | None = 60.0,
    max_body_bytes: int = MAX_BODY_BYTES,
    open_to_all: bool = False,
    allow_origins: Sequence[str] = (),
) -> Starlette:
    """An ASGI application that serves models in OpenAI's form: the server of ``rxllm serve``, with pipelines in it.

    It runs under any ASGI server, mounts in Starlette and FastAPI under any prefix, and needs no lifespan. Its routes
    are ``POST /v1/chat/completions`` (``/chat/completions`` too), ``GET /v1/models``, ``GET /v1/models/{model}``,
    ``GET /health`` and ``GET /openapi.json``.

    What a client sends goes to ``completion()`` as it is, but for what is the owner's to say (``api_base``,
    ``api_key``, ``extra_body``, ``fallbacks``, ``timeout`` and all others that are no argument of OpenAI's): that
    is refused, as is what asks LiteLLM's proxy for more than there is here (``guardrails``, ``prompt_id``). What
    tells a proxy something about the request (``tags``, ``cache``, ``no-log``, ``litellm_metadata``, and
    ``metadata`` without ``store``) goes to no provider: it is in the request's ``notes``, and the log names it. The
    headers of a stream wait for the first chunk, so that an error before it has its own status; after
    ``keep_alive`` silent seconds they are sent, and comments, and an error is an event from then on. After an error
    no ``[DONE]`` comes. A client that leaves cancels its request upstream. Each request is a line of JSON on the
    logger ``rxllm.proxy``.

    Args:
        models: what answers, by public name: a function of the request (a ``ProxyRequest``), plain or ``async``, that
            gives a Stream of chunks; a model's name; arguments of ``completion()``, which a client's go before; or a
            list of such arguments, asked in turn where one fails before any content. A name that ends in ``*`` serves
            all that begin so, and a ``*`` in the arguments' model is what the star stood for. Without ``models`` and
            ``config`` every model that rxllm can resolve is served.
        config: a YAML file in LiteLLM's ``model_list`` form; its models are served beside ``models``.
        master_key: the key that clients send as ``Authorization: Bearer`` or ``x-api-key``; by default that of the
            configuration, else the environment's ``RXLLM_MASTER_KEY``; ``""`` is none.
        store: keeps streams, so that clients can resume them: ``"memory"``, the address of a Redis server, or a
            store of ``rxllm.stores``. Each event then has an ``id:``, and the response an ``x-stream-id``; ``POST``
            again with ``Last-Event-ID``, or ``GET /v1/streams/{id}`` with it or with ``?after=``, gives the rest, and
            ``DELETE`` ends the stream. A client that leaves cancels nothing then. Without a store there are no ids.
        resume_for: with a store, how many seconds a stream goes on that nobody listens to.
        keep_alive: after how many silent seconds a stream gets a comment.
        write_timeout: for how many seconds a client may leave unread what it is sent: then it counts as gone, and its
            request upstream is cancelled. ``None`` is for ever, or as long as the server before the application says.
        max_body_bytes: how large a request may be.
        open_to_all: without a key, only this machine is served, by its own name and to no other site's pages; this lets
            everybody in, where something before the application decides who may.
        allow_origins: the origins of pages that browsers let read the answers (CORS); by default none.

    Raises:
        ConfigError: something in ``config`` is wrong (a ``ValueError``).
        BadRequestError: a model names no known provider.
        TypeError: what is to answer for a model is of the wrong kind.
        ValueError: an argument has an impossible value, or a model stands in both ``models`` and ``config``.

    >>> from rxllm import operators as ops
    >>> app = create_app({"gpt-4": lambda request: request.complete("sim/story").pipe(ops.redact({"dragon": "cat"}))})
    """
    given = dict(models) if models is not None else None
    if config is not None:
        read = read_config(config)
        if given and (twice := given.keys() & read.models.keys()):
            raise ValueError(f"{', '.join(sorted(twice))}: these models are in models and in {config}.")
        given = {**(given or {}), **read.models}
        if master_key is None and read.master_key is not None:
            master_key = read.master_key.get_secret_value()
    served = Models(given)
    master_key = os.environ.get("RXLLM_MASTER_KEY") if master_key is None else master_key
    gate = Gate(master_key, open_to_all=open_to_all, origins=frozenset(allow_origins))

    seconds("keep_alive", keep_alive)
    if write_timeout is not None:
        seconds("write_timeout", write_timeout)
    client = partial(Client, keep_alive=keep_alive, write_timeout=write_timeout)
    resuming = None if store is None else Resuming(store, resume_for)

    async def chat(http: HTTPRequest) -> Any:
        access = _access(http)
        try:
            gate.check(http)
            request = await read_request(http, max_body_bytes)
        except Refusal as refusal:
            return _refused(refusal, access)
        except ClientDisconnect:
            return _refused(Refusal(400, "The body broke off."), access, ended="client left")
        access.model, access.stream, access.notes = request.model, request.stream, list(request.notes)
        if resuming is not None and (last := http.headers.get("last-event-id")):
            return Resumed(*place_of(last), access, client, resuming)
        return Completion(request, served, access, client, resuming)

    async def resume(http: HTTPRequest) -> Any:
        gate.check(http)
        access = _access(http, "/v1/streams/{id}")
        stream: str = http.path_params["id"]
        last = http.headers.get("last-event-id")
        named, after = place_of(last) if last else (stream, http.query_params.get("after"))
        if named != stream:
            raise no_entry()
        return Resumed(stream, after or None, access, client, kept(resuming))

    async def stop(http: HTTPRequest) -> Response:
        gate.check(http)
        await kept(resuming).stop(http.path_params["id"])
        return _json({"id": http.path_params["id"], "object": "stream", "stopped": True})

    async def kept_stream(http: HTTPRequest) -> Any:
        return await (stop if http.method == "DELETE" else resume)(http)

    async def list_models(http: HTTPRequest) -> Response:
        gate.check(http)
        return _json({"object": "list", "data": [_model(name) for name in served.names()]})

    async def one_model(http: HTTPRequest) -> Response:
        gate.check(http)
        name: str = http.path_params["model"]
        if not served.has(name):
            raise unknown_model(name)
        return _json(_model(name))

    async def health(_: HTTPRequest) -> Response:
        return _json({"status": "ok"})

    async def openapi(http: HTTPRequest) -> Response:
        return _json(document(http.scope.get("root_path", ""), served, with_key=bool(master_key)))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        if resuming is not None:
            await resuming.close()

    origins = list(allow_origins)
    cors = [Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])]
    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", list_models, methods=["GET"]),
            Route("/v1/models/{model:path}", one_model, methods=["GET"]),
            Route("/v1/streams/{id}", kept_stream, methods=["GET", "DELETE"]),
            Route("/health", health, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        middleware=cors if origins else [],
        lifespan=lifespan,
        exception_handlers={
            Refusal: _on_refusal,
            APIError: _on_error,
            HTTPException: _on_http_exception,
            Exception: _on_error,
        },
    )


def kept(resuming: Resuming | None) -> Resuming:
    """What keeps streams.

    Raises:
        Refusal: nothing does.
    """
    if resuming is None:
        raise Refusal(404, "This server keeps no streams: it was started without --store.", code="no_store")
    return resuming


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "rxllm"}


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json_line(value), status, headers, "application/json")


def _access(http: HTTPRequest, path: str | None = None) -> Access:
    return Access(f"req_{secrets.token_hex(12)}", path or http.scope["path"][:_LONGEST_PATH])


def _refused(refusal: Refusal, access: Access, *, ended: Ending = "refused") -> Response:
    access.status, access.ended, access.error = refusal.status, ended, refusal.code
    access.write()
    headers = {"x-request-id": access.request_id}
    if refusal.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return _json(error_body(refusal), refusal.status, headers)


async def _on_refusal(http: HTTPRequest, refusal: Exception) -> Response:
    """What was refused where no access log is kept: somebody may be trying keys."""
    return _refused(cast("Refusal", refusal), _access(http))


async def _on_error(_: HTTPRequest, error: Exception) -> Response:
    return _json(error_body(error), status_of(error))


async def _on_http_exception(_: HTTPRequest, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    said = Refusal(status, str(getattr(error, "detail", "")), code="unknown_url" if status == 404 else None)
    return _json(error_body(said), status, getattr(error, "headers", None))
