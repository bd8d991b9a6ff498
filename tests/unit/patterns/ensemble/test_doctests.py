"""The examples in docstrings hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module", ["patterns.ensemble.normalise", "patterns.ensemble.vote", "patterns.ensemble.mixture", "config.ensemble"]
)
def test_examples_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
