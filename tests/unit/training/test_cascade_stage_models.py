"""Acceptance models from few labels: routes lend each other strength, and calibration is straight."""

import numpy as np
import pytest

from serve_app.confidence.features import FEATURES
from serve_app.confidence.metrics import auroc, expected_calibration_error
from serve_app.confidence.model import Isotonic, Platt
from serve_app.training.cascade.stage_models import calibrate, fit_stage

SIGNAL = FEATURES.index("mean_logprob")


def rows(num_rows, num_groups=2, seed=0, lift=0.0):
    """(features, right, group, fold, truth): one feature matters, groups differ by `lift` in ease, the rest: noise."""
    random = np.random.default_rng(seed)
    group = np.arange(num_rows) % num_groups
    features = random.normal(size=(num_rows, len(FEATURES)))
    truth = 1 / (1 + np.exp(-(1.5 * features[:, SIGNAL] + lift * group)))
    return features, random.uniform(size=num_rows) < truth, group, np.arange(num_rows) // num_groups % 5, truth


def test_it_finds_the_signal_and_is_calibrated_on_new_rows():
    found = fit_stage(*rows(400)[:4], 2)
    features, right, group, _, truth = rows(2000, seed=1)
    probability = np.concatenate([found.models[index].probability(features[group == index]) for index in (0, 1)])
    right, truth = (np.concatenate([values[group == 0], values[group == 1]]) for values in (right, truth))
    assert auroc(probability, right) > auroc(truth, right) - 0.05
    assert expected_calibration_error(probability, right) < 0.06


def test_a_route_with_few_rows_leans_on_the_others_and_keeps_its_ease():
    features, right, group, fold, _ = rows(420, seed=2, lift=2.0)
    few = (group == 0) | (np.arange(420) < 80)
    found = fit_stage(features[few], right[few], group[few], fold[few], 2)
    new, new_right, new_group, _, _ = rows(2000, seed=3, lift=2.0)
    probability = found.models[1].probability(new[new_group == 1])
    own = few & (group == 1)
    alone = (
        fit_stage(features[own], right[own], group[own] - 1, fold[own], 1).models[0].probability(new[new_group == 1])
    )
    assert auroc(probability, new_right[new_group == 1]) > auroc(alone, new_right[new_group == 1]) + 0.02
    assert abs(probability.mean() - new_right[new_group == 1].mean()) < 0.12


def test_predictions_out_of_fold_do_not_know_the_label():
    features, _, group, fold, _ = rows(200)
    noise = np.random.default_rng(5).uniform(size=200) < 0.5
    assert abs(auroc(fit_stage(features, noise, group, fold, 2).out_of_fold, noise) - 0.5) < 0.12


def test_it_repeats():
    one, other = (fit_stage(*rows(150)[:4], 2) for _ in range(2))
    assert one.models == other.models
    assert one.out_of_fold.tolist() == other.out_of_fold.tolist()


@pytest.mark.parametrize("label", [True, False])
def test_labels_that_are_all_alike_give_a_constant_away_from_certainty(label):
    features, _, group, fold, _ = rows(98)
    found = fit_stage(features, np.full(98, label), group, fold, 2)
    assert found.models[0].features == ()
    assert found.models[1].probability(features)[0] == pytest.approx(0.99 if label else 0.01)


def test_features_that_never_change_are_left_out():
    features, right, group, fold, _ = rows(150)
    features[:, FEATURES.index("gain")] = 0.5
    assert "gain" not in fit_stage(features, right, group, fold, 2).models[0].features


@pytest.mark.parametrize(("num_rows", "kind"), [(300, Platt), (1500, Isotonic)])
def test_calibration_straightens_log_odds_that_are_too_bold(num_rows, kind):
    random = np.random.default_rng(0)
    true_log_odds = random.normal(size=num_rows)
    right = random.uniform(size=num_rows) < 1 / (1 + np.exp(-true_log_odds))
    found = calibrate(3 * true_log_odds, right)
    assert isinstance(found, kind)
    grid = np.linspace(-1.5, 1.5, 7)
    assert found.probability(3 * grid) == pytest.approx(1 / (1 + np.exp(-grid)), abs=0.12)
    assert (np.diff(found.probability(np.linspace(-9, 9, 50))) >= 0).all()


def test_no_rows_leave_log_odds_as_they_are():
    assert calibrate(np.array([]), np.array([], dtype=bool)) == Platt(slope=1.0, offset=0.0)
