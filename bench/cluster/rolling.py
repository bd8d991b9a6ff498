"""Rolling updates under load: a new version, new settings, a new `user_config`, with two replicas of each deployment.

Queries come by a schedule that waits for nothing, whole and streamed, some of them escalated. Each update begins while
they come and ends when no replica of the version before is left. What counts is whether a query failed, and how much
longer one took than the 99th percentile of its kind without an update.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.chaos.graph import write_settings
from bench.load import Ask, OpenLoop, Outcome, constant
from bench.load.client import counted
from bench.machine import REPO
from serve_app.config import CONFIG_ENV

_STOP_S = 60.0
_MOST_S = 900.0
"""No run is longer."""
_SETTLE_S = 2.0


@dataclass(frozen=True)
class Plan:
    """How much is asked, of how many replicas. `steady_s`: without an update, before the first one."""

    rate: float
    steady_s: float
    num_replicas: int = 2
    surge_percent: int = 0
    """Of gateways and engines; see `deployments.*.surge_percent`."""


QUICK, FULL = Plan(rate=5, steady_s=15), Plan(rate=20, steady_s=60)


def _kind(name: str, word: str, weight: float, stream: bool) -> Ask:
    return Ask(text=lambda number: f"{word} question number {number}", stream=stream, weight=weight, name=name)


KINDS = (
    _kind("whole", "easy", 30, False),
    _kind("stream", "easy", 30, True),
    _kind("escalated", "unsure", 15, False),
    _kind("escalated stream", "unsure", 15, True),
    _kind("slow stream", "slow", 5, True),
    _kind("long", "long", 5, False),
)


@dataclass(frozen=True)
class Update:
    """One redeployment. `environment` and `user_config` as `redeploy` takes them."""

    what: str
    environment: dict[str, str]
    user_config: dict[str, Any] | None = None


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """`rolling_update_failed`, `longest_wait_over_p99_s`, and the details of each update."""
    return asyncio.run(run(QUICK if quick else FULL, folder))


async def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """One graph, three updates. Raises RuntimeError when the graph cannot be deployed."""
    first, second = _settings(plan, folder)
    release = {"HEADRACE_BENCH_RELEASE": "1", CONFIG_ENV: str(first)}
    updates = (
        Update("new code version", release | {"HEADRACE_BENCH_RELEASE": "2"}),
        Update("new settings", release | {"HEADRACE_BENCH_RELEASE": "2", CONFIG_ENV: str(second)}),
        Update(
            "new user_config",
            release | {"HEADRACE_BENCH_RELEASE": "2", CONFIG_ENV: str(second)},
            {"cascade": {"threshold": 0.4}},
        ),
    )
    async with _deployer(first, plan.num_replicas, folder / "deployer.log") as deploy:
        state = await deploy(Update("first", release))
        load = OpenLoop(state["url"], constant(plan.rate, _MOST_S), KINDS, timeout_s=60)
        asking = asyncio.create_task(load.run())
        try:
            started_s = time.monotonic()
            await asyncio.sleep(plan.steady_s)
            done = []
            for update in updates:
                before, begin_s = state["replicas"], time.monotonic() - started_s
                state = await deploy(update)
                await asyncio.sleep(_SETTLE_S)
                end_s = time.monotonic() - started_s
                done.append(Done(update.what, begin_s, end_s, state["took_s"], before, state["replicas"]))
        finally:
            load.stop()
            outcomes = (await asking).all
    return figures(plan, outcomes, done)


@dataclass(frozen=True)
class Done:
    """An update, when it began and when it and what it stirred up had ended, and the replicas before and after."""

    what: str
    begin_s: float
    end_s: float
    took_s: float
    before: dict[str, list[int]]
    after: dict[str, list[int]]

    def covers(self, outcome: Outcome) -> bool:
        """Whether a query was under way when it began, or due before its end."""
        is_over = outcome.done_s is not None and outcome.done_s < self.begin_s
        return outcome.intended_s < self.end_s and not is_over


def figures(plan: Plan, outcomes: Sequence[Outcome], done: Sequence[Done]) -> dict[str, Any]:
    """What `measure` returns. Times are seconds after the run's start."""
    steady = [one for one in outcomes if one.intended_s < plan.steady_s - _SETTLE_S]
    p99_s = {kind.name: _percentile(_times(steady, kind.name), 99) for kind in KINDS}
    updates = [
        {
            "what": update.what,
            "took_s": update.took_s,
            "replaced": {name: len(set(update.before[name]) - set(pids)) for name, pids in update.after.items()},
            **_of_queries([one for one in outcomes if update.covers(one)], p99_s),
        }
        for update in done
    ]
    return {
        "rolling_update_failed": sum(
            not one.answered and any(update.covers(one) for update in done) for one in outcomes
        ),
        "longest_wait_over_p99_s": max(update["longest_over_p99_s"] for update in updates),
        "offered_per_s": plan.rate,
        "steady": {
            "queries": len(steady),
            "failed": sum(not one.answered for one in steady),
            "p50_ms": {kind.name: round(1e3 * _percentile(_times(steady, kind.name), 50), 1) for kind in KINDS},
            "p99_ms": {name: round(1e3 * seconds, 1) for name, seconds in p99_s.items()},
        },
        "updates": updates,
    }


