"""How sure each answer is decides a weighted vote and the best of n."""

import math

import pytest

from serve_app.confidence import acceptance
from serve_app.confidence.features import FEATURES
from serve_app.confidence.model import AcceptanceModel, Platt
from serve_app.confidence.policy import CascadePolicy, Provenance, RoutePolicy
from serve_app.core import ConfigError, RouteScore
from serve_app.engines.fake import FakeAnswer
from serve_app.patterns.ensemble.sureness import named_scorer

SURE_MINORITY = {"legal": FakeAnswer("4", -2.0), "code": FakeAnswer("4", -2.0), "medical": FakeAnswer("6", -0.1)}


def model(log_odds, agreement=0.0):
    """An acceptance model that says always the same, or as much more as the others agree."""
    return AcceptanceModel(
        features=("sample_agreement",) if agreement else (),
        mean=(0.0,) if agreement else (),
        scale=(1.0,) if agreement else (),
        coefficients=(agreement,) if agreement else (),
        intercept=log_odds,
        calibration=Platt(slope=1.0, offset=0.0),
    )


def route_policy(version, final, route="general", num_labels=100):
    return RoutePolicy(
        route=route,
        adapter_version=version,
        early=(),
        final=final,
        threshold=0.5,
        thresholds=(0.5,),
        alpha=0.1,
        delta=0.1,
        num_labels=num_labels,
        model_labels=10,
        accepted_share=0.5,
        observed_risk=0.0,
        risk_bound=0.1,
        needed_labels=None,
    )


def policy(*routes):
    provenance = Provenance(data_sha256="0", num_rows=1, seed=0, joint=False, right_from=0.5, headrace="0")
    return CascadePolicy(decide="full", checkpoints=(), target="right", routes=routes, provenance=provenance)


def score_of_six(question, answer):
    assert question == "How many?"
    return 0.9 if "6" in answer else 0.2


async def async_score(question, answer):
    return score_of_six(question, answer)


def bad_score(question, answer):
    return 7.0 if "6" in answer else 0.2


async def test_a_sure_minority_wins_a_weighted_vote_and_loses_a_plain_one(stage):
    assert await stage(SURE_MINORITY, strategy="weighted_vote").ask() == "6"
    assert await stage(SURE_MINORITY, strategy="vote").ask() == "4"


async def test_a_members_weight_counts_in_a_weighted_vote(stage):
    members = ({"model": "legal", "weight": 20}, "code", "medical")
    show = stage(SURE_MINORITY, members=members, strategy="weighted_vote")
    assert await show.ask() == "4"
    share = 21 * math.exp(-2.0) / (21 * math.exp(-2.0) + math.exp(-0.1))
    assert show.trace.answer().confidence == pytest.approx(share)
    assert show.trace.answer().reason.startswith("weighted vote: 2 of 3 answers agree, share ")


async def test_a_weighted_vote_asks_the_fitted_policy(stage):
    fitted = policy(route_policy("v1", model(3.0)), route_policy("v2", model(3.0)), route_policy("v3", model(-3.0)))
    show = stage(SURE_MINORITY, strategy="weighted_vote", policy=fitted)
    assert await show.ask() == "4"
    attempts = {one.adapter: one.confidence for one in show.trace.answer().attempts}
    assert attempts["legal"] == pytest.approx(1 / (1 + math.exp(-3)))


async def test_a_policy_says_nothing_of_the_large_model(stage):
    fitted = policy(route_policy(None, model(-9.0)))
    show = stage(members=("base", "large"), strategy="weighted_vote", policy=fitted, early_stop=False)
    assert await show.ask() == "large says 7"


async def test_the_best_of_n_is_the_surest(stage):
    show = stage(SURE_MINORITY, strategy="best_of_n")
    assert await show.ask() == "6"
    assert show.trace.answer().reason == "best of 3: 0.905"
    assert show.trace.answer().confidence == pytest.approx(math.exp(-0.1))


async def test_the_acceptance_model_sees_how_many_others_agree(stage):
    fitted = policy(*(route_policy(version, model(-1.0, agreement=4.0)) for version in ("v1", "v2", "v3")))
    show = stage(SURE_MINORITY, strategy="best_of_n", policy=fitted)
    assert await show.ask() == "4"
    attempts = {one.adapter: one.confidence for one in show.trace.answer().attempts}
    assert attempts["code"] == pytest.approx(1 / (1 + math.exp(-1)))  # one of two others: -1 + 4 / 2
    assert attempts["medical"] == pytest.approx(1 / (1 + math.exp(1)))


@pytest.mark.parametrize("name", ["score_of_six", "async_score"])
async def test_a_scorer_of_ones_own_chooses(stage, name):
    answers = {"legal": "4", "code": "about 6", "medical": "8"}
    show = stage(answers, strategy="best_of_n", scorer=f"{__name__}:{name}", escalate_below=0.5)
    assert await show.ask() == "about 6"
    assert show.trace.answer().confidence == 0.9


async def test_the_best_answer_may_be_too_bad_to_be_given(stage):
    answers = {"legal": "4", "code": "5", "medical": "8"}
    show = stage(answers, strategy="best_of_n", scorer=f"{__name__}:score_of_six", escalate_below=0.5)
    assert await show.ask() == "large says 7"


async def test_an_answer_that_the_scorer_fails_on_is_the_worst(stage, caplog):
    show = stage(
        {"legal": "6", "code": "4"}, members=("legal", "code"), strategy="best_of_n", scorer=f"{__name__}:bad_score"
    )
    assert await show.ask() == "4"
    assert show.causes == ["member_failed"]
    assert "ensemble.scorer failed on the answer of q1" in caplog.text


@pytest.mark.parametrize("name", ["nothing", "no.such.module:function", "math:no_such", "math:pi"])
def test_a_scorer_that_is_none_is_a_mistake_in_the_settings(name):
    with pytest.raises(ConfigError, match=r"ensemble\.scorer"):
        named_scorer(name)


def test_of_a_route_that_a_policy_does_not_know_the_versions_best_known_route_counts():
    from serve_app.confidence import Evidence

    found = policy(
        route_policy("v1", model(1.0), "a", num_labels=10),
        route_policy("v1", model(2.0), "b", num_labels=20),
        route_policy("v2", model(3.0), "a"),
    )
    routed = Evidence((), True, RouteScore("a", 0.9, {"a": 0.9}))
    assert acceptance(found, routed, "v1") == pytest.approx(1 / (1 + math.exp(-1)))
    assert acceptance(found, Evidence((), True), "v1") == pytest.approx(1 / (1 + math.exp(-2)))
    assert acceptance(found, routed, "v9") is None
    assert "sample_agreement" in FEATURES
