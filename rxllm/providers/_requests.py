"""What every dialect's requests share: headers and the key, the query, parameters, schemas, and what JSON can say."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlencode

from pydantic import BaseModel

from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.types import Request

__all__ = ["content_parts", "endpoint", "json_request", "json_schema", "parameters", "unsupported", "with_entra"]

# Said to us and not to the provider.
_OURS: Final = frozenset(
    {"api_version", "drop_params", "extra_body", "extra_query", "max_event_bytes", "stream_options"}
)


def parameters(request: Request, provider: Provider) -> dict[str, Any]:
    """The parameters for the provider, in the OpenAI shape; what the provider has not is refused, or left out.

    ``api_version``, ``drop_params``, ``extra_body``, ``extra_query``, ``max_event_bytes`` and ``stream_options`` are
    not among them: they speak to us.

    Raises:
        UnsupportedParamsError: the provider has not a parameter, and ``drop_params`` was not asked for.
    """
    given = {name: value for name, value in request.params.items() if name not in _OURS}
    refused = sorted(provider.unsupported.intersection(given))
    if refused and not request.params.get("drop_params"):
        raise unsupported(request, refused[0])
    kept = {name: value for name, value in given.items() if name not in refused}
    for name, own in provider.renamed:
        if name in kept:
            kept.setdefault(own, kept.pop(name))
    return kept


def unsupported(request: Request, name: str, reason: str = "") -> UnsupportedParamsError:
    """The error for a parameter, or a value of one, that the provider has not."""
    return UnsupportedParamsError(
        f"{request.provider} has no {name}{reason}. Leave it out, or pass drop_params=True to have that done.",
        llm_provider=request.provider,
        model=request.model,
        param=name,
    )


def json_request(
    request: Request,
    provider: Provider,
    url: str,
    body: Mapping[str, Any],
    api_key: str | None,
    **headers: str,
) -> HTTPRequest:
    """A POST of ``body`` as JSON, with the key in the provider's header, ``extra_body`` and ``extra_query`` merged in.

    Args:
        request: what was asked for.
        provider: whose key header to use.
        url: where to.
        body: the members of the body.
        api_key: the key, if there is one.
        headers: further headers, with ``_`` for ``-`` in their names.

    Raises:
        BadRequestError: a parameter cannot be said in JSON.
    """
    from rxllm import __version__

    named = {
        "content-type": "application/json",
        "accept": "text/event-stream",
        # A compressed stream comes late: the compressor waits for more.
        "accept-encoding": "identity",
        "user-agent": f"rxllm/{__version__}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    if api_key:
        named[provider.key_header] = f"Bearer {api_key}" if provider.key_header == "authorization" else api_key
    whole: dict[str, Any] = {**body, **(request.params.get("extra_body") or {})}
    try:
        data = json.dumps(whole, default=_plain, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    else:
        return HTTPRequest("POST", _with_query(url, request.params.get("extra_query")), named, data)
    raise BadRequestError(
        f"The request cannot be said in JSON: {reason}", llm_provider=request.provider, model=request.model
    )


def with_entra(provider: Provider, api_key: str | None, key_header: str) -> Provider:
    """``provider`` with the header for this key: a Microsoft Entra token, a JSON Web Token, goes as Bearer."""
    is_token = api_key is not None and api_key.startswith("eyJ")
    return replace(provider, key_header="authorization" if is_token else key_header)


def endpoint(base_url: str, path: str) -> str:
    """``path`` below ``base_url``, unless that ends with it already; a query stays behind the path."""
    address, mark, query = base_url.partition("?")
    address = address.rstrip("/")
    if not address.endswith(path):
        address += path
    return address + mark + query


def content_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content of a message as parts; a text is one part.

    >>> content_parts({"role": "user", "content": "Hello"})
    [{'type': 'text', 'text': 'Hello'}]
    """
    content: Any = message.get("content") or ()
    parts: list[dict[str, Any]] = []
    given: list[Any] = [content] if isinstance(content, str | Mapping) else list(content)
    for part in given:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif isinstance(part, Mapping):
            parts.append(dict(cast("Mapping[str, Any]", part)))
        else:
            known = isinstance(part, BaseModel)
            parts.append(part.model_dump(exclude_none=True) if known else {"type": type(part).__name__})
    return parts


def mapping(value: Any) -> dict[str, Any]:
    """A copy of an object of any kind as a dictionary; of anything else an empty one."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def signed_thoughts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The thoughts of an answer that can be sent back to Claude: signed, or redacted. What Gemini signed it refuses.

    >>> signed_thoughts({"thinking_blocks": [{"thinking": "Hm", "signature": "s"}, {"thinking": "unsigned"}]})
    [{'thinking': 'Hm', 'signature': 's'}]
    """
    others: Any = mapping(message.get("provider_specific_fields")).get("thought_signatures") or ()
    return [
        block
        for block in map(mapping, message.get("thinking_blocks") or ())
        if block.get("type") == "redacted_thinking" or (block.get("signature") and block["signature"] not in others)
    ]


def json_schema(wanted: type[BaseModel]) -> dict[str, Any]:
    """A pydantic class as a strict JSON schema in OpenAI's ``response_format``."""
    schema = wanted.model_json_schema()
    _make_strict(schema, schema.get("$defs", {}))
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", wanted.__name__)[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _make_strict(schema: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
    """What strict mode demands, in place: every property required, no others, and no keyword beside a ``$ref``."""
    schema.pop("default", None)
    if "$ref" in schema and len(schema) > 1:
        definition = definitions.get(schema["$ref"].rpartition("/")[2], {})
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema.clear()
        schema.update(json.loads(json.dumps(definition)) | beside)
    if schema.get("type") == "object" and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    properties: dict[str, Any] = schema.get("properties", {})
    if properties:
        schema["required"] = list(properties)
        schema["additionalProperties"] = False
    inner = [*properties.values(), *schema.get("$defs", {}).values(), schema.get("items")]
    for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
        inner += schema.get(name, [])
    for part in inner:
        if isinstance(part, dict):
            _make_strict(cast("dict[str, Any]", part), definitions)


def _with_query(url: str, query: Mapping[str, Any] | None) -> str:
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query, doseq=True)}"


def _plain(value: object) -> Any:
    """What json does not know: messages and tools may be models, mappings or other sequences."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        return list(cast("Iterable[object]", value))
    raise TypeError(f"a {type(value).__name__} is among the arguments")
