"""Counts the replicas that Serve runs, every few seconds, in the one replica that writes the ledger."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from serve_app.core import LedgerError
from serve_app.ledger.provisioned import Meter, ReplicaTime

_LOG = logging.getLogger("ray.serve")
_EVERY_S = 10.0
_NOT_THERE = ("STOPPED",)
"""States of a replica that holds no resources. One that starts counts: it holds them while it loads its model."""


class Sums(Protocol):
    """Where replica-seconds are kept."""

    async def add(self, times: Sequence[ReplicaTime]) -> None:
        """Add to what is there. Raises LedgerError."""
        ...


def replica_counts(status: Any, app_name: str) -> dict[str, int]:
    """Of `serve.status()`: deployment, by the name it has in the settings -> replicas that hold resources."""
    app = status.applications.get(app_name)
    return {
        name.lower(): sum(count for state, count in deployment.replica_states.items() if state not in _NOT_THERE)
        for name, deployment in (app.deployments.items() if app else ())
    }


def count_here() -> dict[str, int]:
    """The replicas of the application that this replica belongs to. Blocks; not for the event loop."""
    return replica_counts(serve.status(), serve.get_replica_context().app_name)


class ProvisionedSampler:
    """Run `run()` as a task; cancel it at the end, then await `close()`."""

    def __init__(
        self,
        sums: Sums,
        count: Callable[[], Mapping[str, int]] = count_here,
        every_s: float = _EVERY_S,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._sums, self._count, self._every_s, self._now_ns = sums, count, every_s, now_ns
        self._meter = Meter(max_gap_s=int(6 * every_s) or 1)
        self._last_problem: str | None = None

    async def run(self) -> None:
        """Sample until cancelled. What goes wrong is in the log once, and tried again."""
        while True:
            await self.sample()
            await asyncio.sleep(self._every_s)

    async def sample(self) -> None:
        """Count now and store what has been added up; without a count the last one holds for a while."""
        try:
            counts = await asyncio.to_thread(self._count)
            self._meter.count(self._now_ns(), counts)
            await self._store()
        except (RayError, RayServeException, LedgerError) as error:
            if str(error) != self._last_problem:
                self._last_problem = str(error)
                _LOG.warning("Provisioned replica-seconds are not sampled now: %s", error)
        else:
            self._last_problem = None

    async def close(self) -> None:
        """Store what has been added up since the last sample. Raises LedgerError."""
        await self._store()

    async def _store(self) -> None:
        taken = self._meter.take()
        try:
            await self._sums.add(taken)
        except LedgerError:  # a cancelled write is finished all the same
            self._meter.put_back(taken)
            raise
