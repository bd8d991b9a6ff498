"""What evaluate says, and the pictures."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from serve_app.core import ConfigError
from serve_app.training.cascade import FitOptions, Prices, evaluate, fit_table, tabulate
from serve_app.training.cascade.plots import plot
from tests.unit.confidence.synthetic import attempts, policy

PRICES = Prices(small_prompt=1, small_completion=3, large_prompt=10, large_completion=30)
OPTIONS = FitOptions(alpha=0.15, checkpoints=(8,))


@pytest.fixture(scope="module")
def fitted():
    return fit_table(tabulate(attempts(400), OPTIONS.stages), OPTIONS).policy


@pytest.fixture(scope="module")
def new():
    return tabulate(attempts(200, seed=1), OPTIONS.stages)


def test_the_figures_are_json_and_add_up(fitted, new):
    figures = json.loads(json.dumps(evaluate(fitted, new, PRICES), allow_nan=False))
    code, legal = figures["routes"]
    assert (code["route"], legal["route"], code["rows"] + legal["rows"]) == ("code", "legal", 200)
    for found in (code, legal):
        assert 0 <= found["ece"] <= 0.3
        assert found["auroc_95"][0] < found["auroc"] < found["auroc_95"][1]
        assert found["risk_95"][0] <= found["risk"] <= found["risk_95"][1]
    total = figures["all"]
    assert total["accepted_share"] == pytest.approx(np.mean([code["accepted_share"], legal["accepted_share"]]))
    assert total["cost_usd"] == pytest.approx(total["always_large_usd"] * (1 - total["saved_share"]))
    assert figures["fitted_on_these_rows"] is False


def test_rows_of_the_fit_are_recognised_in_any_order(fitted):
    rows = attempts(400)
    assert evaluate(fitted, tabulate(rows[::-1], OPTIONS.stages))["fitted_on_these_rows"] is True


def test_what_nobody_knows_is_null(fitted):
    unasked = tabulate(attempts(60, seed=2, large_right=None, large_usage=None), OPTIONS.stages)
    figures = evaluate(fitted, unasked, PRICES)
    assert figures["all"]["quality"] is None
    assert figures["all"]["rows_with_estimated_large_cost"] == 60


def test_an_unknown_version_is_reported_as_not_fitted(fitted):
    (code, _) = evaluate(fitted, tabulate(attempts(40, version="v9"), OPTIONS.stages))["routes"]
    assert (code["fitted"], code["accepted_share"], code["risk"]) == (False, 0.0, None)


def test_plot_writes_a_picture(fitted, new, tmp_path):
    plot(fitted, new, PRICES, tmp_path / "new" / "plot.png")
    assert (tmp_path / "new" / "plot.png").read_bytes().startswith(b"\x89PNG")
    unknown = replace(new, large_right=np.full(len(new), np.nan))
    plot(policy(), tabulate(attempts(20), ()), PRICES, tmp_path / "hand.png")
    plot(fitted, unknown, PRICES, tmp_path / "unknown.png")


def test_without_matplotlib_the_extra_is_named(fitted, new, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="headrace\\[plots\\]"):
        plot(fitted, new, PRICES, tmp_path / "plot.png")
