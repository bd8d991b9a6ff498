"""The cascade on real outcomes: is the stated risk kept, and what does quality cost?

    python -m bench.cascade [--quick] [--json FILE]      writes bench/results/cascade.json and cascade.png

The outcomes are those of the shipped models on held-out public tasks (bench/cascade/outcomes, made by
bench.cascade.build); they hold no text. Each policy is judged on queries that had no part in fitting it.
`--quick` takes fewer bootstrap draws, the `large` profile and one target alone, and does not run the models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from bench import machine
from bench.cascade import curves, first_token, guarantee
from bench.cascade.collect import COUNTS
from bench.cascade.outcomes import OUTCOMES
from bench.cascade.plot import draw
from bench.cascade.tasks import sample
from serve_app.confidence.features import FEATURES
from serve_app.config import load
from serve_app.core import NANO_USD
from serve_app.training.cascade.fit import fit
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.outcomes import read_attempts
from serve_app.training.cascade.simulate import Prices
from serve_app.training.cascade.table import Table, tabulate

DATA = Path(os.environ.get("HEADRACE_DATA", machine.REPO.parent / "shared" / "data"))
NUM_TIMED = 60
ALPHA, DELTA, DRAWS = 0.1, 0.1, 200
GUARANTEES = (
    ("right", "third", 1 / 3),
    ("right", "half", 1 / 2),
    ("no_worse", "third", 1 / 3),
)
"""Target, and the share of rows that calibrates."""
NUM_SUPPORT = 200
SLACK = 0.0
"""Points of quality below always-large that the target allows."""
OPTIONS = FitOptions(alpha=ALPHA, delta=DELTA)
SECONDS_USD = 0.08 / 3600
"""Of two busy cores, for the prices by time."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the large profile only, fewer bootstrap draws")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "cascade.json")
    parser.add_argument("--threads", type=int, default=1, help="of the engines whose time to the first text is taken")
    wanted = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe("scikit-learn", "numpy", "scipy")}
    found["profiles"] = {
        profile: measure(profile, wanted.quick)
        for profile in (("large",) if wanted.quick else ("large", "demo"))
        if (OUTCOMES / f"{profile}.jsonl.gz").exists()
    }
    found |= headline(found["profiles"]["large"])
    if not wanted.quick and DATA.is_dir():
        found["first_token"] = asyncio.run(first_text(wanted.threads))
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(found["profiles"], wanted.json.with_suffix(".png"))
    show(found)


async def first_text(threads: int) -> dict[str, Any]:
    """Time to the first text on a few queries, under a policy that was fitted on the others."""
    attempts = {attempt.id: attempt for attempt in read_attempts(OUTCOMES / "demo.jsonl.gz")}
    tasks = [task for task in sample(DATA, COUNTS) if task.id in attempts]
    chosen = random.Random(1).sample(tasks, NUM_TIMED)
    rest = [attempt for row_id, attempt in attempts.items() if row_id not in {task.id for task in chosen}]
    policy = fit(rest, replace(OPTIONS, target="no_worse"))
    routes = {task.id: attempts[task.id].route_score for task in chosen}
    return await first_token.measure(policy, chosen, routes, threads)


def measure(profile: str, quick: bool) -> dict[str, Any]:
    """Everything about one pair of models. The curves are over a mix with fewer support queries (`blended`)."""
    bootstrap = 400 if quick else 2000
    card = json.loads((OUTCOMES / f"{profile}.json").read_text())
    attempts = read_attempts(OUTCOMES / f"{profile}.jsonl.gz")
    table = tabulate(attempts, OPTIONS.stages)
    blend = blended(table)
    by_price = {"by_parameters": by_parameters(profile), "by_time": by_time(card["seconds_per_token"])}
    prices = by_price["by_parameters"]
    return {
        "outcomes": card,
        "mix": mix(blend),
        "guarantee": {
            f"{target}_{name}": guarantee.resample(table, replace(OPTIONS, target=target), prices, DRAWS, share)
            for target, name, share in GUARANTEES[: 1 if quick else None]
        },
        "prices": {name: vars(price) for name, price in by_price.items()},
        "curves": {name: compare(blend, price, bootstrap) for name, price in by_price.items()},
        "streaming": streaming(table),
    }


def blended(table: Table) -> Table:
    """All queries but the surplus of `support`, which has more so that its guarantee can be tested."""
    names = np.array([row_id.split("/")[0] for row_id in table.ids])
    surplus = np.flatnonzero(names == "support")[NUM_SUPPORT:]
    return table.take(np.setdiff1d(np.arange(len(table)), surplus))


def by_parameters(profile: str) -> Prices:
    """As in the profile `large`: the price of a token follows the number of parameters; in that ratio for the demo."""
    models = load("large").prices.models
    small, large = (
        next(entry for name, entry in models.items() if name.startswith(stem)) for stem in ("smollm2", "qwen")
    )
    scale = 1e3  # dollars a million tokens to nano-dollars a token
    share = 1.0 if profile == "large" else 494 / 1544
    return Prices(
        float(small.input_usd_per_mtok) * scale,
        float(small.output_usd_per_mtok) * scale,
        float(large.input_usd_per_mtok) * scale * share,
        float(large.output_usd_per_mtok) * scale * share,
    )


