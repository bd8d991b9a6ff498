"""References and drift: no word on few values, none on chance, a clear one on a change, with ties too."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import ks_2samp

from serve_app.confidence.watch import PSI_MAJOR, PSI_MODERATE, Drift, Reference, SignalWindow, reference_of
from serve_app.confidence.watch.drift import MIN_DECISIONS
from serve_app.core import DataError
from tests.properties import examples

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)
TIED = st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1, max_size=300)


def drift_of(reference_values, values, size=1000):
    window = SignalWindow(reference_of(reference_values), size)
    for value in values:
        window.add(value)
    return window.drift()


def normal(rng, num_values, mean=0.0):
    return [rng.gauss(mean, 1) for _ in range(num_values)]


@settings(max_examples=examples(100), deadline=None)
@given(st.one_of(VALUES, TIED))
def test_a_reference_knows_its_values_to_one_per_cent_ties_included(values):
    reference, array = reference_of(values), np.asarray(values)
    for value in set(values):
        point = np.array([value])
        assert abs(reference.share_up_to(point)[0] - np.mean(array <= value)) <= 0.01 + 1e-12
        assert abs(reference.share_below(point)[0] - np.mean(array < value)) <= 0.01 + 1e-12


def test_a_reference_survives_its_file():
    reference = reference_of([0.1, 0.25, 1 / 3, 0.9])
    assert Reference.model_validate_json(reference.model_dump_json()) == reference


@pytest.mark.parametrize(
    "change",
    [
        {"quantiles": [0.5] * 100},
        {"quantiles": [0.5] * 100 + [0.4]},
        {"quantiles": [0.5] * 100 + [math.inf]},
        {"num_values": 0},
        {"unknown": 1},
    ],
)
def test_a_damaged_reference_is_refused(change):
    with pytest.raises(ValidationError):
        Reference.model_validate(reference_of([0.5]).model_dump() | change)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf]])
def test_values_that_have_no_distribution_are_refused(values):
    with pytest.raises(DataError, match="reference"):
        reference_of(values)


def test_nothing_is_said_of_few_values():
    drift = drift_of([0.1, 0.2], [5.0] * (MIN_DECISIONS - 1))
    assert (drift.psi, drift.ks, drift.level) == (None, None, "unknown")
    assert not drift.beyond(PSI_MODERATE)


def test_an_unchanged_signal_is_stable():
    rng = random.Random(3)
    drifts = [drift_of(normal(rng, 400), normal(rng, 150)) for _ in range(50)]
    assert all(drift.level == "stable" for drift in drifts)


def test_chance_over_a_small_reference_is_not_called_drift():
    """With 30 values in the reference the index of an unchanged signal is often over 0.25."""
    rng = random.Random(5)
    drifts = [drift_of(normal(rng, 30), normal(rng, 100)) for _ in range(100)]
    assert any(drift.psi > PSI_MAJOR for drift in drifts)
    assert sum(drift.level != "stable" for drift in drifts) <= 3


def test_a_shifted_signal_is_drift():
    rng = random.Random(3)
    reference = normal(rng, 1000)
    assert drift_of(reference, normal(rng, 500, 0.4)).level == "moderate"
    assert drift_of(reference, normal(rng, 500, 1.0)).level == "major"


def test_old_values_leave_the_window():
    rng = random.Random(3)
    reference = normal(rng, 1000)
    drift = drift_of(reference, normal(rng, 500, 9.0) + normal(rng, 500), size=500)
    assert (drift.num_values, drift.level) == (500, "stable")


def test_the_index_is_that_of_its_formula():
    reference = [float(value) for value in range(1000)]
    drift = drift_of(reference, [float(value) for value in range(0, 500, 2)])
    seen = np.array([50.5] * 5 + [0.5] * 5) / 255
    assert drift.psi == pytest.approx(float(np.sum((seen - 0.1) * np.log(seen / 0.1))), rel=0.05)


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.booleans())
def test_the_distance_is_that_of_kolmogorov_and_smirnov_to_its_resolution(seed, shift, tied):
    rng = random.Random(seed)
    reference, values = normal(rng, 500), normal(rng, 200, shift)
    if tied:
        reference, values = [float(round(one)) for one in reference], [float(round(one)) for one in values]
    assert drift_of(reference, values).ks == pytest.approx(ks_2samp(reference, values).statistic, abs=0.0201)


def test_a_flag_drifts_like_any_signal():
    reference = [1.0] * 90 + [0.0] * 10
    assert drift_of(reference * 5, reference * 5).level == "stable"
    assert drift_of(reference * 5, [1.0, 0.0] * 250).level == "major"


def test_a_signal_that_never_varied_has_no_deciles_but_a_distance():
    drift = drift_of([1.0] * 300, [0.2] * 300)
    assert (drift.psi, drift.ks) == (0.0, 1.0)


def test_noise_shrinks_with_the_window():
    small, large = drift_of(range(1000), range(100)), drift_of(range(1000), range(1000))
    assert small.noise > large.noise > 0
    assert not Drift(100, 0.2, 0.1, noise=0.3).beyond(PSI_MODERATE)
