"""Autoscaling policies on simulated arrivals: SLO attainment and GPU-hours of Headrace's policy beside Ray's default.

    python -m bench.autoscale_sim [--seeds 5] [--minutes 60] [--quick]      writes bench/results/autoscale_sim.json

Discrete events: queries arrive in a burst, a day or a trickle; the specialists answer in batches; a fifth of the
queries goes on to the fallback; replicas take time to start and hold their GPU share while they do. Ray's policy is the
function in the installed package, run by Serve's own wrapper, with Ray's defaults and with tuned settings. A policy is
compared with another on the same queries, and intervals are over seeds (paired, Student's t, 95 %).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from bench import machine
from bench.scaling.nodes import NodeShape
from bench.scaling.policies import RayKnobs, headrace, ray_default
from bench.scaling.run import MakePolicy, Run
from bench.scaling.traces import KINDS, draw

SLO_S = 5.0
"""First token shown, hold-back and escalation included; unloaded, an escalated query takes about 1.5 s."""
SHAPES = {
    "Specialists": NodeShape("Specialists", 0.0166, 0.00085, 32, 0.5, 40.0, 1, 12, 16),
    "Fallback": NodeShape("Fallback", 0.043, 0.0022, 16, 1.0, 60.0, 1, 8, 8),
}
"""The fallback's steps are 2.6 times as long, as bench/results/node_speed.json found for the demo's pair."""
BURSTY = ("bursts", "ramped bursts")
RAY = {
    "Ray default": RayKnobs(),
    "Ray, up at once": RayKnobs(upscale_delay_s=0, look_back_s=10, push_s=2),
    "Ray, up at once, target x 1.5": RayKnobs(upscale_delay_s=0, look_back_s=10, push_s=2, target_factor=1.5),
    "Ray, up at once, down in 300 s": RayKnobs(upscale_delay_s=0, downscale_delay_s=300, look_back_s=10, push_s=2),
    "Ray, up at once, down in 120 s": RayKnobs(upscale_delay_s=0, downscale_delay_s=120, look_back_s=10, push_s=2),
}


def plans(shapes: Mapping[str, NodeShape]) -> dict[str, Any]:
    """The policy's settings: one set for all traces, with the speeds of the shapes."""
    return {
        "specialists": {"engine": {"tokens_per_s": shapes["Specialists"].tokens_per_s, "call_tokens": 90}},
        "fallback": {
            "engine": {
                "tokens_per_s": shapes["Fallback"].tokens_per_s,
                "call_tokens": 100,
                "residence_s": 16,
                "max_delay_s": 3,
            },
            "warm_up_s": shapes["Fallback"].start_s,
        },
    }


def ours(shapes: Mapping[str, NodeShape]) -> MakePolicy:
    return lambda nodes, clock, gateway: headrace(nodes, clock, plans(shapes), gateway)


def rays(knobs: RayKnobs) -> MakePolicy:
    return lambda nodes, clock, gateway: ray_default(nodes, clock, knobs)


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and half-width of the 95 % interval over seeds."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return {"mean": float(array.mean()), "half_width": float("nan")}
    half = float(stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array)))
    return {"mean": float(array.mean()), "half_width": half}


