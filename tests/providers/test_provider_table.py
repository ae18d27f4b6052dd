"""PROVIDERS.md is true: its table is what the registry and the dialects say, and what it says around it holds."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rxllm.exceptions import UnsupportedParamsError
from rxllm.providers import PROVIDERS, resolve
from rxllm.types import Request
from scripts.provider_table import BEGIN, END, PAGE, SECTIONS, page_with

ROOT = Path(__file__).resolve().parents[2]
TEXT = PAGE.read_text("utf-8")
ROWS = {
    cells[0].strip("`").removesuffix("/"): cells
    for line in TEXT.partition(BEGIN)[2].partition(END)[0].splitlines()
    if line.startswith("| `")
    for cells in [line.strip("| ").split(" | ")]
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}


def test_the_table_is_that_of_the_registry() -> None:
    """Written again, PROVIDERS.md stays as it is; where it does not: python scripts/provider_table.py."""
    assert page_with(TEXT) == TEXT
    assert (TEXT.count(BEGIN), TEXT.count(END)) == (1, 1)


def test_a_stale_table_is_noticed() -> None:
    """A line that is missing, or says something else, is written anew."""
    lines = TEXT.splitlines(keepends=True)
    assert page_with("".join(line for line in lines if "`groq/`" not in line)) == TEXT
    assert page_with(TEXT.replace("`GROQ_API_KEY`", "`GROK_API_KEY`")) == TEXT


def test_every_provider_has_a_line() -> None:
    """One each, with every variable that is read."""
    assert list(ROWS) == list(PROVIDERS)
    for name, provider in PROVIDERS.items():
        for variable in provider.key_variables + provider.base_url_variables:
            assert f"`{variable}`" in " ".join(ROWS[name])


@pytest.mark.parametrize("name", PROVIDERS)
def test_tools_and_reasoning_are_sent_where_the_table_says_so(name: str) -> None:
    """The body of a request with tools says more than one without, and likewise with an effort; or it is refused."""
    provider = PROVIDERS[name]

    def body(**params: Any) -> Any:
        given: dict[str, Any] = {"aws_region_name": "us-east-1", "vertex_project": "p", **params}
        # A Claude, which has both wherever it is served.
        request = Request(f"{name}/m", [{"role": "user", "content": "Hi"}], given, wire_model="claude-sonnet-4-5")
        return json.loads(provider.dialect.http_request(request, "https://example.com", "key", provider).body)

    wanted: list[tuple[int, dict[str, Any]]] = [(5, {"tools": [TOOL]}), (6, {"reasoning_effort": "high"})]
    for column, params in wanted:
        if ROWS[name][column] == "yes":
            assert body(**params) != body()
        else:
            assert ROWS[name][column] == "no"
            with pytest.raises(UnsupportedParamsError):
                body(**params)


def test_every_dialect_has_a_section() -> None:
    """The links of the table lead to headings of the page."""
    headings = re.findall(r"^## (.*)$", TEXT, flags=re.MULTILINE)
    assert {section for _, section in SECTIONS.values()} <= set(headings)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
def test_bare_names(name: str) -> None:
    """The page says which models need no prefix, and whose they are."""
    introduction = TEXT.partition("\n- ")[0]
    named = {found: resolve(found + "4")[0].name for found in re.findall(r"`([^`/]+?)\.\.\.`", introduction)}
    assert sorted(set(named.values())) == ["anthropic", "gemini", "openai"]
    assert name in named.values()


def test_the_page_names_what_there_is() -> None:
    """Extras are those of pyproject.toml; variables are in the table, or read by a dialect."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = set(re.findall(r"rxllm\[(\w+)\]", TEXT))
    assert extras == {"bedrock", "vertex"}
    assert all(f"\n{extra} = [" in project for extra in extras)
    sources = "".join(path.read_text("utf-8") for path in sorted((ROOT / "rxllm" / "providers").glob("_*.py")))
    variables = set(re.findall(r"`([A-Z]{2,}_[A-Z_]+)`", TEXT))
    read = {name for provider in PROVIDERS.values() for name in provider.key_variables + provider.base_url_variables}
    assert [name for name in sorted(variables - read) if name not in sources] == []


def test_the_example_runs() -> None:
    """It makes a stream, and sends nothing yet."""
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, PAGE.name, "exec"), names)  # noqa: S102  it is ours
    assert repr(names["stream"]) == "<Stream of my-model>"
