"""The examples in the operators' docstrings run, and every operator has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from rxllm import operators as ops

MODULES = sorted(module.name for module in pkgutil.iter_modules(ops.__path__, "rxllm.operators."))


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    """Each example prints what it says, without a network."""
    assert not doctest.testmod(importlib.import_module(module)).failed


@pytest.mark.parametrize("name", ops.__all__)
def test_every_operator_has_a_contract_a_marble_and_an_example(name: str) -> None:
    """A sentence that says what it gives, a drawing, and code that runs."""
    operator = getattr(ops, name)
    text = inspect.getdoc(operator) or ""
    assert text.splitlines()[0].endswith(".") or text.splitlines()[1].endswith(".")
    assert "--" in text
    assert any(test.examples for test in doctest.DocTestFinder().find(operator, name))


@pytest.mark.parametrize("name", ops.__all__)
def test_one_operator_a_file(name: str) -> None:
    """Each is defined in the file that is called after it."""
    assert inspect.getmodule(getattr(ops, name)) is importlib.import_module(f"rxllm.operators._{name}")
