"""Learn-then-Test: exact bounds, a walk that stops, and a risk that is kept where the empirical threshold breaks it."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from serve_app.confidence import risk
from serve_app.confidence.risk import (
    Chosen,
    Refused,
    choose,
    clopper_pearson_lower,
    clopper_pearson_upper,
    empirical,
    fewest_accepted,
    labels_needed,
)
from tests.properties import examples

ALPHA, DELTA = 0.1, 0.1


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.01, 0.5))
def test_the_upper_bound_is_where_so_few_errors_have_probability_delta(num_wrong, num_rows, delta):
    num_wrong = min(num_wrong, num_rows)
    bound = clopper_pearson_upper(num_wrong, num_rows, delta)
    if num_wrong == num_rows:
        assert bound == 1.0
    else:
        assert binom.cdf(num_wrong, num_rows, bound) == pytest.approx(delta)
    assert clopper_pearson_lower(num_wrong, num_rows, delta) <= num_wrong / num_rows <= bound


def test_no_rows_say_nothing():
    assert (clopper_pearson_lower(0, 0, 0.1), clopper_pearson_upper(0, 0, 0.1)) == (0.0, 1.0)


@pytest.mark.parametrize(("observed", "needed"), [(0.0, 45), (0.02, 132), (0.03, 258), (0.04, 873)])
def test_the_labels_needed_are_the_fewest_that_pass(observed, needed):
    assert labels_needed(0.05, 0.1, observed) == needed
    assert clopper_pearson_upper(int(np.ceil(observed * needed)), needed, 0.1) <= 0.05
    assert all(clopper_pearson_upper(int(np.ceil(observed * n)), n, 0.1) > 0.05 for n in range(1, needed))


def test_at_the_target_itself_no_number_of_labels_is_enough():
    assert labels_needed(0.05, 0.1, 0.05) is None
    assert labels_needed(0.05, 0.1, 0.0499999) is None


def nested(*counts, num_rows=200):
    """Thresholds that accept the first so many rows."""
    return np.arange(num_rows) < np.array(counts)[:, None]


def errors(*rows, num_rows=200):
    return np.isin(np.arange(num_rows), rows)


def test_the_walk_ends_at_the_last_threshold_before_the_first_failure():
    accepts = nested(50, 100, 150, 200)
    found = choose(accepts, errors(60, 110, 120, 130, 140), 0.05, 0.1)
    assert found == Chosen(1, 100, 1, clopper_pearson_upper(1, 100, 0.1))


def test_nothing_after_the_first_failure_is_looked_at():
    accepts = nested(50, 100, 200)
    assert choose(accepts, errors(0, 1, 2), 0.05, 0.1) == Refused(50, 3, clopper_pearson_upper(3, 50, 0.1))
    assert isinstance(choose(accepts[2:], errors(0, 1, 2), 0.05, 0.1), Chosen)


def test_thresholds_that_cannot_win_are_passed_over():
    assert choose(nested(10, 44, 45), errors(), 0.05, 0.1).index == 2
    assert choose(nested(10, 44), errors(), 0.05, 0.1) == Refused()
    assert choose(nested(10, 100), errors(), 0.05, 0.1, min_accepted=101) == Refused()


@given(st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_the_fewest_accepted_can_just_win(alpha, delta):
    fewest = fewest_accepted(alpha, delta)
    assert clopper_pearson_upper(0, fewest, delta) <= alpha + 1e-9
    assert fewest == 1 or clopper_pearson_upper(0, fewest - 1, delta) > alpha - 1e-9


def test_the_empirical_threshold_is_the_loosest_whose_observed_risk_fits():
    accepts = nested(50, 100, 150, 200)
    found = empirical(accepts, errors(0, 1, 2, 3, 120, 121, 122, 123), 0.05)
    assert (found.index, found.num_accepted, found.num_wrong) == (3, 200, 8)
    assert empirical(accepts, np.ones(200, dtype=bool), 0.05) == Refused()


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 2**32 - 1))
def test_where_learn_then_test_chooses_the_empirical_threshold_accepts_no_less(seed):
    random = np.random.default_rng(seed)
    wrong = random.uniform(size=200) < np.linspace(0, 0.3, 200)
    accepts = nested(*range(1, 201))
    careful, naive = choose(accepts, wrong, ALPHA, DELTA), empirical(accepts, wrong, ALPHA)
    if isinstance(careful, Chosen):
        assert careful.risk_bound <= ALPHA
        assert naive.num_accepted >= careful.num_accepted


def kept(choice, draws, rate):
    """Share of draws of 300 labelled rows in which the chosen share of the surest keeps the true risk under ALPHA.

    A row at rank r of [0, 1], the surest first, is wrong with probability rate(r). The thresholds accept fixed shares.
    """
    random = np.random.default_rng(7)
    shares = np.arange(0.1, 1.001, 0.02)
    grid = np.linspace(0, 1, 10_001)
    truth = np.array([rate(grid[grid <= share]).mean() for share in shares])
    good = []
    for _ in range(draws):
        rank = random.uniform(size=300)
        found = choice(rank <= shares[:, None], random.uniform(size=300) < rate(rank))
        good.append(isinstance(found, Refused) or truth[found.index] <= ALPHA)
    return float(np.mean(good))


DRAWS = 600
SLACK = 3 * np.sqrt(DELTA * (1 - DELTA) / DRAWS)
"""Three standard errors of a share of DRAWS."""


@pytest.mark.parametrize("rate", [lambda r: 0.3 * r, lambda r: 0.02 + 0.5 * r**3, lambda r: np.full_like(r, 0.11)])
def test_over_many_draws_the_risk_is_kept_as_often_as_stated(rate):
    assert kept(lambda accepts, wrong: choose(accepts, wrong, ALPHA, DELTA), DRAWS, rate) >= 1 - DELTA - SLACK


@pytest.mark.parametrize("rate", [lambda r: 0.3 * r, lambda r: 0.02 + 0.5 * r**3])
def test_over_the_same_draws_the_empirical_threshold_fails_about_half_of_the_time(rate):
    assert 0.3 <= kept(lambda accepts, wrong: empirical(accepts, wrong, ALPHA), DRAWS, rate) <= 0.7


def test_worked_values_hold():
    assert doctest.testmod(risk).failed == 0