def compare(
    kind: str, shapes: Mapping[str, NodeShape], seeds: Sequence[int], duration_s: float, **run: Any
) -> dict[str, Any]:
    """All policies on all seeds of one kind of trace; the other policies against ours, on the same queries."""
    policies = {"Headrace": ours(shapes)} | {name: rays(knobs) for name, knobs in RAY.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in policies}
    for seed in seeds:
        trace = draw(kind, seed, duration_s)
        for name, make in policies.items():
            found[name].append(Run(trace, shapes, SLO_S, **run).play(make).as_dict())
    rows = {}
    for name, outcomes in found.items():
        row: dict[str, Any] = {key: interval([one[key] for one in outcomes]) for key in outcomes[0]}
        mine = found["Headrace"]
        row["ours_minus_this_attainment"] = interval(
            [a["attainment"] - b["attainment"] for a, b in zip(mine, outcomes, strict=True)]
        )
        row["ours_fewer_gpu_hours_share"] = interval(
            [1 - a["gpu_hours"] / b["gpu_hours"] for a, b in zip(mine, outcomes, strict=True)]
        )
        rows[name] = row
    return rows


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100, help="the policy was tuned on seeds 10 to 15")
    parser.add_argument("--minutes", type=float, default=60, help="of each trace")
    parser.add_argument("--only", choices=sorted(KINDS), action="append", help="these kinds of trace only")
    parser.add_argument("--quick", action="store_true", help="two seeds of 30 minutes, bursts only")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "autoscale_sim.json")
    wanted = parser.parse_args()
    if wanted.quick:
        wanted.seeds, wanted.minutes, wanted.only = 2, 30, ["bursts"]
    warnings.simplefilter("ignore")  # Ray's own: `metrics_interval_s` is to be an environment variable one day
    began_s = time.perf_counter()
    found: dict[str, Any] = {
        "machine": machine.describe("ray"),
        "slo_s": SLO_S,
        "seeds": [wanted.first_seed + index for index in range(wanted.seeds)],
        "minutes": wanted.minutes,
        "shapes": {name: asdict(shape) for name, shape in SHAPES.items()},
        "plans": plans(SHAPES),
        "ray": {name: asdict(knobs) for name, knobs in RAY.items()},
        "traces": {},
    }
    for title, kind, shapes, run in scenarios():
        if wanted.only and kind not in wanted.only:
            continue
        seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
        found["traces"][title] = compare(kind, shapes, seeds, wanted.minutes * 60, **run)
        show(title, found["traces"][title])
    found["verdict"] = verdict(found["traces"])
    found["took_s"] = round(time.perf_counter() - began_s, 1)
    wanted.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["verdict"]))


def scenarios() -> list[tuple[str, str, Mapping[str, NodeShape], dict[str, Any]]]:
    """Title, kind of trace, shapes, and how a query meets a cold fallback."""
    slow = {name: replace(shape, start_s=3 * shape.start_s) for name, shape in SHAPES.items()}
    zero = SHAPES | {"Fallback": replace(SHAPES["Fallback"], min_replicas=0)}
    return [
        *((kind, kind, SHAPES, {}) for kind in KINDS),
        ("bursts, starts three times as long", "bursts", slow, {}),
        ("sparse, fallback to zero, queries wait", "sparse", zero, {"cold": "wait"}),
        ("sparse, fallback to zero, small answer while cold", "sparse", zero, {"cold": "accept_small"}),
    ]


def verdict(traces: Mapping[str, Any]) -> dict[str, Any]:
    """Against each of Ray's settings, on the bursty traces: attainment won (points) and GPU-hours saved, means."""
    bursty = [title for title in traces if title in BURSTY]
    return {
        name: {
            title: {
                "attainment_gain": round(traces[title][name]["ours_minus_this_attainment"]["mean"], 4),
                "fewer_gpu_hours": round(traces[title][name]["ours_fewer_gpu_hours_share"]["mean"], 3),
            }
            for title in bursty
        }
        for name in RAY
    }


def show(title: str, rows: Mapping[str, Any]) -> None:
    """One table."""
    table = Table(
        "policy",
        "SLO met",
        "p99 s",
        "GPU-hours",
        "ours minus this",
        "ours saves",
        "scalings",
        "small while cold",
        title=title,
    )
    for name, row in rows.items():
        table.add_row(
            name,
            _percent(row["attainment"]),
            f"{row['p99_s']['mean']:.1f}",
            f"{row['gpu_hours']['mean']:.2f}",
            _percent(row["ours_minus_this_attainment"]),
            _percent(row["ours_fewer_gpu_hours_share"]),
            f"{row['scalings']['mean']:.0f}",
            f"{row['accepted_cold']['mean']:.0f}",
        )
    Console(width=150).print(table)


def _percent(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.1%} ± {value['half_width']:.1%}"


if __name__ == "__main__":
    main()
