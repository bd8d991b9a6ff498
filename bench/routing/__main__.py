"""Routing on public data, beside published figures and baselines.

    python -m bench.routing [--quick] [--json FILE] [--scores FOLDER]      writes bench/results/routing.json and .png

`--quick` takes one fold seed and fewer bootstrap draws, and leaves out what needs the vectors of MMLU's 14,037 prompts
where they were not made before. `--scores` writes mmlu.csv and gsm8k.csv (id,score; higher: send to the strong model),
the out-of-fold scores behind the keys `mmlu` and `gsm8k`, so that anyone can score them.

What limits it: the counts (confidence/surface.py) and the models' settings were worked out on these two benchmarks,
over about 300 variants judged out of fold; the choice between models and their strengths is made inside training folds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench import machine
from bench.machine import DATA
from bench.routing import intents, routellm, tables
from bench.routing.outcomes import BENCHMARKS
from bench.routing.plot import draw


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one fold seed, fewer draws")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "routing.json")
    parser.add_argument("--scores", type=Path, help="folder for the out-of-fold scores")
    wanted = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe("numpy", "scipy", "scikit-learn", "onnxruntime")}
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    folder = DATA / "routellm"
    if folder.is_dir():
        found["routellm"] = routellm.run(folder, wanted.scores, wanted.quick)
        found |= headline(found["routellm"])
        draw(found["routellm"]["out_of_fold"], wanted.json.with_suffix(".png"))
        show(found["routellm"])
    else:
        found["routellm"] = {"skipped": f"The outcomes are not at {folder}: set HEADRACE_DATA."}
        print(found["routellm"]["skipped"])
    found["intents"] = intents.run(wanted.quick)
    wanted.json.write_text(json.dumps(found, indent=1) + "\n")
    short = {name: found[name] for name in BENCHMARKS if name in found}
    print(json.dumps({"bench": "routing", **short}))


def headline(found: dict[str, Any]) -> dict[str, Any]:
    """`ours` out of fold, by benchmark."""
    return {name: found["out_of_fold"][name]["contenders"]["ours"] for name in BENCHMARKS}


def show(found: dict[str, Any]) -> None:
    """The tables, and what each fold used."""
    if found["across"]:
        print(tables.across(found) + "\n")
    else:
        print(found["skipped"] + "\n")
    print(tables.out_of_fold(found) + "\n")
    took = found["probability_ms"]
    print(f"The pre-router alone takes {took['p50']:.3f} ms a prompt at the median, {took['p99']:.3f} ms at p99.")
    for name in BENCHMARKS:
        own = found["out_of_fold"][name]
        few = own["few_labels"]
        line = f"{name}: used {own['picked']}"
        print(f"{line}; from {few['labels']} labels {few['apgr']:.3f}" if few else line)


if __name__ == "__main__":
    main()
