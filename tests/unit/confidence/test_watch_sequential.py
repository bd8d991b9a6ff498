"""The test of the risk: false alarms stay within delta at every look; a broken guarantee is found soon."""

import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.confidence.watch import RiskTest, risk_interval
from serve_app.core import ConfigError
from tests.properties import examples


def probability(losses, risk):
    """Of this sequence of right (0) and wrong (1) answers."""
    return math.prod(risk if loss else 1 - risk for loss in losses)


def after(losses, alpha, delta=0.05):
    test = RiskTest(alpha, delta)
    for loss in losses:
        test.add(loss)
    return test


def audits_to_alarm(rng, risks, alpha=0.05, delta=0.05):
    """How many audits until the alarm; None for no alarm by the end of `risks`."""
    test = RiskTest(alpha, delta)
    for count, risk in enumerate(risks, start=1):
        test.add(float(rng.random() < risk))
        if test.breached:
            return count
    return None


@settings(max_examples=examples(25), deadline=None)
@given(alpha=st.floats(0.01, 0.9), num_audits=st.integers(1, 7), share=st.floats(0.0, 1.0))
def test_the_evidence_is_one_on_average_at_alpha_and_no_more_below(alpha, num_audits, share):
    every = list(itertools.product((0, 1), repeat=num_audits))
    evidence = {losses: math.exp(after(losses, alpha).log_e_value) for losses in every}
    at_alpha = sum(probability(losses, alpha) * evidence[losses] for losses in every)
    below = sum(probability(losses, alpha * share) * evidence[losses] for losses in every)
    assert at_alpha == pytest.approx(1)
    assert below <= 1 + 1e-9


@pytest.mark.parametrize(("alpha", "delta"), [(0.05, 0.3), (0.2, 0.2), (0.4, 0.5)])
def test_the_exact_chance_of_a_false_alarm_is_at_most_delta(alpha, delta):
    every = itertools.product((0, 1), repeat=10)
    alarms = sum(probability(losses, alpha) for losses in every if after(losses, alpha, delta).breached)
    assert 0 < alarms <= delta


def test_over_many_streams_false_alarms_are_within_the_binomial_error_of_delta():
    rng, num_streams, delta = random.Random(4), 150, 0.1
    alarms = sum(audits_to_alarm(rng, [0.05] * 500, delta=delta) is not None for _ in range(num_streams))
    assert alarms <= num_streams * delta + 3 * math.sqrt(num_streams * delta * (1 - delta))


@pytest.mark.parametrize(
    ("risks", "good_before", "median"),
    [([0.1] * 2000, 0, 175), ([0.2] * 500, 0, 40), ([0.04] * 2000 + [0.1] * 1500, 2000, 550)],
    ids=["doubled", "fourfold", "doubled after 2,000 good audits"],
)
def test_a_broken_guarantee_is_found_within_the_stated_number_of_audits(risks, good_before, median):
    rng = random.Random(7)
    counts = [audits_to_alarm(rng, risks) or math.inf for _ in range(31)]
    assert statistics.median(counts) - good_before <= median


def test_an_alarm_stays_even_when_later_audits_are_good():
    test = after([1] * 10, 0.05)
    assert test.breached
    for _ in range(500):
        test.add(0)
    assert test.log_e_value < test.log_alarm
    assert test.breached


def test_a_long_run_stays_finite():
    for loss in (0, 1):
        assert math.isfinite(after([loss] * 3000, 0.05).log_e_value)


@settings(max_examples=examples(50), deadline=None)
@given(st.floats(0.01, 0.99), st.lists(st.floats(0, 1), max_size=30))
def test_losses_between_right_and_wrong_are_taken_too(alpha, losses):
    test = after(losses, alpha)
    assert math.isfinite(test.log_e_value)
    assert (test.num_audited, test.total_loss) == (len(losses), pytest.approx(sum(losses)))


@pytest.mark.parametrize("loss", [-0.1, 1.1, math.nan])
def test_what_is_no_loss_is_refused(loss):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        RiskTest(0.05, 0.05).add(loss)


@pytest.mark.parametrize(("alpha", "delta", "named"), [(0.0, 0.1, "alpha"), (1.0, 0.1, "alpha"), (0.1, 0.0, "delta")])
def test_a_target_that_cannot_be_tested_is_refused_by_name(alpha, delta, named):
    with pytest.raises(ConfigError, match=named):
        RiskTest(alpha, delta)


@settings(max_examples=examples(100), deadline=None)
@given(num_audited=st.integers(0, 3000), share=st.floats(0, 1), delta=st.floats(0.001, 0.5))
def test_the_interval_holds_the_observed_risk_and_narrows_with_delta(num_audited, share, delta):
    wrong = round(num_audited * share)
    lower, upper = risk_interval(num_audited, wrong, delta)
    assert 0 <= lower <= upper <= 1
    if num_audited:
        assert lower <= wrong / num_audited <= upper
    wider_lower, wider_upper = risk_interval(num_audited, wrong, delta / 10)
    assert wider_lower <= lower + 1e-12
    assert wider_upper >= upper - 1e-12


@pytest.mark.parametrize("risk", [0.03, 0.3])
def test_the_interval_holds_the_risk_at_all_times_at_once(risk):
    rng, num_streams, delta = random.Random(11), 100, 0.1
    missed = 0
    for _ in range(num_streams):
        wrong = 0
        for count in range(1, 301):
            wrong += rng.random() < risk
            if count % 20 == 0 or count < 10:
                lower, upper = risk_interval(count, wrong, delta)
                if not lower <= risk <= upper:
                    missed += 1
                    break
    assert missed <= num_streams * delta + 3 * math.sqrt(num_streams * delta * (1 - delta))


def test_without_audits_every_risk_is_tenable():
    assert risk_interval(0, 0, 0.05) == (0.0, 1.0)
