"""The acceptance model: plain numbers in, the same probability alone and among others."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.confidence import model as module
from serve_app.confidence.features import FEATURES
from serve_app.confidence.model import AcceptanceModel, Isotonic, Platt, logit, sigmoid
from serve_app.core import ConfigError
from tests.unit.confidence.synthetic import model


def wide(seed=0, calibration=None):
    random = np.random.default_rng(seed)
    count = len(FEATURES)
    return AcceptanceModel(
        features=FEATURES,
        mean=tuple(random.normal(size=count).tolist()),
        scale=tuple(random.uniform(0.5, 2, count).tolist()),
        coefficients=tuple(random.normal(size=count).tolist()),
        intercept=0.3,
        calibration=calibration or Platt(slope=0.9, offset=-0.2),
    )


def test_the_probability_is_that_of_the_logistic_model():
    row = np.zeros(len(FEATURES))
    row[FEATURES.index("mean_logprob")] = -1.0
    assert model(slope=2.0, offset=1.0).probability(row) == pytest.approx(1 / (1 + np.exp(1.0)))


def test_a_row_gets_the_same_bits_alone_as_among_others():
    rows = np.random.default_rng(1).normal(size=(300, len(FEATURES)))
    for calibration in (None, Isotonic(log_odds=(-2.0, 0.5, 3.0), probabilities=(0.1, 0.4, 0.9))):
        found = wide(calibration=calibration)
        together = found.probability(rows)
        assert [float(found.probability(row)) for row in rows] == together.tolist()


def test_it_survives_json_to_the_bit():
    found = wide()
    again = AcceptanceModel.model_validate_json(found.model_dump_json())
    rows = np.random.default_rng(2).normal(size=(20, len(FEATURES)))
    assert again == found
    assert again.probability(rows).tolist() == found.probability(rows).tolist()


def test_a_feature_of_another_version_is_refused_by_name():
    with pytest.raises(ConfigError, match="unknown features \\(colour\\)"):
        model(feature="colour")


def test_lists_of_unlike_length_are_refused():
    fields = model().model_dump()
    with pytest.raises(ValidationError, match="differ in length"):
        AcceptanceModel(**{**fields, "mean": (0.0, 1.0)})


@pytest.mark.parametrize(
    ("log_odds", "probabilities"), [((0.0, 0.0), (0.1, 0.2)), ((0.0, 1.0), (0.3, 0.2)), ((0.0, 1.0, 2.0), (0.1, 0.2))]
)
def test_a_curve_that_does_not_rise_is_refused(log_odds, probabilities):
    with pytest.raises(ValidationError):
        Isotonic(log_odds=log_odds, probabilities=probabilities)


@given(st.floats(-12, 12))
def test_logit_undoes_sigmoid(log_odds):
    assert float(logit(sigmoid(np.array(log_odds)))) == pytest.approx(log_odds, abs=1e-8)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_sigmoid_keeps_the_order_and_stays_inside(one, other):
    low, high = sigmoid(np.array(min(one, other))), sigmoid(np.array(max(one, other)))
    assert 0 < low <= high < 1


def test_worked_values_hold():
    assert doctest.testmod(module).failed == 0
