"""Does a cascade that learns escalate less, at the same stated risk? A real run on held-out queries.

    python -m bench.distill [--quick] [--json FILE] [--threads 2]      writes bench/results/distill.json

SmolLM2-135M learns from Qwen2.5-Coder-0.5B which of eight topics a bank customer's request is about (bench.distill.task
says what is whose). Answers are kept in the cache folder, so a second run pays for training alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine
from bench.cascade.price import by_parameters
from bench.distill.rounds import Bench, Effort, measure, regression_rows, trainer, with_large
from bench.distill.task import Traffic, traffic
from bench.machine import DATA
from bench.watch import Lines
from serve_app.catalogue import resolve
from serve_app.distill.answers import LocalAnswerer
from serve_app.distill.pipeline import Models

QUICK = Effort(first=100, second=220, labelled=160, test=200, regression=12, epochs=2.0)
FULL = Effort(first=100, second=260, labelled=340, test=320, regression=20, epochs=2.0)
SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer queries")
    parser.add_argument("--json", type=Path, default=machine.RESULTS / "distill.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--folder", type=Path, help="of the runs; one that was broken off goes on there")
    wanted = parser.parse_args(arguments)
    from serve_app.cli.training_progress import use_torch

    use_torch(wanted.threads, "cpu")
    effort = QUICK if wanted.quick else FULL
    found: dict[str, Any] = {"machine": machine.describe("torch", "transformers", "peft"), "quick": wanted.quick}
    folder = wanted.folder or Path(tempfile.mkdtemp(prefix="headrace-bench-distill-"))
    found["went_on"] = any(folder.rglob("done.json"))
    begun_s = time.perf_counter()
    try:
        found |= asyncio.run(_measured(wanted.data, folder, effort, wanted.threads))
    finally:
        if wanted.folder is None:
            shutil.rmtree(folder)
    found["seconds"] = round(time.perf_counter() - begun_s, 1)
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(found, indent=1) + "\n")
    _show(found)


async def _measured(data: Path, folder: Path, effort: Effort, threads: int) -> dict[str, Any]:
    base = resolve(SMALL)
    large = LocalAnswerer(resolve(LARGE), threads=threads)
    rows = traffic(data, effort.first + effort.second, effort.labelled, effort.test)
    asked = await with_large([*rows.captured, *rows.labelled, *rows.test], large)
    captured, labelled = asked[: len(rows.captured)], asked[len(rows.captured) : -len(rows.test)]
    lora = trainer(base, effort, Lines())
    models = Models(
        base=base,
        small=lambda version: LocalAnswerer(base, version, threads),
        large=large,
        train=lora,
        prices=by_parameters("demo"),
    )
    test = asked[-len(rows.test) :]
    bench = Bench(
        folder, models, lora, Traffic(captured, labelled, test), regression_rows(data, effort.regression), effort
    )
    told = await measure(bench)
    right = sum(row.answer is not None and row.answer.strip() == row.reference for row in test) / len(test)
    return {"effort": asdict(effort), "large_right": right, **told}


def _show(found: dict[str, Any]) -> None:
    for name in ("escalation", "risk", "saved", "right"):
        print(f"{name:>10}: {_share(found[f'{name}_before'])} -> {_share(found[f'{name}_after'])}")
    low, high = found["escalation_change_95"]
    if not found["accepted_before"]:
        print("           the live version may accept nothing, so its risk is 0 of 0")
    print(f"escalations change by {low:+.1%} to {high:+.1%} (95 %) on {found['test_rows']} test rows;")
    print(f"the gate {'passed' if found['gate_passed'] else 'refused'} the new version and "
          f"{'refused' if found['shuffled_refused'] else 'PASSED'} the one trained on shuffled answers.")  # fmt: skip


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
