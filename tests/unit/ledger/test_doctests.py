"""The worked values in the docstrings hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "ledger.journal.frames",
        "ledger.rates",
        "ledger.public",
        "ledger.stats",
        "ledger.times",
        "ledger.latency",
        "ledger.partitions",
        "ledger.pieces",
        "ledger.totals",
        "store.url",
        "cli.ledger_table",
    ],
)
def test_worked_values_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
