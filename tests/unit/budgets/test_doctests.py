"""The worked values in the docstrings hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["amount", "windows", "budget", "protocol", "use", "refusal"])
def test_worked_values_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.budgets.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
