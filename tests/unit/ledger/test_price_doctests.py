"""The worked values in the docstrings of prices and bills hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "config.pricelist",
        "ledger.rates",
        "ledger.price_store",
        "ledger.reprice",
        "ledger.provisioned",
        "ledger.shares",
        "ledger.always_large",
    ],
)
def test_worked_values_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
