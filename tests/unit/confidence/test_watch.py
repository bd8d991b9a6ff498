"""The watch: states, actions, epochs, and which queries are audited."""

import doctest
import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import serve_app.confidence.watch.drift
import serve_app.confidence.watch.sampling
import serve_app.confidence.watch.sequential
from serve_app.confidence import Decision, Evidence
from serve_app.confidence.watch import Watch, chosen, reference_of
from serve_app.config.watch import WatchSettings
from serve_app.core import ConfigError, RouteScore, TokenStat

SETTINGS = WatchSettings(audit_share=1.0, on_breach="tighten", delta=0.1)
EVIDENCE = Evidence((TokenStat(1, "a", -0.1, 0.2, 3.0),), True, RouteScore("legal", 0.9, {"legal": 0.9}))


def watch(settings=SETTINGS, alphas=None, references=None):
    return Watch(settings, {"legal": 0.05, "code": 0.1} if alphas is None else alphas, references)


def breach(watched, route="legal"):
    """Wrong answers until the test alarms; how many it took."""
    for count in itertools.count(1):
        watched.audited(watched.audit(f"q{count}", route), wrong=True)
        if watched.report()[route].state == "breached":
            return count
    raise AssertionError


def decide(watched, confidences, evidence=EVIDENCE):
    for confidence in confidences:
        watched.decided(evidence, Decision(True, confidence, ""))


