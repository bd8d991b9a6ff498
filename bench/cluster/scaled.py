"""Deployments scale apart: a burst that only the specialists feel, then one that only the fallback does.

Headrace's policy decides (settings: `scaling.policy: headrace`). Calls of the first burst keep a specialist busy for a
second and are never escalated; those of the second leave it at once and keep the fallback busy. Replicas are counted
throughout. `scaled_independently`: in each burst its deployment grew and shrank again while the other one stayed as it
was, none was ever outside its bounds, no GPU was ever taken more than once, and fractions were as configured.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.chaos.client import Kind
from bench.cluster.clients import OpenClients
from bench.cluster.graph import Bounds, Graph, Placement, eventually

BOUNDS: Bounds = {"Gateway": (2, 2), "Router": (1, 1), "Specialists": (1, 3), "Fallback": (1, 2)}
SCALING: Mapping[str, Any] = {
    "policy": "headrace",
    "specialists": {"engine": {"tokens_per_s": 250, "call_tokens": 30}, "pace": {"half_life_s": 4}},
    "fallback": {
        "engine": {"tokens_per_s": 120, "call_tokens": 30},
        "pace": {"half_life_s": 4},
        "escalation_prior": 0.02,
        "warm_up_s": 5,
    },
}
"""What the scripted engines can do, and so short a memory of peaks that both ways are seen within a minute."""
CALM = Kind("calm", "easy", 1)
BURSTS = {"Specialists": (Kind("heavy", "heavy", 1), 16.0), "Fallback": (Kind("deep", "deep", 1), 4.0)}
"""Deployment -> what it alone feels, and how many of it a second."""
_CALM_RATE = 3.0
_SAMPLE_S = 0.5
_SETTLE_TRIES = 120
_UP_S, _DOWN_S = 60.0, 90.0
"""A burst ends at its time, or where the first new replica is late, when that has come."""


async def scale(graph: Graph, clients: OpenClients, warm_s: float, burst_s: float) -> dict[str, Any]:
    """The figures. The graph runs with `BOUNDS`; `warm_s`: calm before the first burst, in which meters learn."""
    clients.want(_CALM_RATE, (CALM,))
    await asyncio.sleep(warm_s)
    bursts = [await _burst(graph, clients, name, burst_s) for name in BURSTS]
    return {
        "scaled_independently": all(not burst["faults"] for burst in bursts),
        "bounds": BOUNDS,
        "bursts": bursts,
    }


async def _burst(graph: Graph, clients: OpenClients, name: str, burst_s: float) -> dict[str, Any]:
    """One burst until all is as before it."""
    kind, rate = BURSTS[name]
    began_s = time.monotonic()
    series: list[dict[str, Any]] = []
    faults: list[str] = []

    async def sample() -> dict[str, int]:
        status = await graph.status()
        running: dict[str, int] = status["running"]
        seen = {"running": running, "kept": status["kept"]}
        faults.extend((await graph.placement()).overbooked())
        if not series or any(series[-1][what] != seen[what] for what in seen):
            series.append({"at_s": round(time.monotonic() - began_s, 1), **seen})
        return running

    before = await sample()
    clients.want(rate, (kind,))
    grown = False
    while time.monotonic() < began_s + (burst_s if grown else burst_s + _UP_S):
        grown = (await sample())[name] > before[name] or grown
        await asyncio.sleep(_SAMPLE_S)
    at_peak = await settled_placement(graph)
    clients.want(_CALM_RATE, (CALM,))

    async def as_before() -> bool:
        return await sample() == before

    try:
        await eventually(as_before, _DOWN_S, f"{name} is not as small as before the burst")
    except TimeoutError as error:
        faults.append(str(error))
    return {
        "burst_of": name,
        "rate_per_s": rate,
        "burst_s": burst_s,
        "series": series,
        "gpus_at_peak": sorted(at_peak.gpus.values()),
        "placed_at_peak": sorted(at_peak.by_node().values()),
        "faults": sorted({*faults, *at_peak.faults(), *strayed(name, series)}),
    }


def strayed(name: str, series: Sequence[Mapping[str, Any]]) -> list[str]:
    """What speaks against `name` having grown and shrunk alone, within its bounds.

    Of the others those count that start too: a replica that is away for a moment is no change of scale.

    >>> numbers = [{"Specialists": n, "Fallback": 1} for n in (1, 3, 1)]
    >>> series = [{"running": one, "kept": one} for one in numbers]
    >>> strayed("Specialists", series), strayed("Fallback", series)
    ([], ['Fallback never grew', 'Specialists changed too'])
    """
    found = []
    for other in series[0]["running"]:
        counts = [one["running" if other == name else "kept"][other] for one in series]
        fewest, most = BOUNDS.get(other, (1, 1))
        if min(counts) < fewest or max(counts) > most:
            found.append(f"{other} was outside its bounds")
        if other == name and max(counts) <= counts[0]:
            found.append(f"{name} never grew")
        if other != name and len(set(counts)) > 1:
            found.append(f"{other} changed too")
    return sorted(found)


async def settled_placement(graph: Graph) -> Placement:
    """Once nothing starts or stops any more, or as it is after a while: its `faults` say so."""
    for _ in range(_SETTLE_TRIES):
        placement = await graph.placement()
        if not placement.faults():
            return placement
        await asyncio.sleep(_SAMPLE_S)
    return placement
