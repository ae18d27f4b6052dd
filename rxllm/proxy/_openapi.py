"""The OpenAPI document of the routes: what is refused by them is refused by it too."""

from typing import Any, Final

from pydantic import BaseModel

from rxllm.proxy._models import Models
from rxllm.proxy._request import OWNERS_NAMES, ChatBody, owners
from rxllm.types import ModelResponse, ModelResponseStream

__all__ = ["document"]

_REFERENCE: Final = "#/components/schemas/{model}"
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}
_MODEL: Final = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}
_MODELS: Final = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
    },
}
_STOPPED: Final = {
    "type": "object",
    "required": ["id", "object", "stopped"],
    "properties": {"id": {"type": "string"}, "object": {"const": "stream"}, "stopped": {"const": True}},
}
_HEALTH: Final = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}


def document(prefix: str, models: Models, *, with_key: bool) -> dict[str, Any]:
    """The document.

    Args:
        prefix: where the application is mounted, ``""`` at the root.
        models: what is served.
        with_key: whether a key is asked for.
    """
    from rxllm import __version__

    schemas: dict[str, Any] = {
        "Error": _ERROR,
        "Model": _MODEL,
        "Models": _MODELS,
        "Health": _HEALTH,
        "Stopped": _STOPPED,
    }
    for model in (ChatBody, ModelResponse, ModelResponseStream):
        schemas |= _schemas(model)
    body = schemas["ChatBody"]
    names = [name for name in models.names() if not name.endswith("*")]
    body["properties"]["model"] |= {"enum": names} if models.listed else {"examples": names}
    # Whoever owns the server says these; a schema that is false allows no value.
    body["properties"] |= dict.fromkeys(sorted(owners()), False)
    body["patternProperties"] = {OWNERS_NAMES: False}
    chat = {
        "summary": "A completion, as a stream of events or whole",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _reference("ChatBody")}}},
        "responses": {
            "200": {
                "description": "The completion. A stream ends with `data: [DONE]`; one that fails, with an event "
                '`data: {"error": ...}` and without it.',
                "content": {
                    "application/json": {"schema": _reference("ModelResponse")},
                    "text/event-stream": {},
                },
            },
            **_refusals(400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504),
        },
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    stream_id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    event_id = {"type": "string", "pattern": "^([^/]+(/[0-9]{1,15})?)?$"}
    last = {"name": "Last-Event-ID", "in": "header", "schema": event_id}
    after = {"name": "after", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{0,15}$"}}
    resumed = _getting(
        "resumeStream", "The rest of a stream that is kept", "Stopped", 400, 401, 403, 404, 409, 429, 500, 502, 503, 504
    )
    resumed["responses"]["200"]["content"] = {"text/event-stream": {}}
    paths: dict[str, Any] = {
        "/v1/chat/completions": {"post": {"operationId": "complete", **chat}},
        "/chat/completions": {"post": {"operationId": "completeWithoutVersion", **chat}},
        "/v1/models": {"get": _getting("listModels", "The models that are served", "Models", 401, 403)},
        "/v1/models/{model}": {
            "get": {**_getting("getModel", "One of them", "Model", 401, 403, 404), "parameters": [name]},
        },
        "/v1/streams/{id}": {
            "get": {**resumed, "parameters": [stream_id, last, after]},
            "delete": {
                **_getting("stopStream", "Ends a stream", "Stopped", 401, 403, 404, 502),
                "parameters": [stream_id],
            },
        },
        "/health": {"get": {**_getting("health", "Whether the server answers", "Health"), "security": []}},
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "security": [],
                "responses": {
                    "200": {"description": "It.", "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "rxllm", "version": __version__, "description": "LLM completions in OpenAI's form."},
        "servers": [{"url": prefix or "/"}],
        "security": [{"bearer": []}, {"x-api-key": []}] if with_key else [],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _schemas(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, and of those that it is made of, each by its class's name."""
    schema = model.model_json_schema(ref_template=_REFERENCE)
    parts: dict[str, Any] = schema.pop("$defs", {})
    # What only this process is to see has a name that no JSON has.
    for part in (schema, *parts.values()):
        part["properties"] = {name: value for name, value in part["properties"].items() if not name.startswith("\0")}
    return {**parts, model.__name__: schema}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=name)}


def _refusals(*statuses: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference("Error")}}
    return {str(status): {"description": "Refused, or failed.", "content": content} for status in statuses}


def _getting(operation: str, summary: str, schema: str, *refusals: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(schema)}}
    responses = {"200": {"description": summary, "content": content}, **_refusals(*refusals)}
    return {"operationId": operation, "summary": summary, "responses": responses}
