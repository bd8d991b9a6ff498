"""Adapters that live: changes under load, distillation, training, many adapters on several replicas."""

from __future__ import annotations

from bench.report.target import (
    YES,
    Beside,
    Section,
    Target,
    Unit,
    above,
    at,
    at_least,
    at_most,
    below,
    exactly,
    named,
    worked,
)


def _under_load(name: str, says: str, key: str) -> Target:
    return Target(
        name,
        says,
        "lifecycle",
        at(key),
        exactly(0),
        Unit.COUNT,
        beside=(Beside("answered", at("answered"), Unit.COUNT), Beside("changes", at("changes"), Unit.COUNT)),
        how="Added, canary, promoted, rolled back, removed, added again under load: two replicas of the real engine, "
        "two gateways.",
    )


_TOPICS = "SmolLM2-135M learns eight topics of bank customers' requests from Qwen2.5-Coder-0.5B; held-out queries."


LIFECYCLE = Section(
    "Adapters that live",
    (
        _under_load("changes-failed", "no answer fails while adapters change", "failed"),
        _under_load("changes-misversioned", "no answer is of another version than it says", "misversioned"),
        Target(
            "distill-escalation",
            "distillation lowers the escalation rate",
            "distill",
            at("escalation_after"),
            below(named("before", at("escalation_before"))),
            Unit.SHARE,
            beside=(
                Beside("right before", at("right_before"), Unit.SHARE),
                Beside("right after", at("right_after"), Unit.SHARE),
                Beside("the large model, right", at("large_right"), Unit.SHARE),
                Beside("at a risk of 15 %, before", at("other_risks", "0.15", "before", "escalation"), Unit.SHARE),
                Beside("after", at("other_risks", "0.15", "after", "escalation"), Unit.SHARE),
            ),
            how=f"{_TOPICS} Before: the version of the first round, of which nothing could be accepted at this risk.",
        ),
        Target(
            "distill-risk",
            "at the same stated risk",
            "distill",
            at("risk_after"),
            at_most(named("stated", at("stated_risk"))),
            Unit.SHARE,
            beside=(Beside("accepted", at("accepted_after"), Unit.SHARE),),
            how="Wrong among accepted.",
        ),
        Target(
            "distill-saved",
            "and the bill with it",
            "distill",
            at("saved_after"),
            above(named("before", at("saved_before"))),
            Unit.SHARE,
            beside=(
                Beside("the change, at least", worked("low", min, at("saved_change_95")), Unit.POINTS),
                Beside("at most", worked("high", max, at("saved_change_95")), Unit.POINTS),
            ),
        ),
        Target(
            "distill-gate",
            "the gate refuses an adapter trained on shuffled answers",
            "distill",
            at("shuffled_refused"),
            YES,
            Unit.YES,
        ),
        Target(
            "training-speed",
            "training at least 1.5 × a plain PEFT loop, at equal tokens",
            "training",
            at("ratio_to", "peft"),
            at_least(1.5),
            Unit.TIMES,
            beside=(
                Beside("Headrace", at("tokens_per_s", "ours"), Unit.TOKENS),
                Beside("PEFT, bfloat16", at("tokens_per_s", "peft"), Unit.TOKENS),
                Beside("PEFT, adapter in float32", at("tokens_per_s", "peft_float32"), Unit.TOKENS),
                Beside("held-out loss", at("held_out_loss", "ours"), Unit.SCORE),
                Beside("PEFT's", at("held_out_loss", "peft"), Unit.SCORE),
            ),
            how="The peer has bf16, dynamic padding and length grouping; tokens that are not padding count.",
        ),
        Target(
            "new-domain",
            "a new domain in under 10 minutes, from a trained adapter and a file of examples to routed answers",
            "domain",
            worked(
                "the longer of both forms",
                max,
                at("forms", "question", "seconds", "whole_s"),
                at("forms", "bare", "seconds", "whole_s"),
            ),
            below(600),
            Unit.SECONDS,
            beside=(
                Beside("routed right", at("forms", "question", "held_out", "routed", "share"), Unit.SHARE),
                Beside("without the list of topics", at("forms", "bare", "held_out", "routed", "share"), Unit.SHARE),
            ),
            how="On the running graph; training the adapter is apart.",
        ),
        Target(
            "affinity-hits",
            "200 adapters on two replicas: hit rate with affinity against without",
            "affinity",
            at("live", "affinity", "hit_rate"),
            None,
            Unit.SHARE,
            beside=(Beside("Serve's own routing", at("live", "power of two", "hit_rate"), Unit.SHARE),),
        ),
        Target(
            "affinity-p99",
            "and p99 to the first token",
            "affinity",
            at("live", "affinity", "first_token_p99_ms"),
            None,
            Unit.MS,
            beside=(
                Beside("Serve's own routing", at("live", "power of two", "first_token_p99_ms"), Unit.MS),
                Beside("p50", at("live", "affinity", "first_token_p50_ms"), Unit.MS),
                Beside("p50, Serve's own", at("live", "power of two", "first_token_p50_ms"), Unit.MS),
            ),
        ),
    ),
)
