"""The cascade on real outcomes: is the stated risk kept, and what does quality cost?

    python -m bench.cascade [--quick] [--json FILE]      writes bench/results/cascade.json and cascade.png

The outcomes are those of the shipped models on held-out public tasks (bench/cascade/outcomes, made by
bench.cascade.build); they hold no text. Each policy is judged on queries that had no part in fitting it.
`--quick` takes the `large` profile at prices by parameters, two stated risks and fewer bootstrap draws, and runs no
models: it needs neither them nor the data folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.cascade.guarantee import EXPERIMENTS
from bench.cascade.headline import headline
from bench.cascade.outcomes import OUTCOMES
from bench.cascade.plot import draw
from bench.cascade.profile import OPTIONS, TESTED, Effort, measure
from bench.cascade.show import show
from bench.machine import DATA
from serve_app.training.cascade.fit import fit
from serve_app.training.cascade.outcomes import read_attempts

NUM_TIMED = 80
QUICK = Effort({"right_third": 200, "stated_third": 100}, bootstrap=400, prices=("by_parameters",))


def main(arguments: Sequence[str] | None = None, quick: Effort = QUICK) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the large profile only, fewer bootstrap draws")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "cascade.json")
    parser.add_argument("--threads", type=int, default=1, help="of the engines whose time to the first text is taken")
    wanted = parser.parse_args(arguments)
    efforts = {"large": quick} if wanted.quick else {name: Effort(draws) for name, draws in TESTED.items()}
    found: dict[str, Any] = {"machine": machine.describe("scikit-learn", "numpy", "scipy")}
    if not wanted.quick and DATA.is_dir():
        found["first_token"] = asyncio.run(first_text(wanted.threads))
    found["profiles"] = {profile: measure(profile, effort) for profile, effort in efforts.items()}
    found |= headline(found["profiles"]["large"])
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(found["profiles"], wanted.json.with_suffix(".png"))
    show(found)


async def first_text(threads: int) -> dict[str, Any]:
    """Time to the first text on a few queries, under a policy that was fitted on the others."""
    from bench.cascade import first_token  # engines: not for --quick
    from bench.cascade.collect import COUNTS
    from bench.cascade.tasks import sample

    attempts = {attempt.id: attempt for attempt in read_attempts(OUTCOMES / "demo.jsonl.gz")}
    tasks = [task for task in sample(DATA, COUNTS) if task.id in attempts]
    chosen = random.Random(1).sample(tasks, NUM_TIMED)
    rest = [attempt for row_id, attempt in attempts.items() if row_id not in {task.id for task in chosen}]
    policy = fit(rest, EXPERIMENTS["stated"].options(OPTIONS))
    routes = {task.id: score for task in chosen if (score := attempts[task.id].route_score)}
    return await first_token.measure(policy, chosen, routes, threads)


if __name__ == "__main__":
    main()
