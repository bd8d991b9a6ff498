"""Budget mode of the fit: what is asked for is kept on the rows it was set on, and more money buys quality."""

import pytest

from serve_app.core import NANO_USD, DataError
from serve_app.training.cascade import FitOptions, Prices, replay_policy, tabulate
from serve_app.training.cascade.budget_fit import fit_budget
from tests.unit.confidence.synthetic import attempts

PRICES = Prices(small_prompt=1, small_completion=3, large_prompt=10, large_completion=30)
OPTIONS = FitOptions(alpha=0.1, checkpoints=(8,))
TABLE = tabulate(attempts(300), OPTIONS.stages)


def at(budget_nusd):
    fitted = fit_budget(TABLE, OPTIONS, PRICES, budget_nusd / NANO_USD)
    rows = TABLE.take(fitted.threshold_part)
    seen = replay_policy(fitted.policy, rows)
    return fitted.policy, seen.cost_nusd(rows, PRICES).mean(), seen.quality(rows).mean()


def test_the_mean_price_stays_under_the_budget_and_quality_rises_with_it():
    found = [at(budget) for budget in (150, 300, 600, 1100)]
    assert all(cost <= budget for (_, cost, _), budget in zip(found, (150, 300, 600, 1100), strict=True))
    qualities = [quality for _, _, quality in found]
    assert qualities == sorted(qualities)
    assert qualities[-1] > qualities[0] + 0.03


def test_the_policy_says_that_it_promises_no_risk():
    policy, _, _ = at(300)
    assert policy.provenance.budget_usd == 300 / NANO_USD
    for route in policy.routes:
        assert (route.alpha, route.delta, route.risk_bound) == (None, None, None)
        assert route.threshold is None or route.observed_risk is not None


def test_a_budget_below_the_cheapest_operation_names_that():
    with pytest.raises(DataError, match="No thresholds stay under 1e-09 dollars a query; the cheapest take"):
        at(1)


def test_rows_without_the_large_score_cannot_be_weighed():
    with pytest.raises(DataError, match="large_right"):
        fit_budget(tabulate(attempts(100, large_right=None), OPTIONS.stages), OPTIONS, PRICES, 1.0)
