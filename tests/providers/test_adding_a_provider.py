"""CONTRIBUTING.md is true: a provider is added as it says, and the files are where it says."""

import re
from pathlib import Path
from typing import Any

import pytest

import rxllm
from rxllm import operators as ops
from rxllm.exceptions import AuthenticationError, RateLimitError
from rxllm.providers import PROVIDERS, Provider, _registry
from tests.server import Answering, Server, chunk

ROOT = Path(__file__).resolve().parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MESSAGES = [{"role": "user", "content": "Hello"}]


def documented_line() -> str:
    """The line of the registry that CONTRIBUTING.md shows."""
    (line,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING, flags=re.DOTALL)
    assert len(line.strip().splitlines()) < 10
    return str(line.strip())


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The documented provider, in the registry."""
    provider = eval(documented_line().removesuffix(","), dict(vars(_registry)))  # noqa: S307  it is ours
    assert isinstance(provider, Provider)
    monkeypatch.setitem(PROVIDERS, provider.name, provider)
    return provider


async def answer(answering: Answering) -> None:
    """As OpenAI would."""
    await answering.start()
    await answering.event(chunk("Hel"), chunk("lo"), chunk(finish="stop"))
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    await answering.event({**chunk(), "choices": [], "usage": usage}, "[DONE]")
    await answering.end()


def test_the_line_is_such_as_stand_in_the_registry() -> None:
    """It is made by the same function, and its name is free."""
    source = Path(_registry.__file__).read_text("utf-8")
    call = documented_line().partition("(")[0]
    assert len(re.findall(rf"^        {call}\($|^        {call}\(\"", source, flags=re.MULTILINE)) > 20
    assert "acme" not in PROVIDERS


def test_a_provider_added_by_one_line_is_spoken_to(
    acme: Provider, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prefix, its key and its address are known: streamed, and whole."""
    server.script = answer
    monkeypatch.setenv("ACME_API_BASE", server.url)
    monkeypatch.setenv("ACME_API_KEY", "sk-acme")
    stream = rxllm.completion("acme/rocket-1", MESSAGES, stream=True)
    assert stream.pipe(ops.accumulate_text()).run() == "Hello"
    response = rxllm.completion("acme/rocket-1", MESSAGES, temperature=0.5)
    assert (response.choices[0].message.content, response.choices[0].finish_reason) == ("Hello", "stop")
    assert response.usage is not None
    assert response.usage.total_tokens == 3
    streamed, whole = server.requests
    for request in (streamed, whole):
        assert request.path.endswith("/chat/completions")
        assert request.headers["authorization"] == "Bearer sk-acme"
        assert (request.json["model"], request.json["messages"]) == ("rocket-1", MESSAGES)
        assert request.json["stream_options"] == {"include_usage": True}
    assert whole.json["temperature"] == 0.5


def test_its_refusals_are_typed(acme: Provider, server: Server) -> None:
    """An error names the provider, and has the provider's words."""

    async def refuse(answering: Answering) -> None:
        await answering.json_answer(429, {"error": {"message": "No rockets left"}})

    server.script = refuse
    settings: dict[str, Any] = {"api_base": server.url, "api_key": "sk-acme", "max_retries": 0}
    with pytest.raises(RateLimitError, match="No rockets left") as raised:
        rxllm.completion("acme/rocket-1", MESSAGES, **settings)
    assert raised.value.llm_provider == "acme"


def test_without_a_key_it_says_which(acme: Provider) -> None:
    """The variable is named after the provider, and nothing is sent without it."""
    with pytest.raises(AuthenticationError, match="No key for acme: set ACME_API_KEY"):
        rxllm.completion("acme/rocket-1", MESSAGES)


def test_its_own_address_is_the_documented_one(acme: Provider) -> None:
    """Without a variable, it is asked where the line says."""
    assert f'"{acme.base_url}"' in documented_line()
    assert acme.base_url_variables == ("ACME_API_BASE",)


def floors() -> list[list[Path]]:
    """The files and folders that the table of floors names, from the top down."""
    found: list[list[Path]] = []
    for line in CONTRIBUTING.partition("\n| floor |")[2].partition("\n\n")[0].splitlines():
        if line.startswith("| `"):
            names = re.findall(r"`([^`]+)`", line.split(" | ")[0])
            found.append([Path(name) if "/" in name else Path("rxllm") / name for name in names])
    return found


def floor_of(module: Path) -> int | None:
    """Where a module stands; the package's own ``__init__.py`` stands nowhere."""
    return next((i for i, floor in enumerate(floors()) if {module, *module.parents} & set(floor)), None)


def test_every_module_has_its_floor() -> None:
    """The table of floors names all that is there, and nothing else."""
    named = [path for floor in floors() for path in floor]
    assert [path.as_posix() for path in named if not (ROOT / path).exists()] == []
    modules = [path.relative_to(ROOT) for folder in ("rxllm", "operators") for path in (ROOT / folder).rglob("*.py")]
    packages = {"__init__.py", "__main__.py"}
    homeless = [path for path in modules if floor_of(path) is None and path.name not in packages]
    assert [path.as_posix() for path in homeless if not path.is_relative_to("rxllm/operators")] == []


def test_imports_only_go_down() -> None:
    """As the table of floors says; what stands inside functions and for type checkers counts as well."""
    up: list[str] = []
    for path in sorted([*(ROOT / "rxllm").rglob("*.py"), *(ROOT / "operators").glob("*.py")]):
        own = path.relative_to(ROOT)
        floor = floor_of(own)
        if floor is None or own.is_relative_to("rxllm/operators"):
            continue
        for imported in re.findall(r"^ *(?:from|import) (rxllm\.[\w.]+)", path.read_text("utf-8"), flags=re.MULTILINE):
            parts = imported.split(".")
            below = Path("operators") if parts[1] == "operators" else Path(*parts)
            target = floor_of(below if (ROOT / below).is_dir() else below.with_suffix(".py"))
            if target is not None and target < floor:
                up.append(f"{own.as_posix()} imports {imported}")
    assert up == []


def test_other_files_that_are_named_are_there() -> None:
    """Paths anywhere in CONTRIBUTING.md lead somewhere, but for those of the provider that is made up."""
    paths = re.findall(r"`((?:rxllm|operators|tests|scripts|benchmarks|\.ci)/[\w./]*)`", CONTRIBUTING)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists() and "/_acme" not in path] == []
