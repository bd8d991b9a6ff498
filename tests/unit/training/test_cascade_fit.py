"""The fit: rows of model and threshold apart, repeatable, refusing with a number, and a guarantee that holds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from serve_app.confidence.policy import read, write
from serve_app.confidence.risk import clopper_pearson_upper
from serve_app.core import ConfigError, DataError
from serve_app.training.cascade import FitOptions, Prices, fit, fit_table, tabulate
from serve_app.training.cascade.budget_fit import fit_budget
from serve_app.training.cascade.fit import learn
from serve_app.training.cascade.scores import confidence_of
from serve_app.training.cascade.threshold import set_threshold
from tests.unit.confidence.synthetic import attempts

OPTIONS = FitOptions(alpha=0.15, checkpoints=(8,))
LOG = attempts(400)


@pytest.fixture(scope="module")
def table():
    return tabulate(LOG, OPTIONS.stages)


@pytest.fixture(scope="module")
def fitted(table):
    return fit_table(table, OPTIONS)


def test_the_same_rows_in_any_order_give_the_same_policy(fitted):
    assert fit(LOG[::-1], OPTIONS) == fitted.policy
    assert fit(LOG, replace(OPTIONS, seed=1)) != fitted.policy


def test_the_policy_survives_its_file(fitted, tmp_path):
    write(fitted.policy, tmp_path / "policy.json")
    assert read(tmp_path / "policy.json") == fitted.policy


def test_each_route_gets_a_threshold_whose_bound_keeps_the_target(fitted, table):
    for policy in fitted.policy.routes:
        assert policy.threshold is not None
        assert (policy.num_labels, policy.model_labels) == (120, 80)
        rows = table.take(fitted.threshold_part & table.of_group((policy.route, policy.adapter_version)))
        accepted = confidence_of(policy, rows, None, None) > policy.threshold
        num_wrong = int((rows.small_right[accepted] < 0.5).sum())
        assert policy.accepted_share == accepted.mean() > 0.3
        assert policy.observed_risk == num_wrong / accepted.sum()
        assert policy.risk_bound == clopper_pearson_upper(num_wrong, int(accepted.sum()), 0.1) <= 0.15
        assert policy.thresholds[-1] == policy.threshold


def test_labels_of_the_threshold_part_touch_neither_models_nor_margins(fitted, table):
    flipped = replace(table, small_right=np.where(fitted.threshold_part, 1 - table.small_right, table.small_right))
    for one, other in zip(learn(table, OPTIONS)[0], learn(flipped, OPTIONS)[0], strict=True):
        assert one == other


def test_labels_of_the_model_part_do_not_count_in_the_risk(fitted, table):
    policy = fitted.policy.routes[0]
    rows = fitted.threshold_part & table.of_group((policy.route, policy.adapter_version))
    again = set_threshold(policy, table.take(rows), table.small_right[rows] < 0.5, OPTIONS)
    assert again == policy


def test_a_route_of_its_own_target_and_the_joint_mode(table, fitted):
    own = fit_table(table, replace(OPTIONS, route_alpha={"code": 0.3}, joint=True)).policy
    assert [(policy.route, policy.alpha, policy.delta) for policy in own.routes] == [
        ("code", 0.3, 0.05), ("legal", 0.15, 0.05),
    ]  # fmt: skip
    assert own.find("code", "v1").accepted_share >= fitted.policy.find("code", "v1").accepted_share
    assert own.provenance.joint


def test_versions_of_an_adapter_are_fitted_apart():
    mixed = attempts(120, routes=("legal",)) + attempts(120, seed=1, routes=("legal",), version="v2")
    found = fit(mixed, OPTIONS)
    assert [(policy.route, policy.adapter_version) for policy in found.routes] == [("legal", "v1"), ("legal", "v2")]


def test_queries_that_no_router_saw_are_a_route():
    assert fit(attempts(100, routes=(None,)), OPTIONS).find(None, "v1") is not None


def test_too_few_labels_are_refused_with_the_number_that_would_do():
    (found,) = fit(attempts(60, routes=("legal",), small_right=1.0), replace(OPTIONS, alpha=0.05)).routes
    assert (found.threshold, found.accepted_share, found.risk_bound) == (None, 0.0, None)
    assert 75 <= found.needed_labels < 300


def test_a_hopeless_target_is_refused_without_a_number():
    (found,) = fit(attempts(200, routes=("legal",), ease=-4.0), replace(OPTIONS, alpha=0.01)).routes
    assert (found.threshold, found.needed_labels) == (None, None)


@pytest.mark.parametrize("num_rows", [1, 2, 5])
def test_a_route_with_hardly_a_row_is_refused_and_disturbs_no_other(num_rows):
    found = fit(LOG + attempts(num_rows, seed=2, routes=("rare",)), OPTIONS)
    assert found.find("rare", "v1").threshold is None
    assert found.find("code", "v1").threshold is not None


def test_no_worse_counts_against_the_large_model():
    rows = attempts(200, routes=("legal",), small_right=0.3, large_right=0.3)
    assert fit(rows, replace(OPTIONS, target="no_worse")).routes[0].accepted_share == 1.0
    assert fit(rows, OPTIONS).routes[0].threshold is None
    with pytest.raises(DataError, match=r"Row '0/0' has no large_right, .* \(200 of 200 lack it\)"):
        fit(attempts(200, large_right=None), replace(OPTIONS, target="no_worse"))


def test_a_score_is_right_from_the_stated_one_on():
    rows = attempts(200, routes=("legal",), small_right=0.4)
    assert fit(rows, replace(OPTIONS, right_from=0.4)).routes[0].accepted_share == 1.0


def test_rows_beyond_the_gain_bounds_are_skipped_or_kept():
    options = replace(OPTIONS, skip_small_above=0.5, keep_small_below=0.2)
    found = fit_table(tabulate(LOG, options.stages), options)
    assert (found.policy.skip_small_above, found.policy.keep_small_below) == (0.5, 0.2)
    assert all(0.1 < policy.accepted_share < 0.6 for policy in found.policy.routes if policy.threshold is not None)


def test_references_for_drift_leave_out_rows_that_the_gain_alone_decides():
    """Skipped rows have the shortest queries, kept ones the longest: with them the percentiles would reach there."""
    rows = [
        row.model_copy(update={"prompt_tokens": 3 if row.gain > 0.7 else 3000 if row.gain < 0.3 else 30}) for row in LOG
    ]
    options = replace(OPTIONS, alpha=0.3, skip_small_above=0.7, keep_small_below=0.3)
    table = tabulate(rows, options.stages)
    prices = Prices(1, 3, 10, 30)
    for found in (fit_table(table, options), fit_budget(table, options, prices, 1.0)):
        watched = [policy for policy in found.policy.routes if policy.threshold is not None]
        assert watched
        for policy in watched:
            assert set(policy.references["log_prompt_tokens"].quantiles) == {math.log1p(30)}


def test_where_the_gain_decides_every_row_there_is_nothing_to_refer_to():
    rows = attempts(200, routes=("legal",), gain=0.1, small_right=1.0)
    (found,) = fit(rows, replace(OPTIONS, keep_small_below=0.3)).routes
    assert (found.threshold is not None, found.references) == (True, {})


def guess(num_wrong, num_rows, alpha):
    """Labels asked for where every row has the same confidence."""
    draft = learn(tabulate(attempts(200, routes=("legal",)), ()), FitOptions(alpha=alpha, decide="full"))[0][0]
    (row,) = attempts(1, routes=("legal",))
    same = tabulate([row.model_copy(update={"id": str(number)}) for number in range(num_rows)], ())
    wrong = np.arange(num_rows) < num_wrong
    return set_threshold(draft, same, wrong, FitOptions(alpha=alpha, decide="full")).needed_labels


@pytest.mark.parametrize(("num_wrong", "tellable"), [(4, True), (6, True), (7, True), (15, False), (40, False)])
def test_that_labels_would_not_help_is_said_only_where_the_lower_bound_says_so(num_wrong, tellable):
    """Of 50 rows at a target of 10 %: 7 wrong may be bad luck (lower bound 8.0 %), 15 may not."""
    needed = guess(num_wrong, 50, 0.1)
    assert (needed is not None) is tellable
    assert needed is None or needed > 250


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"alpha": 0.0}, "alpha is 0;"),
        ({"delta": 1.0}, "delta is 1;"),
        ({"route_alpha": {"legal": 2.0}}, "alpha of route legal is 2"),
        ({"checkpoints": (8, 8)}, "rise"),
        ({"checkpoints": ()}, "needs checkpoints"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        FitOptions(**changes)


def test_a_target_for_a_route_without_rows_and_a_handful_of_rows_are_refused():
    with pytest.raises(DataError, match="No row has the route 'leagl'"):
        fit(LOG, replace(OPTIONS, route_alpha={"leagl": 0.1}))
    with pytest.raises(DataError, match="10 labelled rows leave 4 for the acceptance models"):
        fit(attempts(10), OPTIONS)


@pytest.mark.simulation
def test_over_many_draws_of_labels_the_fitted_threshold_keeps_the_risk():
    """The models fitted once; 200 labelled rows drawn 300 times from a known population, with replacement."""
    population = tabulate(attempts(1500, seed=9, routes=("legal",)), OPTIONS.stages)
    draft = learn(tabulate(attempts(200, seed=8, routes=("legal",)), OPTIONS.stages), OPTIONS)[0][0]
    wrong, confidence = population.small_right < 0.5, confidence_of(draft, population, None, None)
    random, kept, accepted = np.random.default_rng(0), [], []
    for _ in range(300):
        rows = random.integers(0, len(population), 200)
        found = set_threshold(draft, population.take(rows), wrong[rows], OPTIONS)
        chosen = confidence > (1.0 if found.threshold is None else found.threshold)
        accepted.append(chosen.mean())
        kept.append(not chosen.any() or wrong[chosen].mean() <= OPTIONS.alpha)
    assert np.mean(kept) >= 0.9 - 3 * np.sqrt(0.09 / 300)
    assert np.mean(accepted) > 0.2
