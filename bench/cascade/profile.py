"""Everything about one pair of models: the guarantee, the curves, and when drafts are decided."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cascade import curves, guarantee, mixture
from bench.cascade.guarantee import EXPERIMENTS, SHARES
from bench.cascade.outcomes import OUTCOMES
from bench.cascade.price import by_parameters, by_time
from serve_app.confidence.features import FEATURES
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.outcomes import read_attempts
from serve_app.training.cascade.simulate import Prices, replay_policy
from serve_app.training.cascade.table import Table, tabulate

DELTA = 0.1
SLACK = 0.02
"""Points of quality that may be lost against always-large, stated beforehand."""
OPTIONS = FitOptions(alpha=0.1, delta=DELTA)
TESTED = {
    "large": dict.fromkeys(("right_third", "right_half", "stated_third", "stated_half", "no_worse_third"), 200),
    "demo": {"no_worse_third": 200},
}
"""Profile -> experiment and share that calibrates -> draws. Whether the small model is right does not depend on the
large one, so the demo adds `no_worse` alone."""


@dataclass(frozen=True)
class Effort:
    """How much to run."""

    draws: dict[str, int]
    """Experiment and share that calibrates, such as `right_third` -> draws."""
    bootstrap: int = 2000
    prices: tuple[str, ...] = ("by_parameters", "by_time")


def measure(profile: str, effort: Effort) -> dict[str, Any]:
    """The curves are over a mix with fewer support queries (`mixture.blended`)."""
    card = json.loads((OUTCOMES / f"{profile}.json").read_text())
    table = tabulate(read_attempts(OUTCOMES / f"{profile}.jsonl.gz"), OPTIONS.stages)
    mixes = {"curves": mixture.blended(table)}
    mixes["curves_exactly_scored"] = mixture.exactly_scored(mixes["curves"])
    by_price = {"by_parameters": by_parameters(profile), "by_time": by_time(card["seconds_per_token"])}
    found: dict[str, Any] = {
        "outcomes": card,
        "mix": mixture.describe(mixes["curves"]),
        "mix_exactly_scored": mixture.describe(mixes["curves_exactly_scored"]),
        "guarantee": {
            name: tested(name, table, by_price["by_parameters"], draws) for name, draws in effort.draws.items()
        },
        "prices": {name: vars(price) for name, price in by_price.items()},
    }
    for mix, rows in mixes.items():
        found[mix] = {name: compare(rows, by_price[name], effort.bootstrap) for name in effort.prices}
    found["streaming"] = streaming(table)
    return found


def tested(name: str, table: Table, prices: Prices, draws: int) -> dict[str, Any]:
    """Both rules under one experiment, such as `right_third`."""
    experiment, _, share = name.rpartition("_")
    return guarantee.resample(table, EXPERIMENTS[experiment].options(OPTIONS), prices, draws, SHARES[share])


def compare(table: Table, prices: Prices, bootstrap: int) -> dict[str, Any]:
    """All ways to run, at one price."""
    rng = np.random.default_rng(0)
    signal = np.exp(table.features[:, -1, FEATURES.index("mean_logprob")])
    small, large = curves.always(table, prices, large=False), curves.always(table, prices, large=True)
    own = curves.ours(table, OPTIONS, prices)
    target = curves.cheapest_that_keeps(table, OPTIONS, prices, SLACK)
    mean_rule = [
        curves.by_signal(table, prices, signal, float(threshold))
        for threshold in np.unique(np.quantile(signal, np.linspace(0, 1, 101)))
    ]
    oracle = [curves.oracle(table, prices, float(share)) for share in np.linspace(0, 1, 21)]
    fixed = curves.by_signal(table, prices, signal, curves.MEAN_PROBABILITY)
    ahead: dict[str, dict[str, Any]] = {}
    for budget, point in own.items():
        cost = float(point.cost.mean())
        ahead[f"{budget:g}"] = {
            "cost": cost,
            "over_mean_probability": curves.difference(point.quality, curves.at_cost(mean_rule, cost), rng, bootstrap),
            "over_random": curves.difference(point.quality, curves.at_cost([small, large], cost), rng, bootstrap),
        }
    over_large = curves.difference(target.point.quality, large.quality, rng, bootstrap)
    return {
        "ratio_s": float(small.cost.mean()),
        "always_small": curves.summary(small, large, rng, bootstrap),
        "always_large": curves.summary(large, large, rng, bootstrap),
        "mean_probability_0.9": curves.summary(fixed, large, rng, bootstrap),
        "at_target": curves.summary(target.point, large, rng, bootstrap)
        | {
            "slack": SLACK,
            "ways": list(target.ways),
            "over_always_large": over_large,
            "surely_within_slack": over_large["interval_95"][0] >= -SLACK,
        },
        "ours": {f"{budget:g}": curves.summary(point, large, rng, bootstrap) for budget, point in own.items()},
        "ahead": ahead,
        "not_surely_ahead_of_mean_probability_at": [
            budget for budget, found in ahead.items() if found["over_mean_probability"]["interval_95"][0] <= 0
        ],
        "mean_probability": [[float(p.cost.mean()), float(p.quality.mean())] for p in mean_rule],
        "oracle": [[float(p.cost.mean()), float(p.quality.mean())] for p in oracle],
    }


def streaming(table: Table) -> dict[str, Any]:
    """At which token drafts are decided by a policy fitted on the other half, and how many are decided early."""
    rows = np.arange(len(table)) % 2 == 0
    policies = guarantee.fitted(table.take(rows), EXPERIMENTS["stated"].options(OPTIONS))
    rest = table.take(~rows)
    seen = replay_policy(policies["learn_then_test"], rest)
    tried = seen.tried & (rest.num_tokens > OPTIONS.stages[0])
    early = tried & (seen.judged_tokens < rest.num_tokens)
    return {
        "checkpoints": list(OPTIONS.stages),
        "drafts_longer_than_first_checkpoint": int(tried.sum()),
        "decided_before_the_end": float(early.sum() / max(tried.sum(), 1)),
        "median_tokens_held_of_accepted": float(np.median(seen.judged_tokens[seen.accepted]))
        if seen.accepted.any()
        else None,
    }
