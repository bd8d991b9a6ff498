"""The threshold rule: accepts at and above the threshold, at its checkpoint or at the end, and says why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence import Evidence, ThresholdRule
from serve_app.config import CascadeSettings
from serve_app.core import RouteScore
from tests.unit.confidence.synthetic import evidence, route, tokens


def rule(**fields):
    return ThresholdRule(CascadeSettings(**fields))


def test_the_checkpoint_is_the_prefix_or_there_is_none():
    assert rule(prefix_tokens=24).checkpoints == (24,)
    assert rule(decide="full").checkpoints == ()


@given(st.floats(0, 1), st.lists(st.floats(-20, 0), max_size=30))
def test_acceptance_is_monotonic_in_the_threshold(threshold, logprobs):
    seen = Evidence(tokens(*logprobs), True)
    decision = rule(threshold=threshold).judge(seen, None)
    assert decision.accept == (decision.confidence >= threshold)
    assert rule(threshold=0.0).judge(seen, None).accept


def test_a_draft_is_judged_at_the_checkpoint_and_held_before_it():
    prefix, full = rule(prefix_tokens=2), rule(decide="full")
    assert prefix.judge(evidence(-0.1, finished=False), None) is None
    assert prefix.judge(evidence(-0.1, -0.1, finished=False), None).accept
    assert prefix.judge(evidence(-0.1, finished=True), None).accept
    assert full.judge(evidence(-0.1, -0.1, finished=False), None) is None


@pytest.mark.parametrize(("label", "accept"), [("legal", False), ("code", True), (None, True)])
def test_a_listed_route_has_its_own_threshold(label, accept):
    settings = {"threshold": 0.5, "route_thresholds": {"legal": 0.9}}
    assert rule(**settings).judge(evidence(math.log(0.7), label=label), None).accept is accept


def test_the_reason_names_signal_value_threshold_and_length():
    decision = rule(signal="min_probability", threshold=0.25).judge(evidence(math.log(0.5), math.log(0.2)), None)
    assert decision.reason == "min_probability 0.200 < 0.25 over 2 tokens"


def test_the_same_tokens_give_the_same_decision():
    one = rule()
    assert one.judge(evidence(-0.1, -0.2), "v1") == one.judge(evidence(-0.1, -0.2), "v2")


@pytest.mark.parametrize(
    ("gain", "accept"), [(0.9, False), (0.8, None), (0.5, None), (0.1, None), (0.05, True), (None, None)]
)
def test_the_gain_decides_beyond_its_bounds_only(gain, accept):
    decision = rule(skip_small_above=0.8, keep_small_below=0.1).before(route(gain=gain))
    assert (decision and decision.accept) is accept
    if decision is not None:
        assert f"{gain:.3f}" in decision.reason
        assert (decision.confidence, decision.basis) == (1 - gain, "gain")


def test_without_bounds_or_without_a_router_nothing_is_decided_before():
    assert rule().before(RouteScore("legal", 0.9, {}, 1.0)) is None
    assert rule(skip_small_above=0.5).before(None) is None
