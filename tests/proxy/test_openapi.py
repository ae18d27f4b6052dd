"""The document that the proxy publishes of itself."""

import httpx
import jsonschema
import pytest
from starlette.routing import Route

from rxllm.proxy import create_app
from rxllm.proxy._models import Models
from rxllm.proxy._openapi import document
from tests.proxy.serving import QUESTION, ask, serving


def _schema(name: str) -> dict[str, object]:
    whole = document("", Models(None), with_key=True)
    return {"$ref": f"#/components/schemas/{name}", "components": whole["components"]}


def test_answers_are_what_the_document_says() -> None:
    """A whole answer, the models, one of them, an error and health, each against its schema."""
    with serving() as address:
        answers = {
            "ModelResponse": ask(address, model="sim/story", delay=0).json(),
            "Models": httpx.get(f"{address}/v1/models").json(),
            "Model": httpx.get(f"{address}/v1/models/sim/echo").json(),
            "Error": ask(address, model="none").json(),
            "Health": httpx.get(f"{address}/health").json(),
        }
        served = httpx.get(f"{address}/openapi.json").json()
    for name, answer in answers.items():
        jsonschema.validate(answer, _schema(name))
    assert served["openapi"] == "3.1.0"


def test_every_route_is_in_the_document() -> None:
    """And no other."""
    routes = {route.path.replace(":path", "") for route in create_app().routes if isinstance(route, Route)}
    assert routes == set(document("", Models(None), with_key=False)["paths"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"messages": []},
        {"stream": 1},
        {"api_base": "http://x"},
        {"vertex_project": "x"},
        {"litellm_credential_name": "x"},
        {"model": ""},
    ],
)
def test_what_is_refused_is_refused_by_the_document(wrong: dict[str, object]) -> None:
    """The body's schema allows no more than the server does."""
    body = {"model": "m", "messages": QUESTION}
    jsonschema.validate({**body, "anything": 1, "litellm_metadata": {}, "tags": []}, _schema("ChatBody"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**body, **wrong}, _schema("ChatBody"))
