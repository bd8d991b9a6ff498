"""Features are finite, in the order of their names, and mean what they say."""

import doctest
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence import Evidence
from serve_app.confidence import features as module
from serve_app.confidence.features import FEATURES, features
from serve_app.core import RouteScore, TokenStat
from tests.unit.confidence.synthetic import evidence, tokens

ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
SHARES = st.none() | ANYTHING


def named(seen):
    return dict(zip(FEATURES, features(seen), strict=True))


@st.composite
def any_evidence(draw):
    stats = draw(st.lists(st.tuples(st.integers(0, 9), ANYTHING, ANYTHING, ANYTHING), max_size=20))
    seen = tuple(TokenStat(i, "", logprob, entropy, margin) for i, logprob, entropy, margin in stats)
    probabilities = {str(index): value for index, value in enumerate(draw(st.lists(ANYTHING, max_size=3)))}
    score = draw(st.none() | st.builds(RouteScore, st.just("legal"), ANYTHING, st.just(probabilities), SHARES))
    return Evidence(seen, draw(st.booleans()), score, draw(st.integers(-1, 10**6)), draw(SHARES), draw(SHARES))


@given(any_evidence())
def test_whatever_an_engine_and_a_router_say_all_features_are_finite(seen):
    values = features(seen)
    assert len(values) == len(FEATURES)
    assert all(math.isfinite(value) for value in values)


def test_the_token_statistics_are_those_of_the_tokens():
    stats = (TokenStat(1, "", -0.5, 0.4, 2.0), TokenStat(2, "", -2.0, 1.0, 0.5), TokenStat(3, "", -0.1, 0.1, 4.0))
    found = named(Evidence(stats, True))
    assert found["mean_logprob"] == pytest.approx(-2.6 / 3)
    assert (found["min_logprob"], found["quantile10_logprob"], found["tail_min_logprob"]) == (-2.0, -2.0, -2.0)
    assert (found["first_entropy"], found["max_entropy"]) == (0.4, 1.0)
    assert (found["first_margin"], found["min_margin"]) == (2.0, 0.5)
    assert (found["log_length"], found["finished"]) == (math.log(4), 1.0)


def test_the_tail_is_the_last_four_tokens():
    assert named(evidence(-9.0, -0.1, -0.2, -0.3, -0.4))["tail_min_logprob"] == -0.4


def test_a_tenth_of_the_tokens_do_not_exceed_the_quantile():
    assert named(evidence(*(-float(rank) for rank in range(1, 21))))["quantile10_logprob"] == -19.0


@pytest.mark.parametrize(
    ("token", "worst"),
    [
        ({"logprob": math.nan}, ("min_logprob", -20.0)),
        ({"logprob": -math.inf}, ("min_logprob", -20.0)),
        ({"entropy": math.nan}, ("max_entropy", 12.0)),
        ({"margin": math.nan}, ("min_margin", 0.0)),
    ],
)
def test_a_token_that_is_no_number_counts_as_the_worst(token, worst):
    stats = tokens(-0.1, -0.1)
    assert named(Evidence((stats[0], replace(stats[1], **token)), True))[worst[0]] == worst[1]


def test_no_tokens_are_worse_than_any():
    none, bad = named(Evidence((), True)), named(evidence(-30.0))
    assert none["mean_logprob"] == bad["mean_logprob"] == -20.0
    assert none["max_entropy"] == 12.0


def test_what_is_not_known_is_neutral():
    found = named(evidence(-0.1, label=None))
    unknown = ("route_probability", "gain", "sample_agreement", "passage_score")
    assert [found[name] for name in unknown] == [0.5] * 4
    assert found["route_margin"] == 0.0


def test_the_route_margin_is_between_the_two_best():
    score = RouteScore("legal", 0.6, {"code": 0.3, "legal": 0.6, "general": 0.1}, 0.25)
    found = named(replace(evidence(-0.1), route=score))
    assert (found["route_margin"], found["gain"]) == (pytest.approx(0.3), 0.25)


def test_worked_values_hold():
    assert doctest.testmod(module).failed == 0
