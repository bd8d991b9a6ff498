"""Replicas and whole nodes are killed under a constant load, and what its clients notice is counted.

For each blow: what failed, in which way and whether its answer had begun; `recovery_s`, until a full second of requests
was answered as before it; `as_fast_after_s`, until all further ones were as fast, too; `restored_s`, until as many
replicas run as before. In the end the ledger's rows are held against the clients' own books.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from bench.cluster.clients import Asked, OpenClients
from bench.cluster.graph import Graph, Placement, eventually

DEPLOYMENTS = ("Gateway", "Router", "Specialists", "Fallback", "Ledger")
SLOWER, QUICK_MS = 2.0, 500.0
_RESTORED_S = 120.0
_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Blow:
    """One, as it was struck. Times are of `time.monotonic`; `end_s`: where its window ends."""

    what: str
    lost: tuple[str, ...]
    """Deployments of the replicas that died."""
    calm_from_s: float
    at_s: float
    end_s: float
    restored_s: float

    def is_before(self, asked: Asked) -> bool:
        """Whether a request was due and answered in the calm before the blow."""
        return self.calm_from_s <= asked.due_s and asked.done_s < self.at_s

    def covers(self, asked: Asked) -> bool:
        """Whether a request was under way at the blow, or due within its window."""
        return asked.done_s >= self.at_s and asked.due_s < self.end_s


@dataclass
class Blows:
    """Strikes at a graph. `window_s`: for how long after each blow requests are counted, at least."""

    graph: Graph
    clients: OpenClients
    calm_s: float
    window_s: float
    struck: list[Blow] = field(default_factory=list, init=False)

    async def kill_each(self, deployments: Sequence[str] = DEPLOYMENTS) -> None:
        """One replica of each deployment in turn."""
        for name in deployments:
            victim = next(one for one in (await self.graph.placement()).replicas if one.deployment == name)
            await self._strike(f"kill -9 {name}", (name,), {victim.pid}, partial(self.graph.kill, victim))

    async def kill_node_of(self, deployment: str) -> None:
        """A worker node that holds a replica of this deployment; of several, the one that holds the most."""
        placement = await self.graph.placement()
        node = node_to_kill(placement, deployment)
        lost = [one for one in placement.replicas if one.node == node]
        names = tuple(sorted(one.deployment for one in lost))
        what = f"node with {', '.join(names)}"
        await self._strike(what, names, {one.pid for one in lost}, lambda: self.graph.kill_node(node))

    async def _strike(
        self, what: str, lost: tuple[str, ...], pids: set[int], blow: Callable[[], Awaitable[Any]]
    ) -> None:
        before = (await self.graph.placement()).counts()
        calm_from_s = time.monotonic()
        await asyncio.sleep(self.calm_s)
        at_s = time.monotonic()
        await blow()

        async def restored() -> bool:
            placement, status = await self.graph.placement(), await self.graph.status()
            return (
                not pids & {one.pid for one in placement.replicas}
                and placement.counts() >= before
                and all(status["running"][name] >= count for name, count in before.items())
                and await self.graph.ready()
            )

        await eventually(restored, _RESTORED_S, f"{what}: the replicas are not restored")
        restored_s = time.monotonic() - at_s
        await asyncio.sleep(max(self.calm_s, self.window_s - restored_s))
        self.struck.append(Blow(what, lost, calm_from_s, at_s, time.monotonic(), restored_s))


def node_to_kill(placement: Placement, deployment: str) -> str:
    """See `Blows.kill_node_of`. Raises ValueError where only the head has one."""
    nodes = {node: names for node, names in placement.by_node().items() if deployment in names}
    nodes.pop(placement.head, None)
    return max(nodes, key=lambda node: len(nodes[node]))


def figures(blow: Blow, asked: Sequence[Asked]) -> dict[str, Any]:
    """Of one blow. `window_s`: its rate is over the requests under way at the blow or due until so long after it."""
    counted = [one for one in asked if blow.covers(one)]
    failed = [one for one in counted if one.failed]
    recovery_s = recovered_after(blow, asked)
    outage = [one for one in counted if one.due_s < blow.at_s + recovery_s]
    return {
        "what": blow.what,
        "lost": blow.lost,
        "requests": len(counted),
        "errors": len(failed),
        "errors_not_begun": sum(not one.has_begun for one in failed),
        "error_rate": round(len(failed) / max(1, len(counted)), 5),
        "window_s": round(blow.end_s - blow.at_s, 1),
        "outage_requests": len(outage),
        "outage_error_rate": round(sum(one.failed for one in outage) / max(1, len(outage)), 4),
        "by_kind": dict(Counter(described(one) for one in failed)),
        "recovery_s": round(recovery_s, 1),
        "as_fast_after_s": round(as_fast_after(blow, asked), 1),
        "restored_s": round(blow.restored_s, 1),
        "ms_before": _latencies([one for one in asked if blow.is_before(one)]),
        "ms": _latencies(counted),
        "p50_ms_by_kind": {
            kind: _latencies([one for one in counted if one.seen.kind == kind]).get("p50")
            for kind in sorted({one.seen.kind for one in counted})
        },
    }


def _latencies(asked: Sequence[Asked]) -> dict[str, int]:
    """Of finished requests, from when they were due."""
    ms = [one.seen.ms for one in asked if not one.failed]
    return {f"p{rank}": round(float(np.percentile(ms, rank))) for rank in (50, 99, 100)} if ms else {}


def described(asked: Asked) -> str:
    """Of a failed request: its kind, how far it was, and the error's beginning."""
    return f"{asked.seen.kind}, {'begun' if asked.has_begun else 'not begun'}: {asked.seen.why[:90]}"


def recovered_after(blow: Blow, asked: Sequence[Asked]) -> float:
    """Seconds from the blow to the first second of requests answered as before, after which none failed any more.

    As before: all answered, half of them within the `bound_ms` of the blow. As long as the window where there was no
    such second. A new replica that starts may still slow others later: see `as_fast_after`.
    """
    failed_s = [one.due_s - blow.at_s for one in asked if one.failed and blow.at_s <= one.due_s < blow.end_s]
    first_step = int(max(failed_s) / _STEP_S) + 1 if failed_s else 0
    seconds = [step * _STEP_S for step in _steps(blow) if step >= first_step]
    return next((at_s for at_s in seconds if _is_fast(blow, asked, at_s)), blow.end_s - blow.at_s)


def as_fast_after(blow: Blow, asked: Sequence[Asked]) -> float:
    """Seconds from the blow to the end of the last second that was slower than before."""
    slow = [step for step in _steps(blow) if not _is_fast(blow, asked, step * _STEP_S)]
    return (slow[-1] + 1) * _STEP_S + 1 if slow else 0.0


def bound_ms(blow: Blow, asked: Sequence[Asked]) -> float:
    """What half of a second's requests keep where they are as fast as in the calm before the blow."""
    calm = [one.seen.ms for one in asked if blow.is_before(one)]
    return max(QUICK_MS, SLOWER * median(calm)) if calm else QUICK_MS


def _steps(blow: Blow) -> range:
    return range(int((blow.end_s - blow.at_s - 1) / _STEP_S) + 1)


def _is_fast(blow: Blow, asked: Sequence[Asked], after_s: float) -> bool:
    """Of the second that begins so long after the blow; one without a request is."""
    begin_s = blow.at_s + after_s
    ms = [one.seen.ms for one in asked if begin_s <= one.due_s < begin_s + 1]
    return not ms or median(ms) <= bound_ms(blow, asked)
