"""Replays: all rows at once as one by one, and bills as in production."""

import numpy as np
import pytest

from serve_app.confidence import FittedRule, ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import DataError
from serve_app.training.cascade import FitOptions, Prices, fit, replay, replay_policy, tabulate
from serve_app.training.cascade.simulate import always_large_nusd
from tests.unit.confidence.synthetic import attempts, early, model, policy, route_policy

PRICES = Prices(small_prompt=1, small_completion=3, large_prompt=10, large_completion=30)
NEW = attempts(150, seed=4)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("accepted", "tried", "judged_tokens", "billed_tokens")
    )


@pytest.mark.parametrize(
    "options",
    [
        FitOptions(alpha=0.2, checkpoints=(4, 12)),
        FitOptions(alpha=0.2, decide="full"),
        FitOptions(alpha=0.2, checkpoints=(4, 12), skip_small_above=0.8, keep_small_below=0.3),
        FitOptions(alpha=0.01),
    ],
    ids=["prefix", "full", "gain", "refused"],
)
def test_all_rows_at_once_are_decided_as_the_rule_decides_each(options):
    fitted = fit(attempts(300), options)
    one_by_one = replay(FittedRule(fitted, CascadeSettings()), NEW)
    assert same(one_by_one, replay_policy(fitted, tabulate(NEW, options.stages)))


@pytest.mark.parametrize("threshold", [0.5, None])
def test_unknown_versions_and_routes_and_refused_versions_too(threshold):
    stages = (early(),)
    mixed = policy(
        route_policy(early=stages),
        route_policy(early=stages, adapter_version="v2", threshold=threshold, thresholds=()),
        checkpoints=(4,),
        keep_small_below=0.5,
    )
    rows = NEW + attempts(60, seed=5, version="v2", routes=("legal",)) + attempts(60, seed=6, version="v3")
    found = replay_policy(mixed, tabulate(rows, (4,)))
    assert same(replay(FittedRule(mixed, CascadeSettings()), rows), found)
    assert not found.accepted[-60:].any()


def test_one_threshold_for_all_is_that_of_every_route():
    fitted = fit(attempts(300), FitOptions(alpha=0.2, checkpoints=(4, 12)))
    table = tabulate(NEW, (4, 12))
    assert replay_policy(fitted, table, 0.0).accepted.all()
    shares = [replay_policy(fitted, table, limit).accepted.mean() for limit in (0.2, 0.5, 0.8, 0.95)]
    assert shares == sorted(shares, reverse=True)


def test_rows_at_other_checkpoints_are_refused():
    with pytest.raises(DataError, match=r"tabulated at \(4,\) and the policy looks at \(\)"):
        replay_policy(policy(), tabulate(NEW, (4,)))


def test_any_rule_can_be_replayed():
    found = replay(ThresholdRule(CascadeSettings(threshold=0.5, prefix_tokens=6)), NEW)
    long = np.array([len(row.tokens) > 6 for row in NEW])
    assert (found.judged_tokens[long] == 6).all()
    assert (found.billed_tokens[~found.accepted & long] == 6).all()


def test_the_bill_is_that_of_every_attempt():
    rows = attempts(2, routes=("legal",), tokens=((-0.1, 0.1, 1.0, 1),) * 10)
    hopeless = early(model=model(offset=-9.0))
    table = tabulate(rows, (4,))
    escalated = replay_policy(policy(route_policy(early=(hopeless,)), checkpoints=(4,)), table)
    large = 28 * 10 + 25 * 30
    assert escalated.cost_nusd(table, PRICES).tolist() == [30 * 1 + 4 * 3 + large] * 2
    refused = replay_policy(policy(route_policy(early=(hopeless,), threshold=None), checkpoints=(4,)), table)
    assert refused.cost_nusd(table, PRICES).tolist() == [large] * 2
    accepted = replay_policy(policy(route_policy(early=(hopeless,)), checkpoints=(4,)), table, 0.0)
    assert accepted.cost_nusd(table, PRICES).tolist() == [30 + 3 * row.small_usage.completion_tokens for row in rows]


def test_quality_is_that_of_the_answer_given_and_unknown_where_nobody_asked():
    rows = attempts(40, routes=("legal",), small_right=1.0, large_right=0.0)
    table = tabulate(rows, ())
    found = replay_policy(policy(), table)
    assert 0 < found.accepted.mean() < 1
    assert found.quality(table).tolist() == found.accepted.astype(float).tolist()
    unasked = tabulate(attempts(40, routes=("legal",), large_right=None, large_usage=None), ())
    seen = replay_policy(policy(), unasked)
    assert np.isnan(seen.quality(unasked)).tolist() == (~seen.accepted).tolist()
    estimate = unasked.small_prompt_tokens * 10 + unasked.small_completion_tokens * 30
    assert always_large_nusd(unasked, PRICES).tolist() == estimate.tolist()
