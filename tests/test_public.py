"""What users may import: pinned, documented, and the errors as their tree says."""

import asyncio
import copy
import inspect
import pickle
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxllm
from rxllm import exceptions, notebook, operators, proxy, stores, testing, types
from rxllm.exceptions import APIError
from rxllm.providers._errors import response_error

ROOT = Path(__file__).resolve().parents[1]

# What is public, module by module. Each `__all__` is in the order of sorted(): capitals, underscores, small letters.
PUBLIC: dict[ModuleType, list[str]] = {
    rxllm: [
        "BatchResult",
        "Budget",
        "Measurement",
        "ModelResponse",
        "ModelResponseStream",
        "Stream",
        "Timeouts",
        "__version__",
        "aclose",
        "acompletion",
        "as_stream",
        "close",
        "complete_all",
        "completion",
        "function_tool",
        "token_counter",
    ],
    exceptions: [
        "APIConnectionError",
        "APIError",
        "APIResponseValidationError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadGatewayError",
        "BadRequestError",
        "ConflictError",
        "ContentPolicyViolationError",
        "ContextWindowExceededError",
        "GuardrailError",
        "IncompleteStreamError",
        "InternalServerError",
        "NotFoundError",
        "PaymentRequiredError",
        "PermissionDeniedError",
        "RateLimitError",
        "RequestTooLargeError",
        "ServiceUnavailableError",
        "Timeout",
        "UnprocessableEntityError",
        "UnsupportedParamsError",
    ],
    types: [
        "BlankChoices",
        "ChatCompletionDeltaToolCall",
        "ChatCompletionMessageToolCall",
        "Choices",
        "CodeBlock",
        "CompletionTokensDetails",
        "Delta",
        "Function",
        "FunctionDelta",
        "Message",
        "ModelResponse",
        "ModelResponseStream",
        "PartialToolCall",
        "PromptTokensDetails",
        "Request",
        "Restart",
        "StreamingChoices",
        "ToolResult",
        "Usage",
    ],
    operators: [
        "accumulate_text",
        "assemble_tool_calls",
        "attach_cost",
        "attach_usage",
        "build_response",
        "by_choice",
        "cached",
        "count_tokens",
        "extract_code_blocks",
        "fallback_to",
        "finish_reason",
        "guard",
        "hedge",
        "measure",
        "merge_models",
        "observe_from",
        "parse_partial",
        "print_text",
        "publish_to",
        "race",
        "record",
        "redact",
        "replay",
        "require_finish",
        "retry_before_content",
        "run_tools",
        "share_replay",
        "smooth_text",
        "split_lines",
        "split_reasoning",
        "split_sentences",
        "stop_at",
        "tag",
        "take_chunks",
        "take_until_budget",
        "text_deltas",
    ],
    testing: [
        "LLMRequest",
        "LLMServer",
        "VirtualTime",
        "Watched",
        "assert_operator",
        "cold_chunks",
        "hot_chunks",
        "tool_call",
    ],
    notebook: ["marbles", "show", "timeline"],
    proxy: ["ProxyRequest", "create_app", "to_sse"],
    stores: ["MemoryStore", "RedisStore", "StreamStore"],
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names]
ERRORS: list[type[APIError]] = [getattr(exceptions, name) for name in exceptions.__all__]
ATTRIBUTES: dict[str, Any] = {
    "status_code": 429,
    "llm_provider": "openai",
    "model": "gpt-4",
    "code": "rate_limit_exceeded",
    "type": "tokens",
    "param": "messages",
    "body": {"error": {"message": "Too many"}},
    "request_id": "req_1",
    "headers": {"retry-after": "1"},
}


def called(module_and_name: Any) -> str:
    """How a public name is shown in the test's own."""
    module, name = module_and_name
    return f"{module.__name__}.{name}"


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_what_is_public(module: ModuleType) -> None:
    """Nothing comes or goes unnoticed; names are in the order of sorted()."""
    assert module.__all__ == PUBLIC[module] == sorted(PUBLIC[module])


@pytest.mark.parametrize("module_and_name", NAMES, ids=called)
def test_what_is_public_is_there_and_documented(module_and_name: tuple[ModuleType, str]) -> None:
    """Each name exists, and each class and function says what it is, in a sentence."""
    module, name = module_and_name
    value = getattr(module, name)
    if name == "__version__":
        return
    said = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert said, "it has no docstring of its own"
    first = inspect.cleandoc(said).split("\n\n")[0]
    assert re.search(r"[.:]$|\.\s", first), "the docstring does not begin with a sentence"
    if module is not types:
        assert value.__module__.startswith("rxllm")


@pytest.mark.parametrize("module_and_name", NAMES, ids=called)
def test_public_methods_are_documented(module_and_name: tuple[ModuleType, str]) -> None:
    """So are the public methods and properties that a class defines itself."""
    value = getattr(*module_and_name)
    if inspect.isclass(value):
        own = [name for name in vars(value) if not name.startswith("_") and not name.startswith("model_")]
        undocumented = [name for name in own if not inspect.getdoc(getattr(value, name))]
        assert [name for name in undocumented if name not in value.__annotations__] == []


def test_star_imports_work() -> None:
    """``from rxllm import *`` brings all, also what is loaded late."""
    names: dict[str, Any] = {}
    exec("from rxllm import *", names)  # noqa: S102
    assert sorted(set(names) - {"__builtins__"}) == PUBLIC[rxllm]


