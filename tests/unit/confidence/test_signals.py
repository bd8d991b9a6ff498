"""Signals are probabilities, and mean what they say."""

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence import SIGNALS, signals
from serve_app.core import TokenStat

LOGPROBS = st.lists(st.floats(-50.0, 0.0), min_size=1, max_size=60)
NAMES = st.sampled_from(sorted(SIGNALS))


def tokens(logprobs):
    return [TokenStat(0, "", logprob, 0.0, 0.0) for logprob in logprobs]


@given(NAMES, LOGPROBS)
def test_every_signal_lies_between_the_least_and_the_most_likely_token(name, logprobs):
    value = SIGNALS[name](tokens(logprobs))
    assert 0.0 <= value <= 1.0
    assert math.exp(min(logprobs)) <= value * (1 + 1e-9)
    assert value <= math.exp(max(logprobs)) * (1 + 1e-9)


@given(NAMES, LOGPROBS, st.randoms())
def test_the_order_of_tokens_does_not_matter(name, logprobs, random):
    shuffled = list(logprobs)
    random.shuffle(shuffled)
    assert SIGNALS[name](tokens(shuffled)) == pytest.approx(SIGNALS[name](tokens(logprobs)))


@given(LOGPROBS)
def test_minimum_is_at_most_the_quantile(logprobs):
    minimum, quantile = (SIGNALS[name](tokens(logprobs)) for name in ("min_probability", "quantile10_probability"))
    assert minimum <= quantile


@given(LOGPROBS)
def test_at_least_a_tenth_of_the_tokens_do_not_exceed_the_quantile(logprobs):
    quantile = SIGNALS["quantile10_probability"](tokens(logprobs))
    assert sum(math.exp(logprob) <= quantile for logprob in logprobs) >= len(logprobs) / 10


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_no_tokens_are_no_confidence(name):
    assert SIGNALS[name]([]) == 0.0


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_an_impossible_token_is_no_error(name):
    assert SIGNALS[name](tokens([-math.inf])) == 0.0


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_rounding_above_zero_does_not_make_more_than_certainty(name):
    assert SIGNALS[name](tokens([1e-6, 1e-6])) == 1.0


@pytest.mark.parametrize("name", sorted(SIGNALS))
@pytest.mark.parametrize("logprobs", [[math.nan], [-0.1, math.nan], [math.nan, -0.1], [-0.1] * 30 + [math.nan]])
def test_a_token_that_is_not_a_number_is_no_confidence(name, logprobs):
    assert SIGNALS[name](tokens(logprobs)) == 0.0


def test_worked_values_hold():
    assert doctest.testmod(signals).failed == 0
