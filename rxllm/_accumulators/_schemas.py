"""JSON schemas: what JSON of one amounts to while it is being written, and whether it fits in the end. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from rxllm._accumulators._partial_shape import end_of_json
from rxllm._extras import missing_extra

__all__ = ["PartialSchema"]


class PartialSchema:
    """A JSON schema that JSON is to fit; the draft is the one that ``$schema`` names, by default the latest.

    Raises:
        ImportError: jsonschema, of the extra ``jsonschema``, is not installed.
        ValueError: it is no JSON schema.

    >>> shape = PartialSchema({"title": "City", "required": ["name"]})
    >>> shape.name, shape.partial({"na": 1}), shape.whole('{"name": "Rome"} and so on')
    ('City', {'na': 1}, {'name': 'Rome'})
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            from jsonschema import SchemaError
            from jsonschema.validators import validator_for
        except ImportError:
            raise missing_extra("A JSON schema", "jsonschema") from None
        kind: Any = validator_for(schema)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"That is no JSON schema: {error.message}") from None
        self._validator = kind(schema)
        self.name = str(schema.get("title") or "the JSON schema")

    def partial(self, data: Any) -> Any:
        """``data`` as it is: of a schema, nothing can be said before the end."""
        return data

    def whole(self, text: str) -> Any:
        """What the JSON at the beginning of ``text`` is; anything may follow it.

        Raises:
            ValueError: it does not fit, or is no JSON.
        """
        data: Any = json.loads(text[: end_of_json(text)])
        wrong = next(iter(self._validator.iter_errors(data)), None)
        if wrong is not None:
            raise ValueError(f"{wrong.json_path}: {wrong.message}")
        return data
