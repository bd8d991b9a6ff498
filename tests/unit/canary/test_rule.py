"""The rule promotes what is surely as good, withdraws what is surely worse, and is rarely wrong."""

import math

import numpy as np
import pytest

from serve_app.canary import Outcome, TrialEvidence, verdict
from serve_app.config.canary import CanarySettings

SETTINGS = CanarySettings()
SAME = Outcome(False, 1000, 100.0)
FAILED = Outcome(True)


def evidence(differences=(), neighbours=()):
    found = TrialEvidence()
    for difference, number in differences:
        for _ in range(number):
            found.add_scores(max(0.0, difference), max(0.0, -difference))
    for canary, live, number in neighbours:
        for _ in range(number):
            found.add_neighbours(canary, live)
    return found


def said(differences=((0.0, 400),), neighbours=((SAME, SAME, 400),), age_h=1.0, **settings):
    return verdict(evidence(differences, neighbours), CanarySettings(**settings), age_h)


def test_without_evidence_nothing_is_decided():
    found = verdict(TrialEvidence(), SETTINGS, 0.0)
    assert found.decision is None
    assert found.reasons == (
        "0 of 100 compared answers",
        "0 of 100 pairs of neighbouring queries",
        "quality is not surely within 0.05 of the live version's",
    )
    assert found.quality_bounds == pytest.approx((-1, 1))


def test_an_equal_canary_is_promoted_with_the_figures_as_reason():
    found = said()
    assert found.decision == "promote"
    (reason,) = found.reasons
    assert reason.startswith("mean score +0.000 against the live version over 400 answers: surely above -0.05")


def test_a_better_one_too():
    assert said([(0.0, 80), (1.0, 20)]).decision == "promote"


@pytest.mark.parametrize(
    ("differences", "neighbours"),
    [([(0.0, 99)], [(SAME, SAME, 400)]), ([(1.0, 99)], [(SAME, SAME, 400)]), ([(0.0, 400)], [(SAME, SAME, 99)])],
)
def test_too_few_pairs_are_waited_for(differences, neighbours):
    assert said(differences, neighbours).decision is None


def test_a_worse_one_is_withdrawn():
    found = said([(0.0, 60), (-1.0, 40)])
    assert found.decision == "rollback"
    assert found.reasons == ("mean score -0.400 over 100 answers, surely below the allowed -0.05",)


def test_failures_withdraw_quickly():
    """A canary that always fails is gone after a dozen conversations."""
    assert said([], [(FAILED, SAME, 8)]).decision is None
    found = said([], [(FAILED, SAME, 12)])
    assert found.decision == "rollback"
    assert found.reasons == ("share of failures +1.000 over 12 pairs, surely above the allowed +0.02",)


def test_failures_of_both_alike_say_nothing():
    assert said([], [(FAILED, FAILED, 500)]).decision is None


@pytest.mark.parametrize(
    ("canary", "subject"),
    [(Outcome(False, 2500, 100.0), "cost x 2.50"), (Outcome(False, 1000, 400.0), "latency x 4.00")],
)
def test_a_dearer_or_slower_one_is_withdrawn(canary, subject):
    found = said(neighbours=[(canary, SAME, 60)])
    assert found.decision == "rollback"
    assert found.reasons[0].startswith(subject)


@pytest.mark.parametrize("canary", [Outcome(False, 1200, 100.0), Outcome(False, 1000, 140.0), Outcome(False, 0, 1.0)])
def test_within_its_factor_it_is_promoted(canary):
    assert said(neighbours=[(canary, SAME, 400)]).decision == "promote"


def test_what_looks_worse_is_not_promoted_even_if_it_is_not_sure():
    found = said(neighbours=[(Outcome(False, 1500, 100.0), SAME, 10), (SAME, SAME, 1)], min_pairs=10)
    assert (found.decision, found.reasons) == (None, ("cost looks worse than allowed",))


def test_undecided_for_too_long_it_is_withdrawn():
    assert said([(0.0, 10)], age_h=71.9).decision is None
    found = said([(0.0, 10)], age_h=72.0)
    assert found.decision == "rollback"
    assert found.reasons[:2] == ("not shown to be as good within 72 hours", "10 of 100 compared answers")


def test_what_is_sure_goes_before_age():
    assert said(age_h=100.0).decision == "promote"


def test_without_a_large_model_people_judge_quality():
    found = evidence((), [(SAME, SAME, 400)])
    for _ in range(400):
        found.add_agreement(0.75)
    now = verdict(found, SETTINGS, 1.0)
    assert now.decision is None
    assert now.agreement == pytest.approx(0.75)
    assert now.reasons[0] == "there is no large model to compare with, so quality is for people to judge"


def test_the_verdict_is_plain_json():
    plain = said().as_json()
    assert plain["decision"] == "promote"
    assert [one["subject"] for one in plain["findings"]] == ["quality", "errors", "cost", "latency"]
    assert plain["findings"][0]["is_worse"] is False


@pytest.mark.simulation
@pytest.mark.parametrize(("difference", "wrong"), [(-0.05, "promote"), (0.0, "rollback")])
def test_wrong_decisions_are_as_rare_as_stated(difference, wrong):
    """100 trials asked after every 50 of 800 pairs; at most alpha and 3 standard errors of the estimate."""
    rng, alpha, num_wrong = np.random.default_rng(3), 0.1, 0
    settings = CanarySettings(alpha=alpha, min_pairs=1)
    shares = [0.1 - difference / 2, 0.8, 0.1 + difference / 2]
    for _ in range(100):
        found = TrialEvidence()
        for _ in range(16):
            for score in rng.choice([-1, 0, 1], size=50, p=shares):
                found.add_scores(float(score > 0), float(score < 0))
            costs = np.exp(rng.normal(0, 1, (50, 4))) * 1000
            for canary_cost, live_cost, canary_ms, live_ms in costs:
                found.add_neighbours(
                    Outcome(False, round(canary_cost), canary_ms), Outcome(False, round(live_cost), live_ms)
                )
            decision = verdict(found, settings, 0.0).decision
            if decision is not None:
                num_wrong += decision == wrong
                break
    assert num_wrong / 100 <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 100)