def by_time(seconds: dict[str, dict[str, float]]) -> Prices:
    """Engine seconds at one price, measured while the outcomes were collected."""
    unit = SECONDS_USD * NANO_USD
    small, large = seconds["small"], seconds["large"]
    return Prices(
        small["prompt"] * unit, small["completion"] * unit, large["prompt"] * unit, large["completion"] * unit
    )


def mix(table: Table) -> dict[str, Any]:
    """How good both models are, task by task, and on how much of the mix the large one is 10 points better."""
    names = np.array([row_id.split("/")[0] for row_id in table.ids])
    tasks = {
        str(name): {
            "rows": int((names == name).sum()),
            "small": float(table.small_right[names == name].mean()),
            "large": float(table.large_right[names == name].mean()),
        }
        for name in np.unique(names)
    }
    harder = sum(found["rows"] for found in tasks.values() if found["large"] - found["small"] >= 0.1)
    routes = {
        key[0] or "": {
            "rows": int(table.of_group(key).sum()),
            "small": float(table.small_right[table.of_group(key)].mean()),
            "large": float(table.large_right[table.of_group(key)].mean()),
        }
        for key in table.groups
    }
    return {"tasks": tasks, "routes": routes, "share_where_large_is_10_points_better": harder / len(table)}


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
    random_mix = [small, large]
    ahead = {}
    for budget, point in own.items():
        cost = float(point.cost.mean())
        ahead[f"{budget:g}"] = {
            "cost": cost,
            "over_mean_probability": curves.difference(point.quality, curves.at_cost(mean_rule, cost), rng, bootstrap),
            "over_random": curves.difference(point.quality, curves.at_cost(random_mix, cost), rng, bootstrap),
        }
    return {
        "ratio_s": float(small.cost.mean()),
        "always_small": curves.summary(small, rng, bootstrap),
        "always_large": curves.summary(large, rng, bootstrap),
        "mean_probability_0.9": curves.summary(
            curves.by_signal(table, prices, signal, curves.MEAN_PROBABILITY), rng, bootstrap
        ),
        "at_target": curves.summary(target.point, rng, bootstrap)
        | {
            "budgets": list(target.budgets),
            "over_always_large": curves.difference(target.point.quality, large.quality, rng, bootstrap),
        },
        "ours": {f"{budget:g}": curves.summary(point, rng, bootstrap) for budget, point in own.items()},
        "ahead": ahead,
        "mean_probability": [[float(p.cost.mean()), float(p.quality.mean())] for p in mean_rule],
        "oracle": [[float(p.cost.mean()), float(p.quality.mean())] for p in oracle],
    }


def streaming(table: Table) -> dict[str, Any]:
    """At which token drafts are decided by a policy fitted on the other half, and how many are decided early."""
    rows = np.arange(len(table)) % 2 == 0
    policies = guarantee.fitted(table.take(rows), replace(OPTIONS, target="no_worse"))
    rest = table.take(~rows)
    seen = guarantee.replay_policy(policies["learn_then_test"], rest)
    longer = rest.num_tokens > OPTIONS.stages[0]
    tried = seen.tried & longer
    early = tried & (seen.judged_tokens < rest.num_tokens)
    return {
        "checkpoints": list(OPTIONS.stages),
        "drafts_longer_than_first_checkpoint": int(tried.sum()),
        "decided_before_the_end": float(early.sum() / max(tried.sum(), 1)),
        "median_tokens_held_of_accepted": float(np.median(seen.judged_tokens[seen.accepted]))
        if seen.accepted.any()
        else None,
    }


def headline(large: dict[str, Any]) -> dict[str, Any]:
    """The figures that are asked for by name, of the large profile at prices by parameters."""
    kept = large["guarantee"]["right_third"]
    at_target = large["curves"]["by_parameters"]["at_target"]
    always = large["curves"]["by_parameters"]["always_large"]
    return {
        "guarantee_kept": kept["learn_then_test"]["kept"],
        "guarantee_kept_95": kept["learn_then_test"]["kept_95"],
        "guarantee_kept_empirical": kept["empirical"]["kept"],
        "guarantee_kept_empirical_95": kept["empirical"]["kept_95"],
        "accepted_share": kept["learn_then_test"]["accepted_share"],
        "saved": at_target["saved"],
        "saved_95": at_target["saved_95"],
        "quality_ours": at_target["quality"],
        "quality_ours_95": at_target["quality_95"],
        "quality_always_large": always["quality"],
        "quality_always_large_95": always["quality_95"],
        "quality_target_slack": SLACK,
    }


def show(found: dict[str, Any]) -> None:
    """Tables for people."""
    console = Console()
    for profile, figures in found["profiles"].items():
        table = RichTable("target", "rule", "kept, worst route", "accepted", "saved", title=f"{profile}: risk kept")
        for target, rules in figures["guarantee"].items():
            for rule, row in rules.items():
                shares = (row["kept"], row["accepted_share"], row["saved"])
                table.add_row(target, rule, *(f"{share:.1%}" for share in shares))
        console.print(table)
        for prices, curve in figures["curves"].items():
            table = RichTable("way", "quality", "saved", "escalated", title=f"{profile}: {prices}")
            rows = {name: curve[name] for name in ("always_small", "always_large", "mean_probability_0.9", "at_target")}
            rows |= {f"ours, budget {budget}": row for budget, row in curve["ours"].items()}
            for name, row in rows.items():
                table.add_row(name, f"{row['quality']:.3f}", f"{row['saved']:.1%}", f"{row['escalated']:.1%}")
            console.print(table)


if __name__ == "__main__":
    main()
