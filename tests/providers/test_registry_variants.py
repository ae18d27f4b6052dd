"""Providers that speak more than one dialect: the model's name says which."""

import pytest

from rxllm.exceptions import BadRequestError
from rxllm.providers import PROVIDERS, Provider, resolve
from rxllm.providers._openai import OpenAIChat

USUAL, OTHER, THIRD = OpenAIChat(), OpenAIChat(), OpenAIChat()
PROVIDER = Provider("many", USUAL, "https://many.invalid/v1", variants=(("other/", OTHER), ("third-", THIRD)))


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is in the registry."""
    monkeypatch.setitem(PROVIDERS, "many", PROVIDER)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("model", "custom", "dialect", "wire_model"),
    [
        ("many/x", None, USUAL, "x"),
        ("many/other/x", None, OTHER, "x"),
        ("many/other/org/x", None, OTHER, "org/x"),
        ("many/other", None, USUAL, "other"),
        ("many/third-x", None, THIRD, "third-x"),
        ("other/x", "many", OTHER, "x"),
        ("many/other/x", "many", OTHER, "x"),
    ],
)
def test_a_prefix_of_the_model_chooses_the_dialect(
    model: str, custom: str | None, dialect: OpenAIChat, wire_model: str
) -> None:
    """One that ends in a slash is taken off; any other is part of the model's name."""
    provider, wire = resolve(model, custom)
    assert provider.dialect is dialect
    assert wire == wire_model
    assert (provider.name, provider.base_url) == ("many", "https://many.invalid/v1")


@pytest.mark.usefixtures("many")
def test_a_variant_without_a_model_is_refused() -> None:
    """The prefix alone names no model."""
    with pytest.raises(BadRequestError, match="no model"):
        resolve("many/other/")
