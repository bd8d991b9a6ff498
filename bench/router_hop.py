"""What the router adds to a query in a running graph: the handle's hop and the classifier, beside an idle engine.

    python -m bench.router_hop [--rate 50] [--seconds 20]      writes bench/results/router_hop.json

The graph `router` is started with real models as `headrace serve` does; this process then calls the Router deployment
through the same kind of handle as a gateway replica, at times drawn from a Poisson process (open loop: a slow answer
does not hold up the next call). Every text is new to the router unless the row says `repeated`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.machine import REPO
from serve_app.config import profiles
from serve_app.core import Message
from serve_app.deployments.switches import every_node
from serve_app.router import read_rows

EVERYDAY = REPO / "tests" / "data" / "router_lay_test.jsonl"
_WORDS = re.findall(
    r"\w+", "my the landlord doctor code river wants to keep all of our money until next summer and then leave"
)
LENGTHS_TOKENS = (20, 60, 128)


def main() -> None:
    """Start, measure, stop, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--out", type=Path, default=machine.RESULTS / "router_hop.json")
    wanted = parser.parse_args()
    found: dict[str, Any] = {"machine": machine.describe("ray", "onnxruntime"), "rate_per_s": wanted.rate, "rows": {}}
    with running_graph() as address:
        found["rows"] = asyncio.run(measure_all(address, wanted.rate, wanted.seconds))
    wanted.out.write_text(json.dumps(found, indent=1) + "\n")
    table = Table("texts", "calls", "p50 ms", "p99 ms", "worst ms", title=f"Router hop at {wanted.rate:g} calls/s")
    for name, row in found["rows"].items():
        table.add_row(name, str(row["calls"]), *(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "worst_ms")))
    Console().print(table)


@contextlib.contextmanager
def running_graph() -> Iterator[str]:
    """The address of the Ray on which the graph `router` runs with the demo's models."""
    with tempfile.TemporaryDirectory() as folder:
        settings = yaml.safe_load(profiles()["demo"].read_text())
        settings["ledger"] = {"url": f"sqlite:///{folder}/ledger.sqlite3"}
        config = Path(folder) / "settings.yaml"
        config.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "serve_app.deployments.launch", "--graph", "router", "--config", str(config)]
        process = subprocess.Popen([*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "ready":
                    yield event["ray_address"]
                    break
            else:
                raise SystemExit("the graph did not start; see the lines above")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


async def measure_all(address: str, rate: float, seconds: float) -> dict[str, Any]:
    """All rows, one after the other, through one handle."""
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray
    from ray import serve

    ray.init(address=address, log_to_driver=False, logging_level="error")
    try:
        handle = serve.get_deployment_handle("Router", "headrace")
        everyday = [row.text for row in read_rows(EVERYDAY)]
        count = int(rate * seconds)
        await measure(handle, [f"warm up {index}" for index in range(100)], rate)
        rows = {"everyday": await measure(handle, fresh(everyday, count), rate)}
        rows["repeated"] = await measure(handle, random.Random(1).choices(everyday[:20], k=count), rate)
        for tokens in LENGTHS_TOKENS:
            rows[f"{tokens} tokens"] = await measure(handle, of_length(tokens, count), rate)
        return rows
    finally:
        ray.shutdown()


def fresh(texts: Sequence[str], count: int) -> list[str]:
    """Texts in random order; those of a further round end in another number, so that none is known."""
    rng = random.Random(0)
    found: list[str] = []
    for turn in range(count // len(texts) + 1):
        found += [f"{text} ({turn})" if turn else text for text in rng.sample(list(texts), len(texts))]
    return found[:count]


def of_length(tokens: int, count: int) -> list[str]:
    """Texts of so many one-token words, the encoder's two marks included."""
    rng = random.Random(tokens)
    return [" ".join(rng.choices(_WORDS, k=tokens - 2)) for _ in range(count)]


async def measure(handle: Any, texts: Sequence[str], rate: float) -> dict[str, float]:
    """Latencies in milliseconds from the planned time of each call, so that a backlog shows."""
    rng = random.Random(2)
    start_s = time.perf_counter() + 0.1
    took_ms: list[float] = []

    async def call(text: str, due_s: float) -> None:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        await handle.score.remote((Message("user", text),))
        took_ms.append((time.perf_counter() - due_s) * 1000)

    due_s, calls = start_s, []
    for text in texts:
        due_s += rng.expovariate(rate)
        calls.append(call(text, due_s))
    await asyncio.gather(*calls)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"calls": len(took_ms), "p50_ms": float(p50), "p99_ms": float(p99), "worst_ms": max(took_ms)}


if __name__ == "__main__":
    main()