def _of_queries(outcomes: Sequence[Outcome], p99_s: dict[str, float]) -> dict[str, Any]:
    over = sorted(
        (
            (round(one.after_s(one.done_s) or 0.0, 2), round(one.intended_s, 1), one.ask.name, one)
            for one in outcomes
            if one.answered
        ),
        key=lambda row: row[0] - p99_s[row[2]],
    )
    bad = [one for one in outcomes if not one.answered]
    return {
        "queries": len(outcomes),
        "failed": len(bad),
        "faults": counted(bad) | ({"HTTP 429": n} if (n := sum(one.refused for one in bad)) else {}),
        "failures": [f"{one.intended_s:.1f} s {one.ask.name}: {one.fault or one.status} {one.why}" for one in bad[:8]],
        "longest_over_p99_s": round(over[-1][0] - p99_s[over[-1][2]], 2) if over else 0.0,
        "longest": [{"at_s": at_s, "kind": kind, "took_s": took_s} for took_s, at_s, kind, _ in over[:-4:-1]],
    }


def _times(outcomes: Sequence[Outcome], kind: str) -> list[float]:
    return [one.after_s(one.done_s) or 0.0 for one in outcomes if one.ask.name == kind and one.answered]


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0


def _settings(plan: Plan, folder: Path) -> tuple[Path, Path]:
    """Two settings files: the second gives the engines' constructors something new."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = write_settings(folder, f"sqlite:///{folder / 'ledger.sqlite3'}", num_gateways=2)
    settings = yaml.safe_load(first.read_text())
    settings["gateway"]["port"] = port
    for node in ("gateway", "specialists", "fallback"):
        settings["deployments"][node]["surge_percent"] = plan.surge_percent
    first.write_text(yaml.safe_dump(settings))
    for node in ("specialists", "fallback"):
        settings[node]["max_rows"] = 48
    second = folder / "second.yaml"
    second.write_text(yaml.safe_dump(settings))
    return first, second


@asynccontextmanager
async def _deployer(settings: Path, num_replicas: int, log: Path) -> AsyncGenerator[Any]:
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    with log.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.cluster.redeploy", str(settings), str(num_replicas)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": path},
        )
    orders, replies = process.stdin, process.stdout
    assert orders is not None
    assert replies is not None

    async def deploy(update: Update) -> dict[str, Any]:
        order = {"environment": update.environment, "user_config": update.user_config}
        orders.write(json.dumps(order).encode() + b"\n")
        if not (line := await replies.readline()):
            raise RuntimeError(f"{update.what}: the graph was not deployed; see {log}")
        return dict(json.loads(line))

    try:
        yield deploy
    finally:
        orders.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