def test_a_name_that_is_not_there() -> None:
    """The module's own lookup of late names refuses others as usual."""
    with pytest.raises(AttributeError, match="'rxllm' has no attribute 'complete'"):
        getattr(rxllm, "complete")  # noqa: B009  type checkers would refuse it


def test_close_without_connections() -> None:
    """Closing what was never opened is no error, once and again."""
    for _ in range(2):
        rxllm.close()
        asyncio.run(rxllm.aclose())


def test_the_version_is_the_projects() -> None:
    """``__version__`` is what pyproject.toml says, and the changelog has a heading for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert rxllm.__version__ == project["version"]
    assert f"\n## {rxllm.__version__} (" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# -- errors


class Drawn(NamedTuple):
    """A line of the tree in the docstring of rxllm.exceptions."""

    depth: int
    name: str
    other_name: str | None
    words: str


def drawn_tree() -> Iterator[Drawn]:
    """The lines of the tree, from its root on."""
    assert exceptions.__doc__ is not None
    for line in exceptions.__doc__.splitlines():
        drawn = re.fullmatch(r"    ((?:[│ ]   )*)(├── |└── )?([A-Z]\w+)(?: \((\w+)\))? *(.*)", line)
        if drawn:
            yield Drawn(len(drawn[1]) // 4 + bool(drawn[2]), drawn[3], drawn[4], drawn[5])


def test_the_documented_tree_is_the_real_one() -> None:
    """Every class stands in the tree once, below the class that it is a child of."""
    documented: dict[str, str] = {}
    above: list[str] = ["Exception"]
    for line in drawn_tree():
        del above[line.depth + 1 :]
        assert line.name not in documented
        documented[line.name] = above[line.depth]
        above.append(line.name)
        if line.other_name:
            assert getattr(exceptions, line.other_name) is getattr(exceptions, line.name)
    assert documented == {error.__name__: " ".join(base.__name__ for base in error.__bases__) for error in ERRORS}


def test_two_names_of_one_class() -> None:
    """openai-python's name for a timeout, and LiteLLM's."""
    assert exceptions.APITimeoutError is exceptions.Timeout


@pytest.mark.parametrize("error", ERRORS)
def test_one_except_catches_all(error: type[APIError]) -> None:
    """Each is an APIError, with the message as its text and everything else None or empty."""
    raised = error("It failed")
    assert isinstance(raised, APIError)
    assert str(raised) == raised.message == "It failed"
    assert raised.args == ("It failed",)
    assert {name: getattr(raised, name) for name in ATTRIBUTES} == {**dict.fromkeys(ATTRIBUTES), "headers": {}}


@pytest.mark.parametrize("error", ERRORS)
def test_attributes_are_given_by_name(error: type[APIError]) -> None:
    """Keyword-only after the message, and nothing else is taken."""
    raised = error("Too many", **ATTRIBUTES)
    assert {name: getattr(raised, name) for name in ATTRIBUTES} == ATTRIBUTES
    parameters = list(inspect.signature(error).parameters.values())
    assert [p.name for p in parameters] == ["message", *ATTRIBUTES]
    assert {p.kind for p in parameters[1:]} == {inspect.Parameter.KEYWORD_ONLY}
    positional: Any = error
    with pytest.raises(TypeError):
        positional("Too many", 429)
    with pytest.raises(TypeError):
        positional("Too many", colour="red")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", ERRORS)
def test_errors_cross_process_borders(error: type[APIError], protocol: int) -> None:
    """Pickled and copied they keep their class and every attribute, also those that somebody set on them."""
    raised = error("Too many", **ATTRIBUTES)
    raised.add_note("while testing")
    for again in (pickle.loads(pickle.dumps(raised, protocol)), copy.copy(raised), copy.deepcopy(raised)):  # noqa: S301
        assert type(again) is error
        assert again.__dict__ == raised.__dict__
        assert (str(again), again.args) == (str(raised), raised.args)


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_the_message_and_the_headers_are_kept_as_they_are(message: str, headers: dict[str, str]) -> None:
    """Any text; the headers are a copy, so that changing one's own later changes nothing."""
    raised = APIError(message, headers=headers)
    assert str(raised) == message
    assert raised.headers == headers
    assert raised.headers is not headers


STATUSES = [(line.name, int(status)) for line in drawn_tree() for status in re.findall(r"\b[45]\d\d\b", line.words)]


@pytest.mark.parametrize(("name", "status"), STATUSES)
def test_a_status_of_the_tree_gives_its_class(name: str, status: int) -> None:
    """A response with a status that the tree names becomes an error of the class beside it."""
    request = types.Request(model="gpt-4", messages=[{"role": "user", "content": "Hi"}])
    error = response_error(request, status, {}, b"")
    assert type(error) is getattr(exceptions, name)
    assert error.status_code == status


def test_the_tree_names_the_statuses() -> None:
    """Those that a provider answers with, each once."""
    assert sorted(status for _, status in STATUSES) == [
        *(400, 401, 402, 403, 404, 408, 409, 413, 422, 429),
        *(500, 502, 503, 504, 529),
    ]


def test_both_completions_take_the_same() -> None:
    """acompletion() has completion()'s signature, for people and for tools."""
    assert inspect.signature(rxllm.acompletion) == inspect.signature(rxllm.completion)


def test_every_package_is_shipped() -> None:
    """pyproject.toml names each folder with modules, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "rxllm").rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} | {"rxllm.operators"} == set(
        project["tool"]["setuptools"]["packages"]
    )
