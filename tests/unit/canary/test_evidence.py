"""Totals are added up, in any order, and survive the way through JSON."""

import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import serve_app.canary.evidence
from serve_app.canary.evidence import Outcome, TrialEvidence, mean_ratio, relative_excess

outcomes = st.builds(Outcome, st.booleans(), st.none() | st.integers(0, 10**9), st.none() | st.floats(0, 1e5))
scores = st.floats(0, 1)
events = st.lists(st.tuples(scores, scores) | st.tuples(outcomes, outcomes) | scores, max_size=20)


def add(evidence, event):
    if isinstance(event, float):
        evidence.add_agreement(event)
    elif isinstance(event[0], Outcome):
        evidence.add_neighbours(*event)
    else:
        evidence.add_scores(*event)


def total(found):
    evidence = TrialEvidence()
    for event in found:
        add(evidence, event)
    return evidence


def comparable(evidence):
    """Sums of floats differ in their last bit by their order."""
    plain = evidence.model_dump()
    for arm in ("canary", "live"):
        plain[arm]["ms"] = pytest.approx(plain[arm]["ms"])
    return plain


def test_the_worked_examples_are_right():
    result = doctest.testmod(serve_app.canary.evidence)
    assert (bool(result.attempted), result.failed) == (True, 0)


@given(events, st.randoms())
def test_the_order_does_not_matter(found, random):
    shuffled = random.sample(found, len(found))
    assert total(shuffled).model_dump() == comparable(total(found))


@given(events, events)
def test_the_totals_of_two_gateways_are_those_of_one_that_saw_it_all(one, other):
    merged = total(one)
    merged.merge(total(other))
    assert merged.model_dump() == comparable(total(one + other))


@given(events)
def test_json_brings_the_same_back(found):
    evidence = total(found)
    assert TrialEvidence.model_validate(json.loads(json.dumps(evidence.model_dump(mode="json")))) == evidence


def test_scores_are_compared_to_a_thousandth():
    evidence = total([(0.8, 0.3), (0.8004, 0.3001), (0.0, 1.0)])
    assert evidence.differences() == {0.5: 2, -1.0: 1}


def test_a_query_that_was_not_answered_has_no_cost_to_compare():
    evidence = total([(Outcome(True), Outcome(False, 10, 5.0)), (Outcome(False, 20, 5.0), Outcome(False, 10, 5.0))])
    assert (evidence.errors, evidence.cost, evidence.latency) == ({1: 1, 0: 1}, {100: 1}, {0: 1})
    assert (evidence.canary.num_failed, evidence.canary.num_answered, evidence.live.cost_nusd) == (1, 1, 20)


@given(st.floats(0.01, 100), st.floats(1, 5))
def test_a_ratio_at_the_factor_is_no_excess(ratio, factor):
    evidence = total([(Outcome(False, 1, ratio * 1000), Outcome(False, 1, 1000.0))])
    ((excess, _),) = relative_excess(evidence.latency, factor).items()
    assert excess == pytest.approx((ratio - factor) / (ratio + factor), abs=0.01)
    assert mean_ratio(evidence.latency) == pytest.approx(ratio, rel=0.01)
