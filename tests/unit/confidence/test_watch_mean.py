"""The test of a mean in [-1, 1]: valid at any moment, blind to order, and it finds what is there."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import serve_app.confidence.watch.mean
from serve_app.confidence.watch.mean import log_mean_above, mean_bounds

counts = st.dictionaries(st.integers(-100, 100).map(lambda one: one / 100), st.integers(1, 50), max_size=8)
bounds = st.integers(-99, 99).map(lambda one: one / 100)


def test_the_worked_examples_are_right():
    result = doctest.testmod(serve_app.confidence.watch.mean)
    assert (bool(result.attempted), result.failed) == (True, 0)


def test_no_values_say_nothing():
    assert log_mean_above({}, 0.0) == pytest.approx(0.0)
    assert mean_bounds({}, 0.05) == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize(("values", "bound"), [({1.1: 1}, 0.0), ({-1.1: 1}, 0.0), ({0.0: 1}, 1.0), ({0.0: 1}, -1.0)])
def test_values_and_bounds_beyond_the_range_are_refused(values, bound):
    with pytest.raises(ValueError, match="between"):
        log_mean_above(values, bound)


@given(counts, bounds, bounds)
def test_the_evidence_falls_with_the_bound(seen, one, other):
    low, high = min(one, other), max(one, other)
    assert log_mean_above(seen, low) >= log_mean_above(seen, high) - 1e-9


@given(bounds, st.floats(0.01, 1))
def test_one_more_value_at_the_bound_gains_nothing_on_average(bound, share):
    """Capital is a martingale at the bound, whatever two values the mean is made of."""
    low, high = bound - share * (1 + bound), bound + share * (1 - bound)
    chance = (bound - low) / (high - low)
    before = {0.5: 3, -0.25: 2}

    def capital(value):
        return math.exp(log_mean_above(before | {value: before.get(value, 0) + 1}, bound))

    expected = (1 - chance) * capital(low) + chance * capital(high)
    assert expected == pytest.approx(math.exp(log_mean_above(before, bound)), rel=1e-6)


@given(counts)
def test_the_bounds_hold_the_observed_mean(seen):
    low, high = mean_bounds(seen, 0.05)
    total = sum(seen.values())
    mean = sum(value * number for value, number in seen.items()) / total if total else 0.0
    assert low <= mean <= high


def test_a_false_alarm_at_any_moment_is_as_rare_as_stated():
    """300 runs, looked at after every 20 of 1,000 values at the bound; 3 standard errors above alpha at the most."""
    rng, alpha, alarms = np.random.default_rng(1), 0.1, 0
    for _ in range(300):
        values = rng.choice([-1.0, 0.0, 1.0], size=1000, p=[0.15, 0.8, 0.05])
        seen = {-1.0: 0, 0.0: 0, 1.0: 0}
        for at in range(0, 1000, 20):
            for value in values[at : at + 20]:
                seen[value] += 1
            if log_mean_above(seen, -0.1) >= -math.log(alpha):
                alarms += 1
                break
    assert alarms / 300 <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 300)


def test_values_that_hardly_vary_are_enough_of_few():
    assert log_mean_above({0.0: 120}, -0.05) > math.log(20)
    assert log_mean_above({1.0: 12}, 0.02) > math.log(80)
