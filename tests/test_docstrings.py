"""The examples in the docstrings of rxllm run, and what is public has one. The operators have a test of their own."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import rxllm
from rxllm import exceptions, types

# Importing __main__ runs the command line; the command line's example is for its own tests.
ELSEWHERE = ("rxllm.operators", "rxllm.cli", "rxllm.__main__")
MODULES = [name for _, name, _ in pkgutil.walk_packages(rxllm.__path__, "rxllm.") if not name.startswith(ELSEWHERE)]
FINDER = doctest.DocTestFinder(exclude_empty=True)
WITH_EXAMPLES = [m for m in MODULES if any(test.examples for test in FINDER.find(importlib.import_module(m)))]

# Closing takes nothing and gives nothing: there is nothing to show.
WITHOUT_EXAMPLE = {"__version__", "aclose", "close"}
# What a chunk and a response consist of is shown where they are; these are read, and not made.
PARTS = {
    *("ChatCompletionDeltaToolCall", "Choices", "CompletionTokensDetails", "Delta", "Function", "FunctionDelta"),
    *("Message", "PromptTokensDetails", "Request", "StreamingChoices"),
}


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_run(module: str) -> None:
    """Each example prints what it says, without a network and without a key."""
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted
    assert not outcome.failed


def test_examples_are_found() -> None:
    """Those of the public modules are among them, so that none is lost to a change of the search."""
    assert {"rxllm._completion", "rxllm._stream", "rxllm.exceptions", "rxllm.types"} <= set(WITH_EXAMPLES)
    assert "rxllm.providers._openai" in WITH_EXAMPLES


@pytest.mark.parametrize("name", sorted(set(rxllm.__all__) - WITHOUT_EXAMPLE))
def test_what_is_public_has_an_example(name: str) -> None:
    """Every function and class that rxllm exports shows how it is used."""
    assert has_example(getattr(rxllm, name), name)


@pytest.mark.parametrize("name", sorted(set(types.__all__) - PARTS))
def test_types_that_users_make_have_an_example(name: str) -> None:
    """So does every type but the parts that one only reads."""
    assert has_example(getattr(types, name), name)


def test_errors_have_an_example() -> None:
    """One for all: they differ in nothing but their names."""
    assert has_example(exceptions.APIError, "APIError")


@pytest.mark.parametrize("name", sorted(WITHOUT_EXAMPLE - {"__version__"} | PARTS))
def test_exceptions_to_the_rule_are_needed(name: str) -> None:
    """What has an example by now is no exception any more."""
    assert not has_example(getattr(rxllm, name, None) or getattr(types, name), name)


def has_example(value: object, name: str) -> bool:
    """Whether the docstring of a function, or of a class or one of its methods, holds an example."""
    assert inspect.isclass(value) or inspect.isroutine(value)
    return any(test.examples for test in FINDER.find(value, name))