@pytest.mark.parametrize(
    "module",
    [
        serve_app.confidence.watch.drift,
        serve_app.confidence.watch.sampling,
        serve_app.confidence.watch.sequential,
    ],
)
def test_the_worked_examples_are_right(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_a_new_route_is_ok_and_knows_nothing():
    report = watch().report()["legal"]
    assert (report.state, report.epoch, report.num_audited, report.num_wrong) == ("ok", 0, 0, 0)
    assert (report.log_e_value, report.risk_bounds) == (pytest.approx(0), (0.0, 1.0))


def test_a_breach_is_told_once_with_the_configured_action_and_the_numbers():
    watched = watch()
    count = breach(watched)
    (action,) = watched.actions()
    assert (action.kind, action.route) == ("tighten", "legal")
    assert f"{count} of {count} audited answers" in action.reason
    assert "0.05" in action.reason
    watched.audited(watched.audit("more", "legal"), wrong=True)
    assert watched.actions() == ()


@pytest.mark.parametrize("kind", ["tighten", "escalate_all", "alert"])
def test_the_action_is_the_one_of_the_settings_in_force(kind):
    watched = watch()
    watched.settings = SETTINGS.model_copy(update={"on_breach": kind})
    breach(watched)
    assert [action.kind for action in watched.actions()] == [kind]


def test_routes_are_watched_apart():
    watched = watch()
    breach(watched)
    report = watched.report()
    assert (report["legal"].state, report["code"].state, report["code"].num_audited) == ("breached", "ok", 0)


def test_a_tightened_route_is_tested_anew_with_half_of_the_delta():
    watched = watch()
    first = watched.report()["legal"]
    breach(watched)
    watched.tightened("legal")
    report = watched.report()["legal"]
    assert (report.state, report.epoch, report.num_audited) == ("ok", 1, 0)
    assert first.log_alarm == pytest.approx(-math.log(SETTINGS.delta / 2))
    assert report.log_alarm == pytest.approx(-math.log(SETTINGS.delta / 4))
    breach(watched)
    assert len(watched.actions()) == 2


def test_an_audit_of_an_answer_that_the_old_threshold_accepted_says_nothing_of_the_new_one():
    watched = watch()
    old = watched.audit("q1", "legal")
    watched.tightened("legal")
    watched.audited(old, wrong=True)
    report = watched.report()
    assert (report["legal"].num_audited, report["legal"].num_stale, report["code"].num_stale) == (0, 1, 0)


def test_audits_that_could_not_be_judged_are_counted_and_move_nothing():
    watched = watch()
    before = watched.report()["legal"]
    for index in range(3):
        watched.audited(watched.audit(f"q{index}", "legal"), wrong=None)
    assert watched.report()["legal"] == replace(before, num_not_scored=3)


@pytest.mark.parametrize("basis", ["gain", "uncovered"])
def test_decisions_that_rest_on_no_draft_are_left_out_of_the_windows(basis):
    """The reference is of judged drafts: half of the queries decided by their gain would else look like drift."""
    watched = watch(references={"legal": {"confidence": reference_of([i / 1000 for i in range(1000)])}})
    for index in range(200):
        watched.decided(EVIDENCE, Decision(True, index / 200, ""))
        watched.decided(EVIDENCE, Decision(True, 0.99, "", basis))
    report = watched.report()["legal"]
    assert (report.state, report.drift["confidence"].num_values) == ("ok", 200)


def test_what_is_breached_can_be_asked_for_again_under_new_settings():
    watched = watch(SETTINGS.model_copy(update={"on_breach": "alert"}))
    assert watched.breaches() == ()
    breach(watched)
    watched.actions()
    watched.settings = SETTINGS
    assert [(action.kind, action.route) for action in watched.breaches()] == [("tighten", "legal")]
    watched.tightened("legal")
    assert watched.breaches() == ()


def test_all_epochs_together_stay_within_delta():
    """At a risk of exactly alpha, however often the route is tightened because of false alarms."""
    rng, num_streams, alarmed = random.Random(2), 100, 0
    for _ in range(num_streams):
        watched = watch(SETTINGS.model_copy(update={"delta": 0.2}), {"legal": 0.2})
        for index in range(200):
            watched.audited(watched.audit(f"q{index}", "legal"), wrong=rng.random() < 0.2)
            for action in watched.actions():
                alarmed += watched.report()["legal"].epoch == 0
                watched.tightened(action.route)
    assert alarmed <= num_streams * 0.2


def test_a_route_without_a_target_is_neither_audited_nor_noted():
    watched = watch(references={"medical": {"confidence": reference_of([0.5])}})
    assert watched.audit("q1", "medical") is None
    assert watched.audit("q1", None) is None
    decide(watched, [0.5] * 200, replace(EVIDENCE, route=None))
    assert all(not report.drift for report in watched.report().values())


def test_queries_that_no_router_saw_may_have_a_target_too():
    watched = watch(alphas={None: 0.05}, references={None: {"confidence": reference_of([0.5])}})
    decide(watched, [0.5] * 3, replace(EVIDENCE, route=None))
    breach(watched, None)
    assert "route none" in watched.actions()[0].reason
    assert watched.report()[None].drift["confidence"].num_values == 3


def test_drift_is_a_state_and_no_action_and_a_breach_is_worse():
    watched = watch(references={"legal": {"confidence": reference_of([i / 1000 for i in range(1000)])}})
    decide(watched, [0.99] * 200)
    report = watched.report()["legal"]
    assert (report.state, report.drift["confidence"].level) == ("drifting", "major")
    assert watched.actions() == ()
    breach(watched)
    assert watched.report()["legal"].state == "breached"


def test_psi_alert_is_a_setting():
    watched = watch(references={"legal": {"confidence": reference_of([i / 1000 for i in range(1000)])}})
    decide(watched, [0.99] * 200)
    watched.settings = SETTINGS.model_copy(update={"psi_alert": 1000.0})
    assert watched.report()["legal"].state == "ok"


def test_features_drift_beside_the_confidence_and_a_new_epoch_forgets_both():
    references = {"confidence": reference_of([0.5]), "mean_logprob": reference_of([-0.1])}
    watched = watch(references={"legal": references})
    decide(watched, [0.5] * 120)
    drift = watched.report()["legal"].drift
    assert {name: one.num_values for name, one in drift.items()} == {"confidence": 120, "mean_logprob": 120}
    assert drift["mean_logprob"].ks == 0.0
    watched.tightened("legal")
    assert all(one.num_values == 0 for one in watched.report()["legal"].drift.values())


def test_the_window_bounds_what_is_kept():
    watched = watch(
        SETTINGS.model_copy(update={"window": 100}), references={"legal": {"confidence": reference_of([0.5])}}
    )
    decide(watched, [0.5] * 250)
    assert watched.report()["legal"].drift["confidence"].num_values == 100


def test_a_reference_for_what_is_no_signal_is_refused_by_name():
    with pytest.raises(ConfigError, match="'vibes'"):
        watch(references={"legal": {"vibes": reference_of([0.5])}})


def test_a_target_that_cannot_be_tested_is_refused():
    with pytest.raises(ConfigError, match="alpha"):
        watch(alphas={"legal": 0.0})


def test_the_share_of_audits_is_kept_and_may_be_changed():
    watched = watch(SETTINGS.model_copy(update={"audit_share": 0.02}))
    picked = {f"q{i}" for i in range(5000) if watched.audit(f"q{i}", "legal")}
    assert 60 <= len(picked) <= 140
    assert picked == {f"q{i}" for i in range(5000) if watch(watched.settings).audit(f"q{i}", "legal")}
    watched.settings = SETTINGS.model_copy(update={"audit_share": 0.0})
    assert not any(watched.audit(query_id, "legal") for query_id in picked)


@settings(deadline=None)
@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_picks_what_a_smaller_one_picks(query_id, share, other):
    low, high = sorted((share, other))
    assert not chosen(query_id, low, "audit") or chosen(query_id, high, "audit")


def test_samples_of_different_purposes_are_independent():
    both = sum(chosen(f"q{i}", 0.2, "audit") and chosen(f"q{i}", 0.2, "mirror") for i in range(5000))
    assert 150 <= both <= 250
