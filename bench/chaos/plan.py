"""What is done to the graph while clients ask: replicas killed, the database stopped, a gateway killed meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from bench.chaos.client import Clients
from bench.chaos.graph import Graph
from bench.chaos.reconcile import Row, read_rows
from bench.chaos.tally import Seen, begun
from bench.postgres import Cluster
from serve_app.core import LedgerError

_POLL_S = 0.2
_RECOVERY_S = 60.0
_SETTLE_S = 60.0


@dataclass
class Chaos:
    """One run over one graph. `calm_s`: how long clients ask undisturbed before and after each blow."""

    graph: Graph
    ledger_url: str
    cluster: Cluster | None = None
    """The database's server, to be stopped and started; None: the database is a file."""
    num_clients: int = 12
    calm_s: float = 2.0
    blows: list[dict[str, Any]] = field(default_factory=list, init=False)
    """What was done, when, and how long it took until all was as before."""

    async def run(self, *deployments: str) -> tuple[list[Seen], list[Row]]:
        """Kill a replica of each deployment in turn, then stop the database; what clients saw, and what it holds."""
        clients = Clients(self.graph.url, self.num_clients)
        self._started_s = time.monotonic()
        asking = asyncio.create_task(clients.run())
        try:
            await asyncio.sleep(self.calm_s)
            for deployment in deployments:
                await self._blow(f"kill -9 {deployment}", partial(self._kill, deployment))
            if self.cluster is not None:
                await self._blow("database stopped and started", self._without_database)
        finally:
            clients.stop()
            await asking
        return clients.seen, await settled(self.ledger_url, begun(clients.seen))

    async def _blow(self, what: str, strike: Callable[[], Awaitable[None]]) -> None:
        at_s = time.monotonic()
        await strike()
        self.blows.append(
            {
                "what": what,
                "at_s": round(at_s - self._started_s, 1),
                "as_before_after_s": round(time.monotonic() - at_s, 1),
            }
        )
        await asyncio.sleep(self.calm_s)

    async def _kill(self, deployment: str) -> None:
        before = len(await asyncio.to_thread(self.graph.replicas, deployment))
        killed = await asyncio.to_thread(self.graph.kill, deployment)

        def replaced() -> bool:
            replicas = {process.pid for process in self.graph.replicas(deployment)}
            return killed not in replicas and len(replicas) >= before and self._ready()

        await eventually(lambda: asyncio.to_thread(replaced), _RECOVERY_S, f"{deployment} is not replaced")

    async def _without_database(self) -> None:
        """As a crash stops it; a gateway is killed while it is away, so that its journal waits for adoption."""
        assert self.cluster is not None
        await asyncio.to_thread(self.cluster.stop, "immediate")
        await asyncio.sleep(self.calm_s)
        gateways = len(await asyncio.to_thread(self.graph.replicas, "Gateway"))
        killed = await asyncio.to_thread(self.graph.kill, "Gateway")
        self.blows.append({"what": "kill -9 Gateway", "at_s": round(time.monotonic() - self._started_s, 1)})
        await asyncio.sleep(self.calm_s)
        await asyncio.to_thread(self.cluster.start)

        def whole() -> bool:
            replicas = {process.pid for process in self.graph.replicas("Gateway")}
            return killed not in replicas and len(replicas) >= gateways and self._ready()

        await eventually(lambda: asyncio.to_thread(whole), _RECOVERY_S, "the database is not used again")

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.graph.url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


async def settled(ledger_url: str, wanted: set[str]) -> list[Row]:
    """The rows once each of these queries has one, or as they are after a minute: what is missing then is missing."""
    deadline_s = time.monotonic() + _SETTLE_S
    while True:
        try:
            rows = await read_rows(ledger_url)
        except LedgerError:
            if time.monotonic() > deadline_s:
                raise
        else:
            if wanted <= {row.query_id for row in rows} or time.monotonic() > deadline_s:
                return rows
        await asyncio.sleep(_POLL_S)


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float, otherwise: str) -> None:
    """Return when it holds. Raises TimeoutError."""
    deadline_s = time.monotonic() + within_s
    while not await holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{otherwise} within {within_s:g} s")
        await asyncio.sleep(_POLL_S)
