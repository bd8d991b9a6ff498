"""Figures of an acceptance model, against scikit-learn and by hand."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from serve_app.confidence import metrics
from serve_app.confidence.metrics import auroc, bootstrap, brier, expected_calibration_error, reliability, risk_coverage

ROWS = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9]), st.booleans()), min_size=1, max_size=40).map(
    lambda rows: (np.array([p for p, _ in rows]), np.array([r for _, r in rows]))
)


@settings(deadline=None)
@given(ROWS)
def test_auroc_and_brier_are_those_of_scikit_learn(rows):
    probability, right = rows
    assert brier(probability, right) == pytest.approx(brier_score_loss(right, probability, pos_label=True))
    if right.all() or not right.any():
        assert auroc(probability, right) is None
    else:
        assert auroc(probability, right) == pytest.approx(roc_auc_score(right, probability))


@settings(deadline=None)
@given(ROWS, st.randoms())
def test_risk_coverage_does_not_depend_on_the_order_of_rows(rows, random):
    probability, right = rows
    order = list(range(len(right)))
    random.shuffle(order)
    one, other = risk_coverage(probability, right), risk_coverage(probability[order], right[order])
    assert one.risk == pytest.approx(other.risk)
    assert one.risk[-1] == pytest.approx(1 - right.mean())


@settings(deadline=None)
@given(ROWS)
def test_the_area_lies_between_that_of_the_oracle_and_of_the_reverse(rows):
    probability, right = rows
    oracle = risk_coverage(right.astype(float), right).area
    reverse = risk_coverage(-right.astype(float), right).area
    assert oracle - 1e-9 <= risk_coverage(probability, right).area <= reverse + 1e-9


@settings(deadline=None)
@given(ROWS)
def test_bins_hold_every_row_once(rows):
    bins = reliability(*rows)
    assert sum(found.num_rows for found in bins) == len(rows[1])
    assert [found.stated for found in bins] == sorted(found.stated for found in bins)
    assert 0 <= expected_calibration_error(*rows) <= 1


def test_a_calibrated_model_has_little_calibration_error():
    random = np.random.default_rng(0)
    probability = random.uniform(0, 1, 20_000)
    assert expected_calibration_error(probability, random.uniform(0, 1, 20_000) < probability) < 0.015


def test_the_bootstrap_interval_holds_the_truth_and_repeats():
    random = np.random.default_rng(0)
    probability = random.uniform(0, 1, 300)
    right = random.uniform(0, 1, 300) < probability
    low, high = bootstrap(auroc, probability, right)
    assert low < auroc(probability, right) < high
    assert high - low < 0.15
    assert bootstrap(auroc, probability, right) == (low, high)
    assert bootstrap(auroc, probability, np.ones(300, dtype=bool)) is None


def test_worked_values_hold():
    assert doctest.testmod(metrics).failed == 0
