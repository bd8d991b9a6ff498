"""The threshold rule: accepts at and above the threshold, and says why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence import ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import TokenStat


def tokens(*logprobs):
    return [TokenStat(0, "", logprob, 0.0, 0.0) for logprob in logprobs]


def rule(**fields):
    return ThresholdRule(CascadeSettings(**fields))


def test_tokens_needed_is_the_prefix_or_everything():
    assert rule(prefix_tokens=24).tokens_needed() == 24
    assert rule(decide="full").tokens_needed() is None


@given(st.floats(0, 1), st.lists(st.floats(-20, 0), max_size=30))
def test_acceptance_is_monotonic_in_the_threshold(threshold, logprobs):
    decision = rule(threshold=threshold).decide(tokens(*logprobs), None)
    assert decision.accept == (decision.confidence >= threshold)
    assert rule(threshold=0.0).decide(tokens(*logprobs), None).accept


@pytest.mark.parametrize(("route", "accept"), [("legal", False), ("code", True), (None, True)])
def test_a_listed_route_has_its_own_threshold(route, accept):
    settings = {"threshold": 0.5, "route_thresholds": {"legal": 0.9}}
    assert rule(**settings).decide(tokens(math.log(0.7)), route).accept is accept


def test_the_reason_names_signal_value_threshold_and_length():
    decision = rule(signal="min_probability", threshold=0.25).decide(tokens(math.log(0.5), math.log(0.2)), None)
    assert decision.reason == "min_probability 0.200 < 0.25 over 2 tokens"


def test_the_same_tokens_give_the_same_decision():
    one = rule()
    assert one.decide(tokens(-0.1, -0.2), "legal") == one.decide(tokens(-0.1, -0.2), "legal")
