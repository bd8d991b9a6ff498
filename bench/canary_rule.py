"""What the canary's rule does for a given true difference: how often it promotes, how often it withdraws, how soon.

    python -m bench.canary_rule [--quick] [--json FILE]      writes bench/results/canary_rule.json and, without --quick
                                                             and --json, the table of docs/canary.md

Simulated, no engine: a compared answer is wrong or right by either version, and both versions differ on a share
`DISCORDANCE` of the queries (plus what the true difference needs). The rule is asked after every 20 pairs up to
`--pairs`, with the default settings; neighbouring queries fail, cost and take the same in both arms, except in the
rows that say otherwise. Probabilities are shares of `--trials` trials.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine
from serve_app.canary import Outcome, TrialEvidence, verdict
from serve_app.config.canary import CanarySettings

OUT = machine.RESULTS / "canary_rule.json"
PAGE = machine.REPO / "docs" / "canary.md"
START, END = "<!-- measured: written by bench/canary_rule.py -->", "<!-- end of measured -->"
DISCORDANCE = 0.2
LIVE_FAILS = 0.01
_COST_SIGMA = 0.8
"""Of the logarithm of a query's cost and latency."""
_LOOK_EVERY = 20


@dataclass(frozen=True)
class World:
    """A canary beside its live version, in truth."""

    difference: float = 0.0
    """Mean score of the canary minus that of the live version."""
    more_failures: float = 0.0
    cost_factor: float = 1.0
    latency_factor: float = 1.0


def worlds(margin: float) -> list[World]:
    """The rows: quality first, the other subjects after it."""
    steps = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
    return [
        *(World(round(step * margin, 4)) for step in steps),
        World(more_failures=0.02),
        World(more_failures=0.1),
        World(more_failures=0.99),
        World(cost_factor=1.25),
        World(cost_factor=2.0),
        World(latency_factor=1.5),
        World(latency_factor=3.0),
    ]


def simulate(world: World, settings: CanarySettings, num_pairs: int, rng: np.random.Generator) -> tuple[str, int]:
    """What one trial comes to, and after how many pairs."""
    evidence = TrialEvidence()
    discordance = max(DISCORDANCE, abs(world.difference))
    worse, better = (discordance - world.difference) / 2, (discordance + world.difference) / 2
    scores = rng.choice([-1, 0, 1], size=num_pairs, p=[worse, 1 - worse - better, better])
    fails = rng.random((num_pairs, 2)) < (min(1.0, LIVE_FAILS + world.more_failures), LIVE_FAILS)
    spread = np.exp(rng.normal(0, _COST_SIGMA, (num_pairs, 2, 2))) * 1000
    spread[:, 0] *= (world.cost_factor, world.latency_factor)
    for index in range(num_pairs):
        evidence.add_scores(float(scores[index] > 0), float(scores[index] < 0))
        evidence.add_neighbours(*(_outcome(bool(fails[index, arm]), spread[index, arm]) for arm in (0, 1)))
        if (index + 1) % _LOOK_EVERY == 0:
            said = verdict(evidence, settings, age_h=0.0)
            if said.decision is not None:
                return said.decision, index + 1
    return "undecided", num_pairs


def measure(num_trials: int, num_pairs: int, settings: CanarySettings) -> list[dict[str, Any]]:
    """One row for each world."""
    rows = []
    for world in worlds(settings.margin):
        rng = np.random.default_rng(7)
        ends = [simulate(world, settings, num_pairs, rng) for _ in range(num_trials)]
        pairs = {decision: [number for end, number in ends if end == decision] for decision in ("promote", "rollback")}
        rows.append(
            {
                "difference": world.difference,
                "more_failures": world.more_failures,
                "cost_factor": world.cost_factor,
                "latency_factor": world.latency_factor,
                "promoted": len(pairs["promote"]) / num_trials,
                "withdrawn": len(pairs["rollback"]) / num_trials,
                "median_pairs_to_promote": _median(pairs["promote"]),
                "median_pairs_to_withdraw": _median(pairs["rollback"]),
            }
        )
    return rows


def what(row: dict[str, Any]) -> str:
    """The world of a row in words.

    >>> what({"difference": -0.05, "more_failures": 0.0, "cost_factor": 2.0, "latency_factor": 1.0})
    'score -0.05, cost x 2'
    """
    told = [
        f"{name} {row[key]:+g}" for key, name in (("difference", "score"), ("more_failures", "failures")) if row[key]
    ]
    factors = (("cost_factor", "cost"), ("latency_factor", "latency"))
    return ", ".join(told + [f"{name} x {row[key]:g}" for key, name in factors if row[key] != 1]) or "equal"


def show(row: dict[str, Any]) -> str:
    """A line for people."""
    pairs = f"{row['median_pairs_to_promote'] or '-':>6} {row['median_pairs_to_withdraw'] or '-':>6}"
    return f"{what(row):16} promoted {row['promoted']:6.1%}  withdrawn {row['withdrawn']:6.1%}  median pairs {pairs}"


def page_table(found: dict[str, Any]) -> str:
    """For docs/canary.md."""
    settings = found["settings"]
    lines = [
        f"Simulated with the default settings (`margin` {settings['margin']:g}, `alpha` {settings['alpha']:g}): "
        f"{found['trials']} trials of each row, both versions differ on {found['discordance']:.0%} of the queries, the "
        f"rule is asked after every {_LOOK_EVERY} pairs of either kind, up to {found['pairs']} "
        "(`bench/results/canary_rule.json`, `python -m bench.canary_rule`).",
        "",
        "| canary, in truth | promoted | withdrawn | median pairs to promote | to withdraw |",
        "|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        promoted, withdrawn = row["median_pairs_to_promote"] or "", row["median_pairs_to_withdraw"] or ""
        shares = f"{row['promoted']:.1%} | {row['withdrawn']:.1%}"
        lines.append(f"| {what(row)} | {shares} | {promoted} | {withdrawn} |")
    return "\n".join(lines)


def _outcome(failed: bool, figures: np.ndarray[Any, np.dtype[np.float64]]) -> Outcome:
    return Outcome(True) if failed else Outcome(False, round(figures[0]), float(figures[1]))


def _median(values: list[int]) -> int | None:
    return math.ceil(float(np.median(values))) if values else None


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter trials")
    parser.add_argument("--trials", type=int, default=0, help="trials of each row")
    parser.add_argument("--pairs", type=int, default=0, help="pairs of a trial at the most")
    parser.add_argument("--json", type=Path, default=OUT, help="where the figures go")
    options = parser.parse_args()
    num_trials = options.trials or (40 if options.quick else 200)
    num_pairs = options.pairs or (600 if options.quick else 2000)
    settings, begun = CanarySettings(), time.monotonic()
    found = {"machine": machine.describe("numpy"), "trials": num_trials, "pairs": num_pairs,
             "settings": settings.model_dump(mode="json"), "discordance": DISCORDANCE}  # fmt: skip
    rows = measure(num_trials, num_pairs, settings)
    print(*map(show, rows), sep="\n")
    found |= {"rows": rows, "took_s": round(time.monotonic() - begun, 1)}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not options.quick and options.json == OUT:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        PAGE.write_text(f"{before}{START}\n{page_table(found)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(json.dumps({"json": str(options.json), "took_s": found["took_s"]}))


if __name__ == "__main__":
    main()
