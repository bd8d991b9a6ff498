"""Several small models in the place of one: is the vote better than the best of them, and what does it cost?

    python -m bench.ensemble [--quick] [--json FILE] [--threads 2]      writes bench/results/ensemble.json

1. `rows`: the time of four rows in one batch over that of one (bench.ensemble.rows).
2. `quality`: four adapters of SmolLM2-135M, trained on disjoint fifths of BANKING77, name the intent of requests that
   nobody has seen: each alone, by every strategy, and Qwen2.5-Coder-0.5B with examples in its prompt. The best member,
   the large model's prompt and the bound of escalation are chosen on validation requests.

Needs the public data (HEADRACE_DATA); answers are kept in the cache folder, so a second run is short. Prices are the
profile demo's, by parameters; every prompt token is billed in full, also those that the engine had read before.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

from bench import machine
from bench.ensemble import quality, rows
from bench.machine import DATA

HEADLINES = {
    "time_of_4_over_1": "rows",
    "vote_accuracy": "quality",
    "best_member_accuracy": "quality",
    "large_accuracy": "quality",
}
"""Figure at the top level -> the part that has it."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests; within 8 minutes on two cores")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "ensemble.json", help="where figures go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    from serve_app.cli.training_progress import use_torch

    use_torch(args.threads, "cpu")
    circumstances = machine.describe("torch", "transformers")
    circumstances["command"] = shlex.join(["python", "-m", "bench.ensemble", *(["--quick"] if args.quick else [])])
    parts: dict[str, Any] = {}
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "rows": lambda: rows.measure(args.quick),
        "quality": lambda: quality.measure(args.quick, args.threads, args.data),
    }
    for name, measure in measures.items():
        began_s = time.monotonic()
        parts[name] = measure()
        parts[name]["seconds"] = round(time.monotonic() - began_s)
        print(f"{name}: {json.dumps(parts[name])}", file=sys.stderr, flush=True)  # not lost if a later part fails
    circumstances["load_1min_after"] = round(os.getloadavg()[0], 2)
    headlines = {figure: parts[part][figure] for figure, part in HEADLINES.items()}
    result = {"bench": "ensemble", "quick": args.quick, "machine": circumstances, **headlines, **parts}
    quality.show(parts["quality"])
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
