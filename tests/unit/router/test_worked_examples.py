"""The worked values in the docstrings are true."""

import doctest
import importlib

import pytest

MODULES = (
    "router.classifier",
    "router.conversation",
    "router.metrics",
    "router.text",
    "router.vocabulary",
    "training.router.calibrate",
    "training.router.data",
    "training.router.folds",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_worked_values_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"serve_app.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
