"""What the gateway adds to a query: HTTP to the answer, beside the same scripted engine called in this process.

    python -m bench.cluster.overhead [--quick] [--json FILE]

The engine answers at once (`bench.cluster.known`), so that the difference is all that is around it: HTTP, HAProxy, the
gateway with prices and journal, and one hop to the engine's replica. `adapter` asks for an adapter (one hop, the figure
that counts); `auto` goes through the router as well, with its real encoder, and is reported apart. All ways get the
same requests at the same times, in turns, several rounds; half of them streams. Clients, HAProxy, gateway, engine and
router share the machine's cores: on two of them the figure is an upper bound, and other work on the machine raises it.

`floor` says how much of it is Ray Serve's own: before the graph is there, the same clients ask a bare Serve ingress
with one hop (`bench.cluster.floor`). `cpu_ms` is the processor time of a query by process, which other work on the
machine raises less than the latencies.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml

from bench.chaos.graph import Graph, running
from bench.cluster.alone import run_alone
from bench.cluster.known import KnownEngine
from bench.load import Ask, OpenLoop, Schedule, poisson, summarise
from bench.load.client import precise_loop
from serve_app.config import profiles
from serve_app.core import Call, Message, SamplingParams

RATE = 100.0
_ADAPTER = "legal"
_WARM_UP_S = 1.0
_WAYS = {"adapter": _ADAPTER, "auto": "auto"}
"""Figure -> the model that is asked for."""


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """`gateway_overhead_p50_ms`: the median over rounds of the difference of the medians, to the end of the answer."""
    seconds, rounds = (4.0, 4) if quick else (10.0, 6)
    floor = _floor(folder, seconds, rounds // 2)
    with running(_settings(folder), folder / "overhead.log", "production") as graph:
        found = []
        for number in range(rounds):
            with asyncio.Runner(loop_factory=precise_loop) as runner:
                found.append(runner.run(_round(graph, poisson(RATE, seconds, seed=number))))
    adapter, auto = ([one[way]["p50"] - one["direct"]["p50"] for one in found] for way in ("adapter", "auto"))
    return {
        "gateway_overhead_p50_ms": round(median(adapter), 2),
        "gateway_overhead_p50_ms_by_round": [round(ms, 2) for ms in adapter],
        "gateway_overhead_p99_ms": round(median(one["adapter"]["p99"] - one["direct"]["p99"] for one in found), 2),
        "auto_overhead_p50_ms": round(median(auto), 2),
        "floor_overhead_p50_ms": round(median(one["floor"]["p50"] - one["direct"]["p50"] for one in floor), 2),
        "cpu_ms": _medians([one["adapter"]["cpu_ms"] for one in found]),
        "floor_cpu_ms": _medians([one["floor"]["cpu_ms"] for one in floor]),
        "rate_per_s": RATE,
        "limited_by": f"clients, HAProxy, gateway, engine and router share {os.cpu_count()} cores",
        "rounds": found,
        "floor_rounds": floor,
    }


def _floor(folder: Path, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Rounds with a bare Serve in the graph's place."""
    found = []
    with running(_settings(folder), folder / "floor.log", program="bench.cluster.floor") as graph:
        for number in range(rounds):
            with asyncio.Runner(loop_factory=precise_loop) as runner:
                found.append(runner.run(_round(graph, poisson(RATE, seconds, seed=number), {"floor": "floor"})))
    return found


def _medians(found: list[dict[str, float]]) -> dict[str, float]:
    """By process, the largest first."""
    medians = {name: round(median(one.get(name, 0.0) for one in found), 2) for name in found[0]}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def _settings(folder: Path) -> Path:
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    engine = {"engine": "bench.cluster.known:instant", "max_rows": 64}
    settings["specialists"] |= engine
    settings["fallback"] |= engine
    settings["ledger"] = {
        "url": f"sqlite:///{folder}/overhead.sqlite3",
        "journal": {"folder": str(folder / "journals")},
    }
    file = folder / "overhead.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


async def _round(graph: Graph, schedule: Schedule, ways: Mapping[str, str] = _WAYS) -> dict[str, Any]:
    """Milliseconds from the intended time to the end, of each way; its processor time a query, by process."""
    found: dict[str, Any] = {"load_1min": round(os.getloadavg()[0], 2), "direct": await _direct(schedule)}
    for way, model in ways.items():
        asks = [Ask(model, stream=stream) for stream in (True, False)]
        used, client_s = graph.cpu_s(), time.process_time()
        outcomes = await OpenLoop(graph.url, schedule, asks, timeout_s=20.0).run()
        spent = {"client": time.process_time() - client_s}
        spent |= {name: now_s - used.get(name, 0.0) for name, now_s in graph.cpu_s().items()}
        figures = summarise(outcomes, skip_s=_WARM_UP_S)
        if figures["answered"] != figures["planned"]:
            raise RuntimeError(
                f"of {figures['planned']} queries {figures['answered']} were answered: {figures['faults']}"
            )
        found[way] = figures["total_ms"] | {
            "sent_late_p50": figures["sent_late_ms"]["p50"],
            "cpu_ms": {name: round(1e3 * cpu_s / len(outcomes.all), 2) for name, cpu_s in spent.items()},
        }
    return found


async def _direct(schedule: Schedule) -> dict[str, float]:
    engine = KnownEngine("direct", {_ADAPTER: "v1"}, 64, 64, first_s=0.0, hold_s=0.0)
    clock = asyncio.get_running_loop().time
    start_s, ms = clock(), []

    async def ask(number: int, due_s: float) -> None:
        call = Call(f"{number}", SamplingParams(), (Message("user", f"question {number}"),), adapter=_ADAPTER)
        async with aclosing(engine.generate(call)) as deltas:  # type: ignore[type-var]
            async for _ in deltas:
                pass
        ms.append(1e3 * (clock() - due_s))

    async with asyncio.TaskGroup() as tasks:
        for number, offset_s in enumerate(schedule.offsets_s):
            await asyncio.sleep(max(0.0, start_s + offset_s - clock()))
            tasks.create_task(ask(number, start_s + offset_s))
    p50, p99 = np.percentile(ms, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


if __name__ == "__main__":
    run_alone(__doc__, measure)
