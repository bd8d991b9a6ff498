"""The fitted rule: early, held and final decisions, what it was not fitted for, and stricter rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence import FittedRule
from serve_app.config import CascadeSettings
from serve_app.core import ConfigError
from tests.unit.confidence.synthetic import early, evidence, model, policy, route, route_policy


def rule(*routes, checkpoints=(), unfitted="escalate", **changes):
    return FittedRule(policy(*routes, checkpoints=checkpoints, **changes), CascadeSettings(unfitted=unfitted))


SURE, DOUBTFUL, POOR = -0.01, -1.0, -4.0
"""Mean log-probabilities that mean 0.88, 0.73 and 0.12 to the model of these tests."""


@pytest.mark.parametrize(("logprob", "accept"), [(SURE, True), (DOUBTFUL, False), (POOR, False)])
def test_at_the_end_the_probability_is_compared_with_the_threshold(logprob, accept):
    decision = rule().judge(evidence(logprob), "v1")
    assert decision.accept is accept
    assert ("accepted above 0.800" if accept else "escalated, threshold 0.800") in decision.reason


def test_a_probability_equal_to_the_threshold_is_escalated():
    exact = rule().judge(evidence(SURE), "v1").confidence
    assert not rule(route_policy(threshold=exact, thresholds=())).judge(evidence(SURE), "v1").accept


@pytest.mark.parametrize(
    ("offset", "accept"), [(9.0, True), (2.0, None), (-9.0, False)], ids=["surely", "perhaps", "hardly"]
)
def test_at_a_checkpoint_only_a_clear_case_is_decided(offset, accept):
    stage = early(model=model(offset=offset))
    decision = rule(route_policy(early=(stage,)), checkpoints=(2,)).judge(evidence(-0.1, -0.1, finished=False), "v1")
    assert (decision and decision.accept) is accept


def test_between_checkpoints_it_holds_on():
    one = rule(route_policy(early=(early(model=model(offset=9.0)),)), checkpoints=(2,))
    assert one.judge(evidence(-0.1, finished=False), "v1") is None
    assert one.judge(evidence(-0.1, -0.1, -0.1, finished=False), "v1") is None


def test_a_checkpoint_without_a_model_holds_on():
    one = rule(route_policy(early=(early(model=None),)), checkpoints=(1,))
    assert one.judge(evidence(SURE, finished=False), "v1") is None


@given(st.lists(st.floats(-20, 0), max_size=6), st.sampled_from([None, "legal", "code"]), st.sampled_from([None, "v1"]))
def test_a_finished_answer_always_gets_a_decision(logprobs, label, version):
    assert rule(checkpoints=(2,)).judge(evidence(*logprobs, label=label), version) is not None


@pytest.mark.parametrize(("unfitted", "accept"), [("escalate", False), ("accept", True)])
def test_an_unknown_route_is_decided_before_and_an_unknown_version_at_the_first_look(unfitted, accept):
    one = rule(checkpoints=(1,), unfitted=unfitted)
    before = one.before(route("code"))
    assert (before.accept, "no route code" in before.reason) == (accept, True)
    assert one.before(None).accept is accept
    assert one.before(route("legal")) is None
    first_look = one.judge(evidence(SURE, finished=False), "v2")
    assert (first_look.accept, "adapter version v2" in first_look.reason) == (accept, True)


def test_a_refused_route_makes_no_small_attempt():
    one = rule(route_policy(threshold=None, thresholds=()))
    assert one.before(route("legal")).accept is False
    assert one.judge(evidence(SURE), "v1").accept is False


def test_a_route_with_one_trusted_version_is_tried():
    one = rule(route_policy(), route_policy(adapter_version="v2", threshold=None), keep_small_below=0.2)
    assert one.before(route("legal", gain=0.1)) is None
    assert one.judge(evidence(POOR, gain=0.1), "v1").accept is True
    assert one.judge(evidence(SURE, gain=0.1), "v2").accept is False


def test_a_low_gain_keeps_the_answer_at_its_first_token_of_a_known_version():
    one = rule(checkpoints=(2,), keep_small_below=0.2)
    assert one.checkpoints == (1, 2)
    assert one.judge(evidence(POOR, gain=0.1, finished=False), "v1").accept is True
    assert one.judge(evidence(POOR, gain=0.1, finished=False), "v2").accept is False
    assert one.judge(evidence(POOR, gain=0.3, finished=False), "v1") is None


def test_the_bounds_of_the_gain_are_those_of_the_policy():
    one = rule(skip_small_above=0.8, keep_small_below=0.1)
    assert one.before(route("legal", gain=0.9)).accept is False
    assert one.before(route("legal", gain=0.05)) is None
    assert one.judge(evidence(POOR, gain=0.05), "v1").accept is True
    assert one.judge(evidence(SURE, gain=0.9), "v1").accept is False
    assert one.before(route("legal", gain=0.5)) is None


def test_a_decision_says_what_it_rests_on():
    one = rule(route_policy(), route_policy(adapter_version="v2", threshold=None), keep_small_below=0.2)
    assert one.judge(evidence(SURE), "v1").basis == "answer"
    assert one.judge(evidence(SURE, gain=0.1), "v1").basis == "gain"
    assert one.judge(evidence(SURE), "v2").basis == "uncovered"  # its confidence of 0 is none of a draft
    assert one.judge(evidence(SURE), "v3").basis == "uncovered"
    assert one.before(route("code")).basis == "uncovered"
    assert one.escalating("legal").before(route("legal")).basis == "uncovered"


@pytest.mark.parametrize("key", ["skip_small_above", "keep_small_below"])
def test_settings_that_would_break_the_guarantee_are_refused(key):
    with pytest.raises(ConfigError, match=f"cascade.{key} is 0.5 and the policy was fitted with none"):
        FittedRule(policy(), CascadeSettings(**{key: 0.5}))
    assert FittedRule(policy(**{key: 0.5}), CascadeSettings(**{key: 0.5}))


def test_a_tightened_rule_accepts_less_and_leaves_the_first_as_it_was():
    one = rule()
    assert one.judge(evidence(SURE), "v1").accept
    assert not one.tightened("legal").judge(evidence(SURE), "v1").accept
    assert one.escalating("legal").before(route("legal")).accept is False
    assert one.tightened("code").policy == one.policy
    assert one.judge(evidence(SURE), "v1").accept
