"""One local cluster, three things done to it: scaled, replicas killed, nodes killed; and the books compared in the end.

All nodes share this machine's disk, so a journal outlives its node here; a node that is lost with its disk loses what
its gateways had not yet handed over (`ledger.durability: replicated` waits for the writer instead). Killed processes
close their connections; a machine without power does not, and is found out by Ray's health checks.
"""

import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.chaos.plan import settled
from bench.chaos.reconcile import is_exact, read_totals, reconcile
from bench.chaos.tally import begun
from bench.cluster import scaled
from bench.cluster.clients import OpenClients
from bench.cluster.graph import FRACTIONS, Graph, application, running, write_settings
from bench.cluster.kills import DEPLOYMENTS, Blows, described, figures
from bench.postgres import private_cluster, server_programs

NUM_WORKERS = 2
"""To place one replica of each role; so many more come for growth and for a node to lose."""
MORE_WORKERS = 3
PAIRS = dict.fromkeys(("Gateway", "Router", "Specialists", "Fallback"), (2, 2))
"""While things are killed."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it. Rates in requests a second."""

    warm_s: float = 20.0
    burst_s: float = 20.0
    kills: tuple[str, ...] = DEPLOYMENTS
    nodes: tuple[str, ...] = ("Specialists", "Fallback")
    """Nodes that hold one of these are killed."""
    rate: float = 25.0
    calm_s: float = 3.0
    window_s: float = 20.0
    rounds: int = 1
    postgres: bool = True
    """Where there are server programs; SQLite elsewhere."""


QUICK, FULL = Sizes(warm_s=6.0, burst_s=10.0, calm_s=2.0, window_s=15.0), Sizes(rounds=2)


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """See `run`."""
    return asyncio.run(run(folder, QUICK if quick else FULL))


async def run(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """The figures of all of it. Raises RuntimeError or TimeoutError where the cluster does not do as told."""
    with ExitStack() as held:
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        if sizes.postgres and server_programs() is not None:
            url = held.enter_context(held.enter_context(private_cluster()).database())
        settings = write_settings(folder, url, scaled.SCALING)
        started_s = time.monotonic()
        async with running(folder, settings, NUM_WORKERS) as graph:
            placement = await _placed(graph, settings, started_s)
            clients = OpenClients(graph.url)
            asking = asyncio.create_task(clients.run())
            try:
                scaling = await _scaled(graph, clients, sizes)
                blows = await _struck(graph, clients, settings, sizes)
            finally:
                clients.stop()
                await asking
            books = await _books(clients, url)
        outside = [one for one in clients.asked if one.failed and not any(blow.covers(one) for blow in blows.struck)]
        hurt = [figures(blow, clients.asked) for blow in blows.struck]
    return {
        "database": url.partition(":")[0],
        "placement": placement,
        "scaling": scaling,
        "scaled_independently": scaling["scaled_independently"] and not placement["faults"],
        "blows": hurt,
        "kill_error_rate": max((one["error_rate"] for one in hurt), default=0.0),
        "recovery_s": max((one["recovery_s"] for one in hurt), default=0.0),
        "errors_outside": dict(Counter(described(one) for one in outside)),
        "books": books,
    }


async def _placed(graph: Graph, settings: Path, started_s: float) -> dict[str, Any]:
    """Deploy one replica of each role on two workers, look where they are, and add the other workers."""
    nodes_s = time.monotonic() - started_s
    await graph.deploy(application(settings, scaled.BOUNDS))
    deployed_s = time.monotonic() - started_s
    placement = await scaled.settled_placement(graph)
    await graph.add_nodes(MORE_WORKERS)
    return {
        "nodes_started_s": round(nodes_s, 1),
        "deployed_s": round(deployed_s, 1),
        "fractions": FRACTIONS,
        "by_node": sorted(placement.by_node().values()),
        "gpus": sorted(placement.gpus.values()),
        "faults": placement.faults(),
    }


async def _scaled(graph: Graph, clients: OpenClients, sizes: Sizes) -> dict[str, Any]:
    """See `scaled`; how the clients fared, too."""
    num_before = len(clients.asked)
    figures = await scaled.scale(graph, clients, sizes.warm_s, sizes.burst_s)
    asked = clients.asked[num_before:]
    return figures | {"requests": len(asked), "errors": sum(one.failed for one in asked)}


async def _struck(graph: Graph, clients: OpenClients, settings: Path, sizes: Sizes) -> Blows:
    """Kill replicas of a graph with two of each, then nodes; there is a spare node for every one that goes."""
    await graph.deploy(application(settings, PAIRS))
    clients.want(sizes.rate)
    blows = Blows(graph, clients, sizes.calm_s, sizes.window_s)
    for _ in range(sizes.rounds):
        await blows.kill_each(sizes.kills)
        for deployment in sizes.nodes:
            await blows.kill_node_of(deployment)
            await graph.add_nodes(1)
    return blows


async def _books(clients: OpenClients, url: str) -> dict[str, Any]:
    """The clients' books against the ledger's rows."""
    seen = [one.seen for one in clients.asked]
    rows = await settled(url, begun(seen))
    report, totals = reconcile(seen, rows), await read_totals(url)
    agree = totals["queries"] == sum(row.shadow_of is None for row in rows)
    return report | {"totals_agree": agree, "is_exact": is_exact(report) and agree}
